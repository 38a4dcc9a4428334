//! How does one setting become a typed value? From TOML, or from the text of a variable, a flag or a reference.

use std::num::{NonZeroU16, NonZeroU32, NonZeroU64};
use std::path::PathBuf;

use super::suggest;

/// What is wrong with a value, without where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Fault {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Names the nearest of the possible words, or all of them.
    pub(super) fn choices(self, written: &str, choices: &[&str]) -> Self {
        let help = match suggest::nearest(written, choices.iter().copied()) {
            Some(nearest) => format!("did you mean \"{nearest}\"?"),
            None => format!("use {}", suggest::one_of(choices)),
        };
        self.help(help)
    }

    pub(super) fn mismatch(expected: &str, found: &toml::Value) -> Self {
        Self::new(format!("expected {expected}, found {}", describe(found)))
    }
}

/// A type that a setting can have.
pub(super) trait Value: Sized {
    /// What is expected, for a message: "a port", "true or false".
    const EXPECTED: &'static str;

    /// From a value of the file. Types that are written as text need no implementation of their own.
    fn from_toml(value: &toml::Value) -> Result<Self, Fault> {
        match value {
            toml::Value::String(text) => Self::from_text(text),
            other => Err(Fault::mismatch(Self::EXPECTED, other)),
        }
    }

    /// From text: a string of the file, a variable, a flag.
    fn from_text(text: &str) -> Result<Self, Fault>;
}

/// What a value is, in words for a message; never the value of a string, which may be a secret.
fn describe(value: &toml::Value) -> String {
    match value {
        toml::Value::String(_) => "a string".to_owned(),
        toml::Value::Integer(integer) => format!("the integer {integer}"),
        toml::Value::Float(float) => format!("the float {float}"),
        toml::Value::Boolean(boolean) => format!("`{boolean}`"),
        toml::Value::Datetime(_) => "a date or time".to_owned(),
        toml::Value::Array(_) => "an array".to_owned(),
        toml::Value::Table(_) => "a table".to_owned(),
    }
}

impl Value for String {
    const EXPECTED: &'static str = "a string";

    fn from_text(text: &str) -> Result<Self, Fault> {
        Ok(text.to_owned())
    }
}

impl Value for PathBuf {
    const EXPECTED: &'static str = "a path as a string";

    fn from_text(text: &str) -> Result<Self, Fault> {
        if text.is_empty() {
            return Err(Fault::new("the path is empty").help("remove the key to have the default"));
        }
        Ok(Self::from(text))
    }
}

impl Value for bool {
    const EXPECTED: &'static str = "true or false";

    fn from_toml(value: &toml::Value) -> Result<Self, Fault> {
        match value {
            toml::Value::Boolean(boolean) => Ok(*boolean),
            toml::Value::String(text) if text == "true" || text == "false" => {
                Err(Fault::mismatch(Self::EXPECTED, value).help("remove the quotes"))
            }
            other => Err(Fault::mismatch(Self::EXPECTED, other)),
        }
    }

    fn from_text(text: &str) -> Result<Self, Fault> {
        match text {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(Fault::new(format!("expected true or false, found {text:?}"))),
        }
    }
}

/// Integers, by way of `i64`, which is what TOML has.
macro_rules! integer {
    ($type:ty, $expected:literal) => {
        impl Value for $type {
            const EXPECTED: &'static str = $expected;

            fn from_toml(value: &toml::Value) -> Result<Self, Fault> {
                match value {
                    toml::Value::Integer(integer) => <$type>::try_from(*integer)
                        .map_err(|_out_of_range| Fault::new(format!("expected {}, found {integer}", Self::EXPECTED))),
                    toml::Value::String(text) if text.parse::<i64>().is_ok() => {
                        Err(Fault::mismatch(Self::EXPECTED, value).help("remove the quotes"))
                    }
                    other => Err(Fault::mismatch(Self::EXPECTED, other)),
                }
            }

            fn from_text(text: &str) -> Result<Self, Fault> {
                match text.trim().parse::<i64>() {
                    Ok(integer) => Self::from_toml(&toml::Value::Integer(integer)),
                    Err(_) => Err(Fault::new(format!("expected {}, found {text:?}", Self::EXPECTED))),
                }
            }
        }
    };
}

integer!(u16, "an integer from 0 to 65535");
integer!(u32, "an integer from 0 to 4294967295");

/// Integers from 1.
macro_rules! positive_integer {
    ($type:ty, $inner:ty, $expected:literal) => {
        impl Value for $type {
            const EXPECTED: &'static str = $expected;

            fn from_toml(value: &toml::Value) -> Result<Self, Fault> {
                match value {
                    toml::Value::Integer(integer) => <$inner>::try_from(*integer)
                        .ok()
                        .and_then(Self::new)
                        .ok_or_else(|| Fault::new(format!("expected {}, found {integer}", Self::EXPECTED))),
                    toml::Value::String(text) if text.parse::<i64>().is_ok() => {
                        Err(Fault::mismatch(Self::EXPECTED, value).help("remove the quotes"))
                    }
                    other => Err(Fault::mismatch(Self::EXPECTED, other)),
                }
            }

            fn from_text(text: &str) -> Result<Self, Fault> {
                match text.trim().parse::<i64>() {
                    Ok(integer) => Self::from_toml(&toml::Value::Integer(integer)),
                    Err(_) => Err(Fault::new(format!("expected {}, found {text:?}", Self::EXPECTED))),
                }
            }
        }
    };
}

positive_integer!(NonZeroU16, u16, "an integer from 1 to 65535");
positive_integer!(NonZeroU32, u32, "an integer from 1 to 4294967295");
positive_integer!(NonZeroU64, u64, "an integer from 1");

impl<T: Value> Value for Vec<T> {
    const EXPECTED: &'static str = "an array of strings";

    fn from_toml(value: &toml::Value) -> Result<Self, Fault> {
        match value {
            toml::Value::Array(items) => items.iter().map(T::from_toml).collect(),
            toml::Value::String(_) => {
                Err(Fault::mismatch(Self::EXPECTED, value).help("put the string between square brackets"))
            }
            other => Err(Fault::mismatch(Self::EXPECTED, other)),
        }
    }

    /// Items are separated by commas; empty text is an empty list.
    fn from_text(text: &str) -> Result<Self, Fault> {
        text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(T::from_text).collect()
    }
}

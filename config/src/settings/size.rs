//! How is an amount of bytes written? `2MiB`, `512KiB`, `1GB`, or an integer of bytes.

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use super::value::{Fault, Value};

/// An amount of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

const BINARY: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
const DECIMAL: [(&str, u64); 4] = [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("KB", 1_000)];

const EXPECTED: &str = "a size such as \"2MiB\" or a number of bytes";

impl ByteSize {
    /// So many bytes.
    #[must_use]
    pub const fn bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// So many mebibytes.
    #[must_use]
    pub const fn mib(count: u64) -> Self {
        Self(count << 20)
    }

    /// So many gibibytes.
    #[must_use]
    pub const fn gib(count: u64) -> Self {
        Self(count << 30)
    }

    /// The number of bytes.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The number of bytes as a length in memory; what does not fit is as good as no limit.
    #[must_use]
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
        let (count, unit) = text.split_at(digits);
        let unit = unit.trim_start();
        let factor = if unit.is_empty() || unit.eq_ignore_ascii_case("b") {
            1
        } else {
            BINARY.iter().chain(&DECIMAL).find(|(name, _)| name.eq_ignore_ascii_case(unit))?.1
        };
        count.parse::<u64>().ok()?.checked_mul(factor).map(Self)
    }
}

impl Display for ByteSize {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match BINARY.iter().find(|(_, factor)| self.0 != 0 && self.0.is_multiple_of(*factor)) {
            Some((unit, factor)) => write!(formatter, "{}{unit}", self.0 / factor),
            None => write!(formatter, "{}B", self.0),
        }
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Value for ByteSize {
    const EXPECTED: &'static str = EXPECTED;

    fn from_toml(value: &toml::Value) -> Result<Self, Fault> {
        match value {
            toml::Value::String(text) => Self::from_text(text),
            toml::Value::Integer(integer) if *integer > 0 => Ok(Self(integer.unsigned_abs())),
            toml::Value::Integer(integer) => {
                Err(Fault::new(format!("expected {EXPECTED}, found {integer}")).help("the smallest size is 1 byte"))
            }
            other => Err(Fault::mismatch(EXPECTED, other)),
        }
    }

    fn from_text(text: &str) -> Result<Self, Fault> {
        let size = Self::parse(text).ok_or_else(|| {
            Fault::new(format!("expected {EXPECTED}, found {text:?}"))
                .help("the units are KiB, MiB, GiB, TiB (of 1024) and KB, MB, GB, TB (of 1000)")
        })?;
        if size.0 == 0 {
            return Err(Fault::new(format!("expected {EXPECTED}, found {text:?}")).help("the smallest size is 1 byte"));
        }
        Ok(size)
    }
}

impl JsonSchema for ByteSize {
    fn schema_name() -> Cow<'static, str> {
        "ByteSize".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "An amount of bytes: an integer, or text with the unit `KiB`, `MiB`, `GiB`, `TiB` (of 1024) or `KB`, `MB`, `GB`, `TB` (of 1000).",
            "oneOf": [
                { "type": "integer", "minimum": 1 },
                { "type": "string", "pattern": "^\\d+ ?([KMGTkmgt][Ii]?)?[Bb]?$" },
            ],
            "examples": ["2MiB", 2_097_152],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_units() {
        for (text, bytes) in [
            ("2MiB", 2 << 20),
            ("512KiB", 512 << 10),
            ("1GB", 1_000_000_000),
            ("1500", 1500),
            ("1500B", 1500),
            ("1 gib", 1 << 30),
        ] {
            assert_eq!(ByteSize::from_text(text), Ok(ByteSize(bytes)), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_size_is_refused() {
        for text in ["", "MiB", "2Mi", "2.5MiB", "-1", "0", "0MiB", "99999999999TiB"] {
            assert!(ByteSize::from_text(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_size_is_written_in_its_largest_whole_unit() {
        for (bytes, text) in [(2 << 20, "2MiB"), (1536 << 10, "1536KiB"), (1 << 30, "1GiB"), (1500, "1500B"), (0, "0B")]
        {
            assert_eq!(ByteSize(bytes).to_string(), text);
        }
    }
}

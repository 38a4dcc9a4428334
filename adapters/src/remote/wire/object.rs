//! Which members does a JSON object have, of those that mean something to us? And is text JSON at all?

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::name::Name;

/// Members that are no attributes.
const OTHERS: [&str; 6] = ["data", "data_base64", "topic", "payload", "timestamp", "metadata"];

/// An object of which only the members with a meaning are kept, unread. Others take up no memory, however many there are.
#[derive(Debug, Default)]
pub(super) struct Object<'a> {
    members: Vec<(&'static str, &'a RawValue)>,
    /// A member that is there twice.
    pub(super) repeated: Option<&'static str>,
}

impl<'a> Object<'a> {
    /// Reads a whole document. Values that are not kept are not looked into.
    pub(super) fn parse(json: &'a [u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.members.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    pub(super) fn has(&self, names: &[&str]) -> bool {
        names.iter().all(|name| self.get(name).is_some())
    }

    /// The members that are attributes.
    pub(super) fn attributes(&self) -> impl Iterator<Item = (Name, &'a RawValue)> {
        self.members.iter().filter_map(|(name, value)| Some((Name::find(name)?, *value)))
    }
}

/// A string of which nothing is copied unless it has escapes.
#[derive(Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// What kind of value it is; the text is known to be JSON.
pub(super) fn is_string(value: &RawValue) -> bool {
    value.get().starts_with('"')
}

/// As [`is_string`].
pub(super) fn is_number(value: &RawValue) -> bool {
    value.get().starts_with(|c: char| c == '-' || c.is_ascii_digit())
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Object<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
        let mut object = Object::default();
        while let Some(key) = map.next_key::<Key>()? {
            let Key(Some(name)) = key else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let value = map.next_value::<&RawValue>()?;
            if object.get(name).is_some() {
                object.repeated = Some(name);
            } else {
                object.members.push((name, value));
            }
        }
        Ok(object)
    }
}

/// The name of a member that means something to us.
struct Key(Option<&'static str>);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KeyVisitor)
    }
}

struct KeyVisitor;

impl Visitor<'_> for KeyVisitor {
    type Value = Key;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the name of a member")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Key, E> {
        let other = || OTHERS.into_iter().find(|known| *known == name);
        Ok(Key(Name::find(name).map(Name::as_str).or_else(other)))
    }
}

/// Whether text is JSON as whoever gets it will read it: with its numbers, its escapes and its depth. Nothing is kept.
pub(super) fn check(json: &[u8]) -> Result<(), serde_json::Error> {
    serde_json::from_slice::<Checked>(json).map(|_checked| ())
}

/// Any JSON value, read to its end and forgotten. `IgnoredAny` would look at neither numbers nor escapes and know no depth.
struct Checked;

impl<'de> Deserialize<'de> for Checked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Checked {
    type Value = Self;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self, A::Error> {
        while members.next_entry::<Self, Self>()?.is_some() {}
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    proptest! {
        #[test]
        fn json_is_what_is_read_as_a_value(text in r#"[\[\]{}:,"\\ux0-9a-f.eE+ -]{0,24}"#) {
            prop_assert_eq!(check(text.as_bytes()).is_ok(), serde_json::from_str::<Value>(&text).is_ok());
        }
    }

    #[test]
    fn what_others_could_not_read_is_no_json() {
        let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        for (text, is_json) in [
            (r#"{"a": [1, -2, 3.5, null, true, "é\u00e9\ud83d\ude00"]}"#, true),
            ("12345678901234567890123", true),
            ("1e308", true),
            ("1e400", false),
            ("NaN", false),
            ("Infinity", false),
            (r#""\ud83d""#, false),
            ("[1,]", false),
            ("1 2", false),
            ("", false),
            (&*deep(127), true),
            (&*deep(128), false),
            (&*deep(100_000), false),
        ] {
            assert_eq!(check(text.as_bytes()).is_ok(), is_json, "{text:.80}");
            assert_eq!(serde_json::from_str::<Value>(text).is_ok(), is_json, "{text:.80}");
        }
        assert!(check(b"\"\xff\"").is_err());
    }

    #[test]
    fn members_are_kept_unread() {
        let object = Object::parse(br#"{"id": 7, "x": {"id": 8}, "d\u0061ta": [1, 2 ], "id": "8"}"#).unwrap();
        assert_eq!(object.get("id").unwrap().get(), "7");
        assert_eq!(object.get("data").unwrap().get(), "[1, 2 ]");
        assert_eq!((object.get("x").is_some(), object.repeated), (false, Some("id")));
        for text in ["7", "[]", "{", "{} {}", r#"{"id": }"#] {
            assert!(Object::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}

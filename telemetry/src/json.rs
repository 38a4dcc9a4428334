//! How do times, durations and embedded JSON look in JSON? RFC 3339 in UTC, fractional milliseconds, and as they are.

/// A [`crate::Timestamp`] as RFC 3339 text in UTC.
pub(crate) mod timestamp {
    use serde::{Deserialize, Deserializer, Serializer, de, ser};

    use crate::Timestamp;

    pub(crate) fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        let time = jiff::Timestamp::from_nanosecond(i128::from(time.as_nanos())).map_err(ser::Error::custom)?;
        serializer.collect_str(&time)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let time: jiff::Timestamp = String::deserialize(deserializer)?.parse().map_err(de::Error::custom)?;
        u64::try_from(time.as_nanosecond()).map(Timestamp::from_nanos).map_err(de::Error::custom)
    }
}

/// A [`std::time::Duration`] as milliseconds with up to six decimals.
pub(crate) mod milliseconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(duration.as_nanos() as f64 / 1e6)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let milliseconds = f64::deserialize(deserializer)?;
        if !(0.0..=1e15).contains(&milliseconds) {
            return Err(de::Error::custom(format_args!("{milliseconds} is not a duration in milliseconds")));
        }
        Ok(Duration::from_nanos((milliseconds * 1e6).round() as u64))
    }
}

/// JSON text as the value that it is. Text that is no JSON becomes a string, so that it is shown rather than lost.
pub(crate) mod embedded {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use serde_json::value::RawValue;

    #[expect(clippy::ref_option, reason = "serde's `with` passes the field by reference")]
    pub(crate) fn serialize<S: Serializer>(text: &Option<Box<str>>, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(text) = text else { return serializer.serialize_none() };
        match serde_json::from_str::<&RawValue>(text) {
            Ok(value) => value.serialize(serializer),
            Err(_) => serializer.serialize_str(text),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<str>>, D::Error> {
        let value = Option::<serde_json::Value>::deserialize(deserializer)?;
        Ok(value.map(|value| value.to_string().into()))
    }
}

//! How is a span of time written? `200ms`, `30s`, `10m`, `1h30m`, `2d`.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serializer;

use super::value::{Fault, Value};

/// Units from the longest, in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

const EXPECTED: &str = "a duration such as \"200ms\", \"30s\", \"10m\" or \"1h30m\"";

/// Reads a duration; `None` when the text is not one or is too long to count in milliseconds.
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total: u64 = 0;
    let mut last_unit = u64::MAX;
    while !rest.is_empty() {
        let (count, after) = split_at_first(rest, |character| !character.is_ascii_digit())?;
        let (unit, after) = split_at_first(after, |character| character.is_ascii_digit()).unwrap_or((after, ""));
        let (_, milliseconds) = UNITS.iter().find(|(name, _)| *name == unit)?;
        // Descending units only: `5m1h` or `1s1s` is more likely a slip than a wish.
        if *milliseconds >= last_unit {
            return None;
        }
        last_unit = *milliseconds;
        total = total.checked_add(count.parse::<u64>().ok()?.checked_mul(*milliseconds)?)?;
        rest = after;
    }
    (last_unit != u64::MAX).then(|| Duration::from_millis(total))
}

/// Writes a duration as [`parse`] reads it, in the largest unit that leaves no rest; what is below a millisecond is cut
/// off.
#[must_use]
pub fn format(duration: Duration) -> String {
    let total = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    match UNITS.iter().find(|(_, milliseconds)| total != 0 && total.is_multiple_of(*milliseconds)) {
        Some((name, milliseconds)) => format!("{}{name}", total / milliseconds),
        None => "0s".to_owned(),
    }
}

/// Serialises a field as text, for `serialize_with`.
///
/// # Errors
///
/// Those of the serializer.
pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format(*duration))
}

/// As [`serialize`], for a field that may have none.
///
/// # Errors
///
/// Those of the serializer.
#[expect(clippy::ref_option, reason = "serde's `serialize_with` passes the field by reference")]
pub(super) fn serialize_optional<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => serialize(duration, serializer),
        None => serializer.serialize_none(),
    }
}

fn split_at_first(text: &str, stop: impl Fn(char) -> bool) -> Option<(&str, &str)> {
    text.find(stop).filter(|&at| at > 0).map(|at| text.split_at(at))
}

impl Value for Duration {
    const EXPECTED: &'static str = EXPECTED;

    fn from_toml(value: &toml::Value) -> Result<Self, Fault> {
        match value {
            toml::Value::String(text) => Self::from_text(text),
            toml::Value::Integer(integer) => Err(Fault::new(format!("the duration {integer} has no unit"))
                .help(format!("write \"{integer}s\" for seconds or \"{integer}ms\" for milliseconds"))),
            other => Err(Fault::mismatch(EXPECTED, other)),
        }
    }

    fn from_text(text: &str) -> Result<Self, Fault> {
        if let Some(duration) = parse(text) {
            return Ok(duration);
        }
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Fault::new(format!("the duration \"{text}\" has no unit"))
                .help(format!("write \"{text}s\" for seconds or \"{text}ms\" for milliseconds")));
        }
        Err(Fault::new(format!("expected {EXPECTED}, found {text:?}"))
            .help("the units are ms, s, m, h and d, longest first"))
    }
}

/// The JSON Schema of a duration.
#[derive(Debug)]
pub(super) struct DurationText;

impl JsonSchema for DurationText {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A span of time: whole numbers with the units `d`, `h`, `m`, `s`, `ms`, longest first.",
            "pattern": "^(\\d+(d|h|m|s|ms))+$",
            "examples": ["200ms", "30s", "1h30m"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_units() {
        for (text, milliseconds) in [
            ("200ms", 200),
            ("0s", 0),
            ("30s", 30_000),
            ("10m", 600_000),
            ("1h30m", 5_400_000),
            ("2d", 172_800_000),
            ("1s500ms", 1_500),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        for text in ["", "30", "s", "30 s", "1.5s", "-1s", "5m1h", "1s1s", "30x", "99999999999999999999s", "s30"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_duration_is_written_in_its_largest_whole_unit() {
        for (text, written) in [("200ms", "200ms"), ("0s", "0s"), ("75s", "75s"), ("1h30m", "90m"), ("48h", "2d")] {
            assert_eq!(parse(text).map(format).as_deref(), Some(written));
        }
    }
}

//! How are times written? RFC 3339 in UTC; the original has the seconds since 1970.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// Seconds from 1970 to the last day of the year 9999: RFC 3339 has four digits for a year, and that day is not over everywhere.
const LAST_SECOND: u64 = 253_402_207_200;

/// A time before 1970 is written as 1970, as the embedded store does it, and one after 9999 as the last second that can be.
pub(super) fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default().min(Duration::from_secs(LAST_SECOND));
    Timestamp::try_from(UNIX_EPOCH + since).unwrap_or_default().to_string()
}

/// Whole seconds since 1970, as the original writes them.
pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Reads RFC 3339 and nothing else; digits beyond nanoseconds are cut off.
pub(super) fn parse_rfc3339(text: &str) -> Option<SystemTime> {
    let (date, rest) = text.split_at_checked("2006-01-02T15:04:05".len())?;
    let (fraction, offset) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?),
        None => ("0", rest),
    };
    if fraction.is_empty() || !has_form(date, b"dddd-dd-ddTdd:dd:dd") || !is_offset(offset) {
        return None;
    }
    let fraction = &fraction[..fraction.len().min(9)];
    let time: Timestamp = format!("{date}.{fraction}{offset}").parse().ok()?;
    Some(time.into())
}

fn is_offset(text: &str) -> bool {
    text.eq_ignore_ascii_case("z") || has_form(text, b"+dd:dd") || has_form(text, b"-dd:dd")
}

/// Whether each character is that of the form; `d` stands for a digit.
fn has_form(text: &str, form: &[u8]) -> bool {
    let fits = |(byte, expected): (u8, &u8)| match expected {
        b'd' => byte.is_ascii_digit(),
        _ => byte.eq_ignore_ascii_case(expected),
    };
    text.len() == form.len() && text.bytes().zip(form).all(fits)
}

/// Reads the original's timestamp: seconds since 1970 up to the year 9999, or RFC 3339 as its documentation shows it.
pub(super) fn parse_original(text: &str) -> Option<SystemTime> {
    let seconds = text.parse().ok().filter(|seconds| *seconds <= LAST_SECOND);
    seconds.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds)).or_else(|| parse_rfc3339(text))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(nanos: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(nanos)
    }

    proptest! {
        #[test]
        fn times_survive_a_round_trip(nanos: u64) {
            prop_assert_eq!(parse_rfc3339(&rfc3339(at(nanos))), Some(at(nanos)));
        }
    }

    #[test]
    fn every_form_of_rfc_3339_is_read() {
        let second = 1_000_000_000;
        for (text, nanos) in [
            ("1970-01-01T00:00:01Z", second),
            ("1970-01-01t00:00:01z", second),
            ("1970-01-01T02:00:01+02:00", second),
            ("1969-12-31T23:00:01-01:00", second),
            ("1970-01-01T00:00:01.5Z", second + second / 2),
            ("1970-01-01T00:00:01.1234567899999Z", second + 123_456_789),
        ] {
            assert_eq!(parse_rfc3339(text), Some(at(nanos)), "{text}");
        }
        assert!(parse_rfc3339("1969-12-31T23:59:59Z").is_some_and(|time| time < UNIX_EPOCH));
    }

    #[test]
    fn nothing_else_is_read() {
        for text in [
            "",
            "now",
            "1700000000",
            "1970-01-01",
            "1970-01-01T00:00:01",
            "1970-01-01 00:00:01Z",
            "1970-01-01T00:00Z",
            "1970-01-01T00:00:01.Z",
            "1970-01-01T00:00:01.5",
            "1970-01-01T00:00:01,5Z",
            "1970-01-01T00:00:01+0200",
            "1970-01-01T00:00:01+02",
            "1970-01-01T00:00:01Z[UTC]",
            "1970-02-30T00:00:01Z",
            "1970-13-01T00:00:01Z",
            "1970-01-01T25:00:01Z",
            "+001970-01-01T00:00:01Z",
            "-1970-01-01T00:00:01Z",
            "1970-01-01T00:00:0éZ",
            "１970-01-01T00:00:01Z",
        ] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn times_that_cannot_be_written_are_written_as_the_nearest() {
        assert_eq!(rfc3339(UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_secs(LAST_SECOND * 2)), "9999-12-30T22:00:00Z");
    }

    #[test]
    fn the_originals_timestamp_is_read() {
        assert_eq!(parse_original("1"), Some(at(1_000_000_000)));
        assert_eq!(parse_original("1970-01-01T00:00:01Z"), Some(at(1_000_000_000)));
        for text in ["", "-1", "1.5", "18446744073709551615", "99999999999999999999", "soon"] {
            assert_eq!(parse_original(text), None, "{text}");
        }
    }
}

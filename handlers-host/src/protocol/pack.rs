//! How are the values of a header written as MessagePack?

use std::time::SystemTime;

use http::{HeaderMap, HeaderValue};
use rmp::encode;

const VEC: &str = "writing into memory cannot fail";

pub(super) fn array(out: &mut Vec<u8>, length: u32) {
    encode::write_array_len(out, length).expect(VEC);
}

pub(super) fn uint(out: &mut Vec<u8>, value: u64) {
    encode::write_uint(out, value).expect(VEC);
}

pub(super) fn boolean(out: &mut Vec<u8>, value: bool) {
    encode::write_bool(out, value).expect(VEC);
}

pub(super) fn text(out: &mut Vec<u8>, value: &str) {
    encode::write_str(out, value).expect(VEC);
}

pub(super) fn optional_text(out: &mut Vec<u8>, value: Option<&str>) {
    match value {
        Some(value) => text(out, value),
        None => encode::write_nil(out).expect(VEC),
    }
}

pub(super) fn pairs(out: &mut Vec<u8>, pairs: &[(String, String)]) {
    array(out, length_of(pairs.len()));
    for (name, value) in pairs {
        array(out, 2);
        text(out, name);
        text(out, value);
    }
}

pub(super) fn headers(out: &mut Vec<u8>, headers: &HeaderMap) {
    array(out, length_of(headers.len()));
    for (name, value) in headers {
        array(out, 2);
        text(out, name.as_str());
        header_value(out, value);
    }
}

fn header_value(out: &mut Vec<u8>, value: &HeaderValue) {
    match value.to_str() {
        Ok(value) => text(out, value),
        Err(_) => text(out, &value.as_bytes().iter().copied().map(char::from).collect::<String>()),
    }
}

pub(super) fn length_of(items: usize) -> u32 {
    u32::try_from(items).expect("lists in a request are bounded by its size")
}

pub(super) fn trace_id(out: &mut Vec<u8>, id: &[u8; 16]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    encode::write_str_len(out, 32).expect(VEC);
    for byte in id {
        out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

/// RFC 3339 in UTC with microseconds. A time beyond what can be written is the epoch.
pub(super) fn rfc3339(time: SystemTime) -> String {
    format!("{:.6}", jiff::Timestamp::try_from(time).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_rfc_3339() {
        for (seconds, micros, expected) in [
            (0, 0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400, 5, "2000-02-29T00:00:00.000005Z"),
            (1_732_147_199, 999_999, "2024-11-20T23:59:59.999999Z"),
            (4_107_542_400, 0, "2100-03-01T00:00:00.000000Z"),
        ] {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_micros(micros);
            assert_eq!(rfc3339(time), expected);
        }
    }
}

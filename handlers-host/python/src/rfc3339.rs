//! What does an RFC 3339 time say?

/// The parts of a time in UTC, or with an offset.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Time {
    /// Year, month, day.
    pub(crate) date: [u32; 3],
    /// Hour, minute, second.
    pub(crate) clock: [u32; 3],
    /// Microseconds; what is finer is cut off.
    pub(crate) micros: u32,
    /// Minutes east of Greenwich.
    pub(crate) offset: i32,
}

/// Reads a time; the calendar isn't checked.
pub(crate) fn parse(text: &str) -> Option<Time> {
    let bytes = text.as_bytes();
    let separated =
        [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')].iter().all(|(at, sign)| bytes.get(*at) == Some(sign));
    if !separated || !matches!(bytes.get(10), Some(b'T' | b't' | b' ')) {
        return None;
    }
    let number = |from: usize, to: usize| digits(text.get(from..to)?);
    let date = [number(0, 4)?, number(5, 7)?, number(8, 10)?];
    let clock = [number(11, 13)?, number(14, 16)?, number(17, 19)?];
    let rest = text.get(19..)?;
    let (micros, zone) = match rest.strip_prefix('.') {
        Some(fraction) => fraction_and_zone(fraction)?,
        None => (0, rest),
    };
    Some(Time { date, clock, micros, offset: offset(zone)? })
}

fn fraction_and_zone(text: &str) -> Option<(u32, &str)> {
    let end = text.find(|character: char| !character.is_ascii_digit())?;
    let (fraction, zone) = text.split_at(end);
    if fraction.is_empty() {
        return None;
    }
    let exact = &fraction[..fraction.len().min(6)];
    let missing = u32::try_from(6 - exact.len()).ok()?;
    Some((digits(exact)? * 10_u32.pow(missing), zone))
}

fn offset(zone: &str) -> Option<i32> {
    let sign = match zone.as_bytes().first()? {
        b'Z' | b'z' if zone.len() == 1 => return Some(0),
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let minutes = digits(hours)? * 60 + digits(minutes)?;
    i32::try_from(minutes).ok().map(|minutes| sign * minutes)
}

fn digits(text: &str) -> Option<u32> {
    let valid = !text.is_empty() && text.len() < 9 && text.bytes().all(|byte| byte.is_ascii_digit());
    if valid { text.parse().ok() } else { None }
}

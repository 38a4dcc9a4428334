//! Does a text have the form of an address, a URL, a UUID, a time or base64?
//!
//! Written out by hand: these run for every message, where a regular expression would cost ten times as much.

/// `local@domain` with a domain of at least two labels; letters beyond ASCII are allowed in both.
pub(super) fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let is_local = |character: char| {
        character.is_ascii_alphanumeric() || "!#$%&'*+/=?^_`{|}~-".contains(character) || is_foreign_letter(character)
    };
    text.len() <= 254
        && local.len() <= 64
        && local.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_local))
        && domain.contains('.')
        && is_domain(domain)
}

/// An absolute URL of the schemes `http` and `https`. Others are not taken because links made from such a field would
/// run them (`javascript:`).
pub(super) fn is_url(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return false;
    }
    let refused = |character: char| {
        character.is_whitespace()
            || character.is_control()
            || matches!(character, '<' | '>' | '"' | '\\' | '^' | '`' | '{' | '|' | '}')
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host_and_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    !rest.contains(refused) && has_valid_escapes(rest) && is_host_and_port(host_and_port)
}

fn is_host_and_port(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, "")) => return is_ipv6(address),
        Some((address, rest)) => match rest.strip_prefix(':') {
            Some(port) => return is_ipv6(address) && is_port(port),
            None => return false,
        },
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    (is_domain(host) || host.parse::<std::net::Ipv4Addr>().is_ok()) && port.is_none_or(is_port)
}

fn is_ipv6(text: &str) -> bool {
    text.parse::<std::net::Ipv6Addr>().is_ok()
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

/// Every `%` is followed by two hexadecimal digits.
fn has_valid_escapes(text: &str) -> bool {
    let bytes = text.as_bytes();
    let hex = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
    bytes.iter().enumerate().all(|(at, byte)| *byte != b'%' || hex(at + 1) && hex(at + 2))
}

/// Labels of letters, digits and inner hyphens; the last one is not a number, else it would be a wrong IP address.
fn is_domain(text: &str) -> bool {
    let inner = |character: char| {
        character.is_ascii_alphanumeric() || matches!(character, '-' | '_') || is_foreign_letter(character)
    };
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.chars().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= 253 && text.split('.').all(label) && !last.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_foreign_letter(character: char) -> bool {
    !character.is_ascii() && character.is_alphanumeric()
}

/// `8-4-4-4-12` hexadecimal digits of either case.
pub(super) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// RFC 3339, the offset and the seconds being optional, as pydantic takes it: `2026-01-31T12:00:00.5+01:00`.
pub(super) fn is_datetime(text: &str) -> bool {
    parse_datetime(text.as_bytes()).is_some()
}

fn parse_datetime(text: &[u8]) -> Option<()> {
    let (date, rest) = text.split_at_checked(10)?;
    let (year, month, day) = (number(&date[..4])?, number(&date[5..7])?, number(&date[8..])?);
    if date[4] != b'-' || date[7] != b'-' || year == 0 || day == 0 || day > days_in(year, month)? {
        return None;
    }
    let (separator, rest) = rest.split_first()?;
    if !matches!(separator, b'T' | b't' | b' ') {
        return None;
    }
    let rest = clock(rest)?;
    let rest = match rest.strip_prefix(b":") {
        Some(seconds) => second(seconds)?,
        None => rest,
    };
    offset(rest)
}

fn days_in(year: u32, month: u32) -> Option<u32> {
    let is_leap = year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => Some(31),
        4 | 6 | 9 | 11 => Some(30),
        2 => Some(if is_leap { 29 } else { 28 }),
        _ => None,
    }
}

/// `HH:MM`; what follows it.
fn clock(text: &[u8]) -> Option<&[u8]> {
    let (clock, rest) = text.split_at_checked(5)?;
    (clock[2] == b':' && number(&clock[..2])? < 24 && number(&clock[3..])? < 60).then_some(rest)
}

/// `SS` or `SS.fraction`; what follows it.
fn second(text: &[u8]) -> Option<&[u8]> {
    let (second, rest) = text.split_at_checked(2)?;
    if number(second)? > 59 {
        return None;
    }
    let Some(fraction) = rest.strip_prefix(b".") else { return Some(rest) };
    let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (1..=9).contains(&digits).then(|| &fraction[digits..])
}

/// `Z`, `+01:00`, `+0100` or nothing.
fn offset(text: &[u8]) -> Option<()> {
    let (sign, rest) = match text {
        [] | [b'Z' | b'z'] => return Some(()),
        [sign, rest @ ..] => (sign, rest),
    };
    let (hours, minutes) = match rest {
        [hours @ .., b':', tens, ones] if hours.len() == 2 => (hours, [*tens, *ones]),
        [hours @ .., tens, ones] if hours.len() == 2 => (hours, [*tens, *ones]),
        _ => return None,
    };
    let is_valid = matches!(sign, b'+' | b'-') && number(hours)? < 24 && number(&minutes)? < 60;
    is_valid.then_some(())
}

fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + u32::from(digit - b'0')))
}

/// The standard alphabet with padding.
pub(super) fn is_base64(text: &str) -> bool {
    let unpadded = text.strip_suffix("==").or_else(|| text.strip_suffix('=')).unwrap_or(text);
    text.len().is_multiple_of(4)
        && unpadded.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sort_out<'t>(check: fn(&str) -> bool, good: &[&'t str], bad: &[&'t str]) {
        for text in good {
            assert!(check(text), "{text} is refused");
        }
        for text in bad {
            assert!(!check(text), "{text} is accepted");
        }
    }

    #[test]
    fn email_addresses() {
        let long = format!("{}@example.com", "a".repeat(65));
        sort_out(
            is_email,
            &["a@b.io", "ann.lee+tag@mail.example.com", "o'hara@x-y.org", "jürgen@münchen.example", "a@b.c.d"],
            &[
                "",
                "a",
                "a@b",
                "@b.io",
                "a@",
                "a b@c.io",
                "a@b..io",
                ".a@b.io",
                "a.@b.io",
                "a@-b.io",
                "a@b.io ",
                "a@b@c.io",
                "a@1.2.3.4",
                &long,
            ],
        );
    }

    #[test]
    fn urls() {
        sort_out(
            is_url,
            &[
                "http://localhost",
                "https://example.com/a/b?c=d#e",
                "HTTPS://user:pw@example.com:8443/",
                "http://127.0.0.1:80",
                "http://[::1]:3000/x",
                "https://example.com/%C3%A4",
            ],
            &[
                "",
                "example.com",
                "//example.com",
                "javascript:alert(1)",
                "javascript://x/%0aalert(1)",
                "ftp://example.com",
                "http://",
                "http:///path",
                "http://a b",
                "http://a:port",
                "http://a:99999",
                "http://[::1",
                "http://300.1.1.1",
                "http://a/%zz",
                "http://a/\n",
            ],
        );
    }

    #[test]
    fn uuids() {
        sort_out(
            is_uuid,
            &["018f4e2a-0000-7000-8000-0123456789ab", "018F4E2A-0000-7000-8000-0123456789AB"],
            &[
                "",
                "018f4e2a00007000800000123456789ab",
                "018f4e2a-0000-7000-8000-0123456789ag",
                "018f4e2a-0000-7000-8000-0123456789ab ",
            ],
        );
    }

    #[test]
    fn dates_with_times() {
        sort_out(
            is_datetime,
            &[
                "2026-01-31T12:00:00Z",
                "2026-01-31t12:00:00z",
                "2026-01-31 12:00:00",
                "2026-01-31T12:00",
                "2024-02-29T23:59:59.123456789+05:30",
                "2026-01-31T12:00:00-0800",
                "2026-01-31T12:00:00.5",
            ],
            &[
                "",
                "2026-01-31",
                "2026-02-29T00:00:00Z",
                "2026-13-01T00:00:00Z",
                "2026-00-01T00:00:00Z",
                "2026-01-00T00:00:00Z",
                "0000-01-01T00:00:00Z",
                "2026-01-31T24:00:00Z",
                "2026-01-31T12:60:00Z",
                "2026-01-31T12:00:60Z",
                "2026-01-31T12:00:00.Z",
                "2026-01-31T12:00:00+1",
                "2026-01-31T12:00:00+24:00",
                "2026-01-31T12:00:00 Z",
                "2026/01/31T12:00:00Z",
                "２026-01-31T12:00:00Z",
            ],
        );
    }

    #[test]
    fn base64() {
        sort_out(
            is_base64,
            &["", "YQ==", "YWI=", "YWJj", "+/+/"],
            &["YQ", "YQ=", "Y===", "YW Jj", "-_-_", "====", "YQ==YQ=="],
        );
    }
}

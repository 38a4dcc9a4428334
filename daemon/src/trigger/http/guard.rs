//! Is the head of a request beyond doubt? Every byte passes here before hyper reads it.
//!
//! hyper forgives much that two servers in a row may read in two ways, and what it refuses it refuses without a word. So
//! the guard follows the framing of every request itself, and replaces a head that it refuses by one of its own, which
//! the service answers as it answers everything: with an error body, a request id, and a lingering close. A body whose
//! framing makes no sense ends for hyper where the sense ends.
//!
//! **Invariant**: whatever hyper reads has passed here, and is HTTP. A connection that is upgraded to something else leaves
//! both behind: its stream is taken out from under them.

use axum::http::{StatusCode, Uri};

use crate::trigger::http::reply::ErrorBody;

/// Most bytes of a request's head.
pub(super) const MAX_HEAD: usize = 64 << 10;
/// Most header fields of a request.
pub(super) const MAX_HEADERS: usize = 100;
/// Most empty lines before a request. Some clients send one behind a body.
const MAX_EMPTY_LINES: usize = 4;
/// Longest path and query.
const MAX_URI: usize = 8 << 10;
/// What a request line holds besides its target: a method of sensible length, and the version.
const MAX_REQUEST_LINE_REST: usize = 64;
/// A length of a chunk's line that means that its digits are over.
const EXTENSION: usize = 17;

/// What hyper reads in place of a head that is refused.
pub(super) const REFUSED: &[u8] = b"REFUSED / HTTP/1.1\r\nhost: -\r\n\r\n";
/// The method of that head.
pub(super) const REFUSED_METHOD: &str = "REFUSED";

/// Why a head is refused. All but the last are found by the guard; that a head is late only a timer knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    BareLineFeed,
    EmptyLines,
    FoldedHeader,
    MalformedHeader,
    MalformedRequestLine,
    AmbiguousLength,
    MalformedLength,
    UnknownEncoding,
    MissingHost,
    UnknownVersion,
    UriTooLong,
    HeadTooLarge,
    LateHead,
}

impl Refusal {
    pub(super) fn error(self) -> ErrorBody {
        let bad = StatusCode::BAD_REQUEST;
        let (status, code, text) = match self {
            Self::BareLineFeed => (bad, "malformed_head", "a line of the request's head does not end with CR LF"),
            Self::EmptyLines => (bad, "malformed_head", "there are more than 4 empty lines before the request"),
            Self::FoldedHeader => (bad, "malformed_head", "a header goes on in the next line, which is not allowed"),
            Self::MalformedHeader => (bad, "malformed_head", "a line of the request's head is not a header"),
            Self::MalformedRequestLine => (
                bad,
                "malformed_head",
                "the request line is not METHOD, target and HTTP/1.1 with one space between them",
            ),
            Self::AmbiguousLength => (
                bad,
                "ambiguous_length",
                "the request says more than once how long its body is; send one content-length, or transfer-encoding: chunked",
            ),
            Self::MalformedLength => (bad, "malformed_length", "the content-length is not a number of bytes"),
            Self::UnknownEncoding => (
                bad,
                "unknown_encoding",
                "the transfer-encoding is not exactly `chunked`, which is all that is understood, and in HTTP/1.1 only",
            ),
            Self::MissingHost => (bad, "missing_host", "a request needs exactly one host header"),
            Self::UnknownVersion => {
                (StatusCode::HTTP_VERSION_NOT_SUPPORTED, "unknown_version", "HTTP/1.1 and HTTP/1.0 are spoken here")
            }
            Self::UriTooLong => {
                (StatusCode::URI_TOO_LONG, "uri_too_long", "the path and query are longer than 8192 bytes")
            }
            Self::HeadTooLarge => {
                let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
                (status, "head_too_large", "the request's head has more than 65536 bytes or 100 headers")
            }
            Self::LateHead => {
                let text = "the request's head took longer than server.header_timeout allows";
                (StatusCode::REQUEST_TIMEOUT, "head_timeout", text)
            }
        };
        ErrorBody::new(status, code, text).closing()
    }
}

/// Where in a request the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// In a head, whose complete lines end at `scanned`.
    Head {
        scanned: usize,
    },
    Body {
        left: u64,
    },
    ChunkLine {
        length: usize,
    },
    ChunkData {
        left: u64,
    },
    Trailer(TrailerAt),
}

/// Where in the lines behind the last chunk the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TrailerAt {
    Start,
    Name,
    Value,
    /// Behind a carriage return.
    LineFeed,
    /// Behind that of the empty line.
    LastLineFeed,
}

/// Follows the requests of one connection.
#[derive(Debug)]
pub(super) struct Guard {
    at: At,
    chunk: u64,
}

/// What may be handed to hyper.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// So many bytes; those behind them are the beginning of a head and are to be shown again with what follows.
    Pass(usize),
    /// So many bytes, then [`REFUSED`], then the end.
    Refuse(usize, Refusal),
    /// So many bytes, then the end: the body's framing makes no sense from there on.
    Cut(usize),
}

impl Guard {
    pub(super) fn new() -> Self {
        Self { at: At::Head { scanned: 0 }, chunk: 0 }
    }

    /// Whether the client has sent whole requests so far.
    pub(super) fn is_between_requests(&self) -> bool {
        self.at == At::Head { scanned: 0 }
    }

    /// Looks at `bytes`, which begin where the last verdict ended.
    pub(super) fn look(&mut self, bytes: &[u8]) -> Verdict {
        let mut position = 0;
        while position < bytes.len() {
            let rest = &bytes[position..];
            match self.at {
                At::Head { scanned } => match self.head(rest, scanned) {
                    Ok(Some(length)) => position += length,
                    Ok(None) => return Verdict::Pass(position),
                    Err(refusal) => return Verdict::Refuse(position, refusal),
                },
                _ => match self.body(rest) {
                    Some(length) => position += length,
                    None => return Verdict::Cut(position),
                },
            }
        }
        Verdict::Pass(position)
    }

    /// The length of a head that is complete and in order.
    fn head(&mut self, bytes: &[u8], scanned: usize) -> Result<Option<usize>, Refusal> {
        let mut start = scanned;
        let mut begun = scanned > 0;
        let mut empty_lines = 0;
        while let Some(found) = memchr::memchr(b'\n', &bytes[start..]) {
            let end = start + found;
            if end >= MAX_HEAD {
                break;
            }
            if end == start || bytes[end - 1] != b'\r' {
                return Err(Refusal::BareLineFeed);
            }
            // An empty line ends a head; one before it is left over from somewhere and skipped, as RFC 9112 asks.
            if end - start > 1 {
                begun = true;
            } else if begun {
                self.at = examine(&bytes[..=end])?;
                return Ok(Some(end + 1));
            } else {
                empty_lines += 1;
            }
            // They are looked at again with every read.
            if empty_lines > MAX_EMPTY_LINES {
                return Err(Refusal::EmptyLines);
            }
            start = end + 1;
        }
        let line = bytes.len() - start;
        if start == 0 && line > MAX_URI + MAX_REQUEST_LINE_REST {
            return Err(Refusal::UriTooLong);
        }
        if bytes.len() > MAX_HEAD {
            return Err(Refusal::HeadTooLarge);
        }
        self.at = At::Head { scanned: if begun { start } else { 0 } };
        Ok(None)
    }

    /// Steps over bytes of a body; returns how many, or `None` when the first of them cannot stand there.
    fn body(&mut self, bytes: &[u8]) -> Option<usize> {
        let taken = match self.at {
            At::Body { left } => {
                let (taken, left) = step(left, bytes);
                self.at = if left == 0 { At::Head { scanned: 0 } } else { At::Body { left } };
                taken
            }
            At::ChunkData { left } => {
                let (taken, left) = step(left, bytes);
                self.at = if left == 0 { At::ChunkLine { length: 0 } } else { At::ChunkData { left } };
                if left == 0 {
                    self.chunk = 0;
                }
                taken
            }
            At::ChunkLine { length } => {
                self.at = self.chunk_line(bytes[0], length)?;
                1
            }
            At::Trailer(at) => {
                self.at = trailer(bytes[0], at)?;
                1
            }
            At::Head { .. } => 0,
        };
        Some(taken)
    }

    /// One byte of the line that says how long a chunk is. `length` counts from the first digit; an extension stops the digits.
    fn chunk_line(&mut self, byte: u8, length: usize) -> Option<At> {
        Some(match byte {
            b'\n' if length > 0 && self.chunk == 0 => At::Trailer(TrailerAt::Start),
            // The line break that ends a chunk's data is part of what is stepped over.
            b'\n' if length > 0 => At::ChunkData { left: self.chunk.saturating_add(2) },
            b'\r' if length > 0 => At::ChunkLine { length },
            _ if length >= EXTENSION => At::ChunkLine { length },
            b';' | b' ' | b'\t' if length > 0 => At::ChunkLine { length: EXTENSION },
            _ => match char::from(byte).to_digit(16) {
                Some(digit) if length < 16 => {
                    self.chunk = self.chunk << 4 | u64::from(digit);
                    At::ChunkLine { length: length + 1 }
                }
                _ => return None,
            },
        })
    }
}

/// One byte behind the last chunk. As strict as in a head: what is read in two ways here hides a request.
fn trailer(byte: u8, at: TrailerAt) -> Option<At> {
    Some(At::Trailer(match (at, byte) {
        (TrailerAt::Start, b'\r') => TrailerAt::LastLineFeed,
        (TrailerAt::LastLineFeed, b'\n') => return Some(At::Head { scanned: 0 }),
        (TrailerAt::LineFeed, b'\n') => TrailerAt::Start,
        (TrailerAt::Start | TrailerAt::Name, byte) if is_token(&byte) => TrailerAt::Name,
        (TrailerAt::Name, b':') => TrailerAt::Value,
        (TrailerAt::Value, b'\r') => TrailerAt::LineFeed,
        (TrailerAt::Value, byte) if is_of_value(&byte) => TrailerAt::Value,
        _ => return None,
    }))
}

fn step(left: u64, bytes: &[u8]) -> (usize, u64) {
    let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
    (taken, left - taken as u64)
}

/// What follows a head, when there is nothing to be said against it.
fn examine(head: &[u8]) -> Result<At, Refusal> {
    let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let request_line = lines.find(|line| !line.is_empty()).unwrap_or_default();
    let http_11 = check_request_line(request_line)?;
    let (mut hosts, mut fields) = (0, 0);
    let (mut length, mut chunked) = (None, false);
    for line in lines.take_while(|line| !line.is_empty()) {
        fields += 1;
        let (name, value) = field(line)?;
        if name.eq_ignore_ascii_case(b"host") {
            hosts += 1;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            if chunked || length.is_some() {
                return Err(Refusal::AmbiguousLength);
            }
            length = Some(number(value)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if chunked || length.is_some() {
                return Err(Refusal::AmbiguousLength);
            }
            if !http_11 || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Refusal::UnknownEncoding);
            }
            chunked = true;
        }
    }
    if fields > MAX_HEADERS {
        return Err(Refusal::HeadTooLarge);
    }
    if hosts > 1 || (hosts == 0 && http_11) {
        return Err(Refusal::MissingHost);
    }
    Ok(match length {
        _ if chunked => At::ChunkLine { length: 0 },
        Some(left) if left > 0 => At::Body { left },
        _ => At::Head { scanned: 0 },
    })
}

/// Whether the request is one of HTTP/1.1, else it is one of HTTP/1.0.
fn check_request_line(line: &[u8]) -> Result<bool, Refusal> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Refusal::MalformedRequestLine);
    };
    if method.is_empty() || !method.iter().all(is_token) {
        return Err(Refusal::MalformedRequestLine);
    }
    if target.len() > MAX_URI {
        return Err(Refusal::UriTooLong);
    }
    if !is_target(method, target) {
        return Err(Refusal::MalformedRequestLine);
    }
    match version {
        b"HTTP/1.1" => Ok(true),
        b"HTTP/1.0" => Ok(false),
        _ if version.starts_with(b"HTTP/") => Err(Refusal::UnknownVersion),
        _ => Err(Refusal::MalformedRequestLine),
    }
}

/// Whether hyper can make sense of a target. Almost all are paths of plain characters.
fn is_target(method: &[u8], target: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/?&=%._~-+:,".contains(byte);
    if target.first() == Some(&b'/') && target.iter().all(plain) {
        return true;
    }
    // A bare authority is what CONNECT names, and nothing else.
    Uri::try_from(target).is_ok_and(|uri| uri.scheme().is_some() || uri.authority().is_none() || method == b"CONNECT")
}

fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(Refusal::FoldedHeader);
    }
    let colon = memchr::memchr(b':', line).ok_or(Refusal::MalformedHeader)?;
    let (name, value) = (&line[..colon], trimmed(&line[colon + 1..]));
    if name.is_empty() || !name.iter().all(is_token) || !value.iter().all(is_of_value) {
        return Err(Refusal::MalformedHeader);
    }
    Ok((name, value))
}

/// Without blanks around it. A carriage return is none.
fn trimmed(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

fn number(value: &[u8]) -> Result<u64, Refusal> {
    let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    // hyper keeps the largest numbers for itself; no body is that long.
    digits
        .and_then(|digits| digits.parse().ok())
        .filter(|length| *length < u64::MAX >> 1)
        .ok_or(Refusal::MalformedLength)
}

/// The characters of headers' values.
fn is_of_value(byte: &u8) -> bool {
    *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f)
}

/// The characters of methods and of headers' names.
fn is_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(head: &str) -> Option<Refusal> {
        match Guard::new().look(head.as_bytes()) {
            Verdict::Refuse(0, refusal) => Some(refusal),
            Verdict::Pass(length) if length == head.len() => None,
            other => panic!("{other:?} for {head:?}"),
        }
    }

    fn with(header: &str) -> Option<Refusal> {
        refusal(&format!("POST /x HTTP/1.1\r\nhost: t\r\n{header}\r\n\r\n"))
    }

    #[test]
    fn heads_that_can_be_read_in_two_ways_are_refused() {
        assert_eq!(with("content-length: 0"), None);
        assert_eq!(with("transfer-encoding: Chunked"), None);
        assert_eq!(with("content-length: 1\r\ncontent-length: 1"), Some(Refusal::AmbiguousLength));
        assert_eq!(with("content-length: 1\r\ntransfer-encoding: chunked"), Some(Refusal::AmbiguousLength));
        assert_eq!(with("transfer-encoding: chunked\r\ncontent-length: 1"), Some(Refusal::AmbiguousLength));
        assert_eq!(with("transfer-encoding: gzip, chunked"), Some(Refusal::UnknownEncoding));
        assert_eq!(with("transfer-encoding: xchunked"), Some(Refusal::UnknownEncoding));
        for length in ["+1", "-1", "1, 1", "0x1", "", "99999999999999999999"] {
            assert_eq!(with(&format!("content-length: {length}")), Some(Refusal::MalformedLength), "{length}");
        }
        assert_eq!(with("a: b\r\n c"), Some(Refusal::FoldedHeader));
        assert_eq!(with("a : b"), Some(Refusal::MalformedHeader));
        assert_eq!(with("a"), Some(Refusal::MalformedHeader));
        assert_eq!(with("a: \t b \t"), None);
        assert_eq!(with("a: b\r"), Some(Refusal::MalformedHeader));
        assert_eq!(with("a: b\0"), Some(Refusal::MalformedHeader));
        assert_eq!(with("a: b\nc: d"), Some(Refusal::BareLineFeed));
        assert_eq!(with("a: b\rc: d"), Some(Refusal::MalformedHeader));
        assert_eq!(with("host: again"), Some(Refusal::MissingHost));
    }

    #[test]
    fn request_lines_are_strict() {
        let line = |line: &str| refusal(&format!("{line}\r\nhost: t\r\n\r\n"));
        assert_eq!(line("GET /a?b=%20{c} HTTP/1.1"), None);
        assert_eq!(line("GET http://t/a HTTP/1.0"), None);
        assert_eq!(line("OPTIONS * HTTP/1.1"), None);
        assert_eq!(line("GET  / HTTP/1.1"), Some(Refusal::MalformedRequestLine));
        assert_eq!(line("GET /"), Some(Refusal::MalformedRequestLine));
        assert_eq!(line("CONNECT t:80 HTTP/1.1"), None);
        assert_eq!(line("GET t:80 HTTP/1.1"), Some(Refusal::MalformedRequestLine));
        assert_eq!(line("G@T / HTTP/1.1"), Some(Refusal::MalformedRequestLine));
        assert_eq!(line("GET /\0 HTTP/1.1"), Some(Refusal::MalformedRequestLine));
        assert_eq!(line("PRI * HTTP/2.0"), Some(Refusal::UnknownVersion));
        assert_eq!(line(&format!("GET /{} HTTP/1.1", "x".repeat(MAX_URI))), Some(Refusal::UriTooLong));
        assert_eq!(refusal("GET / HTTP/1.1\r\n\r\n"), Some(Refusal::MissingHost));
        assert_eq!(refusal("GET / HTTP/1.0\r\n\r\n"), None);
    }

    #[test]
    fn few_empty_lines_may_stand_before_a_request() {
        let after = |lines: usize| refusal(&format!("{}GET / HTTP/1.1\r\nhost: t\r\n\r\n", "\r\n".repeat(lines)));
        assert_eq!(after(MAX_EMPTY_LINES), None);
        assert_eq!(after(MAX_EMPTY_LINES + 1), Some(Refusal::EmptyLines));
        assert_eq!(follow("\r\n".repeat(MAX_HEAD).as_bytes(), || 1), Verdict::Refuse(0, Refusal::EmptyLines));
    }

    #[test]
    fn heads_have_a_largest_size_whether_they_end_or_not() {
        assert_eq!(with(&format!("a: {}", "x".repeat(MAX_HEAD))), Some(Refusal::HeadTooLarge));
        assert_eq!(with(&vec!["a: b"; MAX_HEADERS].join("\r\n")), Some(Refusal::HeadTooLarge));
        assert_eq!(refusal(&"x".repeat(2 * MAX_URI)), Some(Refusal::UriTooLong));
        let endless = format!("GET / HTTP/1.1\r\na: {}", "x".repeat(MAX_HEAD));
        assert_eq!(refusal(&endless), Some(Refusal::HeadTooLarge));
    }

    /// The verdict on all of it.
    fn follow(bytes: &[u8], mut piece: impl FnMut() -> usize) -> Verdict {
        let (mut guard, mut passed, mut held, mut rest) = (Guard::new(), 0, Vec::new(), bytes);
        while !rest.is_empty() {
            let (some, others) = rest.split_at(piece().clamp(1, rest.len()));
            rest = others;
            held.extend_from_slice(some);
            match guard.look(&held) {
                Verdict::Pass(length) => {
                    passed += length;
                    held.drain(..length);
                }
                Verdict::Refuse(length, refusal) => return Verdict::Refuse(passed + length, refusal),
                Verdict::Cut(length) => return Verdict::Cut(passed + length),
            }
        }
        Verdict::Pass(passed)
    }

    #[test]
    fn any_bytes_have_one_verdict_however_they_are_cut() {
        const SEEDS: &[u8] = b"POST /a HTTP/1.1\r\nhost: t\r\ncontent-length: 3\r\n\r\nabc\
            GET / HTTP/1.1\r\nhost: t\r\n\r\nPUT /b HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n\
            2;x\r\nab\r\n0\r\nt: 1\r\n\r\nGET /c HTTP/1.0\r\n\r\n";
        for seed in 0..5_000 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut bytes = SEEDS.to_vec();
            for _ in 0..random.usize(..6) {
                let at = random.usize(..bytes.len());
                match random.u8(..4) {
                    0 => bytes[at] = random.u8(..),
                    1 => drop(bytes.remove(at)),
                    2 => bytes.insert(at, *random.choice(b"\r\n :;0f,").unwrap_or(&0)),
                    _ => bytes.extend_from_within(at..(at + random.usize(..40)).min(bytes.len())),
                }
            }
            let whole = follow(&bytes, || usize::MAX);
            assert_eq!(follow(&bytes, || random.usize(1..20)), whole, "seed {seed}: {}", bytes.escape_ascii());
        }
    }

    #[test]
    fn requests_are_followed_through_bodies_however_they_are_cut() {
        let good = "\r\nPOST / HTTP/1.1\r\nhost: t\r\ncontent-length: 5\r\n\r\n\n\nabc\
            POST / HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\nA;x=y\r\n0\r\n\r\nGET /\r\n0\r\nt: 1\r\n\r\n\
            POST / HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n\
            GET / HTTP/1.1\r\nhost: t\r\n\r\n";
        let bad = "GET / HTTP/1.1\nhost: t\r\n\r\n";
        let all = format!("{good}{bad}");
        for size in [1, 2, 3, 7, 64, all.len()] {
            let outcome = follow(all.as_bytes(), || size);
            assert_eq!(outcome, Verdict::Refuse(good.len(), Refusal::BareLineFeed), "in pieces of {size}");
        }
    }

    #[test]
    fn a_body_is_cut_where_its_framing_stops_making_sense() {
        let head = "POST / HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n";
        let good = ["0\r\n\r\n", "0\r\na: b\r\nc:\r\nd:\t\u{e9} \r\n\r\n", "0;x\r\n\r\n"];
        for rest in good {
            let all = format!("{head}{rest}");
            assert_eq!(follow(all.as_bytes(), || 1), Verdict::Pass(all.len()), "{rest:?}");
        }
        let bad = [
            ("0\r\n", "\n0\r\n\r\n"),
            ("0\r\n\r", "\r\n"),
            ("0\r\na: b", "\n\r\n"),
            ("0\r\na: b\r", "c\r\n\r\n"),
            ("0\r\na", "\r\n\r\n"),
            ("0\r\na", " : b\r\n\r\n"),
            ("0\r\n", ": b\r\n\r\n"),
            ("0\r\n", " a: b\r\n\r\n"),
            ("0\r\na: b", "\0\r\n\r\n"),
            ("", "g\r\n"),
            ("", "\r\n"),
            // hyper would read on behind so many digits.
            ("0000000000000000", "0\r\n\r\n"),
        ];
        for (sense, nonsense) in bad {
            let all = format!("{head}{sense}{nonsense}");
            let expected = Verdict::Cut(head.len() + sense.len());
            assert_eq!(follow(all.as_bytes(), || 1), expected, "{sense:?} {nonsense:?}");
        }
    }
}

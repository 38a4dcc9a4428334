//! Is what a handler replies fit to be sent? Decided before anything of its success is published.

use std::char::TryFromCharError;

use bytes::Bytes;
use http::header::{InvalidHeaderName, InvalidHeaderValue};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use rohas_handlers_host::Completed;

/// Headers that say how a message is framed and what becomes of the connection; they are hyper's to set.
const FRAMING: [HeaderName; 8] = [
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Headers that say what is spoken once a connection has become a WebSocket; they are the handshake's to set.
const HANDSHAKE: &str = "sec-websocket-";

/// Longer names of headers are cut where they are told of.
const LONGEST_NAME: usize = 60;

/// Most headers of a reply.
const MAX_HEADERS: usize = 1000;

/// What a handler that returned replies.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) head: Head,
    /// JSON.
    pub(crate) body: Bytes,
}

impl Reply {
    /// Whether it is a WebSocket handler's, and bytes instead of JSON.
    pub(crate) fn is_binary(&self) -> bool {
        self.head.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/octet-stream")
    }
}

/// Everything of a reply that may be wrong. Whoever holds one can send it.
#[derive(Debug)]
pub(crate) struct Head {
    /// The status that the handler chose.
    pub(crate) status: Option<StatusCode>,
    /// The headers that the handler set, without those of the framing.
    pub(crate) headers: HeaderMap,
}

/// Why a reply cannot be sent, said of whoever made it. The handler has failed then; nothing is emitted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("chose the status {0}, which no answer can have; choose one from 200 to 599")]
    Status(u16),
    #[error("set the header {name:?}, whose name cannot be sent")]
    HeaderName { name: String, source: InvalidHeaderName },
    #[error("set the header {name:?}, whose value cannot be sent")]
    HeaderValue { name: String, source: InvalidHeaderValue },
    #[error(
        "set the header {name:?} to a text with {letter:?}; headers hold the letters of Latin-1 only, so encode it first"
    )]
    HeaderLetter { name: String, letter: char, source: TryFromCharError },
    #[error("set {0} headers; {MAX_HEADERS} can be sent")]
    TooManyHeaders(usize),
}

impl Head {
    /// Checks what a handler chose.
    ///
    /// # Errors
    /// When no client could be sent it.
    pub(crate) fn check(completed: &Completed) -> Result<Self, Error> {
        Ok(Self { status: completed.status.map(status).transpose()?, headers: headers(&completed.headers)? })
    }
}

fn status(chosen: u16) -> Result<StatusCode, Error> {
    let status = StatusCode::from_u16(chosen).ok().filter(|status| (200..=599).contains(&status.as_u16()));
    status.ok_or(Error::Status(chosen))
}

/// Checks headers and leaves out those of the framing and of handshakes.
///
/// # Errors
/// When they cannot be sent.
pub(crate) fn headers(set: &[(String, String)]) -> Result<HeaderMap, Error> {
    if set.len() > MAX_HEADERS {
        return Err(Error::TooManyHeaders(set.len()));
    }
    let mut headers = HeaderMap::with_capacity(set.len());
    for (name, value) in set {
        let header =
            HeaderName::try_from(name.as_str()).map_err(|source| Error::HeaderName { name: shown(name), source })?;
        let value = header_value(name, value)?;
        if FRAMING.contains(&header) || header.as_str().starts_with(HANDSHAKE) {
            continue;
        }
        // What a handler names several times is sent several times, except that a body has one type.
        if header == header::CONTENT_TYPE {
            headers.insert(header, value);
        } else {
            headers.append(header, value);
        }
    }
    Ok(headers)
}

/// Texts are Latin-1 on the wire, as they are where requests are read: a value that an after-part of a middleware is shown goes out as it was.
fn header_value(name: &str, text: &str) -> Result<HeaderValue, Error> {
    let value =
        if text.is_ascii() { HeaderValue::from_str(text) } else { HeaderValue::from_bytes(&latin1(name, text)?) };
    value.map_err(|source| Error::HeaderValue { name: shown(name), source })
}

/// A name as it is told of.
fn shown(name: &str) -> String {
    match name.char_indices().nth(LONGEST_NAME) {
        Some((end, _)) => format!("{}...", &name[..end]),
        None => name.to_owned(),
    }
}

fn latin1(name: &str, text: &str) -> Result<Vec<u8>, Error> {
    let refuse = |letter, source| Error::HeaderLetter { name: shown(name), letter, source };
    text.chars().map(|letter| u8::try_from(letter).map_err(|source| refuse(letter, source))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: Option<u16>, headers: &[(&str, &str)]) -> Result<Head, Error> {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Head::check(&Completed { status, headers, ..Completed::default() })
    }

    #[test]
    fn statuses_are_those_of_final_answers() {
        for status in [0, 99, 100, 199, 600, 999, 1000] {
            assert!(matches!(check(Some(status), &[]), Err(Error::Status(found)) if found == status), "{status}");
        }
        for status in [200, 304, 599] {
            assert_eq!(check(Some(status), &[]).unwrap().status.unwrap().as_u16(), status);
        }
        assert_eq!(check(None, &[]).unwrap().status, None);
    }

    #[test]
    fn headers_are_sendable_and_not_of_the_framing() {
        let several = [
            ("Vary", "a"),
            ("vary", "b"),
            ("Content-Type", "a/a"),
            ("content-type", "b/b"),
            ("te", "x"),
            ("Sec-WebSocket-Extensions", "permessage-deflate"),
            ("sec-websocket-protocol", "x"),
        ];
        let headers = check(None, &several).unwrap().headers;
        let sent: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(sent, [("vary", "a"), ("vary", "b"), ("content-type", "b/b")]);
        assert!(matches!(check(None, &[("a b", "c")]), Err(Error::HeaderName { .. })));
        assert!(matches!(check(None, &[("a", "b\r\nc: d")]), Err(Error::HeaderValue { .. })));
        let long = check(None, &[(&"a ".repeat(5000), "c")]).unwrap_err().to_string();
        assert!(long.len() < 200 && long.starts_with("set the header \"a a "), "{long}");
        let latin = check(None, &[("a", "Grüße")]).unwrap().headers;
        assert_eq!(latin["a"].as_bytes(), b"Gr\xfc\xdfe");
        assert!(matches!(check(None, &[("a", "5 €")]), Err(Error::HeaderLetter { letter: '€', .. })));
        assert!(matches!(check(None, &[("a", "ü\n")]), Err(Error::HeaderValue { .. })));
        assert!(matches!(check(None, &[("a", "b"); 1001]), Err(Error::TooManyHeaders(1001))));
    }
}

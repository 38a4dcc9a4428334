//! When do two paths mean the same? When their segments are equal once decoded: `%27` is `'`, while `%2F` is no `/`.
//!
//! The router compares texts. So routes and requests are brought to one form: encoded is only what has to be.

use std::borrow::Cow;

use axum::http::Uri;
use axum::http::uri::PathAndQuery;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode, utf8_percent_encode};

/// What stands encoded in a segment: all but the `pchar` of RFC 3986.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');

/// The one form of a segment whose text is known.
pub(crate) fn encoded(segment: &str) -> String {
    utf8_percent_encode(segment, ENCODED).to_string()
}

/// Brings a request's path to its one form. Nearly all have it already.
pub(super) fn normalize(uri: &mut Uri) {
    if is_normal(uri.path()) {
        return;
    }
    let segments: Vec<Cow<'_, str>> = uri.path().split('/').map(normal).collect();
    let mut target = segments.join("/");
    if let Some(query) = uri.query() {
        target.push('?');
        target.push_str(query);
    }
    let mut parts = std::mem::take(uri).into_parts();
    parts.path_and_query =
        Some(PathAndQuery::try_from(target).expect("encoded characters and a query that was one before"));
    *uri = Uri::from_parts(parts).expect("only the path differs from what was one before");
}

fn is_normal(path: &str) -> bool {
    path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte))
}

fn normal(segment: &str) -> Cow<'_, str> {
    if is_normal(segment) {
        return Cow::Borrowed(segment);
    }
    let decoded: Cow<'_, [u8]> = percent_decode_str(segment).into();
    Cow::Owned(percent_encode(&decoded, ENCODED).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalized(text: &str) -> String {
        let mut uri = text.parse().unwrap();
        normalize(&mut uri);
        uri.to_string()
    }

    #[test]
    fn paths_of_one_meaning_have_one_form() {
        for (path, expected) in [
            ("/a/b?c=%27", "/a/b?c=%27"),
            ("/it%27s", "/it's"),
            ("/%61%2fb/%2F", "/a%2Fb/%2F"),
            ("/%7bx%7D/{y}", "/%7Bx%7D/%7By%7D"),
            ("/caf\u{e9}?q=\u{e9}", "/caf%C3%A9?q=\u{e9}"),
            ("/%ff%zz%", "/%FF%25zz%25"),
            ("/%3F%23%25//", "/%3F%23%25//"),
            ("http://t/it%27s?a", "http://t/it's?a"),
            ("*", "*"),
            ("t:80", "t:80"),
        ] {
            assert_eq!(normalized(path), expected, "{path}");
            assert_eq!(normalized(expected), expected, "twice: {path}");
        }
    }

    #[test]
    fn what_is_encoded_is_what_is_not_normal() {
        for byte in 0..128u8 {
            let text = char::from(byte).to_string();
            assert_eq!(is_normal(&text), byte == b'/' || encoded(&text) == text, "{text:?}");
        }
    }
}

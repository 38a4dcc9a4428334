//! May this request become a WebSocket? Everything that is refused before the upgrade, with a status and an error body.

use axum::body::Body;
use axum::http::header::{CONNECTION, UPGRADE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::upgrade::OnUpgrade;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::trigger::http::ErrorBody;

const KEY: HeaderName = header::SEC_WEBSOCKET_KEY;
const SPOKEN: &str = "13";

/// A request that asks for a WebSocket in order.
pub(super) struct Handshake {
    upgrade: OnUpgrade,
    accept: HeaderValue,
}

impl Handshake {
    /// Checks a request.
    pub(super) fn check(parts: &mut Parts) -> Result<Self, ErrorBody> {
        let headers = &parts.headers;
        if parts.method != Method::GET
            || !has_token(headers, UPGRADE, "websocket")
            || !has_token(headers, CONNECTION, "upgrade")
        {
            return Err(upgrade_required("this is a WebSocket: open it with an upgrade to websocket, by GET"));
        }
        if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != SPOKEN) {
            return Err(upgrade_required("version 13 of the WebSocket protocol is spoken here"));
        }
        if parts.version != Version::HTTP_11 || has_body(headers) {
            return Err(malformed("an upgrade needs HTTP/1.1 and has no body"));
        }
        let key = headers.get(KEY).filter(|key| STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16));
        let Some(key) = key else {
            return Err(malformed("the sec-websocket-key is not 16 bytes in base64"));
        };
        let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes())).expect("base64 is visible ASCII");
        let upgrade = parts.extensions.remove::<OnUpgrade>();
        let upgrade = upgrade.ok_or_else(|| malformed("this connection cannot be upgraded"))?;
        Ok(Self { upgrade, accept })
    }

    /// How to get the connection once the answer has gone out, and what the answer needs.
    pub(super) fn into_parts(self) -> (OnUpgrade, HeaderValue) {
        (self.upgrade, self.accept)
    }
}

/// The answer that makes a connection a WebSocket, with further headers.
pub(super) fn switching(accept: HeaderValue, further: HeaderMap) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    *headers = further;
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    response
}

/// Whether a header that is a list, in one line or several, has this item.
fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|item| item.trim().eq_ignore_ascii_case(token))
}

fn has_body(headers: &HeaderMap) -> bool {
    let length = headers.get(header::CONTENT_LENGTH);
    headers.contains_key(header::TRANSFER_ENCODING) || length.is_some_and(|length| length != "0")
}

fn upgrade_required(text: &str) -> ErrorBody {
    ErrorBody::new(StatusCode::UPGRADE_REQUIRED, "upgrade_required", text)
}

fn malformed(text: &str) -> ErrorBody {
    ErrorBody::new(StatusCode::BAD_REQUEST, "malformed_handshake", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_searched_in_all_their_lines() {
        let mut headers = HeaderMap::new();
        headers.append(CONNECTION, HeaderValue::from_static("keep-alive, TE"));
        headers.append(CONNECTION, HeaderValue::from_static("close,\tUpgrade"));
        assert!(has_token(&headers, CONNECTION, "upgrade"));
        assert!(!has_token(&headers, CONNECTION, "up"));
    }
}

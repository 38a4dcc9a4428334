//! What does a request ask for, and is it well formed? Everything that is refused before a handler is entered.

use std::time::Duration;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use rohas_config::schema::shape::{Changed, Fault, Shape};
use rohas_config::settings::MOST_BODY;
use rohas_handlers_host::protocol::MAX_PAYLOAD;
use serde_json::{Map, Value};
use tokio::time::timeout;

use crate::trigger::http::reply::ErrorBody;
use crate::version::ApiRoute;

const _: () = assert!(MOST_BODY.as_u64() <= MAX_PAYLOAD as u64, "a body that server.max_body allows fits into a call");

/// A request's payload, checked.
pub(super) struct Payload {
    /// The typed query, if the api declares one, then the body.
    pub(super) bytes: Bytes,
    pub(super) has_body: bool,
    pub(super) query_length: Option<usize>,
}

impl Payload {
    /// The body alone; empty when there is none.
    pub(super) fn body(&self) -> Bytes {
        self.bytes.slice(self.query_length.unwrap_or_default()..)
    }
}

/// Limits on reading a body.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodyLimits {
    pub(super) bytes: usize,
    pub(super) time: Duration,
}

/// Reads a whole body within its limits.
pub(super) async fn read_body(headers: &HeaderMap, body: Body, limits: BodyLimits) -> Result<Bytes, ErrorBody> {
    let too_large = || {
        let text = format!("the body is larger than the {} bytes that server.max_body allows", limits.bytes);
        ErrorBody::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", text).closing()
    };
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limits.bytes as u64) {
        return Err(too_large());
    }
    let slow = || {
        let text = "the body took longer than server.body_timeout allows";
        ErrorBody::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", text).closing()
    };
    match timeout(limits.time, collect(body, limits.bytes)).await {
        Err(_elapsed) => Err(slow()),
        Ok(Ok(Some(bytes))) => Ok(bytes),
        Ok(Ok(None)) => Err(too_large()),
        Ok(Err(error)) => {
            let text = format!("the body could not be read: {error}");
            Err(ErrorBody::new(StatusCode::BAD_REQUEST, "incomplete_body", text).closing())
        }
    }
}

/// `None` when it is larger than allowed.
async fn collect(mut body: Body, most: usize) -> Result<Option<Bytes>, axum::Error> {
    // A body that comes in one piece, as most do, is not copied.
    let mut whole = Bytes::new();
    let mut pieces = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if whole.len() + pieces.len() + data.len() > most {
            return Ok(None);
        }
        if whole.is_empty() && pieces.is_empty() {
            whole = data;
        } else {
            pieces.extend_from_slice(&std::mem::take(&mut whole));
            pieces.extend_from_slice(&data);
        }
    }
    Ok(Some(if pieces.is_empty() { whole } else { pieces.freeze() }))
}

/// JSON is what apis speak: no content type means JSON, another one is refused with the remedy.
pub(super) fn check_content_type(headers: &HeaderMap, body: &Bytes) -> Result<(), ErrorBody> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let text = value.to_str().unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if body.is_empty()
        || essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
    {
        return Ok(());
    }
    let text = format!("the content type {text:?} is not understood; send JSON with content-type: application/json");
    Err(ErrorBody::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", text))
}

/// Query parameters, decoded, in order.
pub(crate) fn parse_query(parts: &Parts) -> Vec<(String, String)> {
    let query = parts.uri.query().unwrap_or_default();
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        })
        .collect()
}

fn decode(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

/// Checks a body (and a typed query) against the schema.
pub(super) fn validate(
    route: &ApiRoute,
    body: Bytes,
    path_params: &[String],
    query: &[(String, String)],
) -> Result<Payload, ErrorBody> {
    let mut faults = Vec::new();
    let query = match &route.query {
        Some(shape) => match shape.check_text_params(query.iter().map(|(name, value)| (name.as_str(), value.as_str())))
        {
            Ok(value) => Some(value.to_string()),
            Err(query_faults) => {
                faults.extend(query_faults);
                None
            }
        },
        None => None,
    };
    let body = match &route.body {
        Some(shape) => match validate_body(shape, route, body, path_params)? {
            Ok(body) => Some(body),
            Err(body_faults) => {
                faults.extend(body_faults);
                None
            }
        },
        None => None,
    };
    if !faults.is_empty() {
        return Err(ErrorBody::invalid(&faults));
    }
    let has_body = body.is_some();
    let body = body.unwrap_or_default();
    Ok(match query {
        Some(query) => {
            let length = query.len();
            let mut bytes = query.into_bytes();
            bytes.extend_from_slice(&body);
            Payload { bytes: bytes.into(), has_body, query_length: Some(length) }
        }
        None => Payload { bytes: body, has_body, query_length: None },
    })
}

/// The outer error is one of syntax, the inner one of the schema.
fn validate_body(
    shape: &Shape,
    route: &ApiRoute,
    body: Bytes,
    path_params: &[String],
) -> Result<Result<Bytes, Vec<Fault>>, ErrorBody> {
    let mut value = parse(&body)?;
    let completed = complete(shape, &mut value, &route.path_params, path_params);
    let wrapped = inner_body(&value);
    match shape.check(&mut value) {
        Ok(Changed::No) if !completed && !body.is_empty() => Ok(Ok(body)),
        Ok(_) => Ok(Ok(value.to_string().into())),
        Err(faults) => Ok(unwrap(shape, route, wrapped, path_params).ok_or(faults)),
    }
}

fn parse(body: &Bytes) -> Result<Value, ErrorBody> {
    if body.is_empty() {
        // Nothing was sent: path parameters and defaults may still make up the whole body.
        return Ok(Value::Object(Map::new()));
    }
    serde_json::from_slice(body).map_err(|error| {
        let text = format!("the body is not valid JSON: {error}");
        ErrorBody::new(StatusCode::BAD_REQUEST, "malformed_json", text)
    })
}

/// `{"body": {...}}` is what the original needed; it is understood where the flat form does not fit.
fn inner_body(value: &Value) -> Option<Value> {
    match value {
        Value::Object(members) if members.len() == 1 => members.get("body").cloned(),
        _ => None,
    }
}

fn unwrap(shape: &Shape, route: &ApiRoute, wrapped: Option<Value>, path_params: &[String]) -> Option<Bytes> {
    let mut value = wrapped?;
    complete(shape, &mut value, &route.path_params, path_params);
    shape.check(&mut value).ok()?;
    Some(value.to_string().into())
}

/// Path parameters complete missing fields of the same name.
fn complete(shape: &Shape, value: &mut Value, names: &[String], path_params: &[String]) -> bool {
    let Value::Object(members) = value else { return false };
    let mut completed = false;
    for (name, text) in names.iter().zip(path_params) {
        if members.contains_key(name) || !shape.has_field(name) {
            continue;
        }
        // A text that cannot become the field's type is left to the check, which then says what is missing.
        let value = shape.convert_text(name, text).unwrap_or_else(|| Value::String(text.clone()));
        members.insert(name.clone(), value);
        completed = true;
    }
    completed
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn parts(uri: &str) -> Parts {
        Request::builder().uri(uri).body(()).unwrap().into_parts().0
    }

    #[test]
    fn queries_are_decoded_in_order() {
        let query = parse_query(&parts("/x?a=1&b=%C3%A9+%26&a=2&flag&=empty&&c=a=b"));
        let expected = [("a", "1"), ("b", "é &"), ("a", "2"), ("flag", ""), ("", "empty"), ("c", "a=b")];
        assert_eq!(query, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn only_json_is_understood() {
        let check = |content_type: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, content_type.parse().unwrap());
            check_content_type(&headers, &Bytes::from("{}")).is_ok()
        };
        assert!(check("application/json"));
        assert!(check("Application/JSON; charset=utf-8"));
        assert!(check("application/merge-patch+json"));
        assert!(!check("text/plain"));
        assert!(!check("application/x-www-form-urlencoded"));
    }
}

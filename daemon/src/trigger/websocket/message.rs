//! Is a message what the schema says? Checked before a handler is entered.

use axum::http::StatusCode;
use bytes::Bytes;
use rohas_config::schema::shape::{Changed, Shape};
use serde_json::{Value, json};

use crate::trigger::http::ErrorBody;
use crate::version::WebSocketRoute;

/// A message as it comes from a client or goes to one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// Whether it is binary; else it is text, which is UTF-8.
    pub(super) binary: bool,
    pub(super) data: Bytes,
}

impl Message {
    pub(super) fn text(data: Bytes) -> Self {
        Self { binary: false, data }
    }

    pub(super) fn binary(data: Bytes) -> Self {
        Self { binary: true, data }
    }
}

/// A message, checked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Payload {
    /// Whether it is a binary frame as it came; else it is JSON.
    pub(super) binary: bool,
    pub(super) data: Bytes,
}

/// Checks a message against the schema.
pub(super) fn validate(route: &WebSocketRoute, message: Message) -> Result<Payload, ErrorBody> {
    let Message { binary, data } = message;
    if binary && !route.binary {
        let text = "a binary message is not understood here; send JSON as text";
        return Err(ErrorBody::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "binary_message", text));
    }
    let data = match &route.message {
        _ if binary => data,
        Some(shape) => typed(shape, data)?,
        None => untyped(data),
    };
    Ok(Payload { binary, data })
}

fn typed(shape: &Shape, text: Bytes) -> Result<Bytes, ErrorBody> {
    let mut value: Value = serde_json::from_slice(&text).map_err(|error| {
        let text = format!("the message is not valid JSON: {error}");
        ErrorBody::new(StatusCode::BAD_REQUEST, "malformed_json", text)
    })?;
    match shape.check(&mut value) {
        Ok(Changed::No) => Ok(text),
        Ok(Changed::Yes) => Ok(value.to_string().into()),
        Err(faults) => Err(ErrorBody::invalid(&faults)),
    }
}

/// Without a declared type anything goes. What is not JSON becomes the member `data` of an object, as the original has it.
fn untyped(text: Bytes) -> Bytes {
    if serde_json::from_slice::<Value>(&text).is_ok() {
        return text;
    }
    json!({ "data": String::from_utf8_lossy(&text) }).to_string().into()
}

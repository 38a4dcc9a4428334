//! How is what a handler is given, besides its payload, written into an invoke's header?

use std::net::IpAddr;

use uuid::Uuid;

use crate::invocation::{
    ApiInput, Connection, CronInput, EventInput, Input, MiddlewareContext, MiddlewareInput, MiddlewareTarget,
    WebSocketInput, WebSocketPhase,
};
use crate::protocol::pack::{array, boolean, headers, length_of, optional_text, pairs, rfc3339, text, uint};

const API: u64 = 0;
const EVENT: u64 = 1;
const CRON: u64 = 2;
const WEBSOCKET: u64 = 3;
const BEFORE: u64 = 4;
const AFTER: u64 = 5;

const OPENED: u64 = 0;
const MESSAGE: u64 = 1;
const CLOSED: u64 = 2;

const TO_API: u64 = 0;
const TO_WEBSOCKET: u64 = 1;

pub(super) fn input(out: &mut Vec<u8>, input: &Input) {
    match input {
        Input::Api(input) => api(out, input),
        Input::Event(input) => event(out, input),
        Input::Cron(input) => cron(out, input),
        Input::WebSocket(input) => websocket(out, input),
        Input::Middleware(input) => middleware(out, input),
    }
}

/// A connection as it stands in the inputs of its calls.
pub(crate) fn encode_connection(connection: &Connection) -> Vec<u8> {
    let mut out = Vec::new();
    array(&mut out, 7);
    text(&mut out, &connection.id);
    text(&mut out, &connection.path);
    text(&mut out, &rfc3339(connection.connected_at));
    pairs(&mut out, &connection.path_params);
    pairs(&mut out, &connection.query);
    headers(&mut out, &connection.headers);
    client(&mut out, connection.client);
    out
}

/// A request as it stands in the inputs of its middlewares.
pub(crate) fn encode_context(context: &MiddlewareContext) -> Vec<u8> {
    let mut out = Vec::new();
    array(&mut out, 6);
    match &context.target {
        MiddlewareTarget::Api(name) => {
            array(&mut out, 2);
            uint(&mut out, TO_API);
            text(&mut out, name);
        }
        MiddlewareTarget::WebSocket { name, connection } => {
            array(&mut out, 3);
            uint(&mut out, TO_WEBSOCKET);
            text(&mut out, name);
            out.extend_from_slice(connection.encoded());
        }
    }
    text(&mut out, context.method.as_str());
    text(&mut out, &context.path);
    pairs(&mut out, &context.path_params);
    headers(&mut out, &context.headers);
    client(&mut out, context.client);
    out
}

fn client(out: &mut Vec<u8>, client: Option<IpAddr>) {
    optional_text(out, client.map(|client| client.to_string()).as_deref());
}

fn api(out: &mut Vec<u8>, input: &ApiInput) {
    array(out, if input.query_length.is_some() { 6 } else { 5 });
    uint(out, API);
    array(out, length_of(input.path_params.len()));
    input.path_params.iter().for_each(|value| text(out, value));
    pairs(out, &input.query);
    headers(out, &input.headers);
    boolean(out, input.has_body);
    if let Some(length) = input.query_length {
        uint(out, u64::from(length_of(length)));
    }
}

fn event(out: &mut Vec<u8>, input: &EventInput) {
    array(out, 5);
    uint(out, EVENT);
    text(out, input.id.hyphenated().encode_lower(&mut Uuid::encode_buffer()));
    text(out, &rfc3339(input.time));
    optional_text(out, input.key.as_deref());
    text(out, &input.event);
}

fn cron(out: &mut Vec<u8>, input: &CronInput) {
    array(out, 4);
    uint(out, CRON);
    text(out, &input.name);
    text(out, &input.schedule);
    text(out, &rfc3339(input.slot));
}

fn websocket(out: &mut Vec<u8>, input: &WebSocketInput) {
    let begin = |out: &mut Vec<u8>, length, phase| {
        array(out, length);
        uint(out, WEBSOCKET);
        uint(out, phase);
        out.extend_from_slice(input.connection.encoded());
    };
    match &input.phase {
        WebSocketPhase::Opened => begin(out, 3, OPENED),
        WebSocketPhase::Message { time, binary } => {
            begin(out, 5, MESSAGE);
            text(out, &rfc3339(*time));
            boolean(out, *binary);
        }
        WebSocketPhase::Closed { code, reason } => {
            begin(out, 5, CLOSED);
            uint(out, u64::from(*code));
            text(out, reason);
        }
    }
}

fn middleware(out: &mut Vec<u8>, input: &MiddlewareInput) {
    let begin = |out: &mut Vec<u8>, length, kind| {
        array(out, length);
        uint(out, kind);
        out.extend_from_slice(input.context.encoded());
        pairs(out, &input.query);
    };
    let Some(after) = &input.after else { return begin(out, 3, BEFORE) };
    begin(out, 6, AFTER);
    uint(out, u64::from(length_of(after.payload_length)));
    uint(out, u64::from(after.status));
    headers(out, &after.headers);
}

#[cfg(test)]
#[path = "input_tests.rs"]
mod tests;

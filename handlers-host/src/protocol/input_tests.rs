//! Do inputs have the form that the worker protocol's text gives them?

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue, Method};
use rmp::Marker;
use rmp::decode;

use super::*;
use crate::invocation::{AfterInput, ConnectionInput, ContextInput};

/// Reads MessagePack as a text like JSON.
fn shown(bytes: &mut &[u8]) -> String {
    match Marker::from_u8(bytes[0]) {
        Marker::Null => {
            *bytes = &bytes[1..];
            "nil".to_owned()
        }
        Marker::True | Marker::False => decode::read_bool(bytes).unwrap().to_string(),
        Marker::FixArray(_) | Marker::Array16 | Marker::Array32 => {
            let length = decode::read_array_len(bytes).unwrap();
            let items: Vec<String> = (0..length).map(|_| shown(bytes)).collect();
            format!("[{}]", items.join(", "))
        }
        Marker::FixStr(_) | Marker::Str8 | Marker::Str16 => {
            let (text, rest) = decode::read_str_from_slice(*bytes).unwrap();
            *bytes = rest;
            format!("{text:?}")
        }
        _ => decode::read_int::<u64, _>(bytes).unwrap().to_string(),
    }
}

fn written(given: &Input) -> String {
    let mut out = Vec::new();
    input(&mut out, given);
    let mut rest = out.as_slice();
    let mut text = shown(&mut rest);
    if !rest.is_empty() {
        write!(text, " and {} bytes more", rest.len()).unwrap();
    }
    text
}

fn one(name: &str, value: &str) -> Vec<(String, String)> {
    vec![(name.to_owned(), value.to_owned())]
}

fn header(name: &'static str, value: &'static [u8]) -> HeaderMap {
    HeaderMap::from_iter([(http::HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap())])
}

const CONNECTION: &str = r#"["c1", "/chat/{room}", "1970-01-01T00:00:01.000000Z", [["room", "blue"]], [["a", "b"]], [["cookie", "k=ü"]], "::1"]"#;

fn connection() -> Arc<ConnectionInput> {
    let connection = ConnectionInput::new(&Connection {
        id: "c1".into(),
        path: "/chat/{room}".into(),
        connected_at: SystemTime::UNIX_EPOCH + Duration::from_secs(1),
        path_params: one("room", "blue"),
        query: one("a", "b"),
        headers: header("cookie", b"k=\xfc"),
        client: Some("::1".parse().unwrap()),
    });
    assert_eq!(&**connection.id(), "c1");
    Arc::new(connection)
}

fn websocket(phase: WebSocketPhase) -> String {
    written(&Input::WebSocket(WebSocketInput { connection: connection(), phase }))
}

#[test]
fn a_cron_run_has_its_slot() {
    let cron = CronInput { name: "Nightly".into(), schedule: "0 2 * * *".into(), slot: SystemTime::UNIX_EPOCH };
    assert_eq!(written(&Input::Cron(cron)), r#"[2, "Nightly", "0 2 * * *", "1970-01-01T00:00:00.000000Z"]"#);
}

#[test]
fn each_call_of_a_connection_carries_all_of_it() {
    assert_eq!(websocket(WebSocketPhase::Opened), format!("[3, 0, {CONNECTION}]"));
    let message = WebSocketPhase::Message { time: SystemTime::UNIX_EPOCH, binary: true };
    assert_eq!(websocket(message), format!(r#"[3, 1, {CONNECTION}, "1970-01-01T00:00:00.000000Z", true]"#));
    let closed = WebSocketPhase::Closed { code: 1001, reason: "bye".to_owned() };
    assert_eq!(websocket(closed), format!(r#"[3, 2, {CONNECTION}, 1001, "bye"]"#));
}

fn context(target: MiddlewareTarget) -> Arc<ContextInput> {
    Arc::new(ContextInput::new(&MiddlewareContext {
        target,
        method: Method::GET,
        path: "/orders/7".into(),
        path_params: one("id", "7"),
        headers: header("x-key", b"s"),
        client: None,
    }))
}

#[test]
fn a_middleware_has_the_request_and_the_query_as_it_is_now() {
    let api = context(MiddlewareTarget::Api("GetOrder".into()));
    let before = Input::Middleware(MiddlewareInput { context: api, query: one("a", "b"), after: None });
    let expected = r#"[4, [[0, "GetOrder"], "GET", "/orders/7", [["id", "7"]], [["x-key", "s"]], nil], [["a", "b"]]]"#;
    assert_eq!(written(&before), expected);
}

#[test]
fn what_runs_after_a_handler_has_its_answer_too() {
    let target = MiddlewareTarget::WebSocket { name: "Chat".into(), connection: connection() };
    let after = AfterInput { payload_length: 3, status: 201, headers: header("etag", b"1") };
    let input = MiddlewareInput { context: context(target), query: Vec::new(), after: Some(after) };
    let expected = format!(
        r#"[5, [[1, "Chat", {CONNECTION}], "GET", "/orders/7", [["id", "7"]], [["x-key", "s"]], nil], [], 3, 201, [["etag", "1"]]]"#
    );
    assert_eq!(written(&Input::Middleware(input)), expected);
}

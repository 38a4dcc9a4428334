//! Is what a handler returns, or how it fails, what the client reads?
#![expect(clippy::unwrap_used, reason = "tests")]

use std::io::Write;
use std::net::Shutdown;

use serde_json::json;

use crate::http::{project, read_answer, read_head};
use crate::support::{Daemon, Response, eventually, read_to_end, text};

fn raw_reply(body: &serde_json::Value) -> Vec<u8> {
    let body = body.to_string();
    let head =
        format!("POST /reply HTTP/1.1\r\nhost: t\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    (head + &body).into_bytes()
}

fn reply(daemon: &Daemon, body: &serde_json::Value) -> Response {
    daemon.post("/reply", &body.to_string())
}

#[test]
fn handlers_choose_status_and_headers() {
    let project = project("");
    let daemon = project.run();
    let headers = json!({"Location": "/x", "Set-Cookie": "a=1; Path=/", "x-request-id": "forged"});
    let made = reply(&daemon, &json!({"status": 202, "headers": headers, "data": [1]}));
    assert_eq!((made.status, made.json()), (202, json!({"data": [1]})));
    assert_eq!(made.header("location"), Some("/x"));
    assert_eq!(made.header("set-cookie"), Some("a=1; Path=/"));
    assert_ne!(made.header("x-request-id"), Some("forged"));
    assert_eq!(made.header("content-type"), Some("application/json"));

    let headers = json!({"Set-Cookie": ["a=1", "b=2"], "Vary": ["a", "b"], "Content-Type": "application/problem+json"});
    let several = text(&daemon.raw(&raw_reply(&json!({"headers": headers}))));
    for line in ["set-cookie: a=1", "set-cookie: b=2", "vary: a", "vary: b", "content-type: application/problem+json"] {
        assert_eq!(several.matches(line).count(), 1, "{line} in {several}");
    }
    assert_eq!(several.matches("content-type").count(), 1, "{several}");

    let none = daemon.get("/nothing");
    assert_eq!((none.status, none.json()), (200, json!(null)));
    let deleted = daemon.request("DELETE", "/notes/k", &[], b"");
    assert_eq!((deleted.status, deleted.body.as_slice(), deleted.header("content-length")), (204, &b""[..], None));
    for status in [0, 99, 100, 101, 1000] {
        assert_eq!(reply(&daemon, &json!({"status": status})).status, 500, "{status}");
    }
}

#[test]
fn headers_cannot_forge_the_framing_nor_split_the_answer() {
    let project = project("");
    let daemon = project.run();
    let forged = json!({"Content-Length": "1", "Transfer-Encoding": "chunked", "Connection": "upgrade", "Keep-Alive": "x",
        "Upgrade": "h2c", "Trailer": "a"});
    let sent = reply(&daemon, &json!({"headers": forged, "data": "whole"}));
    assert_eq!((sent.status, sent.json()), (200, json!({"data": "whole"})));
    for header in ["transfer-encoding", "upgrade", "keep-alive", "trailer"] {
        assert_eq!(sent.header(header), None, "{header}");
    }
    for headers in
        [json!({"x-a": "b\r\nx-evil: 1"}), json!({"x-a\r\nx-evil": "b"}), json!({"x a": "b"}), json!({"x-a": "b\u{0}"})]
    {
        let sent = reply(&daemon, &json!({"headers": headers, "data": 1}));
        assert_eq!((sent.status, &sent.json()["code"]), (500, &json!("invalid_reply")), "{headers}");
        assert_eq!(sent.header("x-evil"), None);
    }
}

#[test]
fn headers_are_latin_1_and_what_that_cannot_say_is_refused() {
    let project = project("");
    let daemon = project.run();
    let answer = daemon.raw(&raw_reply(&json!({"headers": {"x-name": "Grüße"}, "data": 1})));
    let expected = b"x-name: Gr\xfc\xdfe\r\n";
    assert!(answer.windows(expected.len()).any(|window| window == expected), "{}", text(&answer));
    let refused = reply(&daemon, &json!({"headers": {"x-name": "5 €"}, "data": 1}));
    assert_eq!((refused.status, &refused.json()["code"]), (500, &json!("invalid_reply")));
}

#[test]
fn a_reply_that_cannot_be_sent_emits_nothing() {
    let project = project("");
    let daemon = project.run();
    let spoil = |with: serde_json::Value| daemon.post("/spoilt", &with.to_string());
    for with in [json!({"status": 100}), json!({"headers": {"x a": "b"}}), json!({"headers": {"x-a": "b\u{0}"}})] {
        let mut body = json!({"data": {"name": "spoilt"}});
        body.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
        let failed = spoil(body);
        assert_eq!((failed.status, &failed.json()["code"]), (500, &json!("invalid_reply")), "{with}");
        let trace = failed.json()["trace_id"].as_str().unwrap().to_owned();
        let shown = eventually("the record", || {
            let shown = text(&project.rohas(&["traces", "show", &trace, "--json"]).stdout);
            shown.contains("invalid_reply").then_some(shown)
        });
        assert!(!shown.contains("Waited"), "{with}: {shown}");
    }
    assert_eq!(spoil(json!({"status": 201, "data": {"name": "fine"}})).status, 201);
    eventually("the event", || project.has("emitted-fine").then_some(()));
    assert!(!project.has("emitted-spoilt"));
}

#[test]
fn failures_are_generic_in_run_and_told_in_dev() {
    let project = project("");
    let daemon = project.run();
    let failed = daemon.get("/broken");
    assert_eq!(failed.status, 500);
    assert!(!text(&failed.body).contains("secret"), "{failed:?}");
    assert!(failed.json()["trace_id"].is_string());
    let trace = failed.json()["trace_id"].as_str().unwrap().to_owned();
    eventually("the traceback in the trace", || {
        text(&project.rohas(&["traces", "show", &trace, "--json"]).stdout)
            .contains("the secret of the house")
            .then_some(())
    });
    drop(daemon);

    let daemon = project.dev();
    let failed = daemon.get("/broken");
    assert_eq!(failed.status, 500);
    assert!(failed.json()["error"].as_str().unwrap().contains("the secret of the house"));
}

#[test]
fn errors_with_a_meaning_have_their_status_in_run_too() {
    let project = project("");
    let daemon = project.run();
    let absent = daemon.get("/absent");
    assert_eq!(absent.status, 404);
    assert_eq!((&absent.json()["error"], &absent.json()["code"]), (&json!("no such thing"), &json!("not_found")));
    assert_eq!(absent.json()["details"], json!({"looked": 3}));
    let later = daemon.get("/later");
    assert_eq!((later.status, later.header("retry-after")), (503, Some("7")));
}

#[test]
fn a_slow_handler_is_answered_for_at_the_timeout_of_its_api() {
    let project = project("");
    let daemon = project.run();
    let slow = daemon.get("/slow");
    assert_eq!(slow.status, 504);
    assert_eq!(slow.json()["trace_id"].as_str().map(str::len), Some(32));
    assert_eq!(daemon.get("/nothing").status, 200);
}

#[test]
fn beyond_max_in_flight_requests_are_told_when_to_come_again() {
    let project = project("[server]\nmax_in_flight = 1\n");
    let daemon = project.run();
    let mut waiting = daemon.connect();
    wait_request(&mut waiting, "one");
    eventually("the handler to be entered", || project.has("entered-one").then_some(()));
    let refused = daemon.get("/nothing");
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert_eq!(refused.json()["code"], "too_busy");
    assert_eq!(daemon.get("/healthz").status, 200);
    project.write("release", "");
    assert_eq!(read_answer(&mut waiting).status, 200);
    eventually("room", || (daemon.get("/nothing").status == 200).then_some(()));
}

#[test]
fn a_client_that_goes_away_stops_neither_the_handler_nor_its_emits_nor_the_record() {
    let project = project("");
    let daemon = project.run();
    let mut leaving = daemon.connect();
    wait_request(&mut leaving, "gone");
    eventually("the handler to be entered", || project.has("entered-gone").then_some(()));
    leaving.shutdown(Shutdown::Both).unwrap();
    drop(leaving);
    project.write("release", "");
    eventually("the event", || project.has("emitted-gone").then_some(()));
    eventually("the record", || text(&project.rohas(&["traces", "list"]).stdout).contains("Wait").then_some(()));
}

#[test]
fn draining_finishes_what_runs_and_is_not_ready_for_more() {
    let project = project("");
    let mut daemon = project.run();
    assert_eq!(daemon.get("/readyz").json(), json!({"status": "ready"}));
    let (mut running, mut kept) = (daemon.connect(), daemon.connect());
    // The second connection is in the middle of a request when the drain begins.
    wait_request(&mut running, "last");
    eventually("the handler to be entered", || project.has("entered-last").then_some(()));
    kept.write_all(b"GET /readyz HTTP/1.1\r\nhost: t\r\n").unwrap();
    // Another answer on another connection shows that the daemon has had time to read the half of a head.
    assert_eq!(daemon.get("/healthz").status, 200);
    daemon.signal("-TERM");
    daemon.wait_for_text("drain");
    kept.write_all(b"\r\n").unwrap();
    let ready = read_answer(&mut kept);
    assert_eq!((ready.status, &ready.json()["code"]), (503, &json!("not_ready")));
    project.write("release", "");
    assert_eq!(read_answer(&mut running).status, 200);
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn head_is_get_without_the_body() {
    let project = project("");
    let daemon = project.run();
    let mut stream = daemon.connect();
    stream.write_all(b"HEAD /notes/7 HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n").unwrap();
    let head = Response::parse(&read_head(&mut stream)).unwrap();
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-length"), Some(daemon.get("/notes/7").body.len().to_string().as_str()));
    assert_eq!(read_to_end(&mut stream), b"");
}

fn wait_request(stream: &mut std::net::TcpStream, name: &str) {
    let body = json!({"name": name}).to_string();
    let head = format!("POST /wait HTTP/1.1\r\nhost: t\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
}

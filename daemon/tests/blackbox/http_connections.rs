//! Do connections keep what HTTP promises: reuse, order, identity, origins, and an end to what is idle or slow?

use std::io::{Read, Write};
use std::net::Shutdown;

use serde_json::json;

use crate::http::{project, read_answer};
use crate::support::{Daemon, Response, eventually, read_to_end, text};

const GET_NOTE: &[u8] = b"GET /notes/1 HTTP/1.1\r\nhost: t\r\n\r\n";

#[test]
fn one_connection_serves_many_requests_and_pipelined_ones_in_order() {
    let project = project("");
    let daemon = project.run();
    let mut stream = daemon.connect();
    for _ in 0..3 {
        stream.write_all(GET_NOTE).unwrap();
        assert_eq!(read_answer(&mut stream).json()["id"], "1");
    }
    let body = r#"{"title": "chunked"}"#;
    let chunked = format!(
        "POST /notes HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n",
        &body[..5],
        body.len() - 5,
        &body[5..]
    );
    let several = format!(
        "{}{chunked}GET /notes/2 HTTP/1.1\r\nhost: t\r\n\r\nGET /nowhere HTTP/1.1\r\nhost: t\r\n\r\nGET /notes/3 HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n",
        text(GET_NOTE)
    );
    stream.write_all(several.as_bytes()).unwrap();
    assert_eq!(read_answer(&mut stream).json()["id"], "1");
    assert_eq!(read_answer(&mut stream).json()["note"]["title"], "chunked");
    assert_eq!(read_answer(&mut stream).json()["id"], "2");
    assert_eq!(read_answer(&mut stream).status, 404);
    assert_eq!(read_answer(&mut stream).json()["id"], "3");
    assert_eq!(read_to_end(&mut stream), b"");
}

#[test]
fn a_head_may_come_in_any_number_of_pieces() {
    let project = project("");
    let daemon = project.run();
    let mut stream = daemon.connect();
    stream.set_nodelay(true).unwrap();
    let request = b"POST /anything HTTP/1.1\r\nhost: t\r\ncontent-length: 7\r\n\r\n\"piece\"";
    for byte in request {
        stream.write_all(&[*byte]).unwrap();
    }
    assert_eq!(read_answer(&mut stream).json(), json!("piece"));
    stream.write_all(&[request.as_slice(), &request[..20]].concat()).unwrap();
    assert_eq!(read_answer(&mut stream).json(), json!("piece"));
    stream.write_all(&request[20..]).unwrap();
    assert_eq!(read_answer(&mut stream).json(), json!("piece"));
}

#[test]
fn http_1_0_is_answered_and_closed_unless_it_asks_to_be_kept() {
    let project = project("");
    let daemon = project.run();
    let answer = text(&daemon.raw(b"GET /notes/1 HTTP/1.0\r\n\r\n"));
    assert!(answer.starts_with("HTTP/1.0 200") && answer.ends_with('}'), "{answer}");
    let mut stream = daemon.connect();
    for _ in 0..2 {
        stream.write_all(b"GET /notes/1 HTTP/1.0\r\nconnection: keep-alive\r\n\r\n").unwrap();
        assert_eq!(read_answer(&mut stream).status, 200);
    }
}

#[test]
fn expecting_clients_are_told_to_continue() {
    let project = project("");
    let daemon = project.run();
    let mut stream = daemon.connect();
    stream
        .write_all(b"POST /anything HTTP/1.1\r\nhost: t\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        .unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(text(&interim), "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"42").unwrap();
    assert_eq!(read_answer(&mut stream).json(), json!(42));
}

#[test]
fn every_answer_has_a_request_id() {
    let project = project("");
    let daemon = project.run();
    let requests = [
        ("GET", "/notes/1"),
        ("GET", "/notes/%FF"),
        ("GET", "/nowhere"),
        ("PATCH", "/notes/1"),
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/broken"),
        ("GET", "/slow"),
        ("BAD METHOD", "/"),
    ];
    for (method, path) in requests {
        let echoed = daemon.request(method, path, &[("x-request-id", "mine-1")], b"");
        let expected = if method == "BAD METHOD" { None } else { Some("mine-1") };
        assert!(expected.is_none() || echoed.header("x-request-id") == expected, "{method} {path}");
        let made = daemon.request(method, path, &[], b"");
        assert_eq!(made.header("x-request-id").map(str::len), Some(32), "{method} {path}");
    }
    let unusable = "x".repeat(129);
    let made = daemon.request("GET", "/notes/1", &[("x-request-id", &unusable)], b"");
    assert_eq!(made.header("x-request-id").map(str::len), Some(32));
}

#[test]
fn a_trace_that_a_client_began_is_joined() {
    let project = project("");
    let daemon = project.run();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let joined = daemon.request("GET", "/absent", &[("traceparent", &parent)], b"");
    assert_eq!(joined.json()["trace_id"], trace);
    assert_eq!(joined.header("x-request-id"), Some(trace));
    for invalid in ["00-xyz", "00-00000000000000000000000000000000-00f067aa0ba902b7-01", "ff-"] {
        let made = daemon.request("GET", "/absent", &[("traceparent", invalid)], b"");
        assert_ne!(made.json()["trace_id"], "0".repeat(32), "{invalid}");
        assert_eq!(made.json()["trace_id"].as_str().map(str::len), Some(32), "{invalid}");
    }
}

#[test]
fn origins_are_allowed_as_configured() {
    let preflight = [
        ("origin", "https://a.example"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type"),
    ];
    let origin = [("origin", "https://a.example")];
    let project = project("[server]\nenable_cors = true\n");
    let daemon = project.run();
    for path in ["/notes/1", "/nowhere", "/broken"] {
        let answer = daemon.request("GET", path, &origin, b"");
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{path}");
        assert_eq!(answer.header("access-control-allow-credentials"), None);
    }
    let allowed = daemon.request("OPTIONS", "/notes", &preflight, b"");
    assert_eq!(allowed.status, 200);
    assert!(allowed.header("access-control-allow-methods").is_some());
    assert!(allowed.header("access-control-allow-headers").is_some());
    assert!(allowed.header("x-request-id").is_some());
    drop(daemon);

    let listed = crate::http::project("[server]\nenable_cors = true\ncors_origins = [\"https://a.example\"]\n");
    let daemon = listed.run();
    let answer = daemon.request("GET", "/notes/1", &origin, b"");
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://a.example"));
    assert!(answer.header("vary").is_some_and(|vary| vary.to_ascii_lowercase().contains("origin")));
    let other = daemon.request("GET", "/notes/1", &[("origin", "https://b.example")], b"");
    assert_eq!((other.status, other.header("access-control-allow-origin")), (200, None));
    drop(daemon);

    let off = crate::http::project("[server]\nenable_cors = false\n");
    let daemon = off.run();
    assert_eq!(daemon.request("GET", "/notes/1", &origin, b"").header("access-control-allow-origin"), None);
    assert_eq!(daemon.request("OPTIONS", "/notes", &preflight, b"").status, 405);
}

#[test]
fn in_development_no_name_of_others_leads_to_a_daemon_of_this_machine() {
    let ask = |daemon: &Daemon, host: &str| {
        let request = format!("GET /notes/1 HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        Response::parse(&daemon.raw(request.as_bytes())).unwrap()
    };
    let project = project("");
    let daemon = project.dev();
    let port = daemon.address.port();
    for host in ["localhost", "127.0.0.1", "[::1]", "app.localhost"] {
        assert_eq!(ask(&daemon, host).status, 200, "{host}");
        assert_eq!(ask(&daemon, &format!("{host}:{port}")).status, 200, "{host}");
    }
    let refused = ask(&daemon, "evil.example");
    assert_eq!((refused.status, &refused.json()["code"]), (421, &json!("unknown_host")));
    assert!(refused.json()["error"].as_str().unwrap().contains("localhost"));
    assert!(refused.header("x-request-id").is_some());
    drop(daemon);
    assert_eq!(ask(&project.run(), "evil.example").status, 200);
    let open = crate::http::project("[server]\nhost = \"0.0.0.0\"\n");
    let mut daemon = Daemon::spawn(open.command(&["dev", "--port", "0"]));
    let port = daemon.wait_for("a port", |text| {
        let start = text.find("http://0.0.0.0:")? + "http://0.0.0.0:".len();
        text[start..].lines().next()?.parse().ok()
    });
    daemon.address.set_port(port);
    assert_eq!(ask(&daemon, "evil.example").status, 200);
}

#[test]
fn slow_heads_slow_bodies_and_idle_connections_come_to_an_end() {
    let project = project("[server]\nheader_timeout = \"300ms\"\nbody_timeout = \"300ms\"\nidle_timeout = \"600ms\"\n");
    let daemon = project.run();
    let mut silent = daemon.connect();
    let mut slow = daemon.connect();
    slow.write_all(b"GET /notes/1 HTTP/1.1\r\nhost: ").unwrap();
    let mut body = daemon.connect();
    body.write_all(b"POST /anything HTTP/1.1\r\nhost: t\r\ncontent-length: 10\r\n\r\n[1").unwrap();
    let mut used = daemon.connect();
    used.write_all(GET_NOTE).unwrap();
    assert_eq!(read_answer(&mut used).status, 200);
    for (stream, code) in [(&mut body, "body_timeout"), (&mut slow, "head_timeout")] {
        let late = read_answer(stream);
        assert_eq!((late.status, &late.json()["code"]), (408, &json!(code)));
        assert_eq!(late.header("connection"), Some("close"));
        assert!(late.header("x-request-id").is_some());
    }
    for stream in [&mut silent, &mut slow, &mut used] {
        assert_eq!(text(&read_to_end(stream)), "");
    }
    assert_eq!(daemon.get("/healthz").status, 200);
}

#[test]
fn a_head_has_its_own_limit_on_a_connection_that_was_used_before() {
    let project = project("[server]\nheader_timeout = \"300ms\"\nidle_timeout = \"10m\"\n");
    let daemon = project.run();
    let (mut apart, mut together) = (daemon.connect(), daemon.connect());
    apart.write_all(GET_NOTE).unwrap();
    assert_eq!(read_answer(&mut apart).status, 200);
    apart.write_all(&GET_NOTE[..20]).unwrap();
    together.write_all(&[GET_NOTE, &GET_NOTE[..20]].concat()).unwrap();
    assert_eq!(read_answer(&mut together).status, 200);
    for stream in [&mut apart, &mut together] {
        let late = read_answer(stream);
        assert_eq!((late.status, &late.json()["code"]), (408, &json!("head_timeout")));
        assert_eq!(text(&read_to_end(stream)), "");
    }
}

#[test]
fn nothing_is_said_to_a_client_that_is_idle_after_an_answer_that_came_before_its_body() {
    let project = project("[server]\nheader_timeout = \"200ms\"\nidle_timeout = \"1s\"\n");
    let daemon = project.run();
    let mut streams = [("POST /nowhere", 404), ("PATCH /notes/1", 405)].map(|(line, status)| {
        let mut stream = daemon.connect();
        let head = format!("{line} HTTP/1.1\r\nhost: t\r\ncontent-length: 5\r\na: ");
        // One read takes 8 KiB: the head. The body is there when hyper looks whether it can be passed over.
        let padding = "x".repeat(8192 - head.len() - 4);
        stream.write_all(format!("{head}{padding}\r\n\r\n12345").as_bytes()).unwrap();
        assert_eq!(read_answer(&mut stream).status, status);
        stream
    });
    let mut blank = daemon.connect();
    blank.write_all(b"\r\n").unwrap();
    for stream in streams.iter_mut().chain([&mut blank]) {
        assert_eq!(text(&read_to_end(stream)), "");
    }
}

#[test]
fn a_client_that_has_no_more_to_say_is_answered_and_then_closed() {
    let project = project("[server]\nheader_timeout = \"10m\"\nidle_timeout = \"10m\"\n");
    let daemon = project.run();
    let end_of = |bytes: &[u8]| {
        let mut stream = daemon.connect();
        stream.write_all(bytes).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        text(&read_to_end(&mut stream))
    };
    let body = "{\"name\": \"half\"}";
    let wait = format!("POST /wait HTTP/1.1\r\nhost: t\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let mut running = daemon.connect();
    running.write_all(wait.as_bytes()).unwrap();
    running.shutdown(Shutdown::Write).unwrap();
    assert_eq!(end_of(b""), "");
    assert_eq!(end_of(&GET_NOTE[..20]), "");
    for rest in [&b""[..], &GET_NOTE[..20]] {
        let answers = end_of(&[GET_NOTE, GET_NOTE, rest].concat());
        assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2, "{answers}");
    }
    let mut used = daemon.connect();
    used.write_all(GET_NOTE).unwrap();
    assert_eq!(read_answer(&mut used).status, 200);
    used.shutdown(Shutdown::Write).unwrap();
    assert_eq!(text(&read_to_end(&mut used)), "");

    eventually("the handler to be entered", || project.has("entered-half").then_some(()));
    project.write("release", "");
    assert_eq!(read_answer(&mut running).json()["name"], "half");
    assert_eq!(text(&read_to_end(&mut running)), "");
}

#[test]
fn beyond_max_connections_clients_wait_for_a_place() {
    let project = project("[server]\nmax_connections = 2\n");
    let daemon = project.run();
    let mut held: Vec<_> = (0..2).map(|_| daemon.connect()).collect();
    for stream in &mut held {
        stream.write_all(GET_NOTE).unwrap();
        assert_eq!(read_answer(stream).status, 200);
    }
    let mut waiting = daemon.connect();
    waiting.write_all(GET_NOTE).unwrap();
    // Those that have a place are served before the one that waits, however long it waits.
    for stream in &mut held {
        stream.write_all(GET_NOTE).unwrap();
        assert_eq!(read_answer(stream).status, 200);
    }
    waiting.set_nonblocking(true).unwrap();
    assert!(waiting.peek(&mut [0]).is_err(), "served beyond the limit");
    waiting.set_nonblocking(false).unwrap();
    held.pop();
    assert_eq!(read_answer(&mut waiting).status, 200);
}

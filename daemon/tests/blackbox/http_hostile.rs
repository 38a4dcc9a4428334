//! Does hostile input get an answer, and harm nobody else?
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};

use serde_json::json;

use crate::http::{project, read_answer};
use crate::support::{Daemon, Response, read_to_end, text};

/// The one answer to bytes after which the connection must be closed.
fn only_answer(daemon: &Daemon, bytes: &[u8]) -> Response {
    let all = daemon.raw(bytes);
    let answer = Response::parse(&all).unwrap_or_else(|| panic!("no answer: {:?}", text(&all)));
    let length: usize = answer.header("content-length").unwrap().parse().unwrap();
    assert_eq!(answer.body.len(), length, "more than one answer: {}", text(&all));
    answer
}

fn assert_refused(daemon: &Daemon, head: &str, expected: (u16, &str)) {
    // A second request hides behind the refused one.
    let bytes = format!("{head}GET /notes/smuggled HTTP/1.1\r\nhost: t\r\n\r\n");
    let answer = only_answer(daemon, bytes.as_bytes());
    assert_eq!((answer.status, answer.json()["code"].as_str().unwrap()), expected, "{head:.200}");
    assert_eq!(answer.header("connection"), Some("close"), "{head:.200}");
    assert!(answer.header("x-request-id").is_some(), "{head:.200}");
    assert_eq!(daemon.get("/healthz").status, 200);
}

#[test]
fn requests_that_two_servers_may_read_in_two_ways_are_refused_and_closed() {
    let project = project("");
    let daemon = project.run();
    let post = |headers: &str| format!("POST /anything HTTP/1.1\r\nhost: t\r\n{headers}\r\n\r\n");
    let ambiguous = [
        "content-length: 2\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 2",
        "content-length: 2\r\ncontent-length: 2",
        "content-length: 2\r\ncontent-length: 3",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
    ];
    for headers in ambiguous {
        assert_refused(&daemon, &post(headers), (400, "ambiguous_length"));
        // It makes no difference whether the path is served.
        assert_refused(&daemon, &post(headers).replace("/anything", "/nowhere"), (400, "ambiguous_length"));
    }
    for encoding in ["gzip, chunked", "identity", "xchunked", "chunked, identity", "\"chunked\""] {
        assert_refused(&daemon, &post(&format!("transfer-encoding: {encoding}")), (400, "unknown_encoding"));
    }
    assert_refused(&daemon, "POST /anything HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n", (400, "unknown_encoding"));
    for length in ["-1", "+2", "2,2", "0x2", "99999999999999999999999"] {
        assert_refused(&daemon, &post(&format!("content-length: {length}")), (400, "malformed_length"));
    }
    for headers in ["a: b\r\n folded: c", "a: b\nc: d", "a : b", "no colon", "a: b\u{0}", "a: b\rc: d", ": b"] {
        assert_refused(&daemon, &post(headers), (400, "malformed_head"));
    }
    assert_refused(&daemon, "GET /notes/1 HTTP/1.1\n\n", (400, "malformed_head"));
    assert_refused(&daemon, "GET /notes/1 HTTP/1.1\r\n\r\n", (400, "missing_host"));
    assert_refused(&daemon, "GET /notes/1 HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", (400, "missing_host"));
    assert_refused(&daemon, "GET  /notes/1 HTTP/1.1\r\nhost: a\r\n\r\n", (400, "malformed_head"));
    assert_refused(&daemon, "GET .notes HTTP/1.1\r\nhost: a\r\n\r\n", (400, "malformed_head"));
    assert_refused(&daemon, "\u{16}\u{3}\u{1} hello TLS\r\n\r\n", (400, "malformed_head"));
    assert_refused(&daemon, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (505, "unknown_version"));
}

#[test]
fn a_refused_request_leaves_those_before_it_alone() {
    let project = project("");
    let daemon = project.run();
    let mut stream = daemon.connect();
    stream.write_all(b"GET /notes/1 HTTP/1.1\r\nhost: t\r\n\r\nGET /notes/2 HTTP/1.1\n\n").unwrap();
    assert_eq!(read_answer(&mut stream).json()["id"], "1");
    assert_eq!(read_answer(&mut stream).status, 400);
    assert_eq!(read_to_end(&mut stream), b"");
    // What stands in for a refused request means nothing when a client sends it.
    assert_eq!(daemon.request("REFUSED", "/", &[], b"").status, 404);
}

#[test]
fn nothing_hides_behind_a_body_whose_framing_makes_no_sense() {
    let project = project("[server]\nheader_timeout = \"10m\"\nidle_timeout = \"10m\"\n");
    let daemon = project.run();
    let head = "POST /anything HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n";
    let whole = daemon.raw(format!("{head}0\r\na: b\r\n\r\nGET / HTTP/1.0\r\n\r\n").as_bytes());
    assert_eq!(text(&whole).matches("HTTP/1.").count(), 2, "{}", text(&whole));
    let nonsense = [
        "0\r\n\n0\r\n\r\n",
        "0\r\na: b\n\r\n",
        "0\r\na\r\n\r\n",
        "0\r\n a: b\r\n\r\n",
        "00000000000000000\r\n\r\n",
        "g\r\n",
    ];
    for rest in nonsense {
        // With and without more to come from the client.
        assert_refused(&daemon, &format!("{head}{rest}"), (400, "incomplete_body"));
        let mut done = daemon.connect();
        done.write_all(format!("{head}{rest}").as_bytes()).unwrap();
        done.shutdown(Shutdown::Write).unwrap();
        let all = read_to_end(&mut done);
        assert_eq!(Response::parse(&all).map(|answer| answer.status), Some(400), "{rest:?}");
        let unread = format!("{head}{rest}").replace("/anything", "/nowhere");
        assert_eq!(only_answer(&daemon, unread.as_bytes()).status, 404, "{rest:?}");
    }
}

#[test]
fn heads_that_are_too_large_are_refused_with_an_answer() {
    let project = project("");
    let daemon = project.run();
    let huge = format!("GET /notes/1 HTTP/1.1\r\nhost: t\r\nx: {}\r\n\r\n", "x".repeat(1 << 20));
    assert_refused(&daemon, &huge, (431, "head_too_large"));
    let many = format!("GET /notes/1 HTTP/1.1\r\nhost: t\r\n{}\r\n", "x: y\r\n".repeat(200));
    assert_refused(&daemon, &many, (431, "head_too_large"));
    for length in [9 << 10, 1 << 20] {
        let long = format!("GET /{} HTTP/1.1\r\nhost: t\r\n\r\n", "x".repeat(length));
        assert_refused(&daemon, &long, (414, "uri_too_long"));
    }
    let within = format!("/notes/{}", "x".repeat(8000));
    assert_eq!(daemon.get(&within).status, 200);
}

#[test]
fn a_body_that_is_too_large_is_refused_with_an_answer_and_others_are_served_meanwhile() {
    const LARGE: usize = 100 << 20;
    let project = project("");
    let daemon = project.run();
    let head = |framing: &str| format!("POST /anything HTTP/1.1\r\nhost: t\r\n{framing}\r\n\r\n");
    for framing in [format!("content-length: {LARGE}"), "transfer-encoding: chunked".to_owned()] {
        let mut stream = daemon.connect();
        stream.write_all(head(&framing).as_bytes()).unwrap();
        let chunked = framing.starts_with('t');
        send_in_pieces(&mut stream, LARGE, chunked, || assert_eq!(daemon.get("/notes/1").status, 200));
        let answer = read_answer(&mut stream);
        assert_eq!((answer.status, &answer.json()["code"]), (413, &json!("too_large")), "{framing}");
        assert_eq!(answer.header("connection"), Some("close"));
    }
    for (path, status) in [("/nowhere", 404), ("/notes/1", 405)] {
        let mut stream = daemon.connect();
        stream.write_all(head(&format!("content-length: {LARGE}")).replace("/anything", path).as_bytes()).unwrap();
        send_in_pieces(&mut stream, LARGE, false, || assert_eq!(daemon.get("/notes/1").status, 200));
        assert_eq!(read_answer(&mut stream).status, status);
    }
    let fits = format!("\"{}\"", "x".repeat((2 << 20) - 2));
    let whole = daemon.post("/anything", &fits);
    assert_eq!(whole.body.len(), 2 << 20, "{:.300}", text(&whole.body));
    assert_eq!(daemon.post("/anything", &format!("{fits} ")).status, 413);
    let mut cut = daemon.connect();
    cut.write_all(head("transfer-encoding: chunked").as_bytes()).unwrap();
    cut.write_all(b"zz\r\n").unwrap();
    let answer = read_answer(&mut cut);
    assert_eq!((answer.status, &answer.json()["code"]), (400, &json!("incomplete_body")));
}

/// As a plain client does: everything, unless the connection is closed before. `between` runs a few times on the way.
fn send_in_pieces(stream: &mut TcpStream, length: usize, chunked: bool, between: impl Fn()) {
    let piece = vec![b'['; 1 << 20];
    for number in 0..length >> 20 {
        if number % 20 == 0 {
            between();
        }
        let size = format!("{:x}\r\n", piece.len());
        let parts = if chunked { [size.as_bytes(), piece.as_slice(), b"\r\n"] } else { [b"", piece.as_slice(), b""] };
        for part in parts {
            match stream.write_all(part) {
                Ok(()) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {
                    return;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn a_body_that_outgrows_a_worker_by_its_defaults_is_too_large() {
    let project = project("");
    let daemon = project.run();
    let grow = |pages: usize| daemon.post("/grow", &format!(r#"{{"pages": [{}]}}"#, vec!["{}"; pages].join(",")));
    assert_eq!(grow(1000).json(), json!(1000));
    let refused = grow(70_000);
    assert_eq!((refused.status, &refused.json()["code"]), (413, &json!("too_large")));
    let error = refused.json()["error"].as_str().unwrap().to_owned();
    assert!(error.contains("with its defaults") && error.contains("66060288"), "{error}");
}

#[test]
fn a_body_that_is_nothing_but_faults_has_an_answer_of_modest_size() {
    let project = project("");
    let daemon = project.run();
    let faults = format!(r#"{{"title": "t", "items": [{}]}}"#, vec!["{}"; 600_000].join(","));
    let answer = daemon.post("/notes", &faults);
    assert_eq!(answer.status, 422);
    assert!(answer.body.len() < 64 << 10, "{} bytes", answer.body.len());
    assert_eq!(daemon.get("/notes/1").status, 200);
}

#[test]
fn clients_that_send_half_a_request_keep_nobody_else_waiting() {
    let project = project("");
    let daemon = project.run();
    let halves: [&[u8]; 4] = [
        b"",
        b"GET /notes/1 HTT",
        b"POST /anything HTTP/1.1\r\nhost: t\r\ncontent-length: 100\r\n\r\n[",
        b"POST /anything HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\nff\r\n[",
    ];
    let held: Vec<TcpStream> = (0..100)
        .map(|number| {
            let mut stream = daemon.connect();
            stream.write_all(halves[number % halves.len()]).unwrap();
            stream
        })
        .collect();
    for _ in 0..10 {
        assert_eq!(daemon.post("/anything", "[1]").json(), json!([1]));
    }
    drop(held);
    assert_eq!(daemon.get("/notes/1").status, 200);
    assert!(!daemon.output().contains("panicked"), "{}", daemon.output());
}

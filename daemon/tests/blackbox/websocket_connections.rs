//! Who may connect, what ends a connection, and what never does?
#![expect(clippy::unwrap_used, reason = "tests")]

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};
use tungstenite::handshake::client::generate_key;
use tungstenite::{Bytes, Message};

use crate::support::{Daemon, Project, Response, eventually, is_alive, read_to_end, text};
use crate::websocket::{Client, project, wait_for_notes};

fn refused(daemon: &Daemon, path: &str, headers: &[(&str, &str)]) -> Response {
    *Client::open_with(daemon, path, headers).err().expect("a refusal")
}

/// A connection whose bytes a test sees and makes itself.
pub(crate) fn raw(daemon: &Daemon, path: &str) -> TcpStream {
    let mut stream = daemon.connect();
    let key = generate_key();
    let head = format!(
        "GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: {key}\r\n\r\n",
        daemon.address
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    assert!(text(&answer).starts_with("HTTP/1.1 101 "), "{}", text(&answer));
    stream
}

/// The next frame from the daemon: its first byte, and its payload.
pub(crate) fn frame(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut header = [0; 2];
    stream.read_exact(&mut header).unwrap();
    let length = match header[1] {
        126 => {
            let mut bytes = [0; 2];
            stream.read_exact(&mut bytes).unwrap();
            usize::from(u16::from_be_bytes(bytes))
        }
        127 => {
            let mut bytes = [0; 8];
            stream.read_exact(&mut bytes).unwrap();
            usize::try_from(u64::from_be_bytes(bytes)).unwrap()
        }
        short => usize::from(short),
    };
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).unwrap();
    (header[0], payload)
}

/// The code of the close frame that comes next, with nothing behind it.
fn closed(stream: &mut TcpStream) -> u16 {
    let (first, payload) = frame(stream);
    assert_eq!(first, 0x88, "{payload:?}");
    assert_eq!(read_to_end(stream), b"");
    u16::from_be_bytes([payload[0], payload[1]])
}

#[test]
fn requests_that_are_no_handshake_are_answered_as_requests() {
    let project = project("");
    let daemon = project.run();
    let plain = daemon.get("/ws/raw");
    assert_eq!((plain.status, &plain.json()["code"]), (426, &json!("upgrade_required")));
    assert_eq!((plain.header("upgrade"), plain.header("sec-websocket-version")), (Some("websocket"), Some("13")));
    assert_eq!(plain.json()["trace_id"].as_str(), plain.header("x-request-id"));
    assert_eq!(daemon.post("/ws/raw", "{}").status, 405);
    assert_eq!(refused(&daemon, "/ws/nowhere", &[]).status, 404);
    let ask = |version: &str, key: &str, further: &str| {
        let request = format!(
            "GET /ws/raw HTTP/1.1\r\nhost: t\r\nconnection: keep-alive, Upgrade\r\nupgrade: WebSocket\r\n\
             sec-websocket-version: {version}\r\nsec-websocket-key: {key}\r\n{further}\r\n"
        );
        let mut stream = daemon.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut start = [0; 12];
        stream.read_exact(&mut start).unwrap();
        text(&start[9..])
    };
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    assert_eq!(ask("13", key, ""), "101");
    assert_eq!(ask("12", key, ""), "426");
    assert_eq!(ask("13", "dG9vIHNob3J0", ""), "400");
    assert_eq!(ask("13", key, "content-length: 1\r\n"), "400");
}

#[test]
fn pages_of_other_origins_may_not_connect() {
    let listed = "[server]\ncors_origins = [\"https://friend.example\"]\n";
    let project = project(listed);
    let daemon = project.run();
    let own = format!("http://{}", daemon.address);
    for origin in [own.as_str(), "https://friend.example"] {
        assert!(Client::open_with(&daemon, "/ws/raw", &[("origin", origin)]).is_ok(), "{origin}");
    }
    for origin in ["https://evil.example", "null", "http://localhost:5173"] {
        let answer = refused(&daemon, "/ws/raw", &[("origin", origin)]);
        assert_eq!((answer.status, &answer.json()["code"]), (403, &json!("origin_not_allowed")), "{origin}");
    }
    drop(daemon);
    let daemon = project.dev();
    assert!(Client::open_with(&daemon, "/ws/raw", &[("origin", "http://localhost:5173")]).is_ok());
    assert_eq!(refused(&daemon, "/ws/raw", &[("origin", "https://evil.example")]).status, 403);
}

#[test]
fn beyond_max_connections_clients_are_refused_until_one_has_gone() {
    let project = project("[websocket]\nmax_connections = 2\n[server]\nmax_connections = 2\n");
    let daemon = project.run();
    let first = Client::open(&daemon, "/ws/raw");
    let _second = Client::open(&daemon, "/ws/raw");
    // Open WebSockets take no place from requests.
    let busy = refused(&daemon, "/ws/raw", &[]);
    assert_eq!((busy.status, busy.header("retry-after")), (503, Some("1")));
    assert_eq!(daemon.get("/notes").status, 200);
    first.close();
    eventually("a place", || Client::open_with(&daemon, "/ws/raw", &[]).ok());
}

#[test]
fn clients_that_break_the_protocol_or_a_limit_are_told_so() {
    let project = project("[websocket]\nmax_message = 1000\nmax_frame = 600\n");
    let daemon = project.run();
    let cases: [(&str, &[u8], u16); 8] = [
        ("not masked", b"\x81\x02hi", 1002),
        ("reserved bits", b"\xc1\x80\0\0\0\0", 1002),
        ("unknown opcode", b"\x83\x80\0\0\0\0", 1002),
        ("a continuation of nothing", b"\x80\x80\0\0\0\0", 1002),
        ("not UTF-8", b"\x81\x81\0\0\0\0\xff", 1007),
        ("a frame too large", b"\x82\xfe\x02\x59\0\0\0\0", 1009),
        (
            "a message too large",
            &[&b"\x02\xfe\x02\x58\0\0\0\0"[..], &[0; 600], b"\x80\xfe\x01\x91\0\0\0\0"].concat(),
            1009,
        ),
        ("half a close code", b"\x88\x81\0\0\0\0\x03", 1002),
    ];
    for (what, bytes, code) in cases {
        let mut stream = raw(&daemon, "/ws/raw");
        stream.write_all(bytes).unwrap();
        // Sent after it: what is unread must not keep the close from arriving.
        stream.write_all(&[0; 5000]).unwrap();
        let (first, payload) = frame(&mut stream);
        assert_eq!((first, u16::from_be_bytes([payload[0], payload[1]])), (0x88, code), "{what}");
        drop(stream);
    }
    let mut whole = Client::open(&daemon, "/ws/raw");
    whole.0.send(Message::binary(vec![7; 600])).unwrap();
    assert_eq!(whole.next(), Message::Binary(Bytes::from(vec![7; 600])));
}

#[test]
fn a_close_is_answered_with_its_code() {
    let project = project("");
    let daemon = project.run();
    for (close, code) in [(&b"\x88\x82\0\0\0\0\x0f\xa1"[..], 4001), (b"\x88\x85\0\0\0\0\x03\xe8bye", 1000)] {
        let mut stream = raw(&daemon, "/ws/raw");
        stream.write_all(close).unwrap();
        assert_eq!(closed(&mut stream), code);
    }
    let mut stream = raw(&daemon, "/ws/raw");
    stream.write_all(b"\x88\x80\0\0\0\0").unwrap();
    assert_eq!(frame(&mut stream), (0x88, Vec::new()));
    assert_eq!(read_to_end(&mut stream), b"");
}

#[test]
fn a_client_that_vanishes_is_noticed() {
    let project = project("");
    let daemon = project.run();
    let mut stream = raw(&daemon, "/ws/chat/x");
    assert_eq!(frame(&mut stream).0, 0x81);
    drop(stream);
    assert_eq!(wait_for_notes(&project, "left", 1)[0][1], json!(1006));
}

#[test]
fn a_silent_client_is_pinged_and_cut_when_it_does_not_answer() {
    let project = project("[websocket]\nping_interval = \"300ms\"\nping_timeout = \"600ms\"\n");
    let daemon = project.run();
    let mut dead = raw(&daemon, "/ws/chat/x");
    let mut alive = Client::open(&daemon, "/ws/chat/x");
    assert_eq!(alive.json()["welcome"].as_str().map(str::len), Some(36));
    assert_eq!(frame(&mut dead).0, 0x81);
    assert_eq!(frame(&mut dead), (0x89, Vec::new()));
    // Reading answers pings.
    for _ in 0..4 {
        assert_eq!(alive.0.read().unwrap(), Message::Ping(Bytes::new()));
    }
    assert_eq!(read_to_end(&mut dead), b"");
    let left = wait_for_notes(&project, "left", 1);
    assert_eq!(left[0][1..], [json!(1006), json!("no answer to a ping")]);
    assert_eq!(alive.ask(r#"{"kind": "echo", "text": "still"}"#), json!({"echo": "still"}));
}

#[test]
fn a_connection_without_messages_comes_to_an_end_if_that_is_wanted() {
    let project = project("[websocket]\nping_interval = \"100ms\"\nidle_timeout = \"600ms\"\n");
    let daemon = project.run();
    let mut client = Client::open(&daemon, "/ws/raw");
    assert_eq!(client.closed().0, 1001);
}

#[test]
fn a_client_that_takes_nothing_is_closed_and_others_do_not_notice() {
    let project = project("[websocket]\nsend_queue = \"256KiB\"\nclose_timeout = \"500ms\"\n");
    let daemon = project.run();
    let mut slow = raw(&daemon, "/ws/chat/x");
    assert_eq!(frame(&mut slow).0, 0x81);
    let mut quick = Client::open(&daemon, "/ws/chat/x");
    assert_eq!(quick.json()["welcome"].as_str().map(str::len), Some(36));
    let mut sent = 0;
    let left = loop {
        assert_eq!(daemon.post("/push", &json!({"ws": "Chat", "size": 100_000}).to_string()).status, 200);
        sent += 1;
        assert_eq!(quick.json().as_str().map(str::len), Some(100_000), "{sent}");
        let left = crate::websocket::noted(&project, "left");
        if !left.is_empty() || sent > 2000 {
            break left;
        }
    };
    assert_eq!(left[0][1], json!(1013), "after {sent} messages");
    // What had begun is whole, then comes the close frame, as long as the client reads in time.
    assert_eq!(quick.ask(r#"{"kind": "echo", "text": "fine"}"#), json!({"echo": "fine"}));
}

#[test]
fn a_daemon_that_stops_closes_its_connections_when_their_handlers_are_done() {
    let project = project("");
    let mut daemon = project.run();
    let workers = daemon.workers();
    let mut idle = Client::open(&daemon, "/ws/loud");
    let mut busy = Client::open(&daemon, "/ws/chat/x");
    let id = busy.json()["welcome"].clone();
    busy.say(r#"{"kind": "wait", "text": "a"}"#);
    wait_for_notes(&project, "waiting", 1);
    daemon.signal("-TERM");
    assert_eq!(idle.closed(), (1001, "the daemon is shutting down".to_owned()));
    assert_eq!(wait_for_notes(&project, "loud left", 1), [[json!(1001)]]);
    drop(idle);
    project.write("go", "");
    assert_eq!(busy.json(), json!({"waited": "a"}));
    assert_eq!(busy.closed().0, 1001);
    drop(busy);
    assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.output());
    let left = wait_for_notes(&project, "left", 1);
    assert_eq!(left[0][..2], [id, json!(1001)]);
    assert!(!daemon.output().contains("did not end in time"), "{}", daemon.output());
    for worker in workers {
        eventually("the end of a worker", || (!is_alive(worker)).then_some(()));
    }
}

fn reloads(text: &str) -> usize {
    text.matches("reloaded: version").count()
}

fn edit(daemon: &mut Daemon, project: &Project, path: &str, change: impl Fn(&str) -> String) {
    let before = reloads(&daemon.output());
    let present = std::fs::read_to_string(project.path().join(path)).unwrap();
    project.write(path, &change(&present));
    daemon.wait_for("a reload", |text| (reloads(text) > before).then_some(()));
}

#[test]
fn connections_outlive_reloads_unless_their_websocket_goes() {
    let project = project("");
    let mut daemon = project.dev();
    let mut chat = Client::open(&daemon, "/ws/chat/x");
    let id = chat.json()["welcome"].clone();
    let mut raw = Client::open(&daemon, "/ws/raw");
    let mut loud = Client::open(&daemon, "/ws/loud");
    assert_eq!(loud.ask("1"), json!(1));
    assert_eq!(chat.ask(r#"{"kind": "join", "room": "red"}"#), json!("joined"));
    edit(&mut daemon, &project, "src/handlers/websockets/chat_said.py", |code| {
        code.replace("{'echo': said.text}", "{'new': said.text}")
    });
    assert_eq!(chat.ask(r#"{"kind": "echo", "text": "x"}"#), json!({"new": "x"}));
    assert_eq!(chat.ask(r#"{"kind": "id"}"#), id);
    let mut other = Client::open(&daemon, "/ws/chat/x");
    assert_ne!(other.json()["welcome"], id);
    assert_eq!(other.ask(r#"{"kind": "room", "room": "red", "text": "y"}"#), json!("told"));
    assert_eq!(chat.json(), json!({"room": "y"}));
    edit(&mut daemon, &project, "schema/schema.ro", |schema| {
        let stays = |line: &&str| !line.contains("ws Raw") && !line.contains("ws Loud");
        schema.lines().filter(stays).map(|line| format!("{line}\n")).collect()
    });
    assert_eq!(loud.closed().0, 1001);
    loud.close();
    assert_eq!(wait_for_notes(&project, "loud left", 1), [[json!(1001)]]);
    assert_eq!(raw.closed(), (1001, "this WebSocket is no longer served".to_owned()));
    assert_eq!(refused(&daemon, "/ws/raw", &[]).status, 404);
    let said: Value = chat.ask(r#"{"kind": "echo", "text": "x"}"#);
    assert_eq!(said, json!({"new": "x"}));
}

#[test]
fn every_connection_that_ends_has_its_last_handler_however_busy_workers_are() {
    const CONNECTIONS: usize = 200;
    let project = project("[websocket]\nhandler_timeout = \"1s\"\n").file(
        "src/handlers/websockets/loud_left.py",
        "
        import time
        from journal import *

        def loud_left(connection):
            time.sleep(0.7)
            note('loud left', connection.id)
        ",
    );
    let daemon = project.run();
    let clients: Vec<_> = (0..CONNECTIONS).map(|_| Client::open(&daemon, "/ws/loud")).collect();
    drop(clients);
    let mut left = wait_for_notes(&project, "loud left", CONNECTIONS);
    left.dedup();
    assert_eq!(left.len(), CONNECTIONS);
    assert!(!daemon.output().contains("handler failed"), "{}", daemon.output());
}

#[test]
fn bytes_that_come_with_the_handshake_are_not_lost() {
    let project = project("");
    let daemon = project.run();
    let mut stream = daemon.connect();
    let head = "GET /ws/raw HTTP/1.1\r\nhost: t\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(&[head.as_bytes(), b"\x82\x82\0\0\0\0ab"].concat()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    assert_eq!(frame(&mut stream), (0x82, b"ba".to_vec()));
}

//! What happens to everyone else when handlers or clients do more than the daemon can?
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::io::{ErrorKind, Write};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::Daemon;
use crate::websocket::{Client, project, wait_for_notes};
use crate::websocket_connections::{frame, raw};

/// How long the daemon may keep others waiting on a busy machine.
const PROMPT: Duration = Duration::from_secs(3);

fn welcomed(daemon: &Daemon) -> Client {
    let mut client = Client::open(daemon, "/ws/chat/x");
    assert!(client.json()["welcome"].is_string());
    client
}

/// Asks for the daemon's health until something has happened; gives how long the slowest answer took.
fn slowest_answer_until(daemon: &Daemon, mut done: impl FnMut() -> bool) -> Duration {
    let mut slowest = Duration::ZERO;
    while !done() {
        let asked = Instant::now();
        assert_eq!(daemon.get("/healthz").status, 200);
        slowest = slowest.max(asked.elapsed());
    }
    slowest
}

#[test]
fn a_connection_that_joins_room_after_room_holds_up_nobody_and_is_in_so_many() {
    let project = project("");
    let mut daemon = project.run();
    let (mut member, mut other) = (welcomed(&daemon), welcomed(&daemon));
    member.say(r#"{"kind": "join many", "code": 40000}"#);
    let slowest = slowest_answer_until(&daemon, || daemon.output().contains("max_rooms=1000"));
    assert!(slowest < PROMPT, "{slowest:?}");
    assert_eq!(member.json(), json!("joined"));
    for (room, expected) in [("room 999", "in"), ("room 1000", "out")] {
        let ask = json!({"kind": "room", "room": room, "text": "in"});
        assert_eq!(other.ask(&ask.to_string()), json!("told"));
        assert_eq!(daemon.post("/push", r#"{"ws": "Chat", "data": "out"}"#).status, 200);
        assert_eq!(other.json(), json!("out"));
        if expected == "in" {
            assert_eq!(member.json(), json!({"room": "in"}));
        }
        assert_eq!(member.json(), json!("out"));
    }
    daemon.stop();
    assert_eq!(daemon.output().matches("max_rooms=1000").count(), 1);
}

/// What a process has in memory, in bytes.
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// A client's text, with a mask that changes nothing.
fn said(text: &str) -> Vec<u8> {
    let mut bytes = vec![0x81, 0xff];
    bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

#[test]
fn a_client_that_sends_without_end_has_to_wait_for_the_handler() {
    const MOST: usize = 128 << 20;
    let project = project("");
    let daemon = project.run();
    let mut stream = raw(&daemon, "/ws/chat/x");
    assert_eq!(frame(&mut stream).0, 0x81);
    stream.write_all(&said(r#"{"kind": "wait", "text": "a"}"#)).unwrap();
    wait_for_notes(&project, "waiting", 1);
    let before = resident(daemon.pid());
    // No handler is called with these, and each is as large as it may be.
    let padded = said(&format!("{{}}{}", " ".repeat((1 << 20) - 2)));
    stream.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
    let mut sent = 0;
    let end = loop {
        match stream.write(&padded[sent % padded.len()..]) {
            Ok(written) if sent < MOST => sent += written,
            end => break end,
        }
    };
    assert_eq!(end.map_err(|error| error.kind()), Err(ErrorKind::WouldBlock), "after {sent} bytes");
    let grown = resident(daemon.pid()).saturating_sub(before);
    assert!(grown < 8 << 20, "{grown} bytes more after {sent}");
    project.write("go", "");
    assert_eq!(frame(&mut stream).1, br#"{"waited":"a"}"#);
    let (_, error) = frame(&mut stream);
    assert!(error.starts_with(br#"{"error":"kind is required""#), "{}", String::from_utf8_lossy(&error));
}

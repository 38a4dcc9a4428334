//! What happens to everyone else when handlers or clients do more than the daemon can?
#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::Daemon;
use crate::websocket::{Client, project};

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

#[test]
fn a_handler_that_broadcasts_without_end_holds_up_nobody() {
    const BROADCASTS: u64 = 10_000;
    let project = project("[websocket]\nsend_queue = \"64MiB\"\n");
    let daemon = project.run();
    let mut clients: Vec<_> = (0..200).map(|_| welcomed(&daemon)).collect();
    clients[0].say(&json!({"kind": "broadcast many", "code": BROADCASTS}).to_string());
    let mut last = clients.pop().unwrap();
    last.0.get_mut().set_nonblocking(true).unwrap();
    let mut next = 0;
    let slowest = slowest_answer_until(&daemon, || {
        while let Ok(message) = last.0.read() {
            assert_eq!(message.to_text().unwrap(), next.to_string());
            next += 1;
        }
        next == BROADCASTS
    });
    assert!(slowest < PROMPT, "{slowest:?}");
}

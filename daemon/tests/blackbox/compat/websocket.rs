//! Do WebSockets greet, answer, broadcast and refuse as the original means to?

use serde_json::json;

use super::{entries, hello_world};
use crate::journal::notes;
use crate::support::{Project, eventually};
use crate::websocket::{Client, wait_for_notes};

#[test]
fn item_94_95_96_98_99_100_102_103_defect_19_connections_from_their_beginning_to_their_end() {
    let (project, mut daemon) = hello_world();
    let mut client = Client::open(&daemon, "/ws/hello");
    let welcome = client.json();
    assert_eq!(welcome["data"]["type"], "welcome", "{welcome}");
    let message = welcome["data"]["payload"]["message"].as_str().unwrap();
    let id = message.strip_prefix("Hello! You are connected as ").unwrap().to_owned();
    assert!(welcome["timestamp"].as_str().unwrap().contains('T'));
    daemon.wait_for_text(&format!("Client connected: {id}"));

    let mut other = Client::open(&daemon, "/ws/hello");
    assert_ne!(other.json()["data"]["payload"]["message"], message, "each connection has its own id");

    let asked = json!({"type": "ping", "payload": {"a": 1}});
    let answer = client.ask(&asked.to_string());
    let expected =
        json!({"type": "echo", "payload": {"original": asked, "response": "Message received successfully!"}});
    assert_eq!(answer["data"], expected);
    assert!(answer["timestamp"].as_str().unwrap().contains('T'));
    assert_eq!(other.json()["data"], expected, "the ws says broadcast: true");

    client.say(&json!({"type": "quiet", "payload": {}}).to_string());
    let answer = client.ask(&asked.to_string());
    assert_eq!(answer["data"], expected, "a handler that returns None sends nothing");
    client.close();
    assert_eq!(wait_for_notes(&project, "on_disconnect", 1)[0][0], id.as_str());
    daemon.wait_for_text(&format!("Client disconnected: {id}"));

    assert!(Client::open_with(&daemon, "/ws/hello?deny=1", &[]).is_err(), "refused by a middleware");
    drop(Client::open(&daemon, "/ws/hello").json());
    let connected = daemon.wait_for("the third line of onConnect", |text| {
        Some(text.matches("Client connected: ").count()).filter(|count| *count >= 3)
    });
    assert_eq!(connected, 3, "onConnect does not run for who is refused");
    eventually("the traces", || {
        let entries = entries(&project, &["--limit", "100"]);
        let all = ["connect", "message", "disconnect"];
        let is_there = |what: &&str| {
            let (kind, name) = (format!("websocket_{what}"), format!("HelloWorld ({what})"));
            entries.iter().any(|entry| entry["kind"] == kind.as_str() && entry["name"] == name.as_str())
        };
        all.iter().all(is_there).then_some(())
    });
}

#[test]
fn defect_06_what_handlers_of_connections_trigger_is_delivered() {
    let project = Project::of_the_original("e-commerce")
        .file(
            "src/handlers/websockets/tracking_opened.py",
            "def tracking_opened(connection, state):\n    state.trigger_event('Restocked', 5)\n    return 'opened'\n",
        )
        .file(
            "src/handlers/websockets/tracking_closed.py",
            "def tracking_closed(connection, state):\n    state.trigger_event('Restocked', 6)\n",
        );
    let daemon = project.dev();
    let mut client = Client::open(&daemon, "/ws/orders");
    assert_eq!(client.json(), "opened");
    client.close();
    for payload in [5, 6] {
        eventually("the event", || notes(&project, "log_restock").contains(&json!([payload])).then_some(()));
    }
}

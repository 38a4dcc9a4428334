//! Do messages reach handlers, and what handlers say the clients that it is meant for?
#![expect(clippy::unwrap_used, reason = "tests")]

use serde_json::{Value, json};
use tungstenite::{Bytes, Message};

use crate::support::{eventually, text};
use crate::websocket::{Client, noted, project, wait_for_notes};

/// Opens a chat; its id is what it is welcomed with.
fn chat(daemon: &crate::support::Daemon) -> (Client, String) {
    let mut client = Client::open(daemon, "/ws/chat/blue");
    let id = client.json()["welcome"].as_str().unwrap().to_owned();
    (client, id)
}

#[test]
fn a_connection_has_one_id_from_its_beginning_to_its_end() {
    let project = project("");
    let daemon = project.run();
    let headers = [("x-test", "yes"), ("cookie", "c=d")];
    let (mut client, _) = Client::open_with(&daemon, "/ws/chat/a%20b?q=1&r=%C3%A9", &headers).unwrap();
    let id = client.json()["welcome"].clone();
    assert_eq!(id.as_str().map(str::len), Some(36));
    assert_eq!(client.ask(r#"{"kind": "id"}"#), id);
    client.close();
    let opened = wait_for_notes(&project, "open", 1);
    let expected = json!([id, "/ws/chat/{lobby}", {"lobby": "a b"}, {"q": "1", "r": "é"}, "yes", "d", "127.0.0.1"]);
    assert_eq!(Value::from(opened[0].clone()), expected);
    assert_eq!(wait_for_notes(&project, "left", 1), [[id, json!(1005), json!("")]]);
}

#[test]
fn what_handlers_return_goes_to_the_sender_alone() {
    let project = project("");
    let daemon = project.run();
    let (mut first, one) = chat(&daemon);
    let (mut second, two) = chat(&daemon);
    assert_ne!(one, two);
    // Transformed as the schema says.
    assert_eq!(first.ask(r#"{"kind": "echo", "text": "  hi "}"#), json!({"echo": "hi"}));
    assert!(second.is_silent());
    // Nothing is returned, so nothing is sent.
    first.say(r#"{"kind": "none"}"#);
    assert_eq!(first.ask(r#"{"kind": "id"}"#), json!(one));
    assert_eq!(second.ask(r#"{"kind": "id"}"#), json!(two));
}

#[test]
fn a_websocket_that_broadcasts_answers_all_of_its_clients_once() {
    let project = project("");
    let daemon = project.run();
    let mut clients: Vec<_> = (0..5).map(|_| Client::open(&daemon, "/ws/loud")).collect();
    let (mut other, _) = chat(&daemon);
    // Once each has been answered, all of them are open.
    for sender in 0..clients.len() {
        clients[sender].say(&sender.to_string());
        assert!(clients.iter_mut().all(|client| client.json() == json!(sender)));
    }
    assert!(other.is_silent());
    clients[0].say("no JSON");
    assert_eq!(clients[0].json()["code"], "malformed_json");
    clients[1].say("true");
    assert!(clients.iter_mut().all(|client| client.json() == json!(true)));
}

#[test]
fn a_message_that_is_wrong_is_answered_with_an_error_and_the_connection_stays() {
    let project = project("");
    let daemon = project.run();
    let (mut client, id) = chat(&daemon);
    let malformed = client.ask("{");
    assert_eq!(
        (&malformed["code"], malformed["trace_id"].as_str().map(str::len)),
        (&json!("malformed_json"), Some(32))
    );
    let invalid = client.ask(r#"{"text": "longer than twenty characters", "code": "x"}"#);
    assert_eq!(invalid["code"], "invalid");
    let paths: Vec<_> = invalid["details"].as_array().unwrap().iter().map(|fault| fault["path"].clone()).collect();
    assert_eq!(paths, [json!(["text"]), json!(["code"]), json!(["kind"])]);
    assert!(invalid["error"].as_str().unwrap().contains("2 more"), "{invalid}");
    client.0.send(Message::binary(&b"\0"[..])).unwrap();
    assert_eq!(client.json()["code"], "binary_message");
    assert_eq!(client.ask(r#"{"kind": "id"}"#), json!(id));
}

#[test]
fn a_handler_that_fails_is_an_error_to_its_sender() {
    let project = project("");
    let daemon = project.run();
    let (mut client, id) = chat(&daemon);
    let failed = client.ask(r#"{"kind": "fail"}"#);
    assert_eq!(failed["code"], "handler_failed");
    assert!(!failed["error"].as_str().unwrap().contains("secret"), "{failed}");
    let conflict = client.ask(r#"{"kind": "conflict"}"#);
    assert_eq!((&conflict["error"], &conflict["code"]), (&json!("taken"), &json!("conflict")));
    assert_eq!(client.ask(r#"{"kind": "id"}"#), json!(id));
    let shown = text(&project.rohas(&["traces", "show", failed["trace_id"].as_str().unwrap()]).stdout);
    assert!(shown.contains("secret particulars") && shown.contains("Chat (message)"), "{shown}");
    drop(daemon);
    let daemon = project.dev();
    let (mut client, _) = chat(&daemon);
    assert!(client.ask(r#"{"kind": "fail"}"#)["error"].as_str().unwrap().contains("secret particulars"));
}

#[test]
fn a_connection_whose_first_handler_fails_is_closed() {
    let project = project("");
    let daemon = project.run();
    let mut client = Client::open(&daemon, "/ws/shut");
    assert_eq!(client.json()["code"], "handler_failed");
    assert_eq!(client.closed().0, 1011);
    assert_eq!(wait_for_notes(&project, "shut left", 1), [[json!(1011)]]);
}

#[test]
fn bytes_are_binary_frames() {
    let project = project("");
    let daemon = project.run();
    let mut raw = Client::open(&daemon, "/ws/raw");
    raw.0.send(Message::binary(vec![0, 1, 0xff])).unwrap();
    assert_eq!(raw.next(), Message::Binary(Bytes::from_static(&[0xff, 1, 0])));
    // As JSON they are base64.
    raw.say("\"AAH/\"");
    assert_eq!(raw.next(), Message::Binary(Bytes::from_static(&[0xff, 1, 0])));
    assert_eq!(raw.ask("\"no base64\"")["code"], "invalid");
}

#[test]
fn bytes_that_are_returned_are_the_payload_of_an_event() {
    let project = project("");
    let daemon = project.run();
    let mut raw = Client::open(&daemon, "/ws/raw");
    for (sent, returned) in [(&b"\0\xff"[..], &b"\xff\0"[..]), (b"llun", b"null"), (b"", b"")] {
        raw.0.send(Message::binary(sent)).unwrap();
        assert_eq!(raw.next(), Message::Binary(Bytes::from_static(returned)));
    }
    assert_eq!(daemon.post("/bits", "").status, 200);
    let mut bits = wait_for_notes(&project, "bits", 4);
    bits.sort_by_key(|note| note[0].to_string());
    assert_eq!(bits, [[json!("")], [json!("01fe")], [json!("6e756c6c")], [json!("ff00")]]);
}

#[test]
fn without_a_type_anything_is_a_message() {
    let project = project("");
    let daemon = project.run();
    let mut free = Client::open(&daemon, "/ws/free");
    assert_eq!(free.ask(r#"{"a": [1]}"#), json!({"got": {"a": [1]}}));
    assert_eq!(free.ask("hello"), json!({"got": {"data": "hello"}}));
    free.0.send(Message::binary(vec![1, 2])).unwrap();
    assert_eq!(free.next(), Message::Binary(Bytes::from_static(&[1, 2])));
}

#[test]
fn any_handler_can_send_to_connections() {
    let project = project("");
    let daemon = project.run();
    let (mut first, one) = chat(&daemon);
    let (mut second, two) = chat(&daemon);
    assert_eq!(daemon.post("/push", &json!({"to": one, "data": {"a": 1}}).to_string()).status, 200);
    assert_eq!(first.json(), json!({"a": 1}));
    assert_eq!(daemon.post("/push", &json!({"to": two, "bytes": true}).to_string()).status, 200);
    assert_eq!(second.next(), Message::Binary(Bytes::from_static(&[0, 0xff])));
    for unknown in ["nobody", "00000000-0000-4000-8000-000000000000"] {
        assert_eq!(daemon.post("/push", &json!({"to": unknown, "data": 1}).to_string()).status, 200);
    }
    assert_eq!(daemon.post("/push", &json!({"ws": "Chat", "data": 2, "exclude": one}).to_string()).status, 200);
    assert_eq!(second.json(), json!(2));
    assert_eq!(daemon.post("/push", &json!({"ws": "Caht", "data": 2}).to_string()).status, 500);
    assert_eq!(daemon.post("/push", &json!({"event": {"x": 1}}).to_string()).status, 200);
    for client in [&mut first, &mut second] {
        assert_eq!(client.json(), json!({"event": {"x": 1}}));
    }
    second.say(&json!({"kind": "send", "to": one}).to_string());
    assert_eq!(first.json(), json!({"from": two}));
}

#[test]
fn a_cron_job_can_send_to_connections() {
    let tick = "
        import os
        async def handle_tick(req, state):
            state.ws.broadcast('Chat', {'tick': req['cron_name']})
            if os.path.exists('id'):
                state.ws.send(open('id').read(), 'for you')
        ";
    let project = project("")
        .file("schema/tick.ro", "cron Tick { schedule: \"* * * * * *\" }")
        .file("src/handlers/cron/tick.py", tick);
    let daemon = project.run();
    let (mut first, one) = chat(&daemon);
    let (mut second, _) = chat(&daemon);
    for client in [&mut first, &mut second] {
        assert_eq!(client.json(), json!({"tick": "Tick"}));
    }
    project.write("id", &one);
    let said = std::iter::from_fn(|| Some(first.json())).find(|said| *said != json!({"tick": "Tick"}));
    assert_eq!(said, Some(json!("for you")));
    assert_eq!(second.json(), json!({"tick": "Tick"}));
}

#[test]
fn nothing_comes_before_what_a_connection_is_welcomed_with() {
    let project = project("");
    let daemon = project.run();
    let mut client = Client::open(&daemon, "/ws/slow");
    let id = wait_for_notes(&project, "opening", 1)[0][0].clone();
    for push in [json!({"ws": "Slow", "data": "to all"}), json!({"to": id, "data": "to one"})] {
        assert_eq!(daemon.post("/push", &push.to_string()).status, 200);
    }
    project.write("go", "");
    let said: Vec<_> = (0..4).map(|_| client.json()).collect();
    assert_eq!(said, [json!("welcome"), json!("own"), json!("to all"), json!("to one")]);
}

#[test]
fn rooms_hold_those_who_joined_and_have_not_left() {
    let project = project("");
    let daemon = project.run();
    let mut clients: Vec<_> = (0..3).map(|_| chat(&daemon).0).collect();
    for client in &mut clients[..2] {
        assert_eq!(client.ask(r#"{"kind": "join", "room": "red"}"#), json!("joined"));
    }
    assert_eq!(clients[2].ask(r#"{"kind": "room", "room": "red", "text": "one"}"#), json!("told"));
    assert_eq!(clients[0].json(), json!({"room": "one"}));
    assert_eq!(clients[1].json(), json!({"room": "one"}));
    // The sender is left out, since the handler asks for it.
    assert_eq!(clients[0].ask(r#"{"kind": "room", "room": "red", "text": "two"}"#), json!("told"));
    assert_eq!(clients[1].json(), json!({"room": "two"}));
    assert_eq!(clients[1].ask(r#"{"kind": "leave", "room": "red"}"#), json!("left"));
    assert_eq!(clients[0].ask(r#"{"kind": "room", "room": "red", "text": "three"}"#), json!("told"));
    assert!(clients.iter_mut().all(Client::is_silent));
}

#[test]
fn what_a_handler_sends_comes_in_its_order_and_before_its_result() {
    let project = project("");
    let daemon = project.run();
    let (mut client, _) = chat(&daemon);
    client.say(r#"{"kind": "stream"}"#);
    let parts: Vec<_> = (0..4).map(|_| client.json()["part"].clone()).collect();
    assert_eq!(parts, [json!(0), json!(1), json!(2), json!("last")]);
}

#[test]
fn a_handler_can_close_a_connection() {
    let project = project("");
    let daemon = project.run();
    let (mut client, id) = chat(&daemon);
    client.say(r#"{"kind": "close", "code": 4001}"#);
    assert_eq!(client.json(), json!("last words"));
    assert_eq!(client.closed(), (4001, "as you wish".to_owned()));
    assert_eq!(wait_for_notes(&project, "left", 1), [[json!(id), json!(4001), json!("as you wish")]]);
}

#[test]
fn messages_are_handled_one_after_the_other_while_pings_are_answered_and_pushes_go_out() {
    let project = project("");
    let daemon = project.run();
    let (mut client, id) = chat(&daemon);
    client.say(r#"{"kind": "wait", "text": "a"}"#);
    wait_for_notes(&project, "waiting", 1);
    client.0.send(Message::Ping(Bytes::from_static(b"there?"))).unwrap();
    assert_eq!(client.0.read().unwrap(), Message::Pong(Bytes::from_static(b"there?")));
    client.say(r#"{"kind": "wait", "text": "b"}"#);
    client.say(r#"{"kind": "echo", "text": "c"}"#);
    assert_eq!(daemon.post("/push", &json!({"to": id, "data": "meanwhile"}).to_string()).status, 200);
    assert_eq!(client.json(), json!("meanwhile"));
    assert_eq!(noted(&project, "waiting"), [[json!("a")]]);
    project.write("go", "");
    assert_eq!(
        [client.json(), client.json(), client.json()],
        [json!({"waited": "a"}), json!({"waited": "b"}), json!({"echo": "c"})]
    );
}

#[test]
fn an_event_follows_a_message_that_was_answered_or_that_set_its_payload() {
    let project = project("");
    let daemon = project.run();
    let (mut client, _) = chat(&daemon);
    assert_eq!(client.ask(r#"{"kind": "echo", "text": "one"}"#), json!({"echo": "one"}));
    client.say(r#"{"kind": "none"}"#);
    client.say(r#"{"kind": "set", "text": "two"}"#);
    assert_eq!(client.ask(r#"{"kind": "fail"}"#)["code"], "handler_failed");
    assert_eq!(client.ask(r#"{"kind": "echo", "text": "three"}"#), json!({"echo": "three"}));
    let mut said = wait_for_notes(&project, "said", 3);
    said.sort_by_key(|note| note[0].to_string());
    assert_eq!(said, [[json!({"echo": "one"})], [json!({"echo": "three"})], [json!({"set": "two"})]]);
}

#[test]
fn connects_messages_and_disconnects_are_traced() {
    let project = project("");
    let daemon = project.run();
    let (mut client, _) = chat(&daemon);
    assert_eq!(client.ask(r#"{"kind": "echo", "text": "x"}"#), json!({"echo": "x"}));
    assert_eq!(client.ask("{")["code"], "malformed_json");
    client.close();
    let listed = eventually("the traces", || {
        let listed = project.rohas(&["traces", "list", "--json"]);
        let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
        let entries = listed["entries"].as_array().unwrap();
        let of = |kind: &str| -> Vec<Value> { entries.iter().filter(|entry| entry["kind"] == kind).cloned().collect() };
        Some((of("websocket_connect"), of("websocket_message"), of("websocket_disconnect")))
            .filter(|kinds| !kinds.2.is_empty())
    });
    assert_eq!((&listed.0[0]["name"], &listed.0[0]["handler"]), (&json!("Chat (connect)"), &json!("chat_open")));
    assert_eq!(listed.0[0]["status"], "ok");
    let messages: Vec<_> = listed.1.iter().map(|entry| (&entry["name"], &entry["status"])).collect();
    let name = json!("Chat (message)");
    assert_eq!(messages, [(&name, &json!("rejected")), (&name, &json!("ok"))]);
    assert_eq!(listed.2[0]["name"], "Chat (disconnect)");
}

//! Do subscriptions show how far they are, and can they be paused, resumed, pruned and handed old events again?
#![expect(clippy::panic, clippy::unwrap_used, reason = "tests")]

use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::support::{Daemon, Project, eventually, text};

const MEMORY: &str = "memory";
const ROCKSDB: &str = "rocksdb";

const SCHEMA: &str = "event Noted { payload: Json handler: [note, other] }\n";

/// A project whose handlers write down what they see.
fn project(adapter: &str) -> Project {
    let handler = |name: &str| {
        format!(
            "async def {name}(event, state):\n    with open('{name}', 'a') as file:\n        file.write(f'{{event.payload[\"n\"]}}\\n')\n"
        )
    };
    Project::new()
        .file(
            "config/rohas.toml",
            &format!("[project]\nname = \"test\"\n[python]\nworkers = 1\n[adapter]\ntype = \"{adapter}\"\n"),
        )
        .file("schema/all.ro", SCHEMA)
        .file("src/handlers/events/note.py", &handler("note"))
        .file("src/handlers/events/other.py", &handler("other"))
}

fn ok(project: &Project, arguments: &[&str]) -> String {
    let output = project.rohas(arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

fn json_of(project: &Project, arguments: &[&str]) -> Value {
    let shown = ok(project, &[arguments, &["--json"]].concat());
    serde_json::from_str(&shown).unwrap_or_else(|error| panic!("{error}: {shown}"))
}

/// The subscription of the event to that handler, if there is one.
fn subscription(project: &Project, handler: &str) -> Option<Value> {
    let all = json_of(project, &["subscriptions", "list"]);
    all["subscriptions"].as_array().unwrap().iter().find(|subscription| subscription["handler"] == handler).cloned()
}

fn publish(project: &Project, numbers: impl IntoIterator<Item = u32>) {
    for n in numbers {
        ok(project, &["events", "publish", "Noted", &format!("{{\"n\": {n}}}")]);
    }
}

fn noted(project: &Project, handler: &str) -> Vec<u32> {
    let written = std::fs::read_to_string(project.path().join(handler)).unwrap_or_default();
    written.lines().map(|line| line.parse().unwrap()).collect()
}

fn wait_for(project: &Project, handler: &str, wanted: &[u32]) {
    eventually(&format!("{wanted:?} at {handler}"), || {
        let mut numbers = noted(project, handler);
        numbers.sort_unstable();
        (numbers == wanted).then_some(())
    });
}

fn complaint(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    text(&output.stderr)
}

fn a_paused_handler_waits_and_the_others_go_on(adapter: &str) {
    let project = project(adapter);
    let _daemon = project.dev();
    assert_eq!(ok(&project, &["subscriptions", "pause", "Noted", "--handler", "note"]), "paused Noted--note\n");
    publish(&project, [1, 2, 3]);
    wait_for(&project, "other", &[1, 2, 3]);
    let paused = subscription(&project, "note").unwrap();
    assert_eq!((&paused["paused"], &paused["waiting"], &paused["in_flight"]), (&json!(true), &json!(3), &json!(0)));
    assert!(paused["lag_ms"].as_u64().unwrap() > 0 && paused["oldest"].is_string(), "{paused}");
    assert_eq!(paused["declared"], true);
    let table = ok(&project, &["subscriptions", "list"]);
    assert!(table.starts_with("EVENT") && table.contains("paused") && table.contains("active"), "{table}");
    assert!(noted(&project, "note").is_empty());

    ok(&project, &["subscriptions", "resume", "Noted"]);
    wait_for(&project, "note", &[1, 2, 3]);
    let done = || subscription(&project, "note").filter(|subscription| subscription["in_flight"] == 0);
    let done = eventually("the acks", done);
    assert_eq!((&done["paused"], &done["waiting"], &done["lag_ms"]), (&json!(false), &json!(0), &json!(0)));
}

#[test]
fn a_paused_handler_waits_in_memory() {
    a_paused_handler_waits_and_the_others_go_on(MEMORY);
}

#[test]
fn a_paused_handler_waits_on_disk() {
    a_paused_handler_waits_and_the_others_go_on(ROCKSDB);
}

#[test]
fn a_pause_on_disk_lasts_over_a_restart() {
    let project = project(ROCKSDB);
    let mut daemon = project.dev();
    ok(&project, &["subscriptions", "pause", "Noted", "--handler", "note"]);
    assert!(daemon.stop().success());
    assert_eq!(subscription(&project, "note").unwrap()["paused"], true, "without a daemon");
    let _again = project.dev();
    publish(&project, [1]);
    wait_for(&project, "other", &[1]);
    assert_eq!(subscription(&project, "note").unwrap()["waiting"], 1);
    assert!(noted(&project, "note").is_empty());
}

/// Removes the handler `other` from the schema and waits until the daemon has noticed.
fn remove_other(project: &Project) {
    project.write("schema/all.ro", "event Noted { payload: Json handler: [note] }\n");
    let retired = || subscription(project, "other").filter(|subscription| subscription["declared"] == false);
    eventually("the edit", retired);
}

fn what_the_schema_no_longer_declares_can_be_pruned(adapter: &str) {
    let project = project(adapter);
    let _daemon = project.dev();
    ok(&project, &["subscriptions", "pause", "Noted", "--handler", "other"]);
    publish(&project, [1, 2]);
    let refused = complaint(&project.rohas(&["subscriptions", "prune", "Noted", "--handler", "other"]), 1);
    assert!(refused.contains("the schema declares Noted--other"), "{refused}");
    remove_other(&project);
    publish(&project, [3]);
    assert_eq!(subscription(&project, "other").unwrap()["waiting"], 2, "something new entered it");

    let diagnosed = json_of(&project, &["doctor"]);
    let check = diagnosed.as_array().unwrap().iter().find(|check| check["name"] == "subscriptions").unwrap();
    assert_eq!(check["verdict"], "warning");
    assert!(check["found"].as_str().unwrap().contains("Noted--other"), "{check}");
    assert!(check["remedy"].as_str().unwrap().contains("rohas subscriptions prune"), "{check}");

    let pruned = json_of(&project, &["subscriptions", "prune", "--all"]);
    assert_eq!(pruned, json!([{"event": "Noted", "handler": "other", "messages": 2}]));
    assert_eq!(subscription(&project, "other"), None);
    wait_for(&project, "note", &[1, 2, 3]);
    assert_eq!(json_of(&project, &["subscriptions", "prune", "--all"]), json!([]));
}

#[test]
fn what_the_schema_no_longer_declares_can_be_pruned_in_memory() {
    what_the_schema_no_longer_declares_can_be_pruned(MEMORY);
}

#[test]
fn what_the_schema_no_longer_declares_can_be_pruned_on_disk() {
    what_the_schema_no_longer_declares_can_be_pruned(ROCKSDB);
}

#[test]
fn what_was_removed_while_no_daemon_ran_can_be_pruned_without_one() {
    let project = project(ROCKSDB);
    let mut daemon = project.dev();
    assert!(daemon.stop().success());
    project.write("schema/all.ro", "event Noted { payload: Json handler: [note] }\n");
    assert_eq!(subscription(&project, "other").unwrap()["declared"], false);
    let pruned = json_of(&project, &["subscriptions", "prune", "Noted", "--handler", "other"]);
    assert_eq!(pruned[0]["messages"], 0);
    assert_eq!(subscription(&project, "other"), None);
    assert!(subscription(&project, "note").is_some());
}

#[test]
fn unknown_names_are_answered_with_the_known_ones() {
    let project = project(MEMORY);
    let _daemon = project.dev();
    for arguments in [
        vec!["subscriptions", "pause", "Nothing"],
        vec!["subscriptions", "resume", "Noted", "--handler", "nobody"],
        vec!["events", "replay", "Noted", "--handler", "nobody", "--since", "1h"],
    ] {
        let said = complaint(&project.rohas(&arguments), 1);
        assert!(said.contains("there is no subscription") && said.contains("Noted--note"), "{said}");
    }
    for arguments in [vec!["events", "tail", "Nothing"], vec!["events", "publish", "Nothing"]] {
        let said = complaint(&project.rohas(&arguments), 1);
        assert!(said.contains("unknown event Nothing") && said.contains("Noted"), "{said}");
    }
    complaint(&project.rohas(&["subscriptions", "prune"]), 2);
    complaint(&project.rohas(&["events", "replay", "Noted", "--handler", "note", "--since", "yesterday"]), 2);
}

#[test]
fn without_a_daemon_memory_says_why_not() {
    let project = project(MEMORY);
    for arguments in [
        vec!["subscriptions", "list"],
        vec!["dlq", "list"],
        vec!["events", "tail"],
        vec!["events", "publish", "Noted", "{\"n\": 1}"],
        vec!["events", "replay", "Noted", "--handler", "note", "--since", "1h"],
    ] {
        let said = complaint(&project.rohas(&arguments), 1);
        assert!(said.contains("no daemon runs this project") && said.contains("rohas dev"), "{said}");
    }
}

/// A tail that has begun; what was published before it is not in it.
fn tail(project: &Project, arguments: &[&str]) -> Daemon {
    let mut command = project.command(&[&["events", "tail", "--json"], arguments].concat());
    command.env("RUST_LOG", "rohas=debug").stdin(Stdio::null());
    let mut tail = Daemon::spawn(command);
    tail.wait_for_text("watching");
    tail
}

fn lines(tail: &Daemon) -> Vec<Value> {
    tail.stdout().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn a_tail_shows_what_passes(adapter: &str) {
    let project = project(adapter);
    let mut daemon = project.dev();
    publish(&project, [1]);
    let mut limited = tail(&project, &["Noted", "-n", "2"]);
    let mut open = tail(&project, &[]);
    publish(&project, [2, 3, 4]);
    assert!(limited.wait().success());
    let seen: Vec<Value> = lines(&limited).iter().map(|line| line["data"]["n"].clone()).collect();
    assert_eq!(seen, [2, 3]);
    assert_eq!(lines(&limited)[0]["type"], "Noted");
    eventually("three lines", || (lines(&open).len() == 3).then_some(()));
    open.signal("-INT");
    assert!(open.wait().success());

    let mut cut = tail(&project, &[]);
    assert!(daemon.stop().success());
    assert_eq!(cut.wait().code(), Some(1));
    assert!(cut.output().contains("the daemon has ended"), "{}", cut.output());
}

#[test]
fn a_tail_shows_what_passes_in_memory() {
    a_tail_shows_what_passes(MEMORY);
}

#[test]
fn a_tail_shows_what_passes_on_disk() {
    a_tail_shows_what_passes(ROCKSDB);
}

#[test]
fn memory_has_no_past() {
    let project = project(MEMORY);
    let _daemon = project.dev();
    for arguments in [
        vec!["events", "tail", "--since", "1h"],
        vec!["events", "replay", "Noted", "--handler", "note", "--since", "1h"],
    ] {
        let said = complaint(&project.rohas(&arguments), 1);
        assert!(said.contains("the adapter memory cannot"), "{said}");
    }
}

#[test]
fn an_event_published_by_hand_has_its_key_and_waits_for_its_time() {
    let project = project(MEMORY);
    let _daemon = project.dev();
    ok(&project, &["events", "publish", "Noted", "{\"n\": 1}", "--delay", "1h"]);
    let delayed = subscription(&project, "note").unwrap();
    assert_eq!((&delayed["delayed"], &delayed["waiting"]), (&json!(1), &json!(0)));
    let mut tail = tail(&project, &["-n", "1"]);
    ok(&project, &["events", "publish", "Noted", "{\"n\": 2}", "--key", "lane", "--delay", "10ms"]);
    wait_for(&project, "note", &[2]);
    assert!(tail.wait().success());
    assert_eq!((&lines(&tail)[0]["subject"], &lines(&tail)[0]["data"]), (&json!("lane"), &json!({"n": 2})));
    complaint(&project.rohas(&["events", "publish", "Noted", "{\"n\": 3}", "--delay", "soon"]), 2);
}

#[test]
fn a_replay_hands_one_handler_what_was_handled() {
    let project = project(ROCKSDB);
    let mut daemon = project.dev();
    publish(&project, [1, 2]);
    wait_for(&project, "note", &[1, 2]);
    wait_for(&project, "other", &[1, 2]);
    let replayed = json_of(&project, &["events", "replay", "Noted", "--handler", "note", "--since", "1h"]);
    assert_eq!(replayed, json!({"event": "Noted", "handler": "note", "messages": 2}));
    wait_for(&project, "note", &[1, 1, 2, 2]);
    assert_eq!(noted(&project, "other").len(), 2, "the other handler got them too");

    let kept = ok(&project, &["events", "tail", "--since", "1h", "-n", "2", "--json"]);
    assert_eq!(kept.lines().count(), 2);
    assert!(daemon.stop().success());
    let kept = ok(&project, &["events", "tail", "Noted", "--since", "1h", "--json"]);
    assert_eq!(kept.lines().count(), 2, "without a daemon: {kept}");
    let future = ok(&project, &["events", "tail", "--since", "2999-01-01T00:00:00Z"]);
    assert_eq!(future, "");
}

#[test]
fn without_a_daemon_a_replay_is_handed_out_by_the_next_one() {
    let project = project(ROCKSDB);
    let mut daemon = project.dev();
    publish(&project, [1, 2]);
    wait_for(&project, "note", &[1, 2]);
    wait_for(&project, "other", &[1, 2]);
    assert!(daemon.stop().success());
    let replayed = json_of(&project, &["events", "replay", "Noted", "--handler", "note", "--since", "1h"]);
    assert_eq!(replayed, json!({"event": "Noted", "handler": "note", "messages": 2}));
    assert_eq!(subscription(&project, "note").unwrap()["waiting"], 2);
    let said = complaint(&project.rohas(&["events", "replay", "Noted", "--handler", "nobody", "--since", "1h"]), 1);
    assert!(said.contains("there is no subscription") && said.contains("Noted--note"), "{said}");
    let _again = project.dev();
    wait_for(&project, "note", &[1, 1, 2, 2]);
    assert_eq!(noted(&project, "other"), [1, 2], "the other handler got them too");
}

#[test]
fn what_is_published_on_disk_without_a_daemon_reaches_the_handlers_later() {
    let project = project(ROCKSDB);
    publish(&project, [1, 2]);
    assert_eq!(subscription(&project, "note").unwrap()["waiting"], 2);
    let refused = complaint(&project.rohas(&["events", "tail"]), 1);
    assert!(refused.contains("--since"), "{refused}");
    let _daemon = project.dev();
    wait_for(&project, "note", &[1, 2]);
    wait_for(&project, "other", &[1, 2]);
}

#[test]
fn a_subscription_takes_no_more_than_its_buffer_size() {
    let project = project(ROCKSDB);
    let settings = std::fs::read_to_string(project.path().join("config/rohas.toml")).unwrap();
    project.write("config/rohas.toml", &format!("{settings}buffer_size = 2\n"));
    project.write(
        "src/handlers/events/note.py",
        "
        import asyncio, os
        async def note(event, state):
            while not os.path.exists('go'):
                await asyncio.sleep(0.01)
            with open('note', 'a') as file:
                file.write(f'{event.payload[\"n\"]}\\n')
        ",
    );
    let _daemon = project.dev();
    publish(&project, [1, 2, 3, 4]);
    wait_for(&project, "other", &[1, 2, 3, 4]);
    let held = subscription(&project, "note").unwrap();
    assert_eq!((&held["in_flight"], &held["waiting"]), (&json!(2), &json!(2)));
    project.write("go", "");
    wait_for(&project, "note", &[1, 2, 3, 4]);
}

#[test]
fn a_store_that_cannot_be_opened_is_named_with_a_remedy() {
    let project = project(ROCKSDB);
    std::fs::create_dir_all(project.path().join(".rohas")).unwrap();
    std::fs::write(project.path().join(".rohas/events"), "not a directory").unwrap();
    for arguments in [vec!["dev", "--port", "0"], vec!["dlq", "list"]] {
        let said = complaint(&project.rohas(&arguments), 1);
        assert!(said.contains(".rohas/events"), "{said}");
    }
}

#[test]
fn a_store_that_does_not_open_hides_no_other() {
    let project = project(ROCKSDB);
    let settings = std::fs::read_to_string(project.path().join("config/rohas.toml")).unwrap();
    project.write("config/rohas.toml", &format!("{settings}[adapters.b]\ntype = \"rocksdb\"\npath = \".rohas/b\"\n"));
    project.write(
        "schema/all.ro",
        "event Noted { payload: Json handler: [note, other] }\nevent Else { payload: Json adapter: b }\n",
    );
    publish(&project, [1]);
    std::fs::remove_dir_all(project.path().join(".rohas/b")).unwrap();
    std::fs::write(project.path().join(".rohas/b"), "not a directory").unwrap();

    let listed = json_of(&project, &["subscriptions", "list"]);
    assert_eq!(listed["subscriptions"].as_array().unwrap().len(), 2, "{listed}");
    assert_eq!(listed["unavailable"][0]["adapter"], "adapters.b", "{listed}");
    assert!(listed["unavailable"][0]["reason"].as_str().unwrap().contains(".rohas/b"), "{listed}");
    let letters = json_of(&project, &["dlq", "list"]);
    assert_eq!((&letters["dead_letters"], &letters["unavailable"]), (&json!([]), &listed["unavailable"]));
    for arguments in [["subscriptions", "list"], ["dlq", "list"]] {
        let shown = ok(&project, &arguments);
        assert!(shown.contains("[adapters.b] is not available: "), "{shown}");
    }
    let shown = ok(&project, &["subscriptions", "pause", "Noted"]);
    assert_eq!(shown, "paused Noted--note\npaused Noted--other\n");

    for arguments in [["subscriptions", "prune"], ["dlq", "redrive"]] {
        let said = complaint(&project.rohas(&[&arguments[..], &["--all"]].concat()), 1);
        assert!(said.contains("[adapters.b] is not available"), "{said}");
    }
    for arguments in
        [vec!["subscriptions", "pause", "Else"], vec!["dlq", "show", "0190"], vec!["events", "publish", "Else"]]
    {
        let said = complaint(&project.rohas(&arguments), 1);
        assert!(said.contains(".rohas/b"), "{arguments:?}: {said}");
    }
    let checks: Value = serde_json::from_slice(&project.rohas(&["doctor", "--json"]).stdout).unwrap();
    let mut bad = checks.as_array().unwrap().iter().filter(|check| check["verdict"] == "bad");
    assert!(bad.any(|check| check["found"].as_str().unwrap().starts_with("[adapters.b] is not available")), "{checks}");
}

#[test]
fn doctor_looks_at_the_event_store() {
    let project = project(ROCKSDB);
    let events = |verdict: &str| {
        let output = project.rohas(&["doctor", "--json"]);
        let checks: Value = serde_json::from_slice(&output.stdout).unwrap();
        let check = checks.as_array().unwrap().iter().find(|check| check["name"] == "events").unwrap().clone();
        assert_eq!(check["verdict"], verdict, "{check}");
        check["found"].as_str().unwrap().to_owned()
    };
    assert!(events("good").contains(".rohas/events"));
    let settings = std::fs::read_to_string(project.path().join("config/rohas.toml")).unwrap();
    project.write("config/rohas.toml", &format!("{settings}max_bytes = \"9000TiB\"\n"));
    assert!(events("warning").contains("less than it may grow to"));
}

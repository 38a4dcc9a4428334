//! Can dead letters be looked at, handed out again and deleted, with a daemon and without, and is none of them lost on the way?
#![expect(clippy::panic, clippy::unwrap_used, reason = "tests")]

use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Daemon, Project, eventually, kill, text};

const MEMORY: &str = "memory";
const ROCKSDB: &str = "rocksdb";

/// A project with a handler that fails until there is a file `mended`, and one that never does.
fn project(adapter: &str) -> Project {
    Project::new()
        .file(
            "config/rohas.toml",
            &format!("[project]\nname = \"test\"\n[python]\nworkers = 1\n[adapter]\ntype = \"{adapter}\"\n"),
        )
        .file(
            "schema/all.ro",
            "event Broken { payload: Json handler: [fails, works] retry: { attempts: 2, delay: 1ms } }\n",
        )
        .file(
            "src/handlers/events/fails.py",
            "
            import os
            async def fails(event, state):
                if not os.path.exists('mended'):
                    raise ValueError(f'no luck with {event.payload}')
                with open('handled', 'a') as file:
                    file.write(f'{event.payload[\"n\"]}\\n')
            ",
        )
        .file(
            "src/handlers/events/works.py",
            "
            async def works(event, state):
                with open('worked', 'a') as file:
                    file.write('once\\n')
            ",
        )
}

fn json_of(project: &Project, arguments: &[&str]) -> Value {
    let output = project.rohas(&[arguments, &["--json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output.stdout)))
}

fn letters(project: &Project, arguments: &[&str]) -> Vec<Value> {
    json_of(project, &[&["dlq", "list"], arguments].concat())["dead_letters"].as_array().unwrap().clone()
}

/// The numbers of the events that were handled, in order.
fn handled(project: &Project) -> Vec<u32> {
    let written = std::fs::read_to_string(project.path().join("handled")).unwrap_or_default();
    written.lines().map(|line| line.parse().unwrap()).collect()
}

fn publish(project: &Project, count: u32) {
    for n in 0..count {
        let output = project.rohas(&["events", "publish", "Broken", &format!("{{\"n\": {n}}}")]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    }
}

/// A daemon whose project has that many dead letters.
fn with_dead_letters(adapter: &str, count: u32) -> (Project, Daemon) {
    let project = project(adapter);
    let daemon = project.dev();
    publish(&project, count);
    let wanted = usize::try_from(count).unwrap();
    eventually("the dead letters", || (letters(&project, &["--limit", "1000"]).len() == wanted).then_some(()));
    (project, daemon)
}

fn complaint(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    text(&output.stderr)
}

fn dead_letters_say_what_happened(adapter: &str) {
    let (project, _daemon) = with_dead_letters(adapter, 2);
    let listed = letters(&project, &[]);
    let newest = &listed[0];
    assert_eq!(newest["message"]["data"], json!({"n": 1}), "newest first: {listed:#?}");
    assert_eq!(
        (&newest["event"], &newest["handler"], &newest["attempts"]),
        (&json!("Broken"), &json!("fails"), &json!(2))
    );
    assert_eq!((&newest["message"]["type"], &newest["message"]["specversion"]), (&json!("Broken"), &json!("1.0")));
    for failure in ["first", "last"] {
        let failure = &newest[failure];
        assert!(failure["message"].as_str().unwrap().contains("no luck with"), "{failure}");
        assert!(failure["traceback"].as_str().unwrap().contains("fails.py"), "{failure}");
    }
    assert!(newest["first"]["at"].as_str().unwrap() < newest["last"]["at"].as_str().unwrap(), "{newest:#}");
    // The time of death is that of the id, which counts milliseconds.
    let to_milliseconds = |time: &Value| time.as_str().unwrap()[..23].to_owned();
    assert!(to_milliseconds(&newest["last"]["at"]) <= to_milliseconds(&newest["died_at"]), "{newest:#}");
    assert_eq!(newest["message"].get("causationid"), None, "nothing caused it: {newest:#}");

    let id = newest["id"].as_str().unwrap();
    let shown = text(&project.rohas(&["dlq", "show", id]).stdout);
    for part in ["ValueError", "fails.py", "no luck with", "2 attempts", "\"n\": 1", id] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
    let table = text(&project.rohas(&["dlq", "list"]).stdout);
    assert!(table.starts_with("GIVEN UP") && table.lines().count() == 3, "{table}");
}

#[test]
fn dead_letters_in_memory_say_what_happened() {
    dead_letters_say_what_happened(MEMORY);
}

#[test]
fn dead_letters_on_disk_say_what_happened() {
    dead_letters_say_what_happened(ROCKSDB);
}

#[test]
fn filters_limits_and_abbreviated_ids_find_the_same_dead_letters() {
    let (project, _daemon) = with_dead_letters(MEMORY, 3);
    assert_eq!(letters(&project, &["--limit", "2"]).len(), 2);
    assert_eq!(letters(&project, &["--event", "Broken", "--handler", "fails"]).len(), 3);
    assert!(letters(&project, &["--handler", "works"]).is_empty());
    assert!(letters(&project, &["--event", "Other"]).is_empty());

    let id = letters(&project, &[])[1]["id"].as_str().unwrap().to_owned();
    assert_eq!(json_of(&project, &["dlq", "show", &id[..35]])["id"], id.as_str());
    let ambiguous = project.rohas(&["dlq", "show", &id[..4]]);
    assert!(complaint(&ambiguous, 1).contains("several dead letters begin with"));
    for (wrong, said) in [("abc", "at least 4"), ("zzzz", "hexadecimal"), ("ffff", "there is no dead letter ffff")] {
        let said_instead = complaint(&project.rohas(&["dlq", "show", wrong]), 1);
        assert!(said_instead.contains(said), "{wrong}: {said_instead}");
    }
}

fn redriven_messages_go_to_their_own_handler_only(adapter: &str) {
    let (project, _daemon) = with_dead_letters(adapter, 5);
    project.write("mended", "");
    let counts = json_of(&project, &["dlq", "redrive", "--event", "Broken"]);
    assert_eq!(counts, json!({"selected": 5, "done": 5, "left_out": 0}));
    let mut numbers = eventually("all five", || Some(handled(&project)).filter(|numbers| numbers.len() == 5));
    numbers.sort_unstable();
    assert_eq!(numbers, [0, 1, 2, 3, 4]);
    assert!(letters(&project, &[]).is_empty());
    let worked = std::fs::read_to_string(project.path().join("worked")).unwrap();
    assert_eq!(worked.lines().count(), 5, "the handler that had succeeded was run again");
}

#[test]
fn redriven_messages_in_memory_go_to_their_own_handler_only() {
    redriven_messages_go_to_their_own_handler_only(MEMORY);
}

#[test]
fn redriven_messages_on_disk_go_to_their_own_handler_only() {
    redriven_messages_go_to_their_own_handler_only(ROCKSDB);
}

#[test]
fn a_redrive_of_what_still_fails_ends() {
    let (project, _daemon) = with_dead_letters(MEMORY, 3);
    let before = letters(&project, &[]);
    assert_eq!(json_of(&project, &["dlq", "redrive", "--all"])["done"], 3);
    let again = eventually("them to fail again", || Some(letters(&project, &[])).filter(|letters| letters.len() == 3));
    assert!(again.iter().all(|letter| letter["attempts"] == 2), "attempts begin anew: {again:#?}");
    assert!(again.iter().all(|letter| !before.iter().any(|old| old["id"] == letter["id"])), "{again:#?}");
}

fn a_redrive_that_is_stopped_has_lost_and_doubled_nothing(adapter: &str) {
    let (project, _daemon) = with_dead_letters(adapter, 20);
    project.write("mended", "");
    let child = project
        .command(&["dlq", "redrive", "--all", "--rate", "5/s"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    eventually("some to be handled", || (handled(&project).len() >= 2).then_some(()));
    kill(child.id(), "-INT");
    let stopped = child.wait_with_output().unwrap();
    assert!(complaint(&stopped, 1).contains("stopped after"), "{stopped:?}");
    let left = letters(&project, &["--limit", "100"]).len();
    assert!(left > 0, "it was not stopped in time");
    eventually("those that moved", || (handled(&project).len() + left == 20).then_some(()));
    assert_eq!(json_of(&project, &["dlq", "redrive", "--all"])["done"], left);
    let mut numbers = eventually("the rest", || Some(handled(&project)).filter(|numbers| numbers.len() >= 20));
    numbers.sort_unstable();
    assert_eq!(numbers, (0..20).collect::<Vec<_>>());
}

#[test]
fn a_redrive_in_memory_that_is_stopped_has_lost_and_doubled_nothing() {
    a_redrive_that_is_stopped_has_lost_and_doubled_nothing(MEMORY);
}

#[test]
fn a_redrive_on_disk_that_is_stopped_has_lost_and_doubled_nothing() {
    a_redrive_that_is_stopped_has_lost_and_doubled_nothing(ROCKSDB);
}

#[test]
fn a_redrive_keeps_its_rate() {
    let (project, _daemon) = with_dead_letters(MEMORY, 10);
    let began = Instant::now();
    assert_eq!(json_of(&project, &["dlq", "redrive", "--all", "--rate", "20/s"])["done"], 10);
    assert!(began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());
}

#[test]
fn purged_dead_letters_are_gone_and_the_others_stay() {
    let (project, _daemon) = with_dead_letters(MEMORY, 3);
    let ids: Vec<String> =
        letters(&project, &[]).iter().map(|letter| letter["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(json_of(&project, &["dlq", "purge", &ids[1]]), json!({"selected": 1, "done": 1, "left_out": 0}));
    let left: Vec<Value> = letters(&project, &[]).iter().map(|letter| letter["id"].clone()).collect();
    assert_eq!(left, [json!(ids[0]), json!(ids[2])]);
    assert_eq!(json_of(&project, &["dlq", "purge", "--handler", "works"])["selected"], 0);
    let purged = project.rohas(&["dlq", "purge", "--all"]);
    assert_eq!(text(&purged.stdout), "2 of 2 dead letters deleted\n", "{}", text(&purged.stderr));
    assert_eq!(text(&project.rohas(&["dlq", "list"]).stdout), "no dead letters found\n");
}

#[test]
fn what_is_to_be_redriven_or_purged_must_be_said() {
    let project = project(MEMORY);
    for arguments in [
        vec!["dlq", "redrive"],
        vec!["dlq", "purge"],
        vec!["dlq", "redrive", "0190", "--all"],
        vec!["dlq", "purge", "--all", "--event", "Broken"],
        vec!["dlq", "redrive", "--all", "--rate", "fast"],
    ] {
        complaint(&project.rohas(&arguments), 2);
    }
}

#[test]
fn without_a_daemon_dead_letters_are_read_moved_and_deleted_on_disk() {
    let (project, mut daemon) = with_dead_letters(ROCKSDB, 4);
    assert!(daemon.stop().success());
    let listed = letters(&project, &[]);
    assert_eq!(listed.len(), 4);
    let oldest = listed[3]["id"].as_str().unwrap();
    assert_eq!(json_of(&project, &["dlq", "show", oldest])["message"]["data"], json!({"n": 0}));
    assert_eq!(json_of(&project, &["dlq", "purge", oldest])["done"], 1);
    assert_eq!(json_of(&project, &["dlq", "redrive", "--all"])["done"], 3);
    project.write("mended", "");
    let _again = project.dev();
    let mut numbers = eventually("the redriven ones", || Some(handled(&project)).filter(|numbers| numbers.len() == 3));
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3]);
    assert!(letters(&project, &[]).is_empty());
}

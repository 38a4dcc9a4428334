//! Are events that were published under an older declaration fitted to the present one before a handler sees them?
#![expect(clippy::panic, clippy::unwrap_used, reason = "tests")]

use std::fs;

use serde_json::{Value, json};

use crate::support::{Project, eventually, text};

const BEFORE: &str = "event Noted { payload: Json handler: [note] retry: { attempts: 3, delay: 1ms } }\n";
const AFTER: &str = "
    model Note {
      id    Int
      text  String @trim
      kind  String @default(\"plain\")
    }
    event Noted { payload: Note handler: [note] version: 2 retry: { attempts: 3, delay: 1ms } }
";

fn project() -> Project {
    Project::new()
        .file("config/rohas.toml", "[project]\nname = \"test\"\n[python]\nworkers = 1\n[adapter]\ntype = \"rocksdb\"\n")
        .file("schema/all.ro", BEFORE)
        .file(
            "src/handlers/events/note.py",
            "
            import json
            async def note(event, state):
                payload = event.payload
                note = payload if isinstance(payload, dict) else payload.model_dump()
                with open('noted', 'a') as file:
                    file.write(json.dumps(note) + '\\n')
            ",
        )
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

fn noted(project: &Project) -> Vec<Value> {
    let written = fs::read_to_string(project.path().join("noted")).unwrap_or_default();
    written.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn events_of_an_older_version_are_fitted_to_the_new_type_or_given_up() {
    let project = project();
    let mut daemon = project.dev();
    ok(&project, &["subscriptions", "pause", "Noted", "--handler", "note"]);
    for payload in [r#"{"id": 1, "text": " a "}"#, r#"{"id": "x", "other": 7}"#] {
        ok(&project, &["events", "publish", "Noted", payload]);
    }
    assert!(daemon.stop().success());
    project.write("schema/all.ro", AFTER);
    let _daemon = project.dev();
    ok(&project, &["events", "publish", "Noted", r#"{"id": 2, "text": "b", "kind": "own"}"#]);
    ok(&project, &["subscriptions", "resume", "Noted", "--handler", "note"]);

    eventually("those that fit", || (noted(&project).len() == 2).then_some(()));
    let mut handled = noted(&project);
    handled.sort_by_key(|note| note["id"].as_i64());
    assert_eq!(handled, [json!({"id": 1, "text": "a", "kind": "plain"}), json!({"id": 2, "text": "b", "kind": "own"})]);
    let letter = eventually("the dead letter", || {
        json_of(&project, &["dlq", "list"])["dead_letters"].as_array().unwrap().first().cloned()
    });
    assert_eq!((&letter["attempts"], &letter["last"]["code"]), (&json!(0), &json!("schema")), "{letter:#}");
    assert_eq!(letter["message"]["data"], json!({"id": "x", "other": 7}), "as it was published: {letter:#}");
    let reason = letter["last"]["message"].as_str().unwrap();
    assert!(reason.contains("id expected an integer") && reason.contains("text is required"), "all faults: {reason}");
    records_say_the_version(&project);
}

fn records_say_the_version(project: &Project) {
    let fitted = eventually("the records of both", || {
        let listed = json_of(project, &["traces", "list"]);
        let all = listed["entries"].as_array().unwrap().clone();
        let shown =
            |entry: &Value| json_of(project, &["traces", "show", entry["trace_id"].as_str().unwrap()]).to_string();
        let fitted: Vec<String> =
            all.iter().map(shown).filter(|shown| shown.contains("version 1 of the event")).collect();
        (fitted.len() == 2).then_some(fitted)
    });
    assert_eq!(fitted.iter().filter(|shown| shown.contains("rejected")).count(), 1, "{fitted:#?}");
    assert!(fitted.iter().all(|shown| shown.contains("rohas events publish")), "where they come from: {fitted:#?}");
}

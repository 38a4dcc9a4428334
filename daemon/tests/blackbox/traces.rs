//! Can what happened be found again, with a daemon and without?
#![expect(clippy::panic, clippy::unwrap_used, reason = "tests")]

use serde_json::Value;

use crate::support::{Daemon, Project, eventually, text};

fn project() -> Project {
    Project::new()
        .file(
            "schema/all.ro",
            r#"
            api Good { method: GET path: "/good" response: String triggers: [Happened] }
            api Bad { method: GET path: "/bad" response: String }
            event Happened { payload: Json handler: [look] }
            "#,
        )
        .file(
            "src/handlers/api/good.py",
            "
            async def handle_good(req, state):
                state.logger.info('looked at', fruit='quince')
                return 'fine'
            ",
        )
        .file("src/handlers/api/bad.py", "async def handle_bad(req):\n    raise ValueError('no fruit left')\n")
        .file("src/handlers/events/look.py", "async def look(event):\n    print('seen')\n")
}

fn entries(project: &Project, arguments: &[&str]) -> Vec<Value> {
    let arguments = [&["traces", "list", "--json"], arguments].concat();
    let output = project.rohas(&arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let listing: Value = serde_json::from_slice(&output.stdout).unwrap();
    listing["entries"].as_array().unwrap_or_else(|| panic!("no entries in {listing}")).clone()
}

fn names(project: &Project, arguments: &[&str]) -> Vec<String> {
    entries(project, arguments).iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect()
}

/// A project with one good and then one bad request, both recorded.
fn recorded() -> (Project, Daemon) {
    let project = project();
    let daemon = project.dev();
    assert_eq!(daemon.get("/good").status, 200);
    eventually("the good request", || (entries(&project, &[]).len() == 2).then_some(()));
    assert_eq!(daemon.get("/bad").status, 500);
    eventually("the bad request", || (entries(&project, &[]).len() == 3).then_some(()));
    (project, daemon)
}

/// What has to be found, whoever reads the store.
fn all_is_found(project: &Project) {
    assert_eq!(names(project, &[])[0], "Bad", "newest first");
    assert_eq!(names(project, &["--limit", "1"]), ["Bad"]);
    assert_eq!(names(project, &["--status", "failed"]), ["Bad"]);
    assert_eq!(names(project, &["--name", "look"]), ["Happened"]);
    assert_eq!(names(project, &["--kind", "delivery"]), ["Happened"]);
    assert_eq!(names(project, &["--kind", "request", "--status", "ok,rejected"]), ["Good"]);
    assert_eq!(names(project, &["--since", "1h"]).len(), 3);
    assert!(names(project, &["--since", "2999-01-01T00:00:00Z"]).is_empty());

    let bad = entries(project, &["--name", "Bad"])[0]["trace_id"].as_str().unwrap().to_owned();
    let shown = text(&project.rohas(&["traces", "show", &bad[..12]]).stdout);
    assert!(shown.contains("no fruit left") && shown.contains("bad.py") && shown.contains("handler "), "{shown}");
    let good = entries(project, &["--name", "Good"])[0]["trace_id"].as_str().unwrap().to_owned();
    let shown = text(&project.rohas(&["traces", "show", &good]).stdout);
    for part in ["Good", "Happened", "look", "looked at", "quince", "seen"] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
    let json = project.rohas(&["traces", "show", &good, "--json"]);
    serde_json::from_slice::<Value>(&json.stdout).unwrap();
    for unknown in ["00000000000000000000000000000001", "zz", "not-an-id"] {
        let output = project.rohas(&["traces", "show", unknown]);
        assert_eq!(output.status.code(), Some(1), "{unknown}");
        assert!(text(&output.stderr).starts_with("error: "), "{}", text(&output.stderr));
    }
}

#[test]
fn traces_are_found_through_the_daemon_in_its_store_and_after_a_restart() {
    let (project, mut daemon) = recorded();
    all_is_found(&project);
    assert!(daemon.stop().success());
    all_is_found(&project);
    let _again = project.dev();
    all_is_found(&project);
}

#[test]
fn the_list_for_people_has_a_line_per_entry() {
    let (project, _daemon) = recorded();
    let shown = text(&project.rohas(&["traces", "list"]).stdout);
    for part in ["Good", "Bad", "Happened", "look", "failed"] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
}

#[test]
fn before_anything_was_recorded_that_is_said() {
    let output = project().rohas(&["traces", "list"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("nothing has been recorded yet"), "{}", text(&output.stderr));
    let wrong = project().rohas(&["traces", "list", "--status", "sad"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong.stderr).contains("timed_out"), "{}", text(&wrong.stderr));
}

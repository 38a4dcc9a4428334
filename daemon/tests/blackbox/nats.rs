//! Does a project keep its word on NATS JetStream? On servers of its own, which `scripts/brokers` starts, kills and stops.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::journal::{
    Handlers, get_ok, kill_daemon, notes, notes_of, ok, project, stop, subscription, wait_until_finished,
};
use crate::support::{Project, eventually, text};

/// A server that nobody else uses, until this is dropped.
struct Server(TempDir);

impl Server {
    fn start() -> Self {
        let server = Self(tempfile::tempdir().unwrap());
        server.order("up");
        server
    }

    fn order(&self, what: &str) {
        self.brokers(&[what, "--dir", self.0.path().to_str().unwrap(), "nats"]);
    }

    fn brokers(&self, arguments: &[&str]) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/brokers");
        let output = Command::new(script).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    fn url(&self) -> String {
        let lines = self.brokers(&["env", "--dir", self.0.path().to_str().unwrap(), "nats"]);
        let named = lines.lines().find_map(|line| line.strip_prefix("export ROHAS_TEST_NATS_URL="));
        named.unwrap().trim_matches('\'').to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.brokers(&["down", "--wipe", "--dir", self.0.path().to_str().unwrap(), "nats"]);
    }
}

const SCHEMA: &str = "
    api Place { method: GET path: \"/place/{n}\" response: Json triggers: [Placed] }
    event Placed { payload: Json handler: [placed, counted] concurrency: 4 retry: { attempts: 2, delay: 10ms } }
    ";

fn shop(url: &str, more: &str) -> Project {
    let settings = format!(
        "[project]\nname = \"shop\"\n[python]\nworkers = 1\n[adapter]\ntype = \"nats\"\nurl = \"{url}\"\n{more}"
    );
    project(SCHEMA)
        .file("config/rohas.toml", &settings)
        .api("place", "return req.n")
        .event("placed", "note('begins', event.payload)\nawait wait_for('go')\nnote('ends', event.payload)")
        .event("counted", "note('counted', event.payload)\nif event.payload == 'bad': raise ValueError('bad')")
}

fn sorted(mut notes: Vec<Value>) -> Vec<Value> {
    notes.sort_by_key(|note| note[0].as_str().unwrap().parse::<u32>().unwrap());
    notes
}

fn numbers(up_to: u32) -> Vec<Value> {
    (0..up_to).map(|n| json!([n.to_string()])).collect()
}

/// Waits until each of twenty has been seen at least once.
fn wait_for_all(project: &Project, stage: &str) {
    eventually(&format!("all notes of {stage}"), || {
        let mut seen = sorted(notes(project, stage));
        seen.dedup();
        (seen == numbers(20)).then_some(())
    });
}

#[test]
fn what_was_acknowledged_survives_kills_of_the_daemon_and_of_the_broker() {
    let server = Server::start();
    let project = shop(&server.url(), "");
    let mut daemon = project.run();
    (0..20).for_each(|n| get_ok(&daemon, &format!("/place/{n}")));
    notes_of(&project, "begins", 4);
    kill_daemon(&mut daemon);
    server.order("kill");
    server.order("up");
    project.write("go", "");
    let mut next = project.run();
    wait_for_all(&project, "ends");
    wait_for_all(&project, "counted");
    wait_until_finished(&project, "placed");
    wait_until_finished(&project, "counted");
    // What was running at the kill, as far as it was not known to have ended.
    assert!(notes(&project, "counted").len() <= 24, "{:?}", notes(&project, "counted"));
    assert_eq!(notes(&project, "ends").len(), 20, "{:?}", notes(&project, "ends"));
    stop(&mut next);
}

#[test]
fn a_broker_that_is_away_costs_nothing_but_time() {
    let server = Server::start();
    let project = shop(&server.url(), "");
    project.write("go", "");
    server.order("down");
    let mut daemon = project.run();
    let readiness = daemon.get("/readyz");
    assert_eq!((readiness.status, readiness.json()["code"].as_str()), (503, Some("not_ready")), "{readiness:?}");
    assert_eq!(daemon.get("/healthz").status, 200);
    (0..5).for_each(|n| get_ok(&daemon, &format!("/place/{n}")));
    assert_eq!(notes(&project, "counted"), Vec::<Value>::new());
    server.order("up");
    assert_eq!(sorted(notes_of(&project, "counted", 5)), numbers(5));
    eventually("readiness", || (daemon.get("/readyz").status == 200).then_some(()));
    // The same while it runs.
    server.order("kill");
    (5..10).for_each(|n| get_ok(&daemon, &format!("/place/{n}")));
    server.order("up");
    assert_eq!(sorted(notes_of(&project, "ends", 10)), numbers(10));
    stop(&mut daemon);
}

#[test]
fn whoever_says_how_long_to_wait_for_the_broker_is_told_that_it_did_not_come() {
    let server = Server::start();
    let project = shop(&server.url(), "connect_timeout = \"300ms\"\n");
    server.order("down");
    ok(&project, &["codegen"]);
    let output = project.rohas(&["run"]);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("[adapter] was not reached within 300ms"), "{error}");
}

#[test]
fn what_is_given_up_is_a_dead_letter_and_can_be_redriven() {
    let server = Server::start();
    let project = shop(&server.url(), "");
    project.write("go", "");
    let mut daemon = project.run();
    get_ok(&daemon, "/place/bad");
    notes_of(&project, "ends", 1);
    eventually("the dead letter", || (subscription(&project, "counted")["dead_letters"] == 1).then_some(()));
    assert_eq!(notes(&project, "counted").len(), 2);
    ok(&project, &["dlq", "redrive", "--all"]);
    eventually("two more attempts", || (notes(&project, "counted").len() == 4).then_some(()));
    eventually("the dead letter again", || (subscription(&project, "counted")["dead_letters"] == 1).then_some(()));
    assert_eq!(notes(&project, "ends").len(), 1, "a letter goes to its own handler only");
    stop(&mut daemon);
}

//! Do projects that were written for the original Rohas run unchanged? A test's name begins with the numbers of what it shows, as in
//! `item_63_defect_12_...`; `compat/checklist.txt` says what they mean, and `make compat` reports them one by one.
#![expect(clippy::unwrap_used, reason = "tests")]

mod cli;
mod cron;
mod defects;
mod events;
mod http;
mod middlewares;
mod python;
mod schema;
mod websocket;

use std::process::Command;

use serde_json::Value;

use crate::journal::{notes, notes_of};
use crate::support::{self, Daemon, Project, Response, dedent, eventually, text};

fn hello_world() -> (Project, Daemon) {
    let project = Project::of_the_original("hello-world");
    let daemon = project.dev();
    (project, daemon)
}

fn e_commerce() -> (Project, Daemon) {
    let project = Project::of_the_original("e-commerce");
    let daemon = project.dev();
    (project, daemon)
}

/// Starts `rohas dev` with a setting from the environment.
fn dev_with(project: &Project, variable: &str, value: &str) -> Daemon {
    let mut command = project.command(&["dev", "--port", "0"]);
    command.env(variable, value);
    Daemon::start(command)
}

/// Notes of a stage, as soon as there are so many of them and nothing more is on its way.
fn settled(project: &Project, stage: &str, count: usize) -> Vec<Value> {
    let found = notes_of(project, stage, count);
    eventually("the end of all events", || {
        let listed = text(&project.rohas(&["subscriptions", "list", "--json"]).stdout);
        let listed: Value = serde_json::from_str(&listed).ok()?;
        let idle = |it: &Value| ["waiting", "delayed", "in_flight"].iter().all(|name| it[name] == 0);
        listed["subscriptions"].as_array()?.iter().all(idle).then_some(())
    });
    assert_eq!(notes(project, stage).len(), count, "{stage}");
    found
}

/// The records of the trace that an answer belongs to, once there are so many.
fn records(project: &Project, answer: &Response, count: usize) -> Vec<Value> {
    let trace = answer.header("x-request-id").unwrap();
    eventually("the trace", || {
        let shown = project.rohas(&["traces", "show", trace, "--json"]);
        let shown: Value = serde_json::from_slice(&shown.stdout).ok()?;
        shown["records"].as_array().filter(|records| records.len() >= count).cloned()
    })
}

/// Entries of `rohas traces list`, newest first.
fn entries(project: &Project, arguments: &[&str]) -> Vec<Value> {
    let listed = project.rohas(&[&["traces", "list", "--json"], arguments].concat());
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap_or_default();
    listed["entries"].as_array().cloned().unwrap_or_default()
}

/// Runs Python with the project's `src` to import from, as handlers have it.
fn python(project: &Project, code: &str) {
    let mut command = Command::new(support::python());
    command.args(["-c", &dedent(code)]).current_dir(project.path()).env("PYTHONPATH", "src");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
}

//! A project whose events are kept on disk and whose handlers note what they see, and how it is looked at from outside.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;

use serde_json::Value;

use crate::support::{Daemon, Project, dedent, eventually, kill, text};

pub(crate) const ROCKSDB: &str = "[project]\nname = \"test\"\n[python]\nworkers = 1\n[adapter]\ntype = \"rocksdb\"\n";

/// The module `journal` of a project: what its handlers note what they see with, and wait for files with.
pub(crate) const MODULE: &str = "
    import asyncio, json, os, time
    def note(*words):
        descriptor = os.open('journal', os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, (json.dumps(words) + '\\n').encode())
        os.close(descriptor)
    async def wait_for(name):
        while not os.path.exists(name):
            await asyncio.sleep(0.01)
    ";

/// A project whose events are kept on disk, and whose handlers can note what they see.
pub(crate) fn project(schema: &str) -> Project {
    let project = Project::new().file("config/rohas.toml", ROCKSDB).file("schema/schema.ro", schema);
    project.file("src/journal.py", MODULE)
}

pub(crate) trait Handlers {
    fn api(self, name: &str, body: &str) -> Self;
    fn event(self, name: &str, body: &str) -> Self;
}

impl Handlers for Project {
    fn api(self, name: &str, body: &str) -> Self {
        let code = handler(&format!("handle_{name}(req, state)"), body);
        self.file(&format!("src/handlers/api/{name}.py"), &code)
    }

    fn event(self, name: &str, body: &str) -> Self {
        let code = handler(&format!("{name}(event, state)"), body);
        self.file(&format!("src/handlers/events/{name}.py"), &code)
    }
}

fn handler(signature: &str, body: &str) -> String {
    let body: String = dedent(body).lines().map(|line| format!("    {line}\n")).collect();
    format!("from journal import *\nfrom generated.errors import *\nasync def {signature}:\n{body}")
}

/// What the handlers have noted.
pub(crate) fn journal(project: &Project) -> Vec<Value> {
    let text = fs::read_to_string(project.path().join("journal")).unwrap_or_default();
    // A daemon that is killed leaves workers behind that may still write.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The notes that begin with `stage`, without it.
pub(crate) fn notes(project: &Project, stage: &str) -> Vec<Value> {
    let lines = journal(project).into_iter().filter(|line| line[0] == stage);
    lines.map(|line| Value::from(line.as_array().unwrap()[1..].to_vec())).collect()
}

/// Waits for that many notes; more are a fault.
pub(crate) fn notes_of(project: &Project, stage: &str, count: usize) -> Vec<Value> {
    let found = eventually(&format!("{count} notes of {stage}"), || {
        Some(notes(project, stage)).filter(|notes| notes.len() >= count)
    });
    assert_eq!(found.len(), count, "{found:?}");
    found
}

pub(crate) fn ok(project: &Project, arguments: &[&str]) -> String {
    let output = project.rohas(arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

pub(crate) fn subscription(project: &Project, handler: &str) -> Value {
    let all: Value = serde_json::from_str(&ok(project, &["subscriptions", "list", "--json"])).unwrap();
    let mut all = all["subscriptions"].as_array().unwrap().iter();
    all.find(|subscription| subscription["handler"] == handler).unwrap().clone()
}

/// Waits until nothing waits for a handler or is in flight.
pub(crate) fn wait_until_finished(project: &Project, handler: &str) {
    eventually(&format!("the end of all events of {handler}"), || {
        let found = subscription(project, handler);
        ["waiting", "delayed", "in_flight"].iter().all(|count| found[count] == 0).then_some(())
    });
}

pub(crate) fn get_ok(daemon: &Daemon, path: &str) {
    let answer = daemon.get(path);
    assert_eq!(answer.status, 200, "{answer:?}");
}

pub(crate) fn kill_daemon(daemon: &mut Daemon) {
    let workers = daemon.workers();
    daemon.signal("-KILL");
    daemon.wait();
    workers.into_iter().for_each(|worker| kill(worker, "-KILL"));
}

pub(crate) fn stop(daemon: &mut Daemon) {
    assert_eq!(daemon.stop().code(), Some(0), "{}", daemon.output());
}

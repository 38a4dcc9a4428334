//! What becomes of events while a disk is full under a running daemon?
#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests")]

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::disk::SmallDisk;
use crate::journal::{
    Handlers, ROCKSDB, get_ok, kill_daemon, notes, notes_of, ok, project, stop, subscription, wait_until_finished,
};
use crate::support::{Daemon, Project, eventually, text};

/// How long the disk stays full: `ROHAS_LONG=1` makes it 30 s.
fn outage() -> Duration {
    Duration::from_secs(if std::env::var_os("ROHAS_LONG").is_some() { 30 } else { 2 })
}

/// A payload of 300 KB that no compression makes smaller. Twenty of them take more room when a store is opened again than it gives back when it is closed (4 MiB of
/// its manifest), so that a full disk stays full.
const PLACE: &str = "
    state.trigger_event('Placed', {'n': int(req.n), 'pad': os.urandom(150_000).hex()}, key='one')
    return 1
    ";

/// Requests to `/place/N`, and those of them that were answered with 200.
#[derive(Default)]
struct Load {
    next: u64,
    acknowledged: Vec<Value>,
    refused: usize,
}

impl Load {
    /// Whether it was answered with 200; otherwise it has to be with 503.
    fn place(&mut self, daemon: &Daemon) -> bool {
        let answer = daemon.get(&format!("/place/{}", self.next));
        if answer.status == 200 {
            self.acknowledged.push(json!([self.next]));
        } else {
            assert_eq!(answer.status, 503, "{answer:?}");
            assert!(answer.header("retry-after").unwrap().parse::<u32>().unwrap() >= 1, "{answer:?}");
            self.refused += 1;
        }
        self.next += 1;
        answer.status == 200
    }

    fn place_some(&mut self, daemon: &Daemon) {
        (0..20).for_each(|_| assert!(self.place(daemon)));
    }

    fn place_until_refused(&mut self, daemon: &Daemon) {
        eventually("a refused request", || (!self.place(daemon)).then_some(()));
    }

    fn place_until_accepted(&mut self, daemon: &Daemon) {
        eventually("an accepted request", || self.place(daemon).then_some(()));
    }
}

/// A project that keeps all that it stores on a small disk.
fn project_on_disk() -> Project {
    let config = ROCKSDB.replace("\"rocksdb\"", "\"rocksdb\"\npath = \"disk/events\"");
    let project = project(
        "
        api Place { method: GET path: \"/place/{n}\" response: Json }
        api Ping { method: GET path: \"/ping\" response: Json }
        event Placed { payload: Json handler: [placed, forwarded] timeout: 5m }
        event Forwarded { payload: Json handler: [seen] }
        ",
    )
    .api("place", PLACE)
    .api("ping", "return 1")
    .event("placed", "note('begins', event.payload['n'])\nawait wait_for('go')\nnote('ends', event.payload['n'])")
    .event("forwarded", "state.trigger_event('Forwarded', event.payload['n'], key='one')")
    .event("seen", "note('seen', event.payload)");
    project.file("config/rohas.toml", &format!("{config}[telemetry]\npath = \"disk/telemetry\"\n"))
}

/// A daemon whose disk has become full while the first event runs and others wait.
fn full() -> (Project, SmallDisk, Daemon, Load) {
    let project = project_on_disk();
    let disk = SmallDisk::mount(&project, "disk");
    let daemon = disk.run(&project);
    let mut load = Load::default();
    load.place_some(&daemon);
    notes_of(&project, "begins", 1);
    disk.fill();
    load.place_until_refused(&daemon);
    (project, disk, daemon, load)
}

#[test]
fn a_full_disk_refuses_publishers_lets_acks_wait_and_loses_nothing_that_was_acknowledged() {
    let (project, disk, mut daemon, mut load) = full();
    let end = Instant::now() + outage();
    project.write("go", "");
    notes_of(&project, "ends", 1);
    daemon.wait_for_text("messages could not be acked");
    while Instant::now() < end {
        load.place(&daemon);
        get_ok(&daemon, "/ping");
    }
    assert_eq!(notes(&project, "begins"), [json!([0])], "what comes behind an event that is not acked must not run");
    disk.free();
    load.place_until_accepted(&daemon);
    let count = load.acknowledged.len();
    for stage in ["begins", "ends", "seen"] {
        assert_eq!(notes_of(&project, stage, count), load.acknowledged, "{stage}");
    }
    ["placed", "forwarded", "seen"].into_iter().for_each(|handler| wait_until_finished(&project, handler));
    eventually("a request that is recorded again", || {
        let id = daemon.get("/ping").header("x-request-id").unwrap().to_owned();
        project.rohas(&["traces", "show", &id]).status.success().then_some(())
    });
    stop(&mut daemon);
    eprintln!("requests {}, acknowledged {count}, refused {}, lost 0, doubled 0", load.next, load.refused);
}

#[test]
fn what_was_acknowledged_before_the_disk_was_full_outlives_a_kill() {
    let (project, disk, mut daemon, load) = full();
    kill_daemon(&mut daemon);
    disk.free();
    project.write("go", "");
    let mut next = disk.run(&project);
    let count = load.acknowledged.len();
    assert_eq!(notes_of(&project, "ends", count), load.acknowledged);
    assert_eq!(notes_of(&project, "seen", count), load.acknowledged);
    assert_eq!(notes(&project, "begins").len(), count + 1, "only what was in flight runs again");
    ["placed", "forwarded", "seen"].into_iter().for_each(|handler| wait_until_finished(&project, handler));
    stop(&mut next);
}

#[test]
fn a_daemon_whose_disk_is_full_ends_in_time_and_the_next_one_goes_on() {
    let (project, disk, mut daemon, load) = full();
    project.write("go", "");
    notes_of(&project, "ends", 1);
    daemon.wait_for_text("messages could not be acked");
    assert_eq!(daemon.stop().code(), Some(1), "it has not written all that it should");
    assert!(
        daemon.output().lines().any(|line| line.starts_with("error: ") && line.contains("No space left")),
        "{}",
        daemon.output()
    );
    let stranded: Vec<_> =
        daemon.output().lines().filter(|line| line.contains("could not be put back")).map(str::to_owned).collect();
    assert!(stranded.len() == 1 && stranded[0].contains("count="), "one line for all of a subscription: {stranded:?}");
    let refused = disk.inside(&project.command(&["run", "--port", "0"])).output().unwrap();
    let said = text(&refused.stderr);
    assert!(refused.status.code() == Some(1) && said.contains("its disk is full; make room and start again"), "{said}");

    disk.free();
    let mut next = disk.run(&project);
    let count = load.acknowledged.len();
    assert_eq!(notes_of(&project, "seen", count), load.acknowledged);
    assert_eq!(
        notes_of(&project, "ends", count + 1)[1..],
        load.acknowledged,
        "only what could not be acked runs again"
    );
    ["placed", "forwarded", "seen"].into_iter().for_each(|handler| wait_until_finished(&project, handler));
    stop(&mut next);
}

/// The same with a second adapter, which alone is on the small disk.
fn with_a_second_adapter(schema: &str) -> Project {
    let config = format!("{ROCKSDB}[adapters.small]\ntype = \"rocksdb\"\npath = \"disk/events\"\n");
    project(schema).file("config/rohas.toml", &config)
}

/// What `subscriptions list` shows of the outbox: nothing, or how many events wait for `small` and since how many milliseconds.
fn outbox(project: &Project) -> Option<(u64, u64)> {
    let listed: Value = serde_json::from_str(&ok(project, &["subscriptions", "list", "--json"])).unwrap();
    let waiting = listed["outbox"].as_array().unwrap();
    assert!(waiting.len() <= 1, "{listed}");
    let waiting = waiting.first()?;
    assert_eq!(waiting["adapter"], "adapters.small", "{listed}");
    Some((waiting["length"].as_u64().unwrap(), waiting["age_ms"].as_u64().unwrap()))
}

#[test]
fn while_the_disk_of_an_adapter_is_full_its_events_wait_in_the_outbox_and_are_then_handled_once_and_in_order() {
    let project = with_a_second_adapter(
        "
        api Place { method: GET path: \"/place/{n}\" response: Json }
        event Placed { payload: Json handler: [placed] adapter: small }
        event Local { payload: Json handler: [local] retry: { attempts: 1 } }
        event Forwarded { payload: Json handler: [forwarded] adapter: small }
        ",
    )
    .api("place", PLACE)
    .event("placed", "note('placed', event.payload['n'])")
    .event("local", "note('local')\nstate.trigger_event('Forwarded', event.payload)")
    .event("forwarded", "note('forwarded', event.payload)");
    let disk = SmallDisk::mount(&project, "disk");
    let mut daemon = disk.run(&project);
    let mut load = Load::default();
    load.place_some(&daemon);
    notes_of(&project, "placed", 20);
    disk.fill();
    eventually("the outbox", || {
        assert!(load.place(&daemon), "a request fails because the disk of an adapter is full");
        daemon.output().contains("waits in the outbox").then_some(())
    });
    let (before, _) = outbox(&project).unwrap();
    load.place_some(&daemon);
    ok(&project, &["events", "publish", "Local", "1"]);
    notes_of(&project, "local", 1);

    let (length, age) = outbox(&project).unwrap();
    assert_eq!(length, before + 20, "what a handler emits for an event does not wait there");
    eventually("a greater age", || (outbox(&project)?.1 > age).then_some(()));
    let shown = ok(&project, &["subscriptions", "list"]);
    let line = format!("outbox: {length} for [adapters.small], which is not available; the oldest waits for ");
    assert!(shown.contains(&line), "{shown}");
    let line = shown.lines().find(|line| line.starts_with("[adapters.small] is not available: ")).unwrap();
    assert!(line.contains("No space left on device"), "{shown}");

    disk.free();
    let count = load.acknowledged.len();
    assert_eq!(notes_of(&project, "placed", count), load.acknowledged);
    notes_of(&project, "forwarded", 1);
    eventually("an empty outbox", || outbox(&project).is_none().then_some(()));
    ["placed", "local", "forwarded"].into_iter().for_each(|handler| wait_until_finished(&project, handler));
    assert_eq!(notes(&project, "placed"), load.acknowledged);
    assert_eq!(notes(&project, "forwarded").len(), 1);
    assert_eq!(subscription(&project, "local")["dead_letters"], 0, "it costs no attempt");
    stop(&mut daemon);
}

#[test]
fn a_handler_whose_emits_were_published_before_a_kill_has_no_second_effect() {
    let project = with_a_second_adapter(
        "
        api Go { method: GET path: \"/go\" response: Json triggers: [First] }
        api Fill { method: GET path: \"/fill\" response: Json }
        event First { payload: Json handler: [first] adapter: small }
        event Filler { payload: Json handler: [filler] adapter: small }
        event Second { payload: Json handler: [second] }
        ",
    )
    .api("go", "return 1")
    .api("fill", "state.trigger_event('Filler', os.urandom(150_000).hex())\nreturn 1")
    .event(
        "first",
        "
        note('begins', event.event_id)
        await wait_for('go')
        state.trigger_event('Second', 1)
        note('ends', event.event_id)
        ",
    )
    .event("filler", "pass")
    .event("second", "note('second', event.event_id)");
    let disk = SmallDisk::mount(&project, "disk");
    let mut daemon = disk.run(&project);
    get_ok(&daemon, "/go");
    notes_of(&project, "begins", 1);
    (0..20).for_each(|_| get_ok(&daemon, "/fill"));
    disk.fill();
    eventually("an adapter that is not available", || {
        get_ok(&daemon, "/fill");
        daemon.output().contains("waits in the outbox").then_some(())
    });
    project.write("go", "");
    let effect = notes_of(&project, "second", 1);
    daemon.wait_for_text("messages could not be acked");
    kill_daemon(&mut daemon);
    disk.free();

    let mut next = disk.run(&project);
    let runs = notes_of(&project, "ends", 2);
    assert_eq!(runs[0], runs[1], "the same event, which was not acked, runs again");
    ["first", "second"].into_iter().for_each(|handler| wait_until_finished(&project, handler));
    assert_eq!(notes(&project, "second"), effect);
    stop(&mut next);
}

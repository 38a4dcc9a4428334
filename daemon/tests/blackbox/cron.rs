//! Do cron jobs run when they are due, once for each slot, whatever happens to the daemon?
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use serde_json::Value;

use crate::journal::{Handlers, journal, kill_daemon, notes, ok, project, stop, subscription};
use crate::support::{Project, dedent, eventually, text};

const PREAMBLE: &str = "from journal import *\n";

trait Jobs {
    fn job(self, name: &str, signature: &str, body: &str) -> Self;
}

impl Jobs for Project {
    fn job(self, name: &str, signature: &str, body: &str) -> Self {
        let body: String = dedent(body).lines().map(|line| format!("    {line}\n")).collect();
        let code = format!("{PREAMBLE}async def handle_{name}({signature}):\n{body}");
        self.file(&format!("src/handlers/cron/{name}.py"), &code)
    }
}

/// The slots, as whole seconds, that runs have noted.
fn slots(project: &Project, stage: &str) -> Vec<i64> {
    notes(project, stage).iter().map(|note| note[0].as_i64().unwrap()).collect()
}

fn wait_for_slots(project: &Project, stage: &str, count: usize) -> Vec<i64> {
    eventually(&format!("{count} runs of {stage}"), || Some(slots(project, stage)).filter(|slots| slots.len() >= count))
}

const NOTE_SLOT: &str =
    "note('ran', int(req['scheduled_at'].timestamp()), time.time(), req['cron_name'], req['schedule'])";

#[test]
fn a_job_runs_each_second_once_and_in_time_and_what_it_emits_is_handled() {
    let project = project(
        "
        cron EachSecond { schedule: \"* * * * * *\" triggers: [Ticked] }
        event Ticked { payload: Json handler: [ticked] }
        ",
    )
    .job("each_second", "req, state", &format!("{NOTE_SLOT}\nreturn {{'slot': int(req['scheduled_at'].timestamp())}}"))
    .event("ticked", "note('ticked', event.payload['slot'])");
    let mut daemon = project.run();
    wait_for_slots(&project, "ticked", 4);
    stop(&mut daemon);
    let ran = notes(&project, "ran");
    let slots = slots(&project, "ran");
    let expected: Vec<i64> = (slots[0]..).take(slots.len()).collect();
    assert_eq!(slots, expected);
    for note in &ran {
        assert_eq!((&note[2], &note[3]), (&Value::from("EachSecond"), &Value::from("* * * * * *")));
    }
    let traces: Value =
        serde_json::from_str(&ok(&project, &["traces", "list", "--kind", "cron_run", "--json"])).unwrap();
    let entries = traces["entries"].as_array().unwrap();
    assert_eq!(entries.len(), ran.len(), "{traces}");
    assert!(entries.iter().all(|entry| entry["name"] == "EachSecond" && entry["status"] == "ok"), "{traces}");
    let own = subscription(&project, "each_second");
    assert_eq!((&own["event"], &own["dead_letters"]), (&Value::from("cron-EachSecond"), &Value::from(0)));
}

#[test]
fn a_job_that_fails_is_recorded_and_not_tried_again() {
    let project = project("cron Broken { schedule: \"* * * * * *\" }").job(
        "broken",
        "req",
        "note('ran', int(req['scheduled_at'].timestamp()))\nraise ValueError('no luck')",
    );
    let mut daemon = project.run();
    wait_for_slots(&project, "ran", 3);
    stop(&mut daemon);
    let slots = slots(&project, "ran");
    assert_eq!(slots.iter().collect::<BTreeSet<_>>().len(), slots.len(), "{slots:?}");
    let failed = ok(&project, &["traces", "list", "--kind", "cron_run", "--status", "failed"]);
    assert!(failed.contains("Broken"), "{failed}");
    let own = subscription(&project, "broken");
    assert_eq!((&own["dead_letters"], &own["waiting"], &own["in_flight"]), (&0.into(), &0.into(), &0.into()));
}

#[test]
fn a_firing_is_left_out_while_the_job_still_runs() {
    let project = project("cron Slow { schedule: \"* * * * * *\" }").job(
        "slow",
        "req",
        "note('ran', int(req['scheduled_at'].timestamp()))\nawait wait_for('go')\nnote('ended', 0)",
    );
    let mut daemon = project.run();
    daemon.wait_for_text("still busy");
    assert_eq!(slots(&project, "ran").len(), 1);
    project.write("go", "");
    let slots = wait_for_slots(&project, "ran", 2);
    assert!(slots[1] - slots[0] >= 2, "{slots:?}");
    stop(&mut daemon);
}

#[test]
fn after_a_kill_all_that_was_missed_is_run_in_order_and_nothing_twice() {
    let project = project("cron Missed { schedule: \"* * * * * *\" catchUp: all overlap: queue }").job(
        "missed",
        "req",
        "note('ran', int(req['scheduled_at'].timestamp()))",
    );
    let mut daemon = project.run();
    let before = wait_for_slots(&project, "ran", 2);
    kill_daemon(&mut daemon);
    // Some seconds pass that no daemon sees.
    let gone = before[before.len() - 1] + 3;
    eventually("the end of the downtime", || (seconds_now() > gone).then_some(()));
    let mut next = project.run();
    eventually("the missed slots", || slots(&project, "ran").contains(&(gone + 1)).then_some(()));
    stop(&mut next);
    let ran = slots(&project, "ran");
    // What was in flight when it was killed may run again; nothing else does.
    let mut once = ran.clone();
    once.dedup();
    let expected: Vec<i64> = (once[0]..).take(once.len()).collect();
    assert_eq!(once, expected, "{:?}", journal(&project));
    assert!(ran.len() - once.len() <= 1, "{ran:?}");
}

fn seconds_now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

#[test]
fn reloads_neither_lose_nor_double_a_firing() {
    let project = project("cron Steady { schedule: \"* * * * * *\" }").job(
        "steady",
        "req",
        "note('ran', int(req['scheduled_at'].timestamp()))",
    );
    let mut daemon = project.dev();
    wait_for_slots(&project, "ran", 1);
    for edit in 0..3 {
        let count = slots(&project, "ran").len();
        project.write(
            "src/handlers/cron/steady.py",
            &format!("{PREAMBLE}async def handle_steady(req):\n    note('ran', int(req['scheduled_at'].timestamp()), {edit})\n"),
        );
        eventually("a run of the edited job", || {
            notes(&project, "ran").iter().any(|note| note[1] == edit).then_some(())
        });
        wait_for_slots(&project, "ran", count + 2);
    }
    stop(&mut daemon);
    let slots = slots(&project, "ran");
    let expected: Vec<i64> = (slots[0]..).take(slots.len()).collect();
    assert_eq!(slots, expected);
}

#[test]
fn a_job_is_listed_and_runs_when_somebody_asks_for_it() {
    let project = project("cron Yearly { schedule: \"30 2 1 1 *\" timezone: \"Europe/Berlin\" }").job(
        "yearly",
        "",
        "note('ran', 0)",
    );
    let listed = || -> Value { serde_json::from_str(&ok(&project, &["cron", "list", "--json"])).unwrap() };
    let next = listed()[0]["next"].clone();
    assert!(listed()[0]["last"].is_null() && next.as_array().unwrap().len() == 3, "{next}");
    assert!(next[0].as_str().unwrap().ends_with("-01-01T01:30:00Z"), "{next}");
    let without = project.rohas(&["cron", "run", "Yearly"]);
    assert!(text(&without.stderr).contains("no daemon runs this project"), "{without:?}");

    let mut daemon = project.run();
    let started: Value = serde_json::from_str(&ok(&project, &["cron", "run", "Yearly", "--json"])).unwrap();
    wait_for_slots(&project, "ran", 1);
    let unknown = project.rohas(&["cron", "run", "Weekly"]);
    assert!(text(&unknown.stderr).contains("there is no cron job Weekly; the schema declares Yearly"), "{unknown:?}");
    eventually("the run in the list", || (listed()[0]["last"]["status"] == "ok").then_some(()));
    assert_eq!(listed()[0]["last"]["trace_id"], started["trace_id"]);
    stop(&mut daemon);
    assert_eq!(listed()[0]["last"]["trace_id"], started["trace_id"]);
    let table = ok(&project, &["cron", "list"]);
    assert!(table.contains("Europe/Berlin") && table.contains("02:30:00 +01:00"), "{table}");
}

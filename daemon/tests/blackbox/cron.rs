//! Do cron jobs run when they are due, once for each slot, whatever happens to the daemon?
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::journal::{Handlers, journal, kill_daemon, notes, ok, project, stop, subscription};
use crate::support::{Project, dedent, eventually, text};

const NOTE: &str = "note('{stage}', int(req['scheduled_at'].timestamp()))";

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
    let shown = ok(&project, &["traces", "show", entries[0]["trace_id"].as_str().unwrap(), "--json"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let run = shown["records"].as_array().unwrap().iter().find(|record| record["kind"] == "cron_run").unwrap();
    let last = jiff::Timestamp::from_second(slots[slots.len() - 1]).unwrap();
    assert_eq!(run["name"], "EachSecond");
    assert_eq!(run["cron"], json!({"schedule": "* * * * * *", "slot": last.to_string()}));
    let shown = ok(&project, &["traces", "show", entries[0]["trace_id"].as_str().unwrap()]);
    assert!(shown.contains("cron_run EachSecond") && shown.contains("schedule * * * * * * · slot "), "{shown}");
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

#[test]
fn slots_that_are_seconds_late_are_fired_and_what_is_left_out_is_counted() {
    let declared = |(name, properties)| format!("cron {name} {{ schedule: \"* * * * * *\" {properties} }}\n");
    let jobs = [("Queued", "overlap: queue"), ("Joined", "overlap: allow catchUp: latest"), ("Skipped", "")];
    let mut project = project(&jobs.map(declared).concat());
    for name in ["queued", "joined", "skipped"] {
        project = project.job(name, "req", &NOTE.replace("{stage}", name));
    }
    let mut daemon = project.run();
    wait_for_slots(&project, "joined", 1);
    daemon.signal("-STOP");
    let stopped = seconds_now();
    eventually("some seconds", || (seconds_now() > stopped + 5).then_some(()));
    daemon.signal("-CONT");
    for name in ["queued", "joined"] {
        eventually("slots after the stall", || slots(&project, name).contains(&(stopped + 7)).then_some(()));
    }
    daemon.wait_for_text("firings are left out job=Skipped slots=");
    stop(&mut daemon);
    for name in ["queued", "joined"] {
        let mut ran = slots(&project, name);
        // What may overlap may also be noted in another order.
        if name == "joined" {
            ran.sort_unstable();
        }
        assert_eq!(ran, (ran[0]..).take(ran.len()).collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn a_note_from_the_future_stops_no_job_and_is_reported() {
    let project =
        project("cron Ahead { schedule: \"* * * * * *\" }").job("ahead", "req", &NOTE.replace("{stage}", "ran"));
    let mut daemon = project.run();
    wait_for_slots(&project, "ran", 1);
    stop(&mut daemon);
    let mut jobs = ledger(&project).unwrap();
    jobs["Ahead"]["decided"] = "2099-01-01T00:00:00Z".into();
    project.write(".rohas/cron.json", &jobs.to_string());
    let ran = slots(&project, "ran").len();
    let mut daemon = project.run();
    wait_for_slots(&project, "ran", ran + 2);
    daemon.wait_for_text("job=\"Ahead\" decided=2099-01-01T00:00:00Z");
    stop(&mut daemon);
    assert!(!ledger(&project).unwrap().to_string().contains("2099"));
    // What a clock that was set back a little has been decided already is not promised again.
    let soon = jiff::Timestamp::from_second(seconds_now() + 50).unwrap();
    jobs["Ahead"]["decided"] = soon.to_string().into();
    project.write(".rohas/cron.json", &jobs.to_string());
    let listed: Value = serde_json::from_str(&ok(&project, &["cron", "list", "--json"])).unwrap();
    let next: jiff::Timestamp = listed[0]["next"][0].as_str().unwrap().parse().unwrap();
    assert_eq!(next.as_second(), soon.as_second() + 1);
}

#[test]
fn a_ledger_that_cannot_be_written_is_reported_once_with_its_cause_and_when_it_works_again() {
    let project =
        project("cron Beat { schedule: \"* * * * * *\" }").job("beat", "req", &NOTE.replace("{stage}", "ran"));
    std::fs::create_dir_all(project.path().join(".rohas/cron.json.new")).unwrap();
    let mut daemon = project.run();
    wait_for_slots(&project, "ran", 4);
    let output = daemon.output();
    assert_eq!(output.matches("could not be written down").count(), 1, "{output}");
    assert!(output.contains("cron.json.new") && output.contains("directory"), "{output}");
    std::fs::remove_dir(project.path().join(".rohas/cron.json.new")).unwrap();
    daemon.wait_for_text("is written down again");
    stop(&mut daemon);
    assert!(ledger(&project).is_some());
}

/// A schedule that is due each hour, half an hour away from now, and its latest slot.
fn each_hour() -> (String, i64) {
    let now = seconds_now();
    let latest = now - 1800 - now % 60;
    (format!("0 {} * * * *", latest / 60 % 60), latest)
}

fn ledger(project: &Project) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(project.path().join(".rohas/cron.json")).ok()?).ok()
}

#[test]
fn after_a_downtime_of_hours_each_job_catches_up_what_it_says_and_only_once() {
    let (schedule, latest) = each_hour();
    let names = ["Nothing", "Latest", "Everything"];
    let declared = |(name, catch_up): (&str, &str)| format!("cron {name} {{ schedule: \"{schedule}\" {catch_up} }}\n");
    let catch_ups = ["", "catchUp: latest", "catchUp: all"];
    let schema: String = names.into_iter().zip(catch_ups).map(declared).collect();
    let mut project =
        project(&format!("{schema}cron Beat {{ schedule: \"* * * * * *\" }}")).job("beat", "", "note('beat', 0)");
    for name in names {
        let name = name.to_lowercase();
        project = project.job(&name, "req", &format!("note('{name}', int(req['scheduled_at'].timestamp()))"));
    }
    let mut daemon = project.run();
    wait_for_slots(&project, "beat", 1);
    let mut decided = eventually("the ledger", || ledger(&project).filter(|jobs| jobs["Everything"].is_object()));
    kill_daemon(&mut daemon);
    for name in names {
        assert_eq!(slots(&project, &name.to_lowercase()), Vec::<i64>::new(), "a new job catches nothing up");
        decided[name]["decided"] = jiff::Timestamp::from_second(latest - 4 * 3600).unwrap().to_string().into();
    }
    std::fs::write(project.path().join(".rohas/cron.json"), decided.to_string()).unwrap();

    for _start in 0..2 {
        let mut daemon = project.run();
        let everything = wait_for_slots(&project, "everything", 4);
        let beats = slots(&project, "beat").len();
        wait_for_slots(&project, "beat", beats + 2);
        assert_eq!(everything, (0..4).rev().map(|hour| latest - hour * 3600).collect::<Vec<_>>());
        assert_eq!(slots(&project, "everything").len(), 4);
        assert_eq!((slots(&project, "latest"), slots(&project, "nothing")), (vec![latest], Vec::new()));
        kill_daemon(&mut daemon);
    }
}

#[test]
fn a_run_over_its_time_has_failed_and_the_next_slot_runs() {
    let project = project("cron Slow { schedule: \"* * * * * *\" timeout: 300ms }").job(
        "slow",
        "req",
        "note('ran', int(req['scheduled_at'].timestamp()))\nawait wait_for('go')\nnote('ended', 0)",
    );
    let mut daemon = project.run();
    wait_for_slots(&project, "ran", 2);
    project.write("go", "");
    wait_for_slots(&project, "ended", 1);
    stop(&mut daemon);
    let ran = slots(&project, "ran");
    assert_eq!(ran.iter().collect::<BTreeSet<_>>().len(), ran.len(), "none is tried again: {ran:?}");
    let traces = ok(&project, &["traces", "list", "--kind", "cron_run", "--status", "timed_out", "--json"]);
    let traces: Value = serde_json::from_str(&traces).unwrap();
    let entries = traces["entries"].as_array().unwrap();
    assert!(!entries.is_empty(), "{traces}");
    assert!(entries.iter().all(|entry| entry["error"]["type"] == "timeout"), "{traces}");
}

#[test]
fn a_job_that_is_removed_fires_no_more_and_comes_back_as_a_new_one() {
    const BEAT: &str = "cron Beat { schedule: \"* * * * * *\" }\n";
    const JOB: &str = "cron Gone { schedule: \"* * * * * *\" catchUp: all overlap: queue }\n";
    let both = format!("{BEAT}{JOB}");
    let project = project(&both).job("beat", "", "note('beat', 0)").job(
        "gone",
        "req",
        "note('ran', int(req['scheduled_at'].timestamp()))",
    );
    let mut daemon = project.dev();
    wait_for_slots(&project, "ran", 2);
    project.write("schema/schema.ro", BEAT);
    eventually("the removal", || (subscription(&project, "gone")["declared"] == false).then_some(()));
    let (before, beats) = (slots(&project, "ran"), slots(&project, "beat").len());
    wait_for_slots(&project, "beat", beats + 4);
    assert_eq!(slots(&project, "ran"), before);
    let added = seconds_now();
    project.write("schema/schema.ro", &both);
    let after = wait_for_slots(&project, "ran", before.len() + 2);
    stop(&mut daemon);
    assert!(after[before.len()] >= added, "{before:?}, added at {added}, {after:?}");
    assert_eq!(after[before.len() + 1], after[before.len()] + 1, "{after:?}");
}

#[test]
fn what_a_job_returns_is_emitted_and_nothing_only_where_the_event_takes_it() {
    let project = project(
        "
        model Sum { total: Int }
        cron Silent { schedule: \"* * * * * *\" triggers: [Summed, Noticed] }
        cron Telling { schedule: \"* * * * * *\" triggers: [Summed] }
        cron Saying { schedule: \"* * * * * *\" triggers: [Summed] }
        event Summed { payload: Sum handler: [summed] }
        event Noticed { payload: Json handler: [noticed] }
        ",
    )
    .job("silent", "", "note('silent', 0)")
    .job("telling", "", "return {'total': 1}")
    .job("saying", "req, state", "state.set_payload('Summed', {'total': 2})")
    .event("summed", "note('summed', event.payload.total)")
    .event("noticed", "note('noticed', event.payload)");
    let mut daemon = project.run();
    wait_for_slots(&project, "silent", 2);
    eventually("what the others emit", || {
        let totals: BTreeSet<i64> = slots(&project, "summed").into_iter().collect();
        (totals == BTreeSet::from([1, 2])).then_some(())
    });
    eventually("the event that takes nothing", || notes(&project, "noticed").contains(&json!([null])).then_some(()));
    stop(&mut daemon);
    let silent = ok(&project, &["traces", "list", "--kind", "cron_run", "--name", "Silent", "--json"]);
    let silent: Value = serde_json::from_str(&silent).unwrap();
    assert!(silent["entries"].as_array().unwrap().iter().all(|entry| entry["status"] == "ok"), "{silent}");
}

const WAITING: &str = "note('ran', int(req['scheduled_at'].timestamp()))\nawait wait_for('go')\nnote('ended', int(req['scheduled_at'].timestamp()))";

#[test]
fn queued_firings_run_one_after_the_other_and_none_is_left_out() {
    let project = project("cron Slow { schedule: \"* * * * * *\" overlap: queue }").job("slow", "req", WAITING);
    let mut daemon = project.run();
    wait_for_slots(&project, "ran", 1);
    eventually("firings that wait", || (subscription(&project, "slow")["lag_ms"].as_u64() > Some(3000)).then_some(()));
    assert_eq!((slots(&project, "ran").len(), slots(&project, "ended").len()), (1, 0));
    project.write("go", "");
    wait_for_slots(&project, "ended", 4);
    stop(&mut daemon);
    let ran = slots(&project, "ran");
    assert_eq!(ran, (ran[0]..).take(ran.len()).collect::<Vec<_>>());
    let stages: Vec<Value> = journal(&project).into_iter().map(|note| note[0].clone()).collect();
    assert!(stages.chunks(2).all(|pair| pair == ["ran", "ended"]), "{stages:?}");
}

#[test]
fn runs_that_may_overlap_do() {
    let project = project("cron Slow { schedule: \"* * * * * *\" overlap: allow }").job("slow", "req", WAITING);
    let mut daemon = project.run();
    wait_for_slots(&project, "ran", 3);
    assert_eq!(slots(&project, "ended"), Vec::<i64>::new());
    project.write("go", "");
    wait_for_slots(&project, "ended", 3);
    stop(&mut daemon);
    let ran = slots(&project, "ran");
    assert_eq!(ran, (ran[0]..).take(ran.len()).collect::<Vec<_>>());
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

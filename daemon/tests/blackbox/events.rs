//! Does every event reach each of its handlers, once, in order where asked, whatever the others do?
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use crate::support::{Daemon, Project, eventually};

/// A project whose handlers write down what they see.
fn project(schema: &str) -> Project {
    Project::new()
        .file(
            "src/journal.py",
            "
            import json, os
            def note(*words):
                line = json.dumps(words, default=str) + '\\n'
                descriptor = os.open('journal', os.O_WRONLY | os.O_APPEND | os.O_CREAT)
                os.write(descriptor, line.encode())
                os.close(descriptor)
            ",
        )
        .file("schema/schema.ro", schema)
}

trait Handlers {
    fn api(self, name: &str, body: &str) -> Self;
    fn event(self, name: &str, body: &str) -> Self;
    fn journal(&self) -> Vec<Value>;
    fn journal_of(&self, length: usize) -> Vec<Value>;
}

impl Handlers for Project {
    fn api(self, name: &str, body: &str) -> Self {
        let body = body.replace(';', "\n    ");
        let code = format!("from journal import note\nasync def handle_{name}(req, state):\n    {body}\n");
        self.file(&format!("src/handlers/api/{name}.py"), &code)
    }

    fn event(self, name: &str, body: &str) -> Self {
        let body = body.replace(';', "\n    ");
        let code = format!(
            "from journal import note\nfrom generated.errors import *\nasync def {name}(event, state):\n    {body}\n"
        );
        self.file(&format!("src/handlers/events/{name}.py"), &code)
    }

    fn journal(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path().join("journal")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Waits for that many lines; more than that is a fault.
    fn journal_of(&self, length: usize) -> Vec<Value> {
        let lines = eventually(&format!("{length} lines in the journal"), || {
            let lines = self.journal();
            (lines.len() >= length).then_some(lines)
        });
        assert_eq!(lines.len(), length, "{lines:?}");
        lines
    }
}

fn trace(project: &Project, id: &str, records: usize) -> Vec<Value> {
    let mut last = Value::Null;
    let done = || {
        let shown = project.rohas(&["traces", "show", id, "--json"]);
        last = serde_json::from_slice(&shown.stdout).ok()?;
        let found = last["records"].as_array()?.clone();
        (found.len() >= records).then_some(found)
    };
    let found = eventually(&format!("{records} records"), done);
    assert_eq!(found.len(), records, "{found:#?}");
    found
}

fn id(daemon: &Daemon, path: &str) -> String {
    let reply = daemon.get(path);
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.header("x-request-id").unwrap().to_owned()
}

#[test]
fn a_failing_handler_is_retried_alone_and_the_others_run_once() {
    let project = project(
        "
        api Go { method: GET path: \"/go\" response: Json triggers: [Happened] }
        event Happened { payload: Json handler: [fails, works, rejects, waits] retry: { attempts: 3, delay: 10ms } }
        ",
    )
    .api("go", "return {'n': 1}")
    .event("fails", "note('fails', state.attempt);raise ValueError('no')")
    .event("works", "note('works', state.attempt)")
    .event("rejects", "note('rejects', state.attempt);raise Reject('never')")
    .event("waits", "note('waits', state.attempt);if state.attempt < 2: raise Retry(after=0.02)");
    let mut daemon = project.dev();
    id(&daemon, "/go");
    daemon.wait_for("both dead letters", |text| (text.matches("a message was given up").count() == 2).then_some(()));
    let mut lines = project.journal_of(7);
    lines.sort_by_key(Value::to_string);
    let expected =
        json!([["fails", 1], ["fails", 2], ["fails", 3], ["rejects", 1], ["waits", 1], ["waits", 2], ["works", 1]]);
    assert_eq!(Value::from(lines), expected);
}

#[test]
fn events_of_one_key_keep_their_order_through_retries_and_others_do_not_wait() {
    let project = project(
        "
        type Step { lane: String number: Int }
        api Go { method: GET path: \"/go\" response: Json }
        event Moved { payload: Step handler: [moved] key: lane retry: { attempts: 5, backoff: fixed, delay: 200ms } }
        ",
    )
    .api("go", "for n in range(1, 6):;    for lane in 'ab':;        state.trigger_event('Moved', {'lane': lane, 'number': n});return 1")
    .event(
        "moved",
        "p = event.payload;bad = p.lane == 'a' and p.number == 2 and state.attempt < 4;\
         note(p.lane, p.number, state.attempt);if bad: raise ValueError('not yet')",
    );
    let daemon = project.dev();
    id(&daemon, "/go");
    let lines = project.journal_of(13);
    let lane = |name: &str| -> Vec<i64> {
        lines.iter().filter(|line| line[0] == name).map(|line| line[1].as_i64().unwrap()).collect()
    };
    assert_eq!((lane("a"), lane("b")), (vec![1, 2, 2, 2, 2, 3, 4, 5], vec![1, 2, 3, 4, 5]));
    let end_of_b = lines.iter().position(|line| *line == json!(["b", 5, 1])).unwrap();
    let end_of_a = lines.iter().position(|line| *line == json!(["a", 5, 1])).unwrap();
    assert!(end_of_b < end_of_a, "b waited for a: {lines:?}");
}

#[test]
fn what_is_triggered_carries_what_it_should() {
    let project = project(
        "
        type User { name: String }
        api Test { method: GET path: \"/test\" response: String triggers: [Auto] }
        api Fits { method: GET path: \"/fits\" response: User triggers: [Named] }
        api Wraps { method: GET path: \"/wraps\" response: User triggers: [Named] }
        api Sets { method: GET path: \"/sets\" response: String triggers: [Named, Auto] }
        event Auto { payload: Json handler: [auto] }
        event Named { payload: User handler: [named] }
        event Manual { payload: String handler: [manual] }
        ",
    )
    .api(
        "test",
        "from generated.api.test import TestResponse;state.trigger_event('Named', {'name': 'by hand'});\
         state.set_payload('Named', {'name': 'never'});state.trigger_event('Manual', {'payload': 'Hello'});\
         return TestResponse(data='Hi')",
    )
    .api("fits", "return {'name': 'plain'}")
    .api("wraps", "return {'data': {'name': 'wrapped'}}")
    .api(
        "sets",
        "state.set_payload('Named', {'name': 'first'});state.set_payload('Named', {'name': 'last'});\
                  state.trigger_event('Auto', 1);return 'x'",
    )
    .event("auto", "note('auto', event.payload)")
    .event("named", "note('named', event.payload.name)")
    .event("manual", "note('manual', event.payload)");
    let daemon = project.dev();
    let mut seen = 0;
    for (path, expected) in [
        ("/test", json!([["auto", {"data": "Hi"}], ["manual", "Hello"], ["named", "by hand"]])),
        ("/fits", json!([["named", "plain"]])),
        ("/wraps", json!([["named", "wrapped"]])),
        ("/sets", json!([["auto", 1], ["named", "last"]])),
    ] {
        let trace_id = id(&daemon, path);
        let count = expected.as_array().unwrap().len();
        let mut lines = project.journal_of(seen + count).split_off(seen);
        lines.sort_by_key(Value::to_string);
        assert_eq!(Value::from(lines), expected, "{path}");
        seen += count;
        trace(&project, &trace_id, 1 + count);
    }
}

#[test]
fn emits_stand_in_the_trace_in_call_order() {
    let project = project(
        "
        api Go { method: GET path: \"/go\" response: Json triggers: [C] }
        event A { payload: Json } event B { payload: Json } event C { payload: Json }
        ",
    )
    .api("go", "state.trigger_event('B', 1);state.trigger_event('A', 2);state.trigger_event('B', 3);return 1");
    let daemon = project.dev();
    let records = trace(&project, &id(&daemon, "/go"), 1);
    let emits = records[0]["emits"].as_array().unwrap();
    let names: Vec<_> = emits.iter().map(|emit| emit["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["B", "A", "B", "C"], "events without handlers are accepted too");
}

#[test]
fn a_failing_handler_emits_nothing() {
    let project = project(
        "
        api Raises { method: GET path: \"/raises\" response: Json triggers: [E] }
        api Unknown { method: GET path: \"/unknown\" response: Json }
        api Misfit { method: GET path: \"/misfit\" response: Json triggers: [E] }
        api Good { method: GET path: \"/good\" response: Json }
        type P { n: Int }
        event E { payload: P handler: [e] }
        ",
    )
    .api("raises", "state.trigger_event('E', {'n': 1});raise ValueError('no')")
    .api("unknown", "state.trigger_event('E', {'n': 2});state.trigger_event('Ee', {'n': 3});return 1")
    .api("misfit", "state.trigger_event('E', {'n': 4});state.trigger_event('E', {'n': 'four'});return 1")
    .api("good", "state.trigger_event('E', {'n': 5});return 1")
    .event("e", "note(event.payload.n)");
    let daemon = project.dev();
    for (path, wanted) in [("/raises", "no"), ("/unknown", "E"), ("/misfit", "n")] {
        let reply = daemon.get(path);
        assert_eq!(reply.status, 500, "{reply:?}");
        assert!(reply.json()["error"].as_str().unwrap().contains(wanted), "{reply:?}");
    }
    let unknown = daemon.get("/unknown").json()["error"].as_str().unwrap().to_owned();
    assert!(unknown.contains("Ee") && unknown.contains("declare"), "{unknown}");
    id(&daemon, "/good");
    assert_eq!(project.journal_of(1), [json!([5])]);
}

#[test]
fn a_chain_goes_through_many_handlers_in_one_trace() {
    let mut schema = String::from("api Go { method: GET path: \"/go\" response: Json triggers: [E1] }\n");
    for n in 1..8 {
        schema += &format!("event E{n} {{ payload: Json handler: [h{n}] triggers: [E{}] }}\n", n + 1);
    }
    schema += "event E8 { payload: Json handler: [h8] }\n";
    let mut project = project(&schema).api("go", "return {'n': 0}");
    for n in 1..=8 {
        project = project.event(&format!("h{n}"), "note(event.payload['n']);return {'n': event.payload['n'] + 1}");
    }
    let daemon = project.dev();
    let trace_id = id(&daemon, "/go");
    assert_eq!(project.journal_of(8), (0..8).map(|n| json!([n])).collect::<Vec<_>>());
    let records = trace(&project, &trace_id, 9);
    for (above, below) in records.iter().zip(&records[1..]) {
        assert_eq!(below["parent_span_id"], above["span_id"]);
        assert_eq!(below["event_id"], above["emits"][0]["id"]);
    }
}

#[test]
fn a_loop_of_events_ends_at_the_hop_limit() {
    let project = project(
        "
        api Go { method: GET path: \"/go\" response: Json triggers: [Round] }
        event Round { payload: Json handler: [round] triggers: [Round] retry: { attempts: 3, delay: 10ms } }
        ",
    )
    .file("config/rohas.toml", "[project]\nname = \"test\"\n[python]\nworkers = 1\n[events]\nhop_limit = 4\n")
    .api("go", "return 1")
    .event("round", "note('round');return 1");
    let mut daemon = project.dev();
    id(&daemon, "/go");
    daemon.wait_for_text("a message was given up");
    assert!(daemon.output().contains("the limit is 4"), "{}", daemon.output());
    assert_eq!(project.journal_of(4).len(), 4);
    let dead = eventually("a dead letter", || {
        let listed: Value = serde_json::from_slice(&project.rohas(&["dlq", "list", "--json"]).stdout).ok()?;
        listed["dead_letters"].get(0).cloned()
    });
    assert_eq!(dead["last"]["code"], "hop_limit", "{dead:#}");
    assert!(dead["last"]["message"].as_str().unwrap().contains("the limit is 4"), "{dead:#}");
    assert_eq!(dead["first"], dead["last"], "it is not tried again: {dead:#}");
}

#[test]
fn a_delayed_event_comes_later_than_one_that_is_not() {
    let project = project(
        "
        api Go { method: GET path: \"/go\" response: Json }
        event E { payload: Json handler: [e] }
        ",
    )
    .api(
        "go",
        "from datetime import datetime, timedelta, timezone;at = datetime.now(timezone.utc) + timedelta(seconds=1);\
         state.trigger_event('E', 'last', at=at);state.trigger_event('E', 'late', delay=0.5);\
         state.trigger_event('E', 'now');return 1",
    )
    .event("e", "note(event.payload)");
    let daemon = project.dev();
    id(&daemon, "/go");
    assert_eq!(project.journal_of(3), [json!(["now"]), json!(["late"]), json!(["last"])]);
}

#[test]
fn a_full_queue_holds_publishers_back_and_loses_nothing() {
    let project = project(
        "
        api Go { method: GET path: \"/go/{n}\" response: Json timeout: 20s triggers: [E] }
        api Try { method: GET path: \"/try\" response: Json timeout: 300ms triggers: [E] }
        event E { payload: Json handler: [e, other] concurrency: 1 }
        ",
    )
    .file(
        "config/rohas.toml",
        "[project]\nname = \"test\"\n[python]\nworkers = 1\n[adapter]\ntype = \"memory\"\nbuffer_size = 4\n",
    )
    .api("go", "return req.n")
    .api("try", "return 'tried'")
    .event("e", "import asyncio, os;while not os.path.exists('open'): await asyncio.sleep(0.01);note(event.payload)")
    .event("other", "pass");
    let daemon = project.dev();
    let requests: Vec<_> = (0..30).map(|n| daemon.background(&format!("/go/{n}"))).collect();
    eventually("four that have a place", || {
        (requests.iter().filter(|request| request.is_finished()).count() == 4).then_some(())
    });
    let refused = daemon.get("/try");
    assert_eq!((refused.status, refused.json()["code"].as_str().unwrap()), (503, "too_busy"));
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    project.write("open", "");
    for request in requests {
        assert_eq!(request.join().unwrap().unwrap().status, 200);
    }
    let lines = project.journal_of(30);
    let distinct: BTreeSet<String> = lines.iter().map(Value::to_string).collect();
    assert_eq!(distinct.len(), 30);
}

#[test]
fn a_delivery_whose_emits_find_no_room_waits_without_losing_attempts() {
    let project = project(
        "
        api Go { method: GET path: \"/go/{n}\" response: Json }
        event First { payload: Json handler: [first] timeout: 100ms retry: { attempts: 2, delay: 10ms } }
        event Second { payload: Json handler: [second] timeout: 20s concurrency: 1 }
        ",
    )
    .file(
        "config/rohas.toml",
        "[project]\nname = \"test\"\n[python]\nworkers = 1\n[adapter]\ntype = \"memory\"\nbuffer_size = 2\n",
    )
    .api("go", "state.trigger_event('First', int(req.n));return 1")
    .event("first", "state.trigger_event('Second', event.payload)")
    .event(
        "second",
        "import asyncio, os;while not os.path.exists('open'): await asyncio.sleep(0.01);note(event.payload)",
    );
    let mut daemon = project.dev();
    // The consumer of Second takes 2 in and its queue holds 2 more; as many of First may then wait for room.
    for n in 0..6 {
        id(&daemon, &format!("/go/{n}"));
    }
    daemon.wait_for("several attempts", |text| (text.matches("is full").count() >= 4).then_some(()));
    project.write("open", "");
    let distinct: BTreeSet<String> = project.journal_of(6).iter().map(Value::to_string).collect();
    assert_eq!(distinct.len(), 6);
    assert!(!daemon.output().contains("given up"), "{}", daemon.output());
}

#[test]
fn a_delivery_whose_worker_dies_comes_again_without_losing_attempts() {
    let project = project(
        "
        api Go { method: GET path: \"/go\" response: Json triggers: [E] }
        event E { payload: Json handler: [e] retry: { attempts: 1, delay: 10ms } }
        ",
    )
    .api("go", "return 1")
    .event(
        "e",
        "import os;note('begun');if not os.path.exists('died'): open('died', 'w').close(), os._exit(1);note('done')",
    );
    let daemon = project.dev();
    id(&daemon, "/go");
    assert_eq!(project.journal_of(3), [json!(["begun"]), json!(["begun"]), json!(["done"])]);
}

#[test]
fn a_delivery_that_kills_its_workers_is_given_up_after_two_alone_and_harms_nobody_meanwhile() {
    let project = project(
        "
        api Go { method: GET path: \"/go\" response: Json triggers: [Deadly] }
        api Begin { method: GET path: \"/begin\" response: Json triggers: [Long] }
        event Deadly { payload: Json handler: [kills, lives] retry: { delay: 10ms, maxDelay: 20ms } }
        event Long { payload: Json handler: [long] }
        ",
    )
    .api("go", "return 1")
    .api("begin", "return 1")
    .event("kills", "import os;note('kills', os.getpid());os._exit(1)")
    .event("lives", "import asyncio;await asyncio.sleep(0);note('lived')")
    .event(
        "long",
        "import asyncio, os;note('long', os.getpid());\
         while 'kills' not in open('journal').read(): await asyncio.sleep(0.01);note('long done')",
    );
    let mut daemon = project.dev();
    id(&daemon, "/begin");
    project.journal_of(1);
    id(&daemon, "/go");
    daemon.wait_for_text("a message was given up");
    let output = daemon.output();
    assert!(output.contains("the handler kills its worker: 2 died while they ran nothing else"), "{output}");
    assert!(!output.contains("Deadly--lives id"), "{output}");
    eventually("the other handlers", || {
        let journal = project.journal();
        (journal.contains(&json!(["lived"])) && journal.contains(&json!(["long done"]))).then_some(())
    });
    let lines = project.journal();
    let runs = |name: &str| lines.iter().filter(|line| line[0] == name).count();
    // Both were there when the first worker died, and neither when those died that the deadly one had for itself.
    assert_eq!((runs("kills"), runs("long")), (3, 2), "{lines:?}");
    id(&daemon, "/go");
}

#[test]
fn a_delivery_that_is_lost_with_others_because_one_blocked_their_worker_is_not_suspected() {
    let project = project(
        "
        api Go { method: GET path: \"/go\" response: Json triggers: [E] }
        api Spin { method: GET path: \"/spin\" response: Json timeout: 300ms }
        event E { payload: Json handler: [e] retry: { attempts: 1, delay: 10ms } }
        ",
    )
    .api("go", "return 1")
    .api("spin", "while True: pass")
    .event(
        "e",
        "import asyncio, os;note('begun');while not os.path.exists('go'): await asyncio.sleep(0.01);note('done')",
    );
    let mut daemon = project.dev();
    id(&daemon, "/go");
    project.journal_of(1);
    assert_eq!(daemon.get("/spin").status, 504);
    daemon.wait_for_text("another handler blocked it beyond its deadline");
    project.journal_of(2);
    project.write("go", "");
    assert_eq!(project.journal_of(3)[2], json!(["done"]));
    // A suspect would have had a second worker started for it.
    assert_eq!(daemon.workers().len(), 1);
}

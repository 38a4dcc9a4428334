//! Is what the original gets wrong right? Defects that belong to an item of the checklist are tested with it.

use serde_json::{Value, json};

use super::{dev_with, entries, records, settled};
use crate::journal::{notes_of, stop};
use crate::support::{Project, eventually};

#[test]
fn defect_02_events_may_be_kept_in_rocksdb() {
    let project = Project::of_the_original("hello-world");
    for count in [1, 2] {
        let mut daemon = dev_with(&project, "ROHAS_ADAPTER__TYPE", "rocksdb");
        assert_eq!(daemon.get("/test").status, 200);
        settled(&project, "manual_trigger", count);
        stop(&mut daemon);
    }
    assert!(project.path().join(".rohas/events").is_dir());
}

#[test]
fn defect_04_a_burst_beyond_the_buffer_ends_no_subscription() {
    let project = Project::of_the_original("hello-world");
    let daemon = dev_with(&project, "ROHAS_ADAPTER__BUFFER_SIZE", "2");
    let burst: Vec<_> = (0..40).map(|_| daemon.background("/timeline/fast")).collect();
    for answer in burst {
        assert_eq!(answer.join().unwrap().unwrap().status, 200);
    }
    settled(&project, "log_timeline", 40);
    assert_eq!(daemon.get("/timeline/fast").status, 200);
    settled(&project, "log_timeline", 41);
}

#[test]
fn defect_10_bodies_are_checked_and_bounded_and_queries_decoded() {
    let project = Project::of_the_original("hello-world").file(
        "src/handlers/api/health.py",
        "def handle_health(req):\n    return {'data': {'status': req.query_params['q'], 'timestamp': ''}}\n",
    );
    let daemon = project.dev();
    let invalid = daemon.post("/users", r#"{"name": 5}"#);
    assert_eq!(invalid.status, 422);
    let paths: Vec<Value> =
        invalid.json()["details"].as_array().unwrap().iter().map(|fault| fault["path"].clone()).collect();
    assert_eq!(paths, [json!(["name"]), json!(["email"])]);
    assert_eq!(daemon.post("/users", "[]").status, 422);
    let long = format!(r#"{{"name":"{}","email":"a@x.io"}}"#, "x".repeat(3 << 20));
    assert_eq!(daemon.post("/users", &long).status, 413);
    assert_eq!(daemon.get("/health?q=a%20b+%26").json()["data"]["status"], "a b &");
}

#[test]
fn defect_13_modules_are_imported_once_and_one_event_loop_runs_all() {
    let project = Project::of_the_original("hello-world").file(
        "src/handlers/api/health.py",
        "
        import asyncio, sys
        calls = 0
        async def handle_health():
            global calls
            calls += 1
            loop = id(asyncio.get_running_loop())
            return {'data': {'status': f'{calls}', 'timestamp': f'{len(sys.path)} {loop}'}}
        ",
    );
    let daemon = dev_with(&project, "ROHAS_PYTHON__WORKERS", "1");
    let first = daemon.get("/health").json()["data"].clone();
    for call in 2..5 {
        let expected = json!({"status": call.to_string(), "timestamp": first["timestamp"]});
        assert_eq!(daemon.get("/health").json()["data"], expected);
    }
}

#[test]
fn defect_17_18_the_newest_traces_are_listed_and_what_is_recorded_is_kept_unless_it_is_switched_off() {
    let project = Project::of_the_original("hello-world");
    let mut daemon = project.dev();
    let test = daemon.get("/test");
    for _ in 0..3 {
        daemon.get("/health");
    }
    eventually("all requests", || (entries(&project, &["--kind", "request"]).len() == 4).then_some(()));
    let newest = entries(&project, &["--kind", "request", "--limit", "3"]);
    assert!(newest.len() == 3 && newest.iter().all(|entry| entry["name"] == "Health"), "{newest:?}");
    stop(&mut daemon);
    let logged = records(&project, &test, 1)[0]["logs"].to_string();
    assert!(logged.contains("Hello, world!"), "{logged}");

    let before = entries(&project, &["--limit", "1000"]).len();
    let mut daemon = dev_with(&project, "ROHAS_TELEMETRY__ENABLE_TRACES", "false");
    daemon.get("/test");
    stop(&mut daemon);
    assert_eq!(entries(&project, &["--limit", "1000"]).len(), before);
    let mut daemon = dev_with(&project, "ROHAS_TELEMETRY__ENABLE_LOGS", "false");
    let test = daemon.get("/test");
    stop(&mut daemon);
    assert!(!records(&project, &test, 1)[0].to_string().contains("\"logs\""));
}

#[test]
fn defect_26_a_daemon_that_is_told_to_end_finishes_what_it_has_begun() {
    let project = Project::of_the_original("hello-world");
    let durable = || dev_with(&project, "ROHAS_ADAPTER__TYPE", "rocksdb");
    let mut daemon = durable();
    assert_eq!(daemon.get("/healthz").status, 200);
    let answer = daemon.background("/timeline/slow");
    daemon.wait_for_text("starting");
    stop(&mut daemon);
    assert_eq!(answer.join().unwrap().unwrap().status, 200);
    let _again = durable();
    assert_eq!(notes_of(&project, "log_timeline", 1)[0][0], "SlowCompleted");
}

//! Do jobs run when the original means to run them?

use std::fs;

use serde_json::json;

use super::{e_commerce, entries};
use crate::journal::{notes, notes_of, ok};
use crate::support::{Project, eventually, text};
use crate::websocket::Client;

#[test]
fn item_90_91_defect_15_a_job_runs_once_per_slot_and_its_result_is_emitted() {
    let project = Project::of_the_original("hello-world");
    let path = "src/handlers/cron/daily_cleanup.py";
    let handler = fs::read_to_string(project.path().join(path)).unwrap();
    assert!(handler.contains("sleep(0.3)"));
    project.write(path, &handler.replace("sleep(0.3)", "sleep(1.3)"));
    let _daemon = project.dev();
    let cleaned = eventually("two runs", || Some(notes(&project, "log_cleanup")).filter(|notes| notes.len() >= 2));
    assert_eq!(cleaned[0], json!([{"removed": 3}]));
    let times =
        |stage: &str| -> Vec<f64> { notes(&project, stage).iter().map(|note| note[0].as_f64().unwrap()).collect() };
    let (begun, ended) = (times("cleanup started"), times("cleanup ended"));
    assert!(begun[1] > ended[0], "one slot after the other: {begun:?}, {ended:?}");
    assert!(begun[1] - begun[0] > 1.0, "the schedule is every two seconds: {begun:?}");
    let runs = eventually("the traces", || {
        let runs = entries(&project, &["--kind", "cron_run", "--status", "ok"]);
        (runs.len() >= 2).then_some(runs)
    });
    assert_eq!((&runs[0]["name"], &runs[0]["handler"]), (&json!("DailyCleanup"), &json!("daily_cleanup")));
    assert_eq!(runs[0]["cron"]["schedule"], "*/2 * * * * *");
}

#[test]
fn item_90_93_defect_06_five_fields_are_a_schedule_and_jobs_and_connections_emit() {
    let project = Project::new().file("schema/a.ro", "cron Sometimes { schedule: \"every day\" }\n");
    let refused = project.rohas(&["validate"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("the schedule of cron `Sometimes`"), "{}", text(&refused.stderr));

    let (project, daemon) = e_commerce();
    let beats = eventually("two beats", || Some(notes(&project, "heartbeat")).filter(|notes| notes.len() >= 2));
    let restocked = eventually("what a job emits", || Some(notes(&project, "log_restock")).filter(|it| !it.is_empty()));
    assert_eq!(restocked[0], beats[0]);
    ok(&project, &["cron", "run", "CheckInventory"]);
    assert_eq!(notes_of(&project, "restock", 1), [json!([{"products": [1, 2, 3]}])]);
    let mut client = Client::open(&daemon, "/ws/orders");
    let id = client.json()["connected"].clone();
    let tracked = client.ask(r#"{"orderId":"9"}"#);
    assert_eq!((&tracked["orderId"], &tracked["for"]), (&json!("9"), &id));
    client.close();
    assert_eq!(notes_of(&project, "tracking_closed", 1), [json!([id])]);
}

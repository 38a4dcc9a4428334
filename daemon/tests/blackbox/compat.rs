//! Do projects that were written for the original Rohas run unchanged? Named after the items and defects of what is known of it.
#![expect(clippy::unwrap_used, reason = "tests")]

use serde_json::{Value, json};

use crate::journal::{notes, notes_of};
use crate::support::{Daemon, Project, Response, eventually, text};
use crate::websocket::{Client, noted};

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

fn user_without_time(response: &Response) -> Value {
    let mut body = response.json();
    let time = body["data"].as_object_mut().unwrap().remove("createdAt").unwrap();
    assert!(time.as_str().unwrap().contains('T'), "{time}");
    body
}

#[test]
fn items_30_and_31_generated_modules_are_where_handlers_import_them_from() {
    let (project, daemon) = hello_world();
    for file in [
        "__init__.py",
        "state.py",
        "models/user.py",
        "dto/create_user_input.py",
        "dto/web_socket_message.py",
        "dto/health_response_dto.py",
        "dto/timeline_test_fast_input.py",
        "api/timeline_test_multi_step.py",
        "events/user_created.py",
        "events/nobody_listens.py",
        "websockets/hello_world.py",
        "cron/__init__.py",
    ] {
        assert!(project.path().join("src/generated").join(file).is_file(), "{file}");
    }
    assert!(!daemon.output().contains("error"), "{}", daemon.output());
}

#[test]
fn items_47_48_and_55_apis_answer() {
    let (_project, daemon) = hello_world();
    let health = daemon.get("/health");
    assert_eq!((health.status, health.header("content-type")), (200, Some("application/json")));
    assert_eq!(health.json()["data"]["status"], "ok");
    assert!(health.json()["data"]["timestamp"].as_str().unwrap().contains('T'));
    assert_eq!(daemon.get("/test").json(), json!({"data": "Hello, world!s"}));
    assert_eq!((daemon.get("/nope").status, daemon.get("/users").status), (404, 405));
}

#[test]
fn items_51_52_54_and_78_bodies_arrive_flat_or_wrapped_and_the_reply_is_what_is_emitted() {
    let (project, daemon) = hello_world();
    let expected = json!({"data": {"id": 1, "name": "Ann", "email": "a@x.io"}});
    for body in [r#"{"name":"Ann","email":"a@x.io"}"#, r#"{"body":{"name":"Ann","email":"a@x.io"}}"#] {
        let created = daemon.post("/users", body);
        assert_eq!(created.status, 200, "{created:?}");
        assert_eq!(user_without_time(&created), expected);
    }
    let bad = daemon.post("/users", "{bad json");
    assert_eq!(bad.status, 400);
    assert!(bad.json()["error"].is_string());
    for sent in settled(&project, "send_welcome_email", 2) {
        assert_eq!((&sent[0]["email"], &sent[0]["id"]), (&json!("a@x.io"), &json!(1)));
    }
}

#[test]
fn item_56_any_origin_may_read_when_cors_is_enabled() {
    let (_project, daemon) = hello_world();
    let headers = [
        ("origin", "http://elsewhere.example"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type"),
    ];
    let preflight = daemon.request("OPTIONS", "/users", &headers, b"");
    assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (200, Some("*")));
    assert!(preflight.header("access-control-allow-methods").is_some());
    assert!(preflight.header("access-control-allow-headers").is_some());
}

#[test]
fn items_69_and_70_middlewares_pass_or_refuse() {
    let (project, daemon) = hello_world();
    assert_eq!(daemon.get("/test?a=1").status, 200);
    let refused = daemon.get("/test?deny=1");
    assert_eq!(refused.status, 400);
    assert!(refused.json()["error"].as_str().unwrap().contains("Access denied"));
    settled(&project, "manual_trigger", 1);
}

#[test]
fn items_74_76_77_and_81_each_event_is_delivered_once_with_its_payload() {
    let (project, daemon) = hello_world();
    assert_eq!(daemon.get("/test").status, 200);
    assert_eq!(settled(&project, "send_welcome_email", 1)[0][0]["email"], "hello@world.com");
    assert_eq!(settled(&project, "manual_trigger", 1), [json!(["Hello, world!"])]);
    assert_eq!(settled(&project, "log_bottleneck", 1), [json!([{"data": "Hello, world!s"}, "unknown"])]);
    assert_eq!(
        settled(&project, "log_welcome_email", 1),
        [json!(["hello@world.com"])],
        "emitted by a handler of an event"
    );
    assert!(daemon.output().contains("Sending welcome email to: hello@world.com"));
}

#[test]
fn items_82_and_d_05_what_a_handler_triggers_itself_is_not_emitted_for_it_again() {
    let (project, daemon) = hello_world();
    assert_eq!(daemon.get("/timeline/fast").status, 200);
    assert_eq!(settled(&project, "log_timeline", 1), [json!(["FastCompleted", {"duration": 50}])]);
}

#[test]
fn items_83_and_d_07_a_handler_that_fails_keeps_no_other_of_its_event_from_running() {
    let (project, daemon) = hello_world();
    assert_eq!(daemon.get("/timeline/multi-step").status, 200);
    assert_eq!(notes_of(&project, "log_second", 1), [json!([{"steps": 4}])]);
    eventually("the first one's attempts", || (notes(&project, "log_first").len() > 1).then_some(()));
}

#[test]
fn items_90_and_91_a_job_runs_once_per_slot_and_its_result_is_emitted() {
    let (project, _daemon) = hello_world();
    let cleaned = eventually("two runs", || Some(notes(&project, "log_cleanup")).filter(|notes| notes.len() >= 2));
    assert_eq!(cleaned[0], json!([{"removed": 3}]));
    let begun: Vec<f64> = notes(&project, "cleanup started").iter().map(|note| note[0].as_f64().unwrap()).collect();
    let apart = begun[1] - begun[0];
    assert!(apart > 1.0, "the schedule is every two seconds: {begun:?}");
}

#[test]
fn items_94_to_103_websockets() {
    let (project, daemon) = hello_world();
    let mut client = Client::open(&daemon, "/ws/hello");
    let welcome = client.json();
    assert_eq!(welcome["data"]["type"], "welcome", "{welcome}");
    let message = welcome["data"]["payload"]["message"].as_str().unwrap();
    let id = message.strip_prefix("Hello! You are connected as ").unwrap().to_owned();
    assert!(welcome["timestamp"].as_str().unwrap().contains('T'));
    eventually("the line of onConnect", || daemon.output().contains(&format!("Client connected: {id}")).then_some(()));

    let mut other = Client::open(&daemon, "/ws/hello");
    assert_ne!(other.json()["data"]["payload"]["message"], message, "each connection has its own id");

    let asked = json!({"type": "ping", "payload": {"a": 1}});
    let answer = client.ask(&asked.to_string());
    let expected =
        json!({"type": "echo", "payload": {"original": asked, "response": "Message received successfully!"}});
    assert_eq!(answer["data"], expected);
    assert_eq!(other.json()["data"], expected, "the ws says broadcast: true");

    client.say(&json!({"type": "quiet", "payload": {}}).to_string());
    let answer = client.ask(&asked.to_string());
    assert_eq!(answer["data"]["type"], "echo", "a handler that returns None sends nothing");
    client.close();
    eventually("onDisconnect", || {
        noted(&project, "on_disconnect").iter().any(|note| note[0] == id.as_str()).then_some(())
    });
    assert!(Client::open_with(&daemon, "/ws/hello?deny=1", &[]).is_err(), "refused by a middleware");
    eventually("the traces", || {
        let listed = text(&project.rohas(&["traces", "list", "--limit", "100"]).stdout);
        let all = ["(connect)", "(message)", "(disconnect)"];
        all.iter().all(|what| listed.contains(&format!("HelloWorld {what}"))).then_some(())
    });
}

#[test]
fn d_06_events_flow_through_nested_models_and_handlers_that_share_a_file() {
    let (project, daemon) = e_commerce();
    let body = r#"{"email":"a@x.io","items":[{"productId":1,"quantity":2},{"productId":2,"quantity":1}]}"#;
    let placed = daemon.post("/orders", body);
    assert_eq!(placed.status, 200, "{placed:?} {}", daemon.output());
    let order = placed.json()["data"].clone();
    assert_eq!((&order["note"], &order["total"]), (&json!("no note"), &json!(28.5)));
    let id = &order["id"];
    assert_eq!(notes_of(&project, "reserve_stock", 1), [json!([id, [2, 1], null])]);
    assert_eq!(notes_of(&project, "notify_customer", 1), [json!(["a@x.io"])]);
    assert_eq!(notes_of(&project, "capture_payment", 1), [json!([id, 28.5])]);
    assert_eq!(notes_of(&project, "ship_order", 1), [json!([id])]);
    let refused = daemon.post("/orders", r#"{"email":"a@x.io","items":[]}"#);
    assert_eq!(refused.status, 400);
    assert!(refused.json()["error"].as_str().unwrap().contains("an order needs items"));
}

#[test]
fn item_38_d_08_and_d_09_path_parameters_arrive_and_complete_the_body() {
    let (project, daemon) = e_commerce();
    assert_eq!(daemon.get("/orders/a%20b").json()["data"]["id"], "a b");
    let cancelled = daemon.post("/orders/17/cancel", r#"{"reason":"late"}"#);
    assert_eq!((cancelled.status, &cancelled.json()["data"]["orderId"]), (200, &json!("17")));
    assert_eq!(notes_of(&project, "release_stock", 1), [json!(["17"])]);
    assert_eq!(daemon.request("DELETE", "/orders/7", &[], b"").json(), json!(true));
}

#[test]
fn item_93_d_15_and_d_19_five_fields_are_a_schedule_and_jobs_emit_and_connections_have_ids() {
    let (project, daemon) = e_commerce();
    let beats = eventually("two beats", || Some(notes(&project, "heartbeat")).filter(|notes| notes.len() >= 2));
    let restocked = eventually("what a job emits", || Some(notes(&project, "log_restock")).filter(|it| !it.is_empty()));
    assert_eq!(restocked[0], beats[0]);
    let run = project.rohas(&["cron", "run", "CheckInventory"]);
    assert!(run.status.success(), "{}", text(&run.stderr));
    assert_eq!(notes_of(&project, "restock", 1), [json!([{"products": [1, 2, 3]}])]);
    let mut client = Client::open(&daemon, "/ws/orders");
    let id = client.json()["connected"].clone();
    let tracked = client.ask(r#"{"orderId":"9"}"#);
    assert_eq!((&tracked["orderId"], &tracked["for"]), (&json!("9"), &id));
    client.close();
    assert_eq!(notes_of(&project, "tracking_closed", 1), [json!([id])]);
}

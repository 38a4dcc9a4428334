//! Are requests answered as the original answers them, and the ones that it gets wrong as they should be?

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{dev_with, e_commerce, hello_world, settled};
use crate::journal::{notes, notes_of, ok};
use crate::support::{Project, Response, eventually};

const ORIGIN: (&str, &str) = ("origin", "http://elsewhere.example");

fn user_without_time(response: &Response) -> Value {
    let mut body = response.json();
    let time = body["data"].as_object_mut().unwrap().remove("createdAt").unwrap();
    assert!(time.as_str().unwrap().contains('T'), "{time}");
    body
}

#[test]
fn item_47_48_55_56_apis_answer_and_any_origin_may_read_when_cors_is_enabled() {
    let (project, daemon) = hello_world();
    let health = daemon.get("/health");
    assert_eq!((health.status, health.header("content-type")), (200, Some("application/json")));
    assert_eq!(health.json()["data"]["status"], "ok");
    assert!(health.json()["data"]["timestamp"].as_str().unwrap().contains('T'));
    let test = daemon.get("/test");
    assert_eq!((test.status, test.json()), (200, json!({"data": "Hello, world!s"})));
    assert_eq!((daemon.get("/nope").status, daemon.get("/users").status), (404, 405));

    let asked = [ORIGIN, ("access-control-request-method", "POST"), ("access-control-request-headers", "content-type")];
    let preflight = daemon.request("OPTIONS", "/users", &asked, b"");
    assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (200, Some("*")));
    assert!(preflight.header("access-control-allow-methods").is_some());
    assert!(preflight.header("access-control-allow-headers").is_some());
    let allowed = "access-control-allow-origin";
    assert_eq!(daemon.request("GET", "/health", &[ORIGIN], b"").header(allowed), Some("*"));
    drop(daemon);
    let closed = dev_with(&project, "ROHAS_SERVER__ENABLE_CORS", "false");
    assert_eq!(closed.request("GET", "/health", &[ORIGIN], b"").header(allowed), None);
    assert_eq!(closed.request("OPTIONS", "/users", &asked, b"").header(allowed), None);
}

#[test]
fn item_50_83_slow_apis_take_their_time_and_a_handler_that_fails_keeps_no_other_of_its_event_from_running() {
    let (project, daemon) = hello_world();
    let begun = Instant::now();
    let paths = [("/timeline/slow", 2), ("/timeline/multi-step", 2), ("/timeline/very-slow", 6)];
    let waiting = paths.map(|(path, seconds)| (daemon.background(path), seconds));
    for (answer, seconds) in waiting {
        assert_eq!(answer.join().unwrap().unwrap().status, 200);
        assert!(begun.elapsed() >= Duration::from_secs(seconds));
    }
    assert_eq!(notes_of(&project, "log_second", 1), [json!([{"steps": 4}])]);
    eventually("the first one's attempts", || (notes(&project, "log_first").len() > 1).then_some(()));
    assert_eq!(notes(&project, "log_second").len(), 1);
}

#[test]
fn item_51_52_54_78_defect_14_bodies_arrive_flat_or_wrapped_and_the_reply_is_what_is_emitted() {
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
fn item_38_62_defect_08_09_one_path_has_several_methods_and_parameters_that_complete_the_body() {
    let (project, daemon) = e_commerce();
    assert_eq!(daemon.get("/orders/a%20b").json()["data"]["id"], "a b");
    assert_eq!(daemon.get("/orders/7").json()["data"]["id"], "7");
    assert_eq!(daemon.request("DELETE", "/orders/7", &[], b"").json(), json!(true));
    let cancelled = daemon.post("/orders/17/cancel", r#"{"reason":"late"}"#);
    assert_eq!((cancelled.status, &cancelled.json()["data"]["orderId"]), (200, &json!("17")));
    assert_eq!(notes_of(&project, "release_stock", 1), [json!(["17"])]);
}

#[test]
fn item_63_defect_12_a_handler_that_takes_too_long_is_ended_even_one_that_blocks() {
    let project = Project::of_the_original("hello-world").file(
        "src/handlers/api/timeline_test_very_slow.py",
        "import time\nasync def handle_timeline_test_very_slow():\n    time.sleep(600)\n",
    );
    let settings: Value = serde_json::from_str(&ok(&project, &["config", "show", "--json"])).unwrap();
    let timeout = settings.as_array().unwrap().iter().find(|setting| setting["key"] == "server.request_timeout");
    assert_eq!(timeout.unwrap()["value"], "30s");
    let daemon = dev_with(&project, "ROHAS_SERVER__REQUEST_TIMEOUT", "1s");
    for path in ["/timeline/slow", "/timeline/very-slow"] {
        let late = daemon.get(path);
        assert_eq!(late.status, 504, "{late:?}");
        assert!(late.json()["error"].as_str().unwrap().contains("timeout"), "{late:?}");
    }
    eventually("others to be served", || (daemon.get("/health").status == 200).then_some(()));
}

#[test]
fn item_66_67_defect_16_edits_are_taken_up_while_everything_else_goes_on() {
    let (project, daemon) = hello_world();
    let path = "src/handlers/api/health.py";
    let handler = fs::read_to_string(project.path().join(path)).unwrap();
    project.write(path, &handler.replace("\"ok\"", "\"fine\""));
    eventually("the edit of a handler", || (daemon.get("/health").json()["data"]["status"] == "fine").then_some(()));

    project.write("src/handlers/api/extra.py", "def handle_extra():\n    return 'more'\n");
    project.write("schema/api/extra.ro", "api Extra { method: GET path: \"/extra\" response: String }\n");
    eventually("the edit of the schema", || {
        assert_eq!(daemon.get("/health").status, 200);
        (daemon.get("/extra").status == 200).then_some(())
    });
    assert_eq!(daemon.get("/test").status, 200);
    settled(&project, "send_welcome_email", 1);
}

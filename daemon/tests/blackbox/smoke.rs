//! One way through everything: request, handler, event, handler, trace.

use serde_json::{Value, json};

use crate::support::{Project, eventually, text};

#[test]
fn a_request_reaches_its_handler_and_its_event_another_and_one_trace_shows_both() {
    let project = Project::example("hello-world");
    let daemon = project.dev();
    let reply = daemon.post("/users", r#"{"name": " Ann ", "email": "ANN@x.io"}"#);
    assert_eq!(reply.status, 200);
    assert_eq!(reply.json()["data"]["name"], "Ann");
    assert_eq!(reply.json()["data"]["email"], "ann@x.io");

    let trace = reply.header("x-request-id").unwrap().to_owned();
    let tree = eventually("the event in the trace", || {
        let shown = project.rohas(&["traces", "show", &trace, "--json"]);
        let tree: Value = serde_json::from_slice(&shown.stdout).ok()?;
        tree.to_string().contains("send_welcome_email").then_some(tree)
    });
    assert!(tree.to_string().contains("CreateUser"), "{tree}");
    let listed = project.rohas(&["traces", "list"]);
    assert!(text(&listed.stdout).contains("CreateUser"), "{}", text(&listed.stdout));
}

#[test]
fn sigterm_drains_and_exits_with_0() {
    let project = Project::example("hello-world");
    let mut daemon = project.run();
    assert_eq!(daemon.get("/healthz").json(), json!({"status": "ok"}));
    assert_eq!(daemon.stop().code(), Some(0));
}

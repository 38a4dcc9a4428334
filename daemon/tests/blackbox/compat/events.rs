//! Is each event delivered once, with the payload and to the handlers that the original means?

use serde_json::{Value, json};

use super::{e_commerce, hello_world, records, settled};
use crate::journal::{notes, notes_of};
use crate::support::Project;

#[test]
fn item_65_74_76_77_81_each_event_is_delivered_once_with_its_payload() {
    let (project, mut daemon) = hello_world();
    assert_eq!(daemon.get("/test").status, 200);
    assert_eq!(settled(&project, "send_welcome_email", 1)[0][0]["email"], "hello@world.com");
    assert_eq!(settled(&project, "manual_trigger", 1), [json!(["Hello, world!"])]);
    assert_eq!(settled(&project, "log_bottleneck", 1), [json!([{"data": "Hello, world!s"}, "unknown"])]);
    let emitted_by_a_handler_of_an_event = settled(&project, "log_welcome_email", 1);
    assert_eq!(emitted_by_a_handler_of_an_event, [json!(["hello@world.com"])]);
    let printed = "Sending welcome email to: hello@world.com";
    let line = daemon.wait_for(printed, |text| text.lines().find(|line| line.contains(printed)).map(str::to_owned));
    assert!(line.contains("handler=\"send_welcome_email\"") && !daemon.stdout().contains(printed), "{line}");
}

#[test]
fn item_79_86_defect_23_the_trace_of_a_request_has_what_it_emits_in_order_and_what_follows_from_it() {
    let (project, daemon) = hello_world();
    let records = records(&project, &daemon.get("/test"), 5);
    let emits = |handler: &str| -> Vec<Value> {
        let record = records.iter().find(|record| record["handler"] == handler).unwrap();
        assert_eq!(record["status"], "ok", "{record}");
        record["emits"].as_array().unwrap().iter().map(|emit| emit["event"].clone()).collect()
    };
    assert_eq!(emits("test"), ["UserCreated", "ManualTrigger", "BottleneckDetected"]);
    assert_eq!(emits("send_welcome_email"), ["WelcomeEmailSent"]);
    assert_eq!(emits("log_bottleneck"), ["BottleneckLogged"], "an event without handlers");
    assert!(records.iter().any(|record| record["handler"] == "log_welcome_email" && record["depth"] == 2));
    let emails = settled(&project, "send_welcome_email", 1);
    assert_eq!(emails[0][0]["id"], 1, "set_payload counts for nothing where an api does not list the event");
}

#[test]
fn item_82_defect_05_what_a_handler_triggers_itself_is_not_emitted_for_it_again() {
    let (project, daemon) = hello_world();
    assert_eq!(daemon.get("/timeline/fast").status, 200);
    assert_eq!(settled(&project, "log_timeline", 1), [json!(["FastCompleted", {"duration": 50}])]);
}

#[test]
fn item_85_a_handler_that_fails_emits_nothing_and_events_that_nobody_declared_make_it_fail() {
    let project = Project::of_the_original("hello-world").file(
        "src/handlers/api/test.py",
        "
        async def handle_test(req, state):
            state.trigger_event('ManualTrigger', {'payload': 'never'})
            if req.query_params.get('undeclared'):
                state.trigger_event('Nowhere', {})
            raise Exception('boom')
        ",
    );
    let daemon = project.dev();
    for (path, complaint) in [("/test", "boom"), ("/test?undeclared=1", "the schema declares no event 'Nowhere'")] {
        let failed = daemon.get(path);
        assert_eq!(failed.status, 500);
        assert!(failed.json()["error"].as_str().unwrap().contains(complaint), "{failed:?}");
    }
    settled(&project, "manual_trigger", 0);
    settled(&project, "log_bottleneck", 0);
}

#[test]
fn defect_06_events_flow_through_nested_models_and_handlers_that_share_a_file() {
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
fn defect_07_what_failed_triggers_nothing_is_tried_again_and_kept() {
    let project = Project::of_the_original("hello-world")
        .file(
            "schema/events/failing.ro",
            "
            event Failing { payload: Json handler: [fails] triggers: [Followed] retry: { attempts: 2, delay: 10ms } }
            event Followed { payload: Json handler: [follows] }
            api Fail { method: GET path: \"/fail\" response: Json triggers: [Failing] }
            ",
        )
        .file("src/handlers/api/fail.py", "def handle_fail():\n    return {}\n")
        .file(
            "src/handlers/events/fails.py",
            "from journal import note\ndef fails(event):\n    note('fails')\n    raise Exception('no')\n",
        )
        .file("src/handlers/events/follows.py", "from journal import note\ndef follows(event):\n    note('follows')\n");
    let mut daemon = project.dev();
    assert_eq!(daemon.get("/fail").status, 200);
    daemon.wait_for_text("a message was given up");
    settled(&project, "fails", 2);
    assert!(notes(&project, "follows").is_empty());
    let dead: Value = serde_json::from_slice(&project.rohas(&["dlq", "list", "--json"]).stdout).unwrap();
    assert!(dead.to_string().contains("Failing"), "{dead}");
}

//! Do middlewares see and decide what they do in the original?

use std::fs;

use serde_json::json;

use super::{hello_world, records, settled};
use crate::middlewares::steps;
use crate::support::{Project, text};

#[test]
fn item_68_69_70_they_run_in_order_before_the_handler_and_pass_or_refuse() {
    let (project, daemon) = hello_world();
    let passed = daemon.get("/test?a=1");
    assert_eq!(passed.status, 200);
    let record = &records(&project, &passed, 1)[0];
    let expected = ["middleware:auth", "middleware:rate_limit", "middleware:request_logging", "handler"];
    let steps: Vec<String> = steps(record).into_iter().filter(|step| expected.contains(&step.as_str())).collect();
    assert_eq!(steps, expected);
    assert_eq!(record["handler"], "test");

    let refused = daemon.get("/test?deny=1");
    assert_eq!(refused.status, 400);
    assert!(refused.json()["error"].as_str().unwrap().contains("Access denied"));
    assert_eq!(records(&project, &refused, 1)[0]["status"], "rejected");
    settled(&project, "manual_trigger", 1);
}

#[test]
fn item_73_one_without_a_file_or_function_is_named_before_anything_is_served() {
    let project = Project::of_the_original("hello-world");
    assert!(project.rohas(&["codegen"]).status.success());
    let path = project.path().join("src/middlewares/auth.py");
    fs::remove_file(&path).unwrap();
    let refused = project.rohas(&["run", "--port", "0"]);
    assert_eq!(refused.status.code(), Some(3));
    assert!(text(&refused.stderr).contains("the middleware `auth` has no file"), "{}", text(&refused.stderr));
    fs::write(&path, "def other():\n    pass\n").unwrap();
    let refused = project.rohas(&["run", "--port", "0"]);
    assert!(!refused.status.success());
    assert!(text(&refused.stderr).contains("auth_middleware"), "{}", text(&refused.stderr));
}

#[test]
fn defect_24_a_rejection_may_have_another_status_and_particulars_of_failures_stay_inside() {
    let project = Project::of_the_original("hello-world")
        .file(
            "src/middlewares/auth.py",
            "
            from generated.errors import Unauthorized
            def auth_middleware(context, state):
                raise Unauthorized('who are you?')
            ",
        )
        .file("src/handlers/api/health.py", "def handle_health():\n    raise ValueError('secret particulars')\n");
    let daemon = project.run();
    let refused = daemon.get("/test");
    assert_eq!((refused.status, &refused.json()["error"]), (401, &json!("who are you?")));
    let failed = daemon.get("/health");
    assert_eq!(failed.status, 500);
    assert!(!text(&failed.body).contains("secret"), "{failed:?}");
    assert!(records(&project, &failed, 1)[0].to_string().contains("secret particulars"));
}

//! Does `rohas init` make a project that runs as it is?

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::support::{Daemon, Project, text};

/// Making an environment reaches the package registry, which may take its time.
const INSTALLING: Duration = Duration::from_secs(120);

/// A directory in which the project `app` was made.
pub(crate) fn made() -> Project {
    let project = Project::new();
    let output = project.rohas(&["init", "app", "--lang", "python"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    project
}

/// The command as somebody has it who has chosen no interpreter.
fn unconfigured(project: &Project, arguments: &[&str]) -> Command {
    let mut command = project.command(arguments);
    command.env_remove("ROHAS_PYTHON__INTERPRETER").current_dir(project.path().join("app"));
    command
}

#[test]
fn the_new_schema_is_valid_formatted_and_without_warnings() {
    let project = made();
    let validated = project.rohas(&["validate", "--project", "app", "--strict"]);
    assert_eq!((validated.status.code(), text(&validated.stderr)), (Some(0), String::new()));
    let formatted = project.rohas(&["fmt", "--check", "--project", "app"]);
    assert_eq!((formatted.status.code(), text(&formatted.stdout)), (Some(0), String::new()));
}

#[test]
fn an_existing_directory_is_refused_and_left_alone() {
    let project = made();
    let before = fs::read_to_string(project.path().join("app/config/rohas.toml")).unwrap();
    let again = project.rohas(&["init", "app"]);
    assert_eq!(again.status.code(), Some(1));
    assert_eq!(text(&again.stderr), "error: Directory 'app' already exists\n");
    assert_eq!(fs::read_to_string(project.path().join("app/config/rohas.toml")).unwrap(), before);
}

#[test]
fn without_an_environment_no_install_says_what_is_missing() {
    let project = made();
    let output = unconfigured(&project, &["dev", "--no-install", "--port", "0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let complaint = text(&output.stderr);
    assert!(complaint.contains("there is no .venv") && complaint.contains("without --no-install"), "{complaint}");
    assert!(!project.path().join("app/.venv").exists());
}

#[test]
fn dev_makes_the_environment_of_a_new_project_and_serves_it() {
    let project = made();
    let mut daemon = Daemon::start_within(INSTALLING, unconfigured(&project, &["dev", "--port", "0"]));
    assert!(daemon.output().contains("making .venv"), "{}", daemon.output());
    let reply = daemon.post("/users", r#"{"name": "Ann", "email": "Ann@Example.com"}"#);
    assert_eq!(reply.status, 201, "{}", daemon.output());
    assert_eq!(reply.json()["data"]["email"], "ann@example.com");
    daemon.wait_for_text("welcome");
    assert!(daemon.stop().success());

    let again = Daemon::start(unconfigured(&project, &["dev", "--port", "0", "--no-install"]));
    assert!(!again.output().contains("making .venv"), "made anew:\n{}", again.output());
    assert_eq!(again.get("/healthz").status, 200);
}

//! Does `rohas init` make a project that runs as it is?

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::support::{Daemon, Project, text};

/// Making an environment reaches the package registry, which may take its time.
const INSTALLING: Duration = Duration::from_secs(120);

/// A directory in which the project `app` was made.
fn made() -> Project {
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
fn item_02_init_makes_files_and_directories() {
    let project = made();
    let files = [
        "schema/models/user.ro",
        "schema/api/user_api.ro",
        "schema/events/user_events.ro",
        "config/rohas.toml",
        "README.md",
        "requirements.txt",
        ".gitignore",
    ];
    for file in files {
        assert!(project.path().join("app").join(file).is_file(), "{file}");
    }
    for directory in ["schema/cron", "src/handlers/api", "src/handlers/events", "src/handlers/cron"] {
        assert!(project.path().join("app").join(directory).is_dir(), "{directory}");
    }
}

#[test]
fn item_04_the_new_configuration_holds_the_settings_of_a_new_project() {
    let project = made();
    let shown = project.rohas(&["config", "show", "--json", "--project", "app"]);
    assert_eq!(shown.status.code(), Some(0), "{}", text(&shown.stderr));
    let toml = fs::read_to_string(project.path().join("app/config/rohas.toml")).unwrap();
    let lines = [
        "name = \"app\"",
        "version = \"0.1.0\"",
        "language = \"python\"",
        "host = \"127.0.0.1\"",
        "port = 3000",
        "enable_cors = true",
        "type = \"rocksdb\"",
        "path = \".rohas/events\"",
        "durability = \"disk\"",
        "path = \".rohas/telemetry\"",
        "retention_days = 30",
        "allowed_origins = []",
    ];
    for line in lines {
        assert!(toml.lines().any(|found| found == line), "{line} is missing:\n{toml}");
    }
    let key = toml.lines().find_map(|line| line.strip_prefix("api_key = \"")?.strip_suffix('"')).unwrap();
    assert_eq!((key.len(), &key[22..]), (24, "=="), "{key} is not 16 bytes in base64");
    assert!(!text(&shown.stdout).contains(key), "the key is not redacted");
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
fn item_05_init_makes_python_projects_by_default_and_names_what_it_cannot_make() {
    let project = Project::new();
    assert!(project.rohas(&["init", "plain"]).status.success());
    let toml = fs::read_to_string(project.path().join("plain/config/rohas.toml")).unwrap();
    assert!(toml.contains("language = \"python\""), "{toml}");
    assert!(project.rohas(&["init", "short", "-l", "py"]).status.success());
    for (language, complaint) in [("go", "Unsupported language: go"), ("typescript", "Python projects only")] {
        let output = project.rohas(&["init", "other", "--lang", language]);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains(complaint), "{}", text(&output.stderr));
        assert!(!project.path().join("other").exists());
    }
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

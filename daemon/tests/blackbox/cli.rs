//! Do the commands that need no daemon say and do what they promise?
#![expect(clippy::panic, clippy::unwrap_used, reason = "tests")]

use std::net::TcpListener;
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::support::{Project, text};

/// A look-alike of a project whose lists are known line by line.
pub(crate) fn listed() -> Project {
    Project::new()
        .file(
            "schema/api.ro",
            r#"
            model User { id: Int @id  name: String }
            input NewUser { name: String }
            api CreateUser { method: POST path: "/users" body: NewUser response: User triggers: [UserCreated] }
            api HelloWorld { method: GET path: "/hello-world" response: String }
            event UserCreated { payload: User handler: [send_welcome_email] }
            "#,
        )
        .file("src/handlers/events/send_welcome_email.py", "async def send_welcome_email(event):\n    pass\n")
}

pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

/// Names of the checks of `rohas doctor` with their verdicts.
fn doctor(output: &Output) -> Vec<(String, String)> {
    let checks: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let field = |check: &Value, name: &str| check[name].as_str().unwrap().to_owned();
    checks.iter().map(|check| (field(check, "name"), field(check, "verdict"))).collect()
}

fn verdict(output: &Output, name: &str) -> String {
    let checks = doctor(output);
    checks.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("{name} is not in {checks:?}")).1.clone()
}

#[test]
fn unknown_flags_and_commands_exit_2_and_say_so_on_stderr() {
    let project = Project::new();
    for arguments in [["validate", "--colour"], ["serve", "."], ["traces", "list "], ["run", "--port=many"]] {
        let output = project.rohas(&arguments);
        assert_eq!(code(&output), 2, "{arguments:?}");
        assert!(text(&output.stderr).starts_with("error: ") && output.stdout.is_empty(), "{output:?}");
    }
}

#[test]
fn another_directory_is_named_with_project() {
    let project = listed();
    let elsewhere = Project::new();
    let path = project.path().to_str().unwrap();
    let output = elsewhere.rohas(&["--project", path, "list-events"]);
    assert!(text(&output.stdout).contains("UserCreated"), "{output:?}");
    let missing = elsewhere.rohas(&["list-events", "--project", "nowhere"]);
    assert_eq!(code(&missing), 1);
    assert!(text(&missing.stderr).contains("nowhere"), "{}", text(&missing.stderr));
}

#[test]
fn completions_are_made_for_each_shell() {
    for (shell, sign) in [("bash", "complete -F"), ("zsh", "#compdef rohas"), ("fish", "complete -c rohas")] {
        let output = Project::new().rohas(&["completions", shell]);
        assert_eq!(code(&output), 0);
        assert!(text(&output.stdout).contains(sign), "{shell}");
    }
    assert_eq!(code(&Project::new().rohas(&["completions", "tcl"])), 2);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let project = Project::new();
    let mut command = project.command(&["completions", "bash"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((code(&output), text(&output.stderr)), (0, String::new()));
}

#[test]
fn nothing_is_coloured_without_a_terminal() {
    let project = listed().file("schema/bad.ro", "model Broken { x: Nope }\n");
    for arguments in [&["validate"][..], &["--help"], &["doctor"], &["dev", "--help"], &["fmt", "--colour"]] {
        let output = project.command(arguments).env_remove("NO_COLOR").output().unwrap();
        let all = text(&output.stdout) + &text(&output.stderr);
        assert!(!all.is_empty() && !all.contains('\u{1b}'), "{arguments:?}: {all}");
    }
}

#[test]
fn doctor_finds_nothing_wrong_with_a_sound_project() {
    let project = listed();
    assert_eq!(code(&project.rohas(&["codegen"])), 0);
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let output = project.command(&["doctor"]).env("ROHAS_SERVER__PORT", &free).output().unwrap();
    assert_eq!(code(&output), 0, "{}", text(&output.stdout));
    let shown = text(&output.stdout);
    for name in ["settings", "schema", "python", "pydantic", "extension", "daemon", "port", "store"] {
        assert!(shown.lines().any(|line| line.starts_with(&format!("ok    {name} "))), "{name}:\n{shown}");
    }
}

#[test]
fn doctor_names_a_wrong_interpreter_and_a_taken_port() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let project = listed();
    let mut command = project.command(&["doctor", "--json"]);
    command.env("ROHAS_SERVER__PORT", port).env("ROHAS_PYTHON__INTERPRETER", "/bin/false");
    let output = command.output().unwrap();
    assert_eq!(code(&output), 1);
    assert_eq!((verdict(&output, "python"), verdict(&output, "port")), ("bad".to_owned(), "bad".to_owned()));
    assert!(text(&output.stderr).contains("checks failed"), "{}", text(&output.stderr));
}

#[test]
fn doctor_names_a_missing_pydantic_and_how_to_get_it() {
    let project = listed();
    let venv = project.path().join("bare");
    let made = std::process::Command::new("python3").args(["-m", "venv", "--without-pip"]).arg(&venv).status().unwrap();
    assert!(made.success());
    let mut command = project.command(&["doctor", "--json"]);
    let output = command.env("ROHAS_PYTHON__INTERPRETER", venv.join("bin/python")).output().unwrap();
    assert_eq!((verdict(&output, "python"), verdict(&output, "pydantic")), ("good".to_owned(), "bad".to_owned()));
    assert!(text(&output.stdout).contains("pip install"), "{}", text(&output.stdout));
}

#[test]
fn doctor_names_broken_settings_and_a_broken_schema() {
    let project = listed().file("config/rohas.toml", "[server]\nprot = 1\n");
    let output = project.rohas(&["doctor", "--json"]);
    assert_eq!((code(&output), verdict(&output, "settings")), (1, "bad".to_owned()));
    let project = listed().file("schema/bad.ro", "model Broken { x: Nope }\n");
    let output = project.rohas(&["doctor", "--json"]);
    assert_eq!((code(&output), verdict(&output, "schema")), (1, "bad".to_owned()));
}

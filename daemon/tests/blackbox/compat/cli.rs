//! Do the commands take and print what they did for the original?

use std::fs;
use std::net::TcpListener;

use crate::cli::{code, listed};
use crate::init::made;
use crate::support::{Daemon, Project, text};

#[test]
fn item_01_version_prints_one_line() {
    let output = Project::new().rohas(&["version"]);
    assert_eq!(code(&output), 0);
    let line = text(&output.stdout);
    let version = line.strip_prefix("rohas ").unwrap().strip_suffix('\n').unwrap();
    let numbers: Vec<&str> = version.split('.').collect();
    assert!(numbers.len() == 3 && numbers.iter().all(|number| number.parse::<u32>().is_ok()), "{line:?}");
    assert!(output.stderr.is_empty());
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
fn item_07_a_single_file_is_enough_and_a_directory_without_any_is_not() {
    let project = Project::new()
        .file("schema/api/health.ro", "api Health { method: GET path: \"/health\" response: String }\n")
        .file("empty/readme.txt", "nothing\n");
    let single = project.rohas(&["validate", "schema/api/health.ro"]);
    assert_eq!(single.status.code(), Some(0), "{}", text(&single.stderr));
    assert!(text(&single.stdout).contains("Schema validation passed!"));
    let empty = project.rohas(&["validate", "empty"]);
    assert_eq!(empty.status.code(), Some(1));
    assert!(text(&empty.stderr).contains("No .ro files found"), "{}", text(&empty.stderr));
}

#[test]
fn item_08_a_missing_path_is_named() {
    let output = Project::new().rohas(&["validate", "nowhere"]);
    assert_eq!(output.status.code(), Some(1));
    let complaint = text(&output.stderr);
    assert!(complaint.contains("Schema path not found") && complaint.contains("nowhere"), "{complaint}");
}

#[test]
fn item_09_list_handlers_prints_groups() {
    let output = listed().rohas(&["list-handlers"]);
    assert_eq!(code(&output), 0);
    let expected = "API Handlers:\n  - CreateUser (POST /users)\n  - HelloWorld (GET /hello-world)\n\nEvent Handlers:\n  \
        - UserCreated (handlers: [\"send_welcome_email\"])\n\nCron Jobs:\n\nWebSockets:\n";
    assert_eq!(text(&output.stdout), expected);
    let shown = text(&Project::of_the_original("e-commerce").rohas(&["list-handlers"]).stdout);
    for line in [
        "  - CancelOrder (POST /orders/:orderId/cancel)",
        "  - OrderPlaced (handlers: [\"reserve_stock\", \"notify_customer\"])",
        "  - CheckInventory (* * * * *)",
        "  - OrderTracking (/ws/orders)",
    ] {
        assert!(shown.lines().any(|found| found == line), "{line:?} is not in\n{shown}");
    }
}

#[test]
fn item_10_list_events_prints_payloads_and_handlers() {
    let output = listed().rohas(&["list-events"]);
    assert_eq!(code(&output), 0);
    let expected = "Events:\n\n  UserCreated\n    Payload: User\n    Handlers: [\"send_welcome_email\"]\n";
    assert_eq!(text(&output.stdout), expected);
    let shown = text(&Project::of_the_original("e-commerce").rohas(&["list-events"]).stdout);
    let event = "\n  OrderPlaced\n    Payload: Order\n    Handlers: [\"reserve_stock\", \"notify_customer\"]\n    \
        Triggers: [\"OrderAudited\"]\n";
    assert!(shown.contains(event), "{shown}");
}

#[test]
fn item_11_codegen_takes_the_language_of_the_settings_and_refuses_unknown_ones() {
    let project = listed();
    let output = project.rohas(&["codegen"]);
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    assert!(project.path().join("src/generated/models/user.py").is_file());
    let other = project.rohas(&["codegen", "--lang", "go"]);
    assert_eq!(code(&other), 1);
    assert!(text(&other.stderr).contains("Unsupported language: go"), "{}", text(&other.stderr));
}

fn project() -> Project {
    Project::new().file("schema/a.ro", "event A { payload: String }\n")
}

#[test]
fn item_16_defect_21_the_flag_stands_above_the_environment_and_the_environment_above_the_file() {
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (in_file, in_environment) = (free(), free());
    let config = format!("[project]\nname = \"test\"\n[server]\nport = {in_file}\n");
    let project = project().file("config/rohas.toml", &config);
    assert_eq!(Daemon::start(project.command(&["dev"])).address.port(), in_file);
    let start = |arguments: &[&str]| {
        let mut command = project.command(arguments);
        command.env("ROHAS_SERVER__PORT", in_environment.to_string());
        Daemon::start(command).address.port()
    };
    assert_eq!(start(&["dev"]), in_environment);
    assert!(![in_file, in_environment].contains(&start(&["dev", "--port", "0"])));
}

#[test]
fn item_17_defect_21_a_broken_configuration_stops_dev_and_run_and_nothing_is_generated() {
    for (config, named) in [("[server\n", "rohas.toml"), ("[adapter]\ntype = \"pigeon\"\n", "pigeon")] {
        let project = project().file("config/rohas.toml", config);
        for command in ["dev", "run"] {
            let output = project.rohas(&[command]);
            assert_eq!(output.status.code(), Some(3), "{command}: {output:?}");
            assert!(text(&output.stderr).contains(named), "{}", text(&output.stderr));
        }
        assert!(!project.path().join("src").exists());
    }
}

#[test]
fn defect_22_flags_that_do_not_exist_are_refused_and_what_was_recorded_is_shown_by_a_command() {
    let project = project();
    for arguments in [["dev", "--verbose"], ["dev", "--quiet"], ["validate", "--verbose"]] {
        let output = project.rohas(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(arguments[1]), "{}", text(&output.stderr));
    }
    let daemon = project.dev();
    assert_eq!(daemon.get("/telemetry/traces").status, 404);
    let listed = project.rohas(&["traces", "list", "--json"]);
    assert_eq!(listed.status.code(), Some(0), "{}", text(&listed.stderr));
}

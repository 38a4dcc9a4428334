//! How do commands and a daemon get on with each other, and daemons with what others left behind?
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::{Daemon, Project, eventually, text};

fn project() -> Project {
    Project::new()
        .file(
            "schema/all.ro",
            r#"
            type Fruit { name: String  weight: Int @min(1) }
            api Ping { method: GET path: "/ping" response: String }
            event Picked { payload: Fruit handler: [weigh] }
            "#,
        )
        .file("src/handlers/api/ping.py", "async def handle_ping(req):\n    return 'pong'\n")
        .file(
            "src/handlers/events/weigh.py",
            "async def weigh(event):\n    print('weighed', event.payload.name, event.payload.weight)\n",
        )
}

/// A daemon that is expected to end by itself.
fn ended(mut command: Command) -> Output {
    command.output().unwrap()
}

fn fails(output: &Output, code: i32, complaint: &str) {
    let shown = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{shown}");
    assert!(shown.contains(complaint), "{complaint:?} is not in:\n{shown}");
}

#[test]
fn events_are_published_by_hand() {
    let project = project();
    let mut daemon = project.dev();
    let published = project.rohas(&["events", "publish", "Picked", r#"{"name": "quince", "weight": 3}"#]);
    assert_eq!(published.status.code(), Some(0), "{}", text(&published.stderr));
    assert!(text(&published.stdout).starts_with("published Picked "), "{}", text(&published.stdout));
    daemon.wait_for_text("weighed quince 3");

    let mut command = project.command(&["events", "publish", "Picked", "-", "--json"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(br#"{"name": "pear", "weight": 4}"#).unwrap();
    let output = child.wait_with_output().unwrap();
    let ids: Value = serde_json::from_slice(&output.stdout).unwrap();
    daemon.wait_for_text("weighed pear 4");
    let trace = ids["trace_id"].as_str().unwrap();
    eventually("the delivery in the trace", || {
        text(&project.rohas(&["traces", "show", trace]).stdout).contains("weighed pear 4").then_some(())
    });
}

#[test]
fn events_that_cannot_be_published_are_refused_with_the_reason() {
    let project = project();
    let publish = |event: &str, payload: &str| project.rohas(&["events", "publish", event, payload]);
    fails(&publish("Picked", "{}"), 1, "no daemon runs this project");
    let _daemon = project.dev();
    fails(&publish("Pickd", "{}"), 1, "Pickd");
    fails(&publish("Picked", r#"{"name": "quince", "weight": 0}"#), 1, "weight");
    fails(&publish("Picked", "{"), 1, "JSON");
}

#[test]
fn a_second_daemon_is_told_the_first_ones_pid() {
    let project = project();
    let daemon = project.dev();
    let second = ended(project.command(&["dev", "--port", "0"]));
    fails(&second, 1, &format!("process id {}", daemon.pid()));
    let doctor = text(&project.rohas(&["doctor"]).stdout);
    assert!(doctor.contains(&format!("running as {}", daemon.pid())), "{doctor}");
    assert_eq!(daemon.get("/ping").status, 200);
}

#[test]
fn the_control_socket_is_its_owners_and_goes_with_the_daemon() {
    let project = project();
    let mut daemon = project.dev();
    let socket = project.path().join(".rohas/rohas.sock");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(daemon.stop().success());
    assert!(!socket.exists());
}

#[test]
fn what_a_killed_daemon_left_is_no_obstacle() {
    let project = project();
    let mut daemon = project.dev();
    daemon.signal("-KILL");
    daemon.wait();
    assert!(project.path().join(".rohas/rohas.sock").exists());
    fails(&project.rohas(&["events", "publish", "Picked", "{}"]), 1, "no daemon runs this project");
    let again = project.dev();
    assert_eq!(again.get("/ping").status, 200);
    assert_eq!(project.rohas(&["traces", "list"]).status.code(), Some(0));
}

#[test]
fn a_taken_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = ended(project().command(&["dev", "--port", &port]));
    fails(&output, 1, &format!("cannot listen on 127.0.0.1:{port}"));
}

#[test]
fn dev_waits_for_a_broken_schema_to_be_mended() {
    let project = project().file("schema/bad.ro", "model Broken { x: Nope }\n");
    let mut daemon = Daemon::spawn(project.command(&["dev", "--port", "0"]));
    daemon.wait_for_text("Waiting for an edit");
    assert!(daemon.output().contains("schema/bad.ro") && daemon.output().contains("Nope"), "{}", daemon.output());
    project.write("schema/bad.ro", "model Broken { x: Int }\n");
    daemon.wait_for_address();
    assert_eq!(daemon.get("/ping").status, 200);
}

#[test]
fn run_wants_generated_code_that_fits() {
    let project = project();
    let output = ended(project.command(&["run", "--port", "0"]));
    fails(&output, 3, "rohas codegen");
    assert!(project.rohas(&["codegen"]).status.success());
    project.write("schema/more.ro", "model More { x: Int }\n");
    let output = ended(project.command(&["run", "--port", "0"]));
    fails(&output, 3, "rohas codegen");
    assert!(text(&output.stderr).contains("more.py"), "{}", text(&output.stderr));
}

#[test]
fn run_wants_every_handler() {
    let project = project();
    assert!(project.rohas(&["codegen"]).status.success());
    fs::remove_file(project.path().join("src/handlers/events/weigh.py")).unwrap();
    fails(&ended(project.command(&["run", "--port", "0"])), 3, "weigh");
    project.write("src/handlers/events/weigh.py", "import no_such_thing\n");
    fails(&ended(project.command(&["run", "--port", "0"])), 3, "no_such_thing");
}

#[test]
fn a_broken_schema_stops_run_with_3() {
    let project = project().file("schema/bad.ro", "model Broken { x: Nope }\n");
    fails(&ended(project.command(&["run", "--port", "0"])), 3, "Nope");
}

#[test]
fn run_logs_json_lines_on_stderr_and_nothing_on_stdout() {
    let project = project();
    assert!(project.rohas(&["codegen"]).status.success());
    let mut command = project.command(&["run", "--port", "0", "--log-format", "json"]);
    command.env_remove("NO_COLOR");
    let mut daemon = Daemon::spawn(command);
    daemon.wait_for_text("\"serving\"");
    assert!(daemon.stop().success());
    let output = daemon.output();
    for line in output.lines() {
        let record: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(record["level"].is_string() && record["message"].is_string(), "{line}");
    }
    assert_eq!(daemon.stdout(), "");
}

#[test]
fn the_screen_of_dev_is_on_stdout_and_uncoloured_without_a_terminal() {
    let project = project();
    let mut command = project.command(&["dev", "--port", "0"]);
    command.env_remove("NO_COLOR");
    let mut daemon = Daemon::start(command);
    daemon.wait_for_text("Ctrl-C stops");
    let screen = daemon.stdout();
    for part in ["/ping", "Picked", "weigh", "curl http://127.0.0.1:"] {
        assert!(screen.contains(part), "{part} is not in\n{screen}");
    }
    assert!(!daemon.output().contains('\u{1b}'), "{}", daemon.output());
}

#[test]
fn the_command_that_dev_suggests_works_when_it_is_pasted() {
    let schema = r#"
        enum Size { small, large }
        type Owner { mail: String @email  site: String @url }
        input Pet {
            name: String @minLength(6) @maxLength(8)
            age: Int @min(3)
            size: Size
            owner: Owner
            tags: String[] @minItems(2)
            born: DateTime
            weight: Float @max(0.5)
            nick: String?
        }
        api Adopt { method: POST path: "/it's/pets" body: Pet response: Json status: 201 }
        "#;
    let project = Project::new()
        .file("schema/pets.ro", schema)
        .file("src/handlers/api/adopt.py", "async def handle_adopt(req):\n    return 'adopted'\n");
    let mut daemon = project.dev();
    let suggested =
        daemon.wait_for("the suggestion", |text| Some(text.split_once("Try: ")?.1.split_once('\n')?.0.to_owned()));
    // A shell takes the line apart as it would for curl.
    let script = format!("curl() {{ printf '%s\\n' \"$@\"; }}; {suggested}");
    let words = text(&Command::new("sh").args(["-c", &script]).output().unwrap().stdout);
    let words: Vec<&str> = words.lines().collect();
    let ["-X", method, url, "-H", "content-type: application/json", "-d", body] = words[..] else {
        unreachable!("{suggested} is not understood: {words:?}")
    };
    let path = url.strip_prefix(&format!("http://{}", daemon.address)).unwrap();
    let answer = daemon.request(method, path, &[("content-type", "application/json")], body.as_bytes());
    assert_eq!((answer.status, answer.json()), (201, "adopted".into()), "{suggested}");
}

#[test]
fn a_type_whose_smallest_value_is_endless_does_not_hold_up_the_start() {
    let project = Project::new()
        .file(
            "schema/tree.ro",
            "type Node { children: Node[] @minItems(10) }\napi Grow { method: POST path: \"/grow\" body: Node response: Json }\n",
        )
        .file("src/handlers/api/grow.py", "async def handle_grow(req):\n    return 1\n");
    let mut daemon = project.dev();
    daemon.wait_for("another suggestion", |text| text.contains("/healthz").then_some(()));
}

#[test]
fn without_a_daemon_nothing_is_published_to_an_adapter_that_lives_in_one() {
    let project = Project::new()
        .file(
            "config/rohas.toml",
            "[project]\nname = \"test\"\n[adapter]\ntype = \"rocksdb\"\n[adapters.fast]\ntype = \"memory\"\n",
        )
        .file("schema/schema.ro", "event Quick { payload: Json handler: [quick] adapter: fast }\n")
        .file("src/handlers/events/quick.py", "def quick(event):\n    pass\n");
    let published = project.rohas(&["events", "publish", "Quick", "{}"]);
    let said = text(&published.stderr);
    assert_eq!(published.status.code(), Some(1), "{said}");
    assert!(said.contains("memory"), "{said}");
}

#[test]
fn dev_says_where_events_are_kept() {
    let stores = "[adapter]\ntype = \"rocksdb\"\n[adapters.fast]\ntype = \"memory\"\n";
    let project = project().file("config/rohas.toml", &format!("[project]\nname = \"test\"\n{stores}"));
    let mut daemon = project.dev();
    daemon.wait_for_text("events: memory, rocksdb");
}

#[test]
fn websockets_and_cron_jobs_are_shown_at_the_start() {
    let project = Project::new()
        .file("config/rohas.toml", "[project]\nname = \"shown\"\n[python]\nworkers = 1\n")
        .file(
            "schema/all.ro",
            r#"
            ws Chat { path: "/ws/chat/{room}" }
            cron Nightly { schedule: "0 2 29 2 *"  timezone: "Europe/Berlin" }
            "#,
        )
        .file("src/handlers/cron/nightly.py", "def handle_nightly():\n    pass\n");
    let mut daemon = project.dev();
    daemon.wait_for_text("Ctrl-C stops");
    let shown = daemon.stdout();
    let row =
        |name: &str| shown.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{shown}")).to_owned();
    assert_eq!(row("Chat").split_whitespace().collect::<Vec<_>>(), ["ws", "/ws/chat/{room}", "Chat"]);
    let nightly = row("Nightly");
    assert!(nightly.trim_start().starts_with("cron ") && nightly.contains("0 2 29 2 *, next 20"), "{nightly}");
    assert!(nightly.ends_with("-02-29 02:00:00 +01:00"), "{nightly}");
    drop(daemon);
    let mut daemon = project.run();
    let serving =
        daemon.wait_for("the record", |text| text.lines().find(|line| line.contains("serving")).map(str::to_owned));
    assert!(serving.contains("websockets=1") && serving.contains("crons=1"), "{serving}");
}

//! Does an edit come to life without harm to what is being served?
#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::support::{Daemon, Project, eventually, kill};

const SCHEMA: &str = "api Version { method: GET path: \"/version\" response: Json timeout: 20s }\n";
const HANDLER: &str = "src/handlers/api/version.py";

fn answering(version: usize) -> String {
    format!("async def handle_version(req, state):\n    return {version}\n")
}

fn project() -> Project {
    Project::new().file("schema/api.ro", SCHEMA).file(HANDLER, &answering(1))
}

fn version(daemon: &Daemon) -> u64 {
    let response = daemon.get("/version");
    assert_eq!(response.status, 200, "{response:?}");
    response.json().as_u64().unwrap()
}

fn reloads(text: &str) -> usize {
    text.matches("reloaded: version").count()
}

/// Makes an edit and waits until it has been taken up.
fn edit(daemon: &mut Daemon, project: &Project, path: &str, text: &str) {
    let before = reloads(&daemon.output());
    project.write(path, text);
    daemon.wait_for("a reload", |text| (reloads(text) > before).then_some(()));
}

/// Makes an edit that is not taken up, and waits until that is said.
fn refused(daemon: &mut Daemon, project: &Project, path: &str, text: &str) -> String {
    let before = daemon.output().len();
    project.write(path, text);
    daemon.wait_for("a refusal", |text| text[before..].contains("not reloaded").then(|| text[before..].to_owned()))
}

/// One exchange on a connection that stays open.
fn exchange(stream: &mut TcpStream, path: &str) -> (u16, String) {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let status = line.split(' ').nth(1).unwrap_or_default().parse().unwrap();
    let mut length = 0;
    loop {
        line.clear();
        reader.read_line(&mut line).unwrap();
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    (status, String::from_utf8(body).unwrap())
}

#[test]
fn an_edited_handler_answers_the_next_request() {
    let project = project()
        .file("src/words.py", "WORD = 10\n")
        .file("schema/word.ro", "api Word { method: GET path: \"/word\" response: Json }\n")
        .file("src/handlers/api/word.py", "from words import WORD\ndef handle_word():\n    return WORD\n");
    let mut daemon = project.dev();
    assert_eq!(version(&daemon), 1);
    for number in 2..5 {
        edit(&mut daemon, &project, HANDLER, &answering(number));
        assert_eq!(version(&daemon), number as u64);
    }
    edit(&mut daemon, &project, "src/words.py", "WORD = 11\n");
    assert_eq!(daemon.get("/word").json(), 11, "what handlers import is reloaded too");
}

#[test]
fn a_new_route_is_served_on_connections_that_were_open_before() {
    let project = project();
    let mut daemon = project.dev();
    let mut connection = daemon.connect();
    assert_eq!(exchange(&mut connection, "/version"), (200, "1".to_owned()));
    assert_eq!(exchange(&mut connection, "/added").0, 404);
    project.write("src/handlers/api/added.py", "def handle_added(req):\n    return 'new'\n");
    edit(
        &mut daemon,
        &project,
        "schema/sub/deeper/added.ro",
        "api Added { method: GET path: \"/added\" response: String }\n",
    );
    eventually("the route", || (exchange(&mut connection, "/added") == (200, "\"new\"".to_owned())).then_some(()));
    assert!(project.path().join("src/generated/api/added.py").is_file());

    let before = reloads(&daemon.output());
    fs::remove_file(project.path().join("schema/sub/deeper/added.ro")).unwrap();
    daemon.wait_for("a reload", |text| (reloads(text) > before).then_some(()));
    eventually("the route's end", || (exchange(&mut connection, "/added").0 == 404).then_some(()));
    assert!(!project.path().join("src/generated/api/added.py").exists());
    assert!(project.path().join("src/handlers/api/added.py").is_file(), "a user's file is not touched");
}

#[test]
fn a_broken_edit_keeps_the_last_good_version_and_says_what_is_wrong() {
    let project = project();
    let mut daemon = project.dev();
    let cases = [
        ("schema/api.ro", "api Version { method: GET path: }\n", "api.ro:1:"),
        ("schema/api.ro", "api Version { method: GET path: \"/version\" response: Jason }\n", "Jason"),
        (HANDLER, "def handle_version(:\n", "version.py:1: SyntaxError"),
        (HANDLER, "import json\nimport no_such_module\n", "version.py:2: ModuleNotFoundError"),
        ("config/rohas.toml", "[project]\nname = \"test\"\n[pythn]\nworkers = 1\n", "pythn"),
        ("config/rohas.toml", "[project\n", "rohas.toml"),
    ];
    for (number, (path, broken, wanted)) in cases.into_iter().enumerate() {
        let good = fs::read_to_string(project.path().join(path)).unwrap();
        let said = refused(&mut daemon, &project, path, broken);
        assert!(said.contains(wanted), "{wanted} is missing in {said}");
        assert_eq!(version(&daemon), number as u64 + 1);
        edit(&mut daemon, &project, path, &good);
        edit(&mut daemon, &project, HANDLER, &answering(number + 2));
        assert_eq!(version(&daemon), number as u64 + 2);
    }
}

#[test]
fn code_that_hangs_while_it_is_imported_does_not_keep_the_next_edit_waiting() {
    let project = project();
    let mut daemon = project.dev();
    project.write(HANDLER, "import time\nopen('loading', 'w').close()\ntime.sleep(600)\n");
    eventually("the import", || project.path().join("loading").exists().then_some(()));
    assert_eq!(version(&daemon), 1);
    edit(&mut daemon, &project, HANDLER, &answering(2));
    assert_eq!(version(&daemon), 2);
    eventually("the end of the other workers", || (daemon.workers().len() == 1).then_some(()));
}

#[test]
fn a_first_start_whose_code_hangs_takes_up_the_edit_that_mends_it() {
    let project = project().file(HANDLER, "import time\nopen('loading', 'w').close()\ntime.sleep(600)\n");
    let mut daemon = Daemon::spawn(project.command(&["dev", "--port", "0"]));
    eventually("the import", || project.path().join("loading").exists().then_some(()));
    daemon.wait_for_text("still being imported");
    project.write(HANDLER, &answering(1));
    daemon.wait_for_address();
    assert_eq!(version(&daemon), 1);
    eventually("the end of the other workers", || (daemon.workers().len() == 1).then_some(()));
    edit(&mut daemon, &project, HANDLER, &answering(2));
    assert_eq!(version(&daemon), 2);
}

#[test]
fn an_edit_during_the_first_read_is_taken_up_and_generated_code_follows_it() {
    let other = "api Other { method: GET path: \"/other\" response: Json }\n";
    let project = project()
        .file("src/handlers/api/other.py", "import generated.api.other\n\ndef handle_other():\n    return 'other'\n");
    // Generating code waits here, after the schema has been read.
    let pipe = project.path().join("src/generated/api/version.py");
    fs::create_dir_all(pipe.parent().unwrap()).unwrap();
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut daemon = Daemon::spawn(project.command(&["dev", "--port", "0"]));
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let open = || fs::OpenOptions::new().write(true).custom_flags(nonblocking).open(&pipe).ok();
    let held = eventually("a reader of the generated code", open);
    project.write("schema/other.ro", other);
    drop(held);
    daemon.wait_for_address();
    let answer = daemon.get("/other");
    assert_eq!((answer.status, answer.json()), (200, "other".into()), "{}", daemon.output());
}

#[test]
fn an_import_that_writes_files_does_not_supersede_its_own_load_for_ever() {
    // Each load ends only when the one after it has begun, or when it has been left alone for a while.
    let writing = |version: usize| {
        format!(
            "import pathlib, time\nnotes = pathlib.Path('src/notes.txt')\nfor _ in range(200):\n    \
             notes.write_text(str(time.time_ns()))\n    time.sleep(0.005)\n{}",
            answering(version)
        )
    };
    let project = project().file(HANDLER, &writing(1));
    let mut daemon = Daemon::spawn(project.command(&["dev", "--port", "0"]));
    daemon.wait_for_address();
    assert_eq!(version(&daemon), 1);
    edit(&mut daemon, &project, HANDLER, &writing(2));
    eventually("the edit", || (version(&daemon) == 2).then_some(()));
}

#[test]
fn a_first_start_whose_code_kills_its_worker_says_so_and_waits_for_an_edit() {
    let project = project().file(HANDLER, "import os\nos._exit(3)\n");
    let mut daemon = Daemon::spawn(project.command(&["dev", "--port", "0"]));
    daemon.wait_for_text("The handlers do not load. Waiting for an edit");
    assert!(daemon.output().contains("it ended while loading"), "{}", daemon.output());
    // Whatever is broken meanwhile is shown and waited for too.
    project.write("schema/api.ro", "api Version {\n");
    daemon.wait_for_text("The project has faults. Waiting for an edit");
    project.write("schema/api.ro", SCHEMA);
    daemon.wait_for("the handlers again", |text| (text.matches("The handlers do not load").count() == 2).then_some(()));
    project.write(HANDLER, &answering(1));
    daemon.wait_for_address();
    assert_eq!(version(&daemon), 1);
}

#[test]
fn generated_code_follows_the_schema_back_when_its_new_version_did_not_load() {
    let project = project();
    let mut daemon = project.dev();
    let other = "api Other { method: GET path: \"/other\" response: Json }\n";
    refused(&mut daemon, &project, HANDLER, "import no_such_module\n");
    refused(&mut daemon, &project, "schema/api.ro", &format!("{SCHEMA}{other}"));
    assert!(project.path().join("src/generated/api/other.py").is_file());
    refused(&mut daemon, &project, "schema/api.ro", SCHEMA);
    assert!(!project.path().join("src/generated/api/other.py").exists());
}

#[test]
fn a_worker_lost_after_a_broken_edit_does_not_take_the_service_with_it() {
    let project = project();
    let mut daemon = project.dev();
    refused(&mut daemon, &project, "schema/api.ro", "api Version {\n");
    for worker in daemon.workers() {
        kill(worker, "-KILL");
    }
    assert_eq!(version(&daemon), 1);
}

#[test]
fn work_in_flight_finishes_on_the_version_it_began_on() {
    let waiting = |version: usize| {
        format!(
            "import asyncio, os\nasync def handle_version(req, state):\n    if 'wait' in req.query_params:\n        \
             open('waiting', 'w').close()\n        while not os.path.exists('go'):\n            \
             await asyncio.sleep(0.01)\n    return {version}\n"
        )
    };
    let project = project().file(HANDLER, &waiting(1));
    let mut daemon = project.dev();
    let old = daemon.background("/version?wait=1");
    eventually("the handler", || project.path().join("waiting").exists().then_some(()));
    edit(&mut daemon, &project, HANDLER, &waiting(2));
    assert_eq!(version(&daemon), 2);
    assert!(!old.is_finished());
    project.write("go", "");
    let answer = old.join().unwrap().unwrap();
    assert_eq!((answer.status, answer.json()), (200, 1.into()));
    eventually("the end of the old worker", || (daemon.workers().len() == 1).then_some(()));
}

#[test]
fn every_way_to_save_a_file_is_seen() {
    let project = project();
    let mut daemon = project.dev();
    let path = project.path().join(HANDLER);
    let save = |daemon: &mut Daemon, number: usize, how: &dyn Fn(&str)| {
        how(&answering(number));
        eventually("the edit", || (version(daemon) == number as u64).then_some(()));
    };
    save(&mut daemon, 2, &|text| fs::write(&path, text).unwrap());
    save(&mut daemon, 3, &|text| {
        let backup = path.with_extension("py~");
        fs::rename(&path, &backup).unwrap();
        fs::write(&path, text).unwrap();
        fs::remove_file(backup).unwrap();
    });
    save(&mut daemon, 4, &|text| {
        let swap = path.with_file_name(".version.py.swp");
        fs::write(&swap, text).unwrap();
        fs::rename(swap, &path).unwrap();
    });
    // A directory replaced as a whole, as when a branch is checked out.
    save(&mut daemon, 5, &|text| {
        let handlers = project.path().join("src/handlers");
        fs::rename(&handlers, project.path().join("src/old")).unwrap();
        fs::create_dir_all(handlers.join("api")).unwrap();
        fs::write(&path, text).unwrap();
        fs::remove_dir_all(project.path().join("src/old")).unwrap();
    });
    for number in 6..30 {
        fs::write(&path, answering(number)).unwrap();
    }
    eventually("the last of many edits", || (version(&daemon) == 29).then_some(()));
}

#[test]
fn no_request_fails_while_versions_change() {
    let project = project();
    let mut daemon = project.dev();
    let (stop, answered, address) = (AtomicBool::new(false), AtomicUsize::new(0), daemon.address);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut connection = TcpStream::connect(address).unwrap();
                while !stop.load(Ordering::Relaxed) {
                    let (status, body) = exchange(&mut connection, "/version");
                    assert_eq!(status, 200, "{body}");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for number in 2..8 {
            edit(&mut daemon, &project, HANDLER, &answering(number));
            let before = answered.load(Ordering::Relaxed);
            eventually("further requests", || (answered.load(Ordering::Relaxed) > before + 20).then_some(()));
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(version(&daemon), 7);
}

#[test]
fn a_handler_taken_from_an_event_does_not_hold_up_its_publishers() {
    let event = |handlers: &str| format!("event Noted {{ payload: Json handler: [{handlers}] }}\n");
    let project = project()
        .file("schema/event.ro", &event("kept, dropped"))
        .file(
            "schema/emit.ro",
            "api Emit { method: GET path: \"/emit\" response: Json timeout: 2s triggers: [Noted] }\n",
        )
        .file("src/handlers/api/emit.py", "def handle_emit():\n    return 1\n")
        .file("src/handlers/events/kept.py", "def kept(event):\n    pass\n")
        .file("src/handlers/events/dropped.py", "def dropped(event):\n    pass\n")
        .file(
            "config/rohas.toml",
            "[project]\nname = \"test\"\n[python]\nworkers = 1\n[adapter]\ntype = \"memory\"\nbuffer_size = 3\n",
        );
    let mut daemon = project.dev();
    edit(&mut daemon, &project, "schema/event.ro", &event("kept"));
    for _ in 0..10 {
        assert_eq!(daemon.get("/emit").status, 200);
    }
}

#[test]
fn an_event_that_moves_to_another_broker_is_still_delivered() {
    let event = |adapter: &str| format!("event Noted {{ payload: Json handler: [noted] {adapter} }}\n");
    let project = project()
        .file("schema/event.ro", &event(""))
        .file("schema/emit.ro", "api Emit { method: GET path: \"/emit\" response: Json triggers: [Noted] }\n")
        .file("src/handlers/api/emit.py", "def handle_emit():\n    return 1\n")
        .file("src/handlers/events/noted.py", "def noted(event):\n    print('it came')\n")
        .file(
            "config/rohas.toml",
            "[project]\nname = \"test\"\n[python]\nworkers = 1\n[adapters.other]\ntype = \"memory\"\n",
        );
    let mut daemon = project.dev();
    for (number, adapter) in ["adapter: other", "", "adapter: other"].into_iter().enumerate() {
        edit(&mut daemon, &project, "schema/event.ro", &event(adapter));
        assert_eq!(daemon.get("/emit").status, 200);
        daemon.wait_for("the event", |text| (text.matches("it came").count() > number).then_some(()));
    }
}

/// What a daemon and its workers hold of the machine.
#[derive(Debug)]
struct Held {
    threads: usize,
    descriptors: usize,
    kilobytes: usize,
}

fn held(daemon: &Daemon) -> Held {
    let count = |what: &str| fs::read_dir(format!("/proc/{}/{what}", daemon.pid())).unwrap().count();
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    Held {
        threads: count("task"),
        descriptors: count("fd"),
        kilobytes: resident.trim().trim_end_matches(" kB").parse().unwrap(),
    }
}

/// `ROHAS_LONG=1` makes it 200 reloads.
#[test]
fn many_reloads_leave_processes_threads_descriptors_and_memory_flat() {
    let count = if std::env::var_os("ROHAS_LONG").is_some() { 200 } else { 20 };
    let project = project();
    let mut daemon = project.dev();
    let settled = |daemon: &mut Daemon, number: usize| {
        edit(daemon, &project, HANDLER, &answering(number));
        assert_eq!(version(daemon), number as u64);
        eventually("the end of the old worker", || (daemon.workers().len() == 1).then_some(()));
        held(daemon)
    };
    let warm = (2..7).map(|number| settled(&mut daemon, number)).last().unwrap();
    let last = (7..7 + count).map(|number| settled(&mut daemon, number)).last().unwrap();
    println!("after 5 reloads: {warm:?}, after {count} more: {last:?}");
    assert!(last.threads <= warm.threads + 3, "threads: {warm:?}, {last:?}");
    assert!(last.descriptors <= warm.descriptors + 3, "descriptors: {warm:?}, {last:?}");
    assert!(last.kilobytes <= warm.kilobytes + (16 << 10), "memory: {warm:?}, {last:?}");
}

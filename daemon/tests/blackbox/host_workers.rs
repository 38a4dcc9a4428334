//! How do worker processes live, and what do they leave behind?
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;

use serde_json::Value;

use crate::support::{Daemon, Project, eventually, is_alive, kill};

fn project(settings: &str) -> Project {
    Project::new()
        .file("config/rohas.toml", &format!("[project]\nname = \"test\"\n[python]\nworkers = 1\n{settings}\n"))
        .file(
            "schema/api.ro",
            "
            api Pid { method: GET path: \"/pid\" response: Json }
            api Hoard { method: GET path: \"/hoard\" response: Json }
            api Talk { method: GET path: \"/talk\" response: Json }
            api Look { method: GET path: \"/look\" response: Json }
            ",
        )
        .file("src/handlers/api/pid.py", "import os\nasync def handle_pid():\n    return os.getpid()\n")
        .file(
            "src/handlers/api/hoard.py",
            "
            hoard = []
            async def handle_hoard():
                hoard.append(bytearray(b'x') * (600 << 20))
                return len(hoard)
            ",
        )
        .file(
            "src/handlers/api/talk.py",
            "
            import os, sys
            def handle_talk(req, state):
                print('said aloud')
                print('complained', file=sys.stderr)
                state.logger.warning('noted', number=7)
                os.write(1, b'straight to the descriptor\\n')
                return True
            ",
        )
        .file(
            "src/handlers/api/look.py",
            "
            import os
            def handle_look():
                names = []
                for fd in os.listdir('/proc/self/fd'):
                    try:
                        names.append(os.readlink(f'/proc/self/fd/{fd}'))
                    except FileNotFoundError:
                        pass  # the one that listed the others
                return {'cwd': os.getcwd(), 'sockets': len({name for name in names if name.startswith('socket:')}), 'names': names}
            ",
        )
}

fn pid(daemon: &Daemon) -> u32 {
    let response = daemon.get("/pid");
    assert_eq!(response.status, 200, "{response:?}");
    u32::try_from(response.json().as_u64().unwrap()).unwrap()
}

#[test]
fn a_worker_beyond_its_memory_limit_is_replaced() {
    let project = project("memory_limit = \"400MiB\"");
    let daemon = project.dev();
    let first = pid(&daemon);
    drop(daemon.background("/hoard"));
    eventually("the end of the worker", || (!is_alive(first)).then_some(()));
    assert_ne!(pid(&daemon), first);
}

#[test]
fn a_worker_is_recycled_after_its_calls_and_no_request_fails() {
    let project = project("recycle_after = 5");
    let daemon = project.dev();
    let first = pid(&daemon);
    eventually("another worker", || (pid(&daemon) != first).then_some(()));
    eventually("the end of the first", || (!is_alive(first)).then_some(()));
}

#[test]
fn a_worker_killed_from_outside_is_replaced() {
    let project = project("");
    let daemon = project.dev();
    let first = pid(&daemon);
    kill(first, "-KILL");
    eventually("the end of the worker", || (!is_alive(first)).then_some(()));
    assert_ne!(pid(&daemon), first);
    assert_eq!(daemon.workers().len(), 1);
}

#[test]
fn a_stopped_worker_does_not_stop_the_service() {
    let project = project("");
    let daemon = project.dev();
    let first = pid(&daemon);
    kill(first, "-STOP");
    assert_ne!(pid(&daemon), first);
    kill(first, "-CONT");
}

#[test]
fn workers_end_when_their_daemon_is_killed_even_in_an_endless_loop() {
    let project = project("").file("schema/spin.ro", "api Spin { method: GET path: \"/spin\" response: Json }").file(
        "src/handlers/api/spin.py",
        "def handle_spin():\n    open('spinning', 'w').close()\n    while True:\n        pass\n",
    );
    let daemon = project.dev();
    let first = pid(&daemon);
    drop(daemon.background("/spin"));
    eventually("the loop", || project.path().join("spinning").exists().then_some(()));
    kill(daemon.pid(), "-KILL");
    eventually("the end of the worker", || (!is_alive(first)).then_some(()));
}

#[test]
fn what_a_handler_prints_is_shown_with_its_name_and_kept_in_its_trace() {
    let project = project("");
    let mut daemon = project.dev();
    let reply = daemon.get("/talk");
    assert_eq!(reply.status, 200);
    for wanted in ["said aloud", "complained", "noted"] {
        let line = daemon.wait_for(wanted, |text| text.lines().find(|line| line.contains(wanted)).map(str::to_owned));
        assert!(line.contains("handler=\"talk\""), "{line}");
    }
    daemon.wait_for_text("straight to the descriptor");
    let trace = reply.header("x-request-id").unwrap();
    let shown = eventually("the trace", || {
        let shown = project.rohas(&["traces", "show", trace, "--json"]);
        serde_json::from_slice::<Value>(&shown.stdout).ok()
    });
    let shown = shown.to_string();
    for wanted in ["said aloud", "complained", "noted", "\"stdout\"", "\"stderr\""] {
        assert!(shown.contains(wanted), "{wanted} is missing in {shown}");
    }
}

#[test]
fn a_worker_has_the_projects_directory_and_nothing_of_the_daemons() {
    let project = project("");
    let daemon = project.dev();
    let seen = daemon.get("/look").json();
    assert_eq!(seen["cwd"].as_str().unwrap(), fs::canonicalize(project.path()).unwrap().to_str().unwrap());
    // The daemon's own, and the pair that asyncio wakes its loop with.
    assert!(seen["sockets"].as_u64().unwrap() <= 3, "{seen}");
    assert!(!seen.to_string().contains(".rohas/telemetry"), "{seen}");
}

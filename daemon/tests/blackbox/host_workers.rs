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

/// A handler that starts a process, writes down its id, and goes on for ever.
fn parent() -> Project {
    Project::new()
        .file(
            "config/rohas.toml",
            "[project]\nname = \"test\"\n[server]\ndrain_grace = \"300ms\"\n[python]\nworkers = 1\n",
        )
        .file("schema/api.ro", "api Parent { method: GET path: \"/parent\" response: Json timeout: 120s }\n")
        .file(
            "src/handlers/api/parent.py",
            "
            import asyncio, os, subprocess
            async def handle_parent():
                child = subprocess.Popen(['sleep', '300'])
                with open('child.tmp', 'w') as file:
                    file.write(str(child.pid))
                os.rename('child.tmp', 'child')
                await asyncio.sleep(100)
            ",
        )
}

fn child(project: &Project) -> u32 {
    eventually("the handler's child", || fs::read_to_string(project.path().join("child")).ok()?.parse().ok())
}

#[test]
fn what_a_handler_started_ends_with_a_daemon_that_cuts_it_off() {
    let project = parent();
    let mut daemon = project.dev();
    drop(daemon.background("/parent"));
    let child = child(&project);
    assert!(is_alive(child));
    assert!(daemon.stop().success(), "{}", daemon.output());
    eventually("the end of the handler's child", || (!is_alive(child)).then_some(()));
}

#[test]
fn what_a_handler_started_ends_with_a_daemon_that_is_told_twice() {
    let project = parent();
    project.write(
        "config/rohas.toml",
        "[project]\nname = \"test\"\n[server]\ndrain_grace = \"10m\"\n[python]\nworkers = 1\n",
    );
    let mut daemon = project.dev();
    drop(daemon.background("/parent"));
    let child = child(&project);
    daemon.signal("-TERM");
    daemon.wait_for_text("stopping");
    assert!(is_alive(child));
    daemon.signal("-INT");
    daemon.wait();
    eventually("the end of the handler's child", || (!is_alive(child)).then_some(()));
}

#[test]
fn what_left_a_worker_for_good_does_not_keep_the_daemon_by_its_output() {
    let project = parent();
    project.write(
        "src/handlers/api/parent.py",
        "
        import subprocess
        def handle_parent():
            return subprocess.Popen(['sleep', '300'], start_new_session=True).pid
        ",
    );
    let mut daemon = project.dev();
    let child = u32::try_from(daemon.get("/parent").json().as_u64().unwrap()).unwrap();
    let status = daemon.stop();
    let survived = is_alive(child);
    kill(child, "-KILL");
    assert!(status.success() && survived, "{}", daemon.output());
    assert!(!daemon.output().contains("did not end in time"), "{}", daemon.output());
}

/// Two handlers, of which one is broken on disk after the daemon has loaded them.
fn broken_on_disk(workers: u16) -> (Project, Daemon) {
    let project = Project::new()
        .file("config/rohas.toml", &format!("[project]\nname = \"test\"\n[python]\nworkers = {workers}\n"))
        .file(
            "schema/api.ro",
            "
            api Pid { method: GET path: \"/pid\" response: Json }
            api Frail { method: GET path: \"/frail\" response: Json }
            ",
        )
        .file("src/handlers/api/pid.py", "import os\nasync def handle_pid():\n    return os.getpid()\n")
        .file(
            "src/handlers/api/frail.py",
            "
            import os
            async def handle_frail():
                return 'well'
            open(f'loaded-{os.getpid()}', 'w').close()
            ",
        );
    let mut daemon = project.dev();
    let has_loaded = |worker: &u32| project.path().join(format!("loaded-{worker}")).exists();
    let loaded = || daemon.workers().iter().filter(|worker| has_loaded(worker)).count();
    eventually("all workers", || (loaded() == usize::from(workers)).then_some(()));
    project.write("src/handlers/api/frail.py", "import no_such_module\n");
    daemon.wait_for_text("not reloaded");
    (project, daemon)
}

#[test]
fn a_replacement_that_loads_worse_is_not_used_while_another_worker_lives() {
    let (_project, mut daemon) = broken_on_disk(2);
    eventually("the two that serve", || (daemon.workers().len() == 2).then_some(()));
    kill(pid(&daemon), "-KILL");
    daemon.wait_for("two refused replacements", |text| {
        (text.matches("it is not used, the others go on").count() >= 2).then_some(())
    });
    assert!(daemon.output().contains("handler=\"frail\""), "{}", daemon.output());
    assert!(daemon.output().contains("No module named 'no_such_module'"), "{}", daemon.output());
    for _ in 0..20 {
        let answer = daemon.get("/frail");
        assert_eq!((answer.status, answer.json()), (200, "well".into()));
    }
}

#[test]
fn the_only_worker_is_replaced_by_one_that_serves_what_it_can_until_the_code_is_mended() {
    let (project, mut daemon) = broken_on_disk(1);
    kill(pid(&daemon), "-KILL");
    pid(&daemon);
    daemon.wait_for_text("no other worker lives");
    let answer = daemon.get("/frail");
    assert_eq!((answer.status, answer.json()["code"].as_str().unwrap()), (500, "handler_not_loaded"), "{answer:?}");
    assert!(answer.json()["error"].as_str().unwrap().contains("no_such_module"), "{answer:?}");
    project.write("src/handlers/api/frail.py", "async def handle_frail():\n    return 'mended'\n");
    eventually("the mended handler", || (daemon.get("/frail").status == 200).then_some(()));
}

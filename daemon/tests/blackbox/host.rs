//! Does user code get what it is promised, and does it harm nobody when it fails?
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Daemon, Project, Response, eventually, is_alive, text};

/// Handlers of these names, each at a path of its name.
fn project(apis: &[(&str, &str, &str)]) -> Project {
    let mut project = Project::new();
    for (name, options, code) in apis {
        let file = name.to_lowercase();
        project = project
            .file(
                &format!("schema/{file}.ro"),
                &format!("api {name} {{ method: GET path: \"/{file}\" response: Json {options} }}"),
            )
            .file(&format!("src/handlers/api/{file}.py"), code);
    }
    project
}

/// Answers with the process id of the worker that runs it.
const PID: (&str, &str, &str) = (
    "Pid",
    "",
    "
    import os
    async def handle_pid():
        return os.getpid()
    ",
);

fn pid(daemon: &Daemon) -> u64 {
    let response = daemon.get("/pid");
    assert_eq!(response.status, 200, "{response:?}");
    response.json().as_u64().unwrap()
}

fn joined(request: thread::JoinHandle<Option<Response>>) -> Response {
    request.join().unwrap().expect("an answer")
}

#[test]
fn handlers_are_plain_or_async_and_take_what_they_want() {
    let project = project(&[
        ("None0", "", "async def handle_none0():\n    return 0\n"),
        ("Sync0", "", "def handle_sync0():\n    return 0\n"),
        ("Sync1", "", "def handle_sync1(req):\n    return req.query_params['n']\n"),
        ("One1", "", "async def handle_one1(req):\n    return req.query_params['n']\n"),
        ("Sync2", "", "def handle_sync2(req, state):\n    return [req.query_params['n'], state.attempt]\n"),
        ("Two2", "", "async def handle_two2(req, state):\n    return [req.query_params['n'], state.attempt]\n"),
    ]);
    let daemon = project.dev();
    let answers = ["none0", "sync0", "sync1", "one1", "sync2", "two2"].map(|name| daemon.get(&format!("/{name}?n=x")));
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    let answers = answers.map(|answer| answer.json().to_string());
    assert_eq!(answers, ["0", "0", "\"x\"", "\"x\"", "[\"x\",1]", "[\"x\",1]"]);
}

#[test]
fn a_hundred_async_handlers_run_at_once_on_one_worker() {
    let project = project(&[(
        "Meet",
        "timeout: 20s",
        "
        import asyncio
        present, all_here = 0, asyncio.Event()
        async def handle_meet():
            global present
            present += 1
            if present == 100:
                all_here.set()
            await all_here.wait()
            await asyncio.sleep(1)
            return present
        ",
    )]);
    let daemon = project.dev();
    let began = Instant::now();
    let requests: Vec<_> = (0..100).map(|_| daemon.background("/meet")).collect();
    for request in requests {
        assert_eq!(joined(request).status, 200);
    }
    assert!(began.elapsed() < Duration::from_secs(15), "one after the other takes 100 s: {:?}", began.elapsed());
}

#[test]
fn plain_handlers_run_beside_each_other_and_beside_async_ones() {
    let project = project(&[
        PID,
        (
            "Meet",
            "timeout: 20s",
            "
            import threading
            barrier = threading.Barrier(20)
            def handle_meet():
                barrier.wait(15)
                return True
            ",
        ),
    ]);
    let daemon = project.dev();
    let mut requests: Vec<_> = (0..19).map(|_| daemon.background("/meet")).collect();
    pid(&daemon);
    requests.push(daemon.background("/meet"));
    for request in requests {
        assert_eq!(joined(request).status, 200);
    }
}

const BROKEN: [(&str, &str, &str); 5] = [
    ("Imports", "", "import json\nimport no_such_module\nasync def handle_imports():\n    return 1\n"),
    ("Nameless", "", "def something_else():\n    return 1\n"),
    ("Syntax", "", "def handle_syntax(:\n    return 1\n"),
    ("Quits", "", "import sys\nsys.exit(1)\n"),
    ("Raises", "", "x = 1\ny = x / 0\ndef handle_raises():\n    return 1\n"),
];

#[test]
fn handlers_that_do_not_load_are_shown_with_file_line_and_remedy_and_the_others_work() {
    let project = project(&[&BROKEN[..], &[PID]].concat());
    let daemon = project.dev();
    pid(&daemon);
    let output = daemon.output();
    for wanted in [
        "src/handlers/api/imports.py:2: ModuleNotFoundError: No module named 'no_such_module'",
        "requirements.txt",
        "src/handlers/api/nameless.py",
        "handle_nameless",
        "src/handlers/api/syntax.py:1: SyntaxError",
        "src/handlers/api/quits.py:2: SystemExit",
        "src/handlers/api/raises.py:2: ZeroDivisionError: division by zero",
    ] {
        assert!(output.contains(wanted), "{wanted} is missing in\n{output}");
    }
    let refused = daemon.get("/imports");
    assert_eq!(
        (refused.status, refused.json()["code"].as_str().unwrap().to_owned()),
        (500, "handler_not_loaded".into())
    );
    assert!(refused.json()["error"].as_str().unwrap().contains("no_such_module"), "{refused:?}");
}

#[test]
fn run_refuses_handlers_that_do_not_load() {
    let project = project(&[BROKEN[0], PID]);
    assert!(project.rohas(&["codegen"]).status.success());
    let refused = project.rohas(&["run", "--port", "0"]);
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(3), "{said}");
    assert!(said.contains("src/handlers/api/imports.py:2"), "{said}");
}

#[test]
fn a_missing_interpreter_is_the_projects_fault_and_has_a_remedy() {
    let project = project(&[PID]);
    assert!(project.rohas(&["codegen"]).status.success());
    let refused = |arguments: &[&str], variable: &str, value: &str| {
        let mut command = project.command(arguments);
        let output = command.env_remove("ROHAS_PYTHON__INTERPRETER").env(variable, value).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{said}");
        said
    };
    for arguments in [&["run", "--port", "0"][..], &["dev", "--port", "0"]] {
        let said = refused(arguments, "ROHAS_PYTHON__INTERPRETER", "nowhere/bin/python");
        assert!(said.contains("nowhere/bin/python") && said.contains("help: let [python] interpreter name"), "{said}");
        let said = refused(arguments, "VIRTUAL_ENV", "/nowhere");
        assert!(said.contains("/nowhere/bin/python") && said.contains("unset VIRTUAL_ENV"), "{said}");
    }
    project.write("not-a-program", "");
    let said = refused(&["run", "--port", "0"], "ROHAS_PYTHON__INTERPRETER", "not-a-program");
    assert!(said.contains("not-a-program") && said.contains("help:"), "{said}");
}

#[test]
fn an_interpreter_without_pydantic_is_shown_with_the_remedy() {
    let project = project(&[PID]);
    // An isolated environment made from the tests' own interpreter: it has nothing installed.
    let made = project
        .command(&[])
        .get_envs()
        .find(|(name, _)| *name == "ROHAS_PYTHON__INTERPRETER")
        .unwrap()
        .1
        .unwrap()
        .to_owned();
    let status = Command::new(made).args(["-m", "venv", "--without-pip", "bare"]).current_dir(project.path()).status();
    assert!(status.unwrap().success());
    let mut command = project.command(&["dev", "--port", "0", "--no-install"]);
    command.env("ROHAS_PYTHON__INTERPRETER", project.path().join("bare/bin/python"));
    let mut daemon = Daemon::start(command);
    daemon.wait_for_text("No module named 'pydantic'");
    daemon.wait_for_text("pip install pydantic");
    assert_eq!(daemon.get("/pid").status, 500);
    assert_eq!(daemon.get("/healthz").status, 200);
}

#[test]
fn an_endless_loop_is_answered_at_its_timeout_and_others_are_served_meanwhile() {
    let project = project(&[
        PID,
        (
            "Spin",
            "timeout: 6s",
            "
            async def handle_spin():
                while True:
                    pass
            ",
        ),
    ]);
    let daemon = project.dev();
    let first = pid(&daemon);
    let spinning = daemon.background("/spin");
    // With its only worker blocked, a spare one takes over; long before the loop's timeout.
    let began = Instant::now();
    let second = loop {
        let pid = pid(&daemon);
        if pid != first {
            break pid;
        }
    };
    assert!(!spinning.is_finished(), "others waited for the loop: {:?}", began.elapsed());
    assert_ne!(first, second);
    let answer = joined(spinning);
    assert_eq!((answer.status, answer.json()["code"].as_str().unwrap()), (504, "timeout"));
    eventually("the end of the worker", || (!is_alive(u32::try_from(first).unwrap())).then_some(()));
    pid(&daemon);
}

#[test]
fn a_worker_whose_loop_is_blocked_by_what_a_handler_left_behind_is_killed() {
    let project = project(&[
        PID,
        (
            "Leave",
            "",
            "
            import asyncio, os
            kept = []
            async def spin():
                await asyncio.sleep(0.2)
                while True:
                    pass
            async def handle_leave():
                kept.append(asyncio.create_task(spin()))
                return os.getpid()
            ",
        ),
    ]);
    let daemon = project.dev();
    // More often than there may be processes.
    for _ in 0..4 {
        let blocked = daemon.get("/leave").json().as_u64().unwrap();
        eventually("another worker", || (pid(&daemon) != blocked).then_some(()));
        eventually("the end of the blocked one", || (!is_alive(u32::try_from(blocked).unwrap())).then_some(()));
    }
}

#[test]
fn a_worker_that_left_its_process_group_is_killed_all_the_same() {
    let leave = (
        "Leave",
        "timeout: 300ms",
        "
        import os, signal
        async def handle_leave():
            os.setpgid(0, os.getpgid(os.getppid()))
            # Nor can its own watchdog end it now.
            os.kill(os.getpid(), signal.SIGSTOP)
        ",
    );
    let project = project(&[PID, leave]);
    let daemon = project.dev();
    let first = pid(&daemon);
    assert_eq!(daemon.get("/leave").status, 504);
    eventually("the end of the worker", || (!is_alive(u32::try_from(first).unwrap())).then_some(()));
    pid(&daemon);
}

const BLOCK: (&str, &str, &str) = (
    "Block",
    "timeout: 300ms",
    "
    import time
    def handle_block():
        while True:
            time.sleep(60)
    ",
);

/// A project whose only worker has so many threads.
fn threaded(apis: &[(&str, &str, &str)], threads: u16) -> Project {
    let settings = format!("[project]\nname = \"test\"\n[python]\nworkers = 1\nthreads = {threads}\n");
    project(apis).file("config/rohas.toml", &settings)
}

#[test]
fn a_worker_is_replaced_when_a_quarter_of_its_threads_is_stuck_and_not_before() {
    let nap = ("Nap", "timeout: 20s", "import asyncio\nasync def handle_nap():\n    await asyncio.sleep(3)\n");
    let project = threaded(&[PID, BLOCK, nap], 8);
    let daemon = project.dev();
    let first = pid(&daemon);
    assert_eq!(daemon.get("/block").status, 504);
    // Long enough for a replacement to have been started and to have taken over.
    assert_eq!(daemon.get("/nap").status, 200);
    assert_eq!(pid(&daemon), first);
    assert_eq!(daemon.get("/block").status, 504);
    eventually("another worker", || (pid(&daemon) != first).then_some(()));
    eventually("the end of the first", || (!is_alive(u32::try_from(first).unwrap())).then_some(()));
}

#[test]
fn calls_behind_the_last_stuck_thread_run_in_the_next_worker() {
    let project = threaded(&[BLOCK, ("Quick", "timeout: 20s", "def handle_quick():\n    return True\n")], 1);
    let daemon = project.dev();
    assert_eq!(daemon.get("/block").status, 504);
    assert_eq!(daemon.get("/quick").status, 200);
}

#[test]
fn a_stuck_thread_does_not_hold_up_the_end_of_the_daemon() {
    let project = project(&[BLOCK]).file(
        "config/rohas.toml",
        "[project]\nname = \"test\"\n[server]\ndrain_grace = \"10m\"\n[python]\nworkers = 1\nthreads = 8\n",
    );
    let mut daemon = project.dev();
    assert_eq!(daemon.get("/block").status, 504);
    assert!(daemon.stop().success(), "{}", daemon.output());
}

#[test]
fn stuck_handlers_beside_long_calls_never_use_up_the_processes() {
    let long = (
        "Long",
        "timeout: 100s",
        "
        import asyncio
        async def handle_long():
            open('long', 'a').write('x')
            await asyncio.sleep(90)
        ",
    );
    let project = threaded(&[PID, BLOCK, long], 1);
    let daemon = project.dev();
    // Each round leaves a worker behind that a long call keeps from ending; the fourth finds no room for its replacement.
    for round in 1..=4 {
        let before = pid(&daemon);
        drop(daemon.background("/long"));
        let begun = || fs::read_to_string(project.path().join("long")).is_ok_and(|text| text.len() == round);
        eventually("the long call", || begun().then_some(()));
        assert_eq!(daemon.get("/block").status, 504);
        eventually("the next worker", || (pid(&daemon) != before).then_some(()));
        assert!(daemon.workers().len() <= 3, "{:?}", daemon.workers());
    }
}

#[test]
fn a_cancelled_handler_keeps_its_worker() {
    let project = project(&[
        PID,
        (
            "Slow",
            "timeout: 300ms",
            "
            import asyncio
            async def handle_slow():
                await asyncio.sleep(60)
            ",
        ),
    ]);
    let daemon = project.dev();
    let first = pid(&daemon);
    for _ in 0..3 {
        assert_eq!(daemon.get("/slow").status, 504);
    }
    assert_eq!(pid(&daemon), first, "a handler that heeds its cancellation harms nobody");
}

#[test]
fn a_worker_that_dies_takes_only_what_it_had_begun() {
    let project = project(&[
        PID,
        (
            "Exit",
            "timeout: 20s",
            "
            import os, time
            def handle_exit():
                open('entered', 'w').close()
                while not os.path.exists('die'):
                    time.sleep(0.01)
                os._exit(1)
            ",
        ),
        ("Queued", "timeout: 20s", "import os\ndef handle_queued():\n    return os.getpid()\n"),
    ])
    .file("config/rohas.toml", "[project]\nname = \"test\"\n[python]\nworkers = 1\nthreads = 1\n");
    let daemon = project.dev();
    let first = pid(&daemon);
    let dying = daemon.background("/exit");
    eventually("the handler", || project.path().join("entered").exists().then_some(()));
    let queued: Vec<_> = (0..5).map(|_| daemon.background("/queued")).collect();
    // Those five are with the worker once a later call has been through its loop.
    pid(&daemon);
    project.write("die", "");
    let answer = joined(dying);
    assert_eq!((answer.status, answer.json()["code"].as_str().unwrap()), (502, "worker_died"));
    for request in queued {
        let answer = joined(request);
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_ne!(answer.json().as_u64().unwrap(), first);
    }
    assert_ne!(pid(&daemon), first);
}

#[test]
fn a_handler_that_asks_python_to_exit_only_fails() {
    let project = project(&[
        PID,
        ("Leave", "", "import sys\ndef handle_leave():\n    sys.exit(3)\n"),
        ("Depart", "", "async def handle_depart():\n    raise SystemExit(3)\n"),
        ("Interrupt", "", "async def handle_interrupt():\n    raise KeyboardInterrupt\n"),
    ]);
    let daemon = project.dev();
    let first = pid(&daemon);
    for path in ["/leave", "/depart", "/interrupt"] {
        assert_eq!(daemon.get(path).status, 500);
    }
    assert_eq!(pid(&daemon), first);
}

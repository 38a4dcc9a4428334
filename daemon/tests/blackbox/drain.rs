//! Does a daemon that is told to stop finish what it began, and only that?

use std::net::TcpStream;
use std::time::Instant;

use crate::support::{Daemon, PATIENCE, Project, eventually, is_alive, read_to_end};

const WAITING: &str = "
    import asyncio, os
    async def handle_wait():
        open('waiting', 'w').close()
        while not os.path.exists('go'):
            await asyncio.sleep(0.01)
        return 'done'
    ";

fn project(grace: &str) -> Project {
    Project::new()
        .file(
            "config/rohas.toml",
            &format!("[project]\nname = \"test\"\n[server]\ndrain_grace = \"{grace}\"\n[python]\nworkers = 1\n"),
        )
        .file("schema/api.ro", "api Wait { method: GET path: \"/wait\" response: Json timeout: 120s }\n")
        .file("src/handlers/api/wait.py", WAITING)
}

fn wait_for_file(project: &Project, name: &str) {
    eventually(name, || project.path().join(name).exists().then_some(()));
}

fn ends_well(daemon: &mut Daemon) {
    let workers = daemon.workers();
    let status = daemon.wait();
    assert_eq!(status.code(), Some(0), "{}", daemon.output());
    for worker in workers {
        eventually("the end of a worker", || (!is_alive(worker)).then_some(()));
    }
}

#[test]
fn a_request_in_flight_is_answered_and_new_ones_are_refused() {
    let project = project("20s");
    let mut daemon = project.run();
    let request = daemon.background("/wait");
    wait_for_file(&project, "waiting");
    let mut idle = daemon.connect();
    daemon.signal("-TERM");
    eventually("the listener's end", || TcpStream::connect(daemon.address).is_err().then_some(()));
    assert!(read_to_end(&mut idle).is_empty(), "an idle connection is closed");
    assert!(!request.is_finished());
    project.write("go", "");
    let answer = request.join().unwrap().expect("an answer");
    assert_eq!((answer.status, answer.json()), (200, "done".into()));
    ends_well(&mut daemon);
}

#[test]
fn a_handler_longer_than_the_grace_is_cut_off() {
    let project = project("300ms");
    let mut daemon = project.dev();
    let request = daemon.background("/wait");
    wait_for_file(&project, "waiting");
    daemon.signal("-TERM");
    ends_well(&mut daemon);
    assert!(daemon.output().contains("cut off"), "{}", daemon.output());
    assert!(request.join().unwrap().is_none_or(|answer| answer.status >= 500));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let project = project("10m");
    let mut daemon = project.dev();
    drop(daemon.background("/wait"));
    wait_for_file(&project, "waiting");
    daemon.signal("-TERM");
    daemon.wait_for_text("stopping");
    let workers = daemon.workers();
    daemon.signal("-INT");
    daemon.wait();
    for worker in workers {
        eventually("the end of a worker", || (!is_alive(worker)).then_some(()));
    }
}

#[test]
fn it_ends_while_it_starts() {
    let project =
        project("10s").file("src/handlers/api/wait.py", "import time\nopen('loading', 'w').close()\ntime.sleep(600)\n");
    let mut daemon = Daemon::spawn(project.command(&["dev", "--port", "0"]));
    wait_for_file(&project, "loading");
    daemon.signal("-TERM");
    ends_well(&mut daemon);
}

#[test]
fn it_ends_while_it_reloads() {
    let project = project("10s");
    let mut daemon = project.dev();
    project.write("src/handlers/api/wait.py", "import time\nopen('loading', 'w').close()\ntime.sleep(600)\n");
    wait_for_file(&project, "loading");
    daemon.signal("-TERM");
    ends_well(&mut daemon);
}

#[test]
fn it_ends_while_it_waits_for_a_broken_schema_to_be_mended() {
    let project = project("10s").file("schema/api.ro", "api Wait {\n");
    let mut daemon = Daemon::spawn(project.command(&["dev", "--port", "0"]));
    daemon.wait_for_text("Waiting for an edit");
    daemon.signal("-TERM");
    ends_well(&mut daemon);
}

#[test]
fn events_in_flight_are_finished_and_retries_are_not_waited_for() {
    let project = project("20s")
        .file(
            "schema/events.ro",
            "
            api Emit { method: GET path: \"/emit\" response: Json triggers: [Slow, Sad] }
            event Slow { payload: Json handler: [slow] }
            event Sad { payload: Json handler: [sad] retry: { attempts: 5, delay: 10m, maxDelay: 10m } }
            ",
        )
        .file("src/handlers/api/emit.py", "def handle_emit():\n    return 1\n")
        .file("src/handlers/events/sad.py", "def sad(event):\n    raise ValueError('sad')\n")
        .file(
            "src/handlers/events/slow.py",
            "
            import asyncio, os
            async def slow(event):
                open('waiting', 'w').close()
                while not os.path.exists('go'):
                    await asyncio.sleep(0.01)
                open('finished', 'w').close()
            ",
        );
    let mut daemon = project.dev();
    assert_eq!(daemon.get("/emit").status, 200);
    wait_for_file(&project, "waiting");
    daemon.wait_for_text("ValueError: sad");
    daemon.signal("-TERM");
    daemon.wait_for_text("stopping");
    project.write("go", "");
    let began = Instant::now();
    ends_well(&mut daemon);
    assert!(began.elapsed() < PATIENCE);
    assert!(project.path().join("finished").exists());
    assert!(!daemon.output().contains("did not end"), "{}", daemon.output());
}

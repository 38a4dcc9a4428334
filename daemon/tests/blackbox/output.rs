//! Does a daemon serve when nobody reads what it prints?

use std::fs;
use std::io::{BufRead, BufReader, Read as _};

use crate::support::{Daemon, Project, eventually};

/// What one request prints, in bytes: several times what pipe and buffers hold together.
const PRINTED: usize = 8 << 20;

fn project() -> Project {
    Project::new()
        .file("schema/api.ro", "api Shout { method: GET path: \"/shout\" response: Json timeout: 20s }\n")
        .file(
            "src/handlers/api/shout.py",
            &format!(
                "
                async def handle_shout(req):
                    for number in range(int(req.query_params.get('lines', 1))):
                        print('x' * {LINE})
                    return 'heard'
                "
            ),
        )
}

const LINE: usize = 32 << 10;

fn is_heard(daemon: &Daemon, lines: usize) {
    let answer = daemon.get(&format!("/shout?lines={lines}"));
    assert_eq!((answer.status, answer.json()), (200, "heard".into()));
}

#[test]
fn a_log_that_nobody_reads_holds_nothing_up_and_says_later_what_is_missing() {
    let project = project();
    let (mut daemon, mut stderr) = Daemon::with_unread_stderr(project.command(&["dev", "--port", "0"]));
    for _ in 0..4 {
        is_heard(&daemon, PRINTED / LINE / 4);
    }
    // Reading goes on: what was kept comes out, then how much was lost.
    let mut lines = BufReader::new(stderr.by_ref()).lines().map(Result::unwrap);
    let report = lines.find(|line| line.contains("lines were lost")).unwrap();
    let lost: usize = report.split("lost=").nth(1).unwrap().trim().parse().unwrap();
    assert!(lost > 0 && lost < PRINTED / LINE, "{report}");
    is_heard(&daemon, 1);
    lines.find(|line| line.contains("xxxx")).unwrap();
    daemon.signal("-TERM");
    drop(lines);
    drop(stderr);
    assert!(daemon.wait().success());
}

#[test]
fn lost_lines_of_a_json_log_are_reported_as_json() {
    let project = project();
    let (daemon, stderr) = Daemon::with_unread_stderr(project.command(&["dev", "--port", "0", "--log-format", "json"]));
    is_heard(&daemon, PRINTED / LINE);
    let mut lines = BufReader::new(stderr).lines().map(Result::unwrap);
    let lost = lines.find_map(|line| {
        let record: serde_json::Value = serde_json::from_str(&line).unwrap();
        record["lost"].as_u64()
    });
    assert!(lost.is_some_and(|lost| lost > 0));
}

#[test]
fn a_log_whose_reader_has_gone_leaves_its_thread_at_rest() {
    let project = project();
    let mut command = project.command(&["dev", "--port", "0"]);
    command.env("RUST_LOG", "trace");
    let (daemon, stderr) = Daemon::with_unread_stderr(command);
    drop(stderr);
    is_heard(&daemon, 1);
    let threads = format!("/proc/{}/task", daemon.pid());
    let name = |thread: &fs::DirEntry| fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
    let thread = fs::read_dir(threads).unwrap().map(Result::unwrap).find(|thread| name(thread) == "stderr\n").unwrap();
    // Busy is also who would run and gets no processor.
    let sleeps = || fs::read_to_string(thread.path().join("stat")).unwrap().contains("(stderr) S ");
    let mut looks = 0;
    eventually("the thread to rest", || {
        looks = if sleeps() { looks + 1 } else { 0 };
        (looks == 20).then_some(())
    });
}

#[test]
fn a_daemon_whose_log_nobody_reads_still_ends() {
    let project = project();
    let (mut daemon, stderr) = Daemon::with_unread_stderr(project.command(&["dev", "--port", "0"]));
    is_heard(&daemon, PRINTED / LINE);
    assert!(daemon.stop().success());
    drop(stderr);
}

#[test]
fn the_last_lines_are_out_before_the_daemon_ends() {
    let project = project();
    let mut daemon = project.run();
    is_heard(&daemon, 1);
    assert!(daemon.stop().success());
    eventually("the last line", || daemon.output().contains("draining").then_some(()));
}

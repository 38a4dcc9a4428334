//! Is everything that was written there after `kill -9`?

use std::io::{BufRead, BufReader, Write, stdin};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;

use crate::{everything, request, start, starts};

#[test]
fn flushed_records_survive_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    for round in 1..=3 {
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::victim", "--ignored", "--nocapture"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        writeln!(victim.stdin.as_mut().unwrap(), "{}", directory.path().display()).unwrap();
        let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines().map(|line| line.unwrap());
        assert!(lines.any(|line| line.contains("flushed")), "the victim ended early");
        victim.kill().unwrap();
        victim.wait().unwrap();

        let (handle, _service) = start(directory.path());
        assert_eq!(starts(&handle, &everything()).len(), round * 1_234);
    }
}

#[test]
#[ignore = "run by `flushed_records_survive_a_kill`, which kills it"]
fn victim() {
    let mut path = String::new();
    stdin().read_line(&mut path).unwrap();
    let (handle, _service) = start(&PathBuf::from(path.trim()));
    for at in 0..1_234 {
        handle.record(request(at));
    }
    handle.flush().unwrap();
    println!("flushed");
    loop {
        thread::park();
    }
}

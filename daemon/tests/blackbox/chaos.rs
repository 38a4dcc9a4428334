//! Is anything lost or left hanging when workers are killed at random under load?
#![expect(clippy::disallowed_methods, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{PATIENCE, Project, eventually, kill};

/// `ROHAS_LONG=1` makes it 100 kills.
#[test]
fn killed_workers_cost_their_requests_an_answer_and_no_event_its_delivery() {
    let kills = if std::env::var_os("ROHAS_LONG").is_some() { 100 } else { 12 };
    let project = Project::new()
        .file("config/rohas.toml", "[project]\nname = \"test\"\n[python]\nworkers = 2\n[adapter]\ntype = \"memory\"\n")
        .file(
            "schema/schema.ro",
            "
            api Go { method: GET path: \"/go/{n}\" response: Json triggers: [First] }
            event First { payload: Json handler: [first] triggers: [Second] retry: { delay: 20ms, maxDelay: 50ms } }
            event Second { payload: Json handler: [second] retry: { delay: 20ms, maxDelay: 50ms } }
            ",
        )
        .file("src/handlers/api/go.py", "async def handle_go(req):\n    return req.n\n")
        .file(
            "src/handlers/events/first.py",
            "
            import asyncio
            async def first(event):
                await asyncio.sleep(0.02)
                return event.payload
            ",
        )
        .file(
            "src/handlers/events/second.py",
            "
            import os, time
            def second(event):
                time.sleep(0.01)
                descriptor = os.open('journal', os.O_WRONLY | os.O_APPEND | os.O_CREAT)
                os.write(descriptor, f'{event.payload}\\n'.encode())
                os.close(descriptor)
            ",
        );
    let daemon = project.dev();
    let (stop, next, answered) = (AtomicBool::new(false), AtomicUsize::new(0), Mutex::new(BTreeSet::new()));
    let ask = || {
        while !stop.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed).to_string();
            let answer = daemon.get(&format!("/go/{number}"));
            assert!([200, 502].contains(&answer.status), "{answer:?}");
            if answer.status == 200 {
                answered.lock().unwrap().insert(number);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(ask);
        }
        for _ in 0..kills {
            let before = next.load(Ordering::Relaxed);
            eventually("further requests", || (next.load(Ordering::Relaxed) > before + 40).then_some(()));
            if let Some(worker) = daemon.workers().first() {
                kill(*worker, "-KILL");
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    let answered = answered.into_inner().unwrap();
    let missing = || {
        let journal = fs::read_to_string(project.path().join("journal")).unwrap_or_default();
        let delivered: BTreeSet<&str> = journal.lines().collect();
        answered.iter().filter(|number| !delivered.contains(number.as_str())).cloned().collect::<Vec<_>>()
    };
    let deadline = Instant::now() + PATIENCE;
    while !missing().is_empty() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(50));
    }
    assert!(missing().is_empty(), "lost {:?} of {}\n{}", missing(), answered.len(), daemon.output());
    assert!(!daemon.output().contains("given up"), "{}", daemon.output());
    eventually("as many workers as configured", || (daemon.workers().len() == 2).then_some(()));
}

//! Is anything acknowledged lost, or any effect doubled, when the daemon or its workers are killed at random under load?
#![expect(clippy::disallowed_methods, clippy::print_stderr, clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use std::{fs, thread};

use crate::support::{Daemon, PATIENCE, Project, Response, eventually, kill};

/// Deliveries that one subscription runs at a time here; so many may run again for each kill.
const CONCURRENCY: usize = 16;

/// Kills in a row: `ROHAS_LONG=1` makes it 200.
fn kills(short: usize) -> usize {
    if std::env::var_os("ROHAS_LONG").is_some() { 200 } else { short }
}

/// A chain of two events in the durable store: a request emits `First`, whose handler emits `Second`. Each run of a handler leaves a line
/// before it works and one after.
fn project() -> Project {
    let config = "[project]\nname = \"test\"\n[python]\nworkers = 2\n[adapter]\ntype = \"rocksdb\"\n";
    let schema = format!(
        "
        api Place {{ method: GET path: \"/place/{{n}}\" response: Json triggers: [First] }}
        event First {{ payload: Json handler: [first] concurrency: {CONCURRENCY} retry: {{ delay: 10ms, maxDelay: 50ms }} }}
        event Second {{ payload: Json handler: [second] concurrency: {CONCURRENCY} retry: {{ delay: 10ms, maxDelay: 50ms }} }}
        "
    );
    let journal = "
        import os
        def note(stage, event):
            descriptor = os.open('journal', os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(descriptor, f'{stage} {event.payload} {event.event_id}\\n'.encode())
            os.close(descriptor)
        ";
    let first = "
        import asyncio
        from journal import note
        async def first(event, state):
            note('first-begins', event)
            await asyncio.sleep(0.005)
            note('first', event)
            state.trigger_event('Second', event.payload)
        ";
    let second = "
        import asyncio
        from journal import note
        async def second(event):
            note('second-begins', event)
            await asyncio.sleep(0.005)
            note('second', event)
        ";
    Project::new()
        .file("config/rohas.toml", config)
        .file("schema/schema.ro", &schema)
        .file("src/journal.py", journal)
        .file("src/handlers/api/place.py", "async def handle_place(req):\n    return req.n\n")
        .file("src/handlers/events/first.py", first)
        .file("src/handlers/events/second.py", second)
}

/// Requests that were sent and those that were answered with 200.
#[derive(Default)]
struct Load {
    next: AtomicUsize,
    acknowledged: Mutex<BTreeSet<String>>,
    stop: AtomicBool,
}

impl Load {
    /// Sends one request after the other until it is told to stop or the daemon is gone.
    fn send(&self, address: SocketAddr) {
        while !self.stop.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed).to_string();
            let Some(answer) = get(address, &format!("/place/{number}")) else { return };
            if answer.status == 200 {
                self.acknowledged.lock().unwrap().insert(number);
            } else {
                assert!([502, 503].contains(&answer.status), "{answer:?}");
            }
        }
    }

    fn sent(&self) -> usize {
        self.next.load(Ordering::Relaxed)
    }

    /// Waits until some more requests were sent, a random number of them.
    fn wait_for_more(&self) {
        let until = self.sent() + fastrand::usize(1..120);
        eventually("further requests", || (self.sent() >= until).then_some(()));
    }
}

/// A request to a daemon that may be killed at any time.
fn get(address: SocketAddr, path: &str) -> Option<Response> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok()?;
    Response::parse(&bytes)
}

/// What the handlers wrote down: event ids per stage and request, with how often each ran.
struct Journal(BTreeMap<(String, String), BTreeMap<String, usize>>);

impl Journal {
    fn read(project: &Path) -> Self {
        let mut runs = BTreeMap::<_, BTreeMap<String, usize>>::new();
        for line in fs::read_to_string(project.join("journal")).unwrap_or_default().lines() {
            let mut words = line.split(' ').map(str::to_owned);
            let (Some(stage), Some(number), Some(id)) = (words.next(), words.next(), words.next()) else { continue };
            *runs.entry((stage, number)).or_default().entry(id).or_default() += 1;
        }
        Self(runs)
    }

    fn missing<'a>(&self, numbers: &'a BTreeSet<String>) -> Vec<&'a String> {
        let handled = |number: &&String| self.0.contains_key(&("second".to_owned(), (*number).clone()));
        numbers.iter().filter(|number| !handled(number)).collect()
    }

    fn of<'a>(&'a self, stage: &'a str) -> impl Iterator<Item = &'a BTreeMap<String, usize>> {
        self.0.iter().filter(move |((known, _), _)| known == stage).map(|(_, ids)| ids)
    }

    /// Events beyond the first that one request caused.
    fn doubled(&self, stage: &str) -> usize {
        self.of(stage).map(|ids| ids.len() - 1).sum()
    }

    /// Runs beyond the first of the same event.
    fn repeated(&self, stage: &str) -> usize {
        self.of(stage).flat_map(BTreeMap::values).map(|runs| runs - 1).sum()
    }
}

/// Waits for what was acknowledged and counts.
fn check(project: &Project, daemon: &mut Daemon, load: Load, kills: usize) {
    let acknowledged = load.acknowledged.into_inner().unwrap();
    let deadline = std::time::Instant::now() + PATIENCE;
    while !Journal::read(project.path()).missing(&acknowledged).is_empty() && std::time::Instant::now() < deadline {
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(daemon.stop().code(), Some(0), "{}", daemon.output());
    let journal = Journal::read(project.path());
    let lost = journal.missing(&acknowledged);
    let (first, second) = ("first-begins", "second-begins");
    let counts = format!(
        "kills {kills}, requests {}, acknowledged {}, lost {}, emitted events doubled {}, handler runs repeated {} and {} (at most {} each)",
        load.next.into_inner(),
        acknowledged.len(),
        lost.len(),
        journal.doubled(first) + journal.doubled(second),
        journal.repeated(first),
        journal.repeated(second),
        kills * CONCURRENCY,
    );
    eprintln!("{counts}");
    assert!(acknowledged.len() > kills, "hardly any request was answered: {counts}");
    assert!(lost.is_empty(), "{counts}: {lost:?}\n{}", daemon.output());
    assert_eq!(journal.doubled(first) + journal.doubled(second), 0, "{counts}");
    assert!(journal.repeated(first) <= kills * CONCURRENCY, "{counts}");
    assert!(journal.repeated(second) <= kills * CONCURRENCY, "{counts}");
    assert!(!daemon.output().contains("given up"), "{counts}\n{}", daemon.output());
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_doubled_when_the_daemon_is_killed() {
    let (project, load, kills) = (project(), Load::default(), kills(6));
    for _ in 0..kills {
        let daemon = project.run();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| load.send(daemon.address));
            }
            load.wait_for_more();
            thread::sleep(Duration::from_micros(fastrand::u64(0..3000)));
            kill(daemon.pid(), "-KILL");
        });
    }
    let mut daemon = project.run();
    check(&project, &mut daemon, load, kills);
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_doubled_when_workers_are_killed() {
    let (project, load, kills) = (project(), Load::default(), kills(8));
    let mut daemon = project.run();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| load.send(daemon.address));
        }
        for _ in 0..kills {
            load.wait_for_more();
            if let Some(worker) = fastrand::choice(daemon.workers()) {
                kill(worker, "-KILL");
            }
        }
        load.stop.store(true, Ordering::Relaxed);
    });
    check(&project, &mut daemon, load, kills);
}

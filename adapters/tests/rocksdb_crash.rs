//! Does the store keep what it confirmed when its process is killed, or its disk is full for a while?

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use rohas_adapters::broker::{Broker, Consumer, Error, Publication, Subscription};
use rohas_adapters::envelope::{Envelope, TraceContext};
use rohas_adapters::rocksdb::{Durability, OpenError, Options, RocksDb};
use uuid::Uuid;

const STORE: &str = "ROHAS_TEST_STORE";
const SYNCED: &str = "ROHAS_TEST_SYNCED";
const PATIENCE: Duration = Duration::from_secs(120);

fn publication(data: &[u8]) -> Publication {
    let envelope = Envelope {
        id: Uuid::now_v7(),
        source: "test".into(),
        event: "E".into(),
        key: None,
        time: SystemTime::now(),
        data: Bytes::copy_from_slice(data),
        trace: TraceContext { trace_id: [1; 16], parent: [0; 8] },
        causation: None,
        version: 1,
        hops: 0,
    };
    Publication { envelope, due: None, dedupe: Duration::ZERO }
}

async fn subscribe(store: &RocksDb) -> Arc<dyn Consumer> {
    store.subscribe(&Subscription { event: "E".into(), handler: "a".into() }).await.unwrap()
}

fn options(path: &Path, synced: bool) -> Options {
    let durability = if synced { Durability::Disk } else { Durability::Process };
    Options { durability, ..Options::new(path) }
}

/// Publishes numbers and acks every second one, and says so after each confirmation, until it is killed.
#[tokio::test]
#[ignore = "this is the process that the other test kills"]
#[expect(clippy::disallowed_methods, reason = "the other test passes its directory this way")]
async fn child() {
    let Some(path) = std::env::var_os(STORE) else { return };
    let store = RocksDb::open(options(Path::new(&path), std::env::var_os(SYNCED).is_some())).unwrap();
    let consumer = subscribe(&store).await;
    for number in 0_u64.. {
        let (one, other) = (number * 2, number * 2 + 1);
        let both = vec![publication(&one.to_be_bytes()), publication(&other.to_be_bytes())];
        store.publish(both).await.unwrap();
        say(&format!("published {one}\npublished {other}"));
        let deliveries = consumer.next(2).await.unwrap();
        for delivery in deliveries.iter().filter(|delivery| number_of(&delivery.envelope).is_multiple_of(2)) {
            consumer.ack(std::slice::from_ref(delivery)).await.unwrap();
            say(&format!("acked {}", number_of(&delivery.envelope)));
        }
    }
}

/// Begins with a line of its own, because the test harness may have begun one.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{text}").and_then(|()| out.flush()).unwrap();
}

fn number_of(envelope: &Envelope) -> u64 {
    u64::from_be_bytes(envelope.data.as_ref().try_into().unwrap())
}

fn start(path: &Path, synced: bool) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--ignored", "--nocapture"]).env(STORE, path).stdout(Stdio::piped());
    if synced {
        command.env(SYNCED, "1");
    }
    command.spawn().unwrap()
}

/// What the child has said when it is killed in the middle of its work.
fn run_and_kill(path: &Path, synced: bool) -> (BTreeSet<u64>, BTreeSet<u64>) {
    let mut child = start(path, synced);
    let (mut published, mut acked) = (BTreeSet::new(), BTreeSet::new());
    let until = 100 + fastrand::usize(..200);
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        match line.unwrap().split_once(' ') {
            Some(("published", number)) => drop(published.insert(number.parse().unwrap())),
            Some(("acked", number)) => drop(acked.insert(number.parse().unwrap())),
            _ => {}
        }
        if published.len() == until {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    (published, acked)
}

#[tokio::test]
async fn a_killed_store_has_what_it_confirmed_and_nothing_that_was_finished() {
    for (round, synced) in [true, false, false, false].into_iter().enumerate() {
        let directory = tempfile::tempdir().unwrap();
        let (published, acked) = run_and_kill(directory.path(), synced);
        assert!(published.len() >= 100, "round {round}: {} were published", published.len());
        let store = RocksDb::open(options(directory.path(), synced)).unwrap();
        let waiting = usize::try_from(store.status().await.unwrap()[0].waiting).unwrap();
        let consumer = subscribe(&store).await;
        let mut handed_out = Vec::new();
        while handed_out.len() < waiting {
            let deliveries = tokio::time::timeout(PATIENCE, consumer.next(100)).await.unwrap().unwrap();
            handed_out.extend(deliveries.iter().map(|delivery| number_of(&delivery.envelope)));
        }
        assert!(handed_out.is_sorted(), "round {round}");
        let handed_out: BTreeSet<u64> = handed_out.into_iter().collect();
        assert!(handed_out.is_disjoint(&acked), "round {round}: what was acked came again");
        let lost: Vec<_> =
            published.iter().filter(|number| !handed_out.contains(number) && !acked.contains(number)).collect();
        // An ack that was written and not yet told of explains one.
        assert!(lost.len() <= 1 && lost.iter().all(|number| **number % 2 == 0), "round {round}: {lost:?} are lost");
    }
}

/// A small file system in memory; unmounted at the end.
struct SmallDisk<'a>(&'a Path);

impl SmallDisk<'_> {
    fn mount(path: &Path) -> Option<SmallDisk<'_>> {
        run("mount", &["-t", "tmpfs", "-o", "size=12m", "tmpfs", path.to_str()?]).then_some(SmallDisk(path))
    }

    fn grow(&self) {
        assert!(run("mount", &["-o", "remount,size=200m", self.0.to_str().unwrap()]));
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        run("umount", &[self.0.to_str().unwrap()]);
    }
}

fn run(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

#[tokio::test]
async fn a_full_disk_is_an_error_until_there_is_room_and_loses_nothing_confirmed() {
    let directory = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(directory.path()) else {
        println!("skipped: mounting a small file system is not allowed here");
        return;
    };
    let store = RocksDb::open(options(&directory.path().join("events"), true)).unwrap();
    let consumer = subscribe(&store).await;
    store.publish((0..3).map(numbered).collect()).await.unwrap();
    let held = consumer.next(3).await.unwrap();
    assert_eq!(held.len(), 3);
    let first = tokio::time::timeout(PATIENCE, publish_numbers(&store, 3)).await.unwrap();
    assert!(first.1.to_string().contains("No space left"), "{}", first.1);
    for _ in 0..20 {
        let refused = store.publish(vec![numbered(u64::MAX)]).await;
        assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    }
    assert!(matches!(consumer.ack(&held[..1]).await, Err(Error::Unavailable(_))));
    assert!(
        matches!(consumer.next(1).await, Err(Error::Unavailable(_))),
        "nothing is handed out that could not be acked"
    );
    disk.grow();
    let last = first.0 + 1;
    let end = Instant::now() + PATIENCE;
    while store.publish(vec![numbered(last)]).await.is_err() {
        assert!(Instant::now() < end, "it did not recover");
        tokio::task::yield_now().await;
    }
    consumer.ack(&held).await.unwrap();
    let mut seen = Vec::new();
    while seen.last() != Some(&last) {
        let Ok(deliveries) = tokio::time::timeout(PATIENCE, consumer.next(100)).await.unwrap() else { continue };
        consumer.ack(&deliveries).await.unwrap();
        seen.extend(
            deliveries.iter().map(|delivery| u64::from_be_bytes(*delivery.envelope.data.first_chunk().unwrap())),
        );
    }
    // The three that were held do not come again, the first one neither: its ack failed, and was told again.
    let confirmed: Vec<u64> = (3..first.0).collect();
    assert!(seen.starts_with(&confirmed), "what was confirmed comes first and in order");
    store.close().await.unwrap();
    drop(store);
    drop(disk);
}

#[tokio::test]
async fn a_disk_that_is_full_at_the_start_is_named_and_costs_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(directory.path()) else {
        println!("skipped: mounting a small file system is not allowed here");
        return;
    };
    let path = directory.path().join("events");
    let store = RocksDb::open(options(&path, true)).unwrap();
    let consumer = subscribe(&store).await;
    store.publish((0..5).map(numbered).collect()).await.unwrap();
    drop((consumer, store));
    let filler = directory.path().join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    let full = std::iter::repeat_with(|| file.write_all(&[b'x'; 4096])).find_map(Result::err).unwrap();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    for _ in 0..3 {
        let refused = RocksDb::open(options(&path, true)).unwrap_err();
        assert!(matches!(refused, OpenError::NoSpace { .. }), "{refused:?}");
        assert!(refused.to_string().contains("its disk is full"), "{refused}");
    }
    drop(file);
    std::fs::remove_file(filler).unwrap();
    let store = RocksDb::open(options(&path, true)).unwrap();
    let consumer = subscribe(&store).await;
    let held = tokio::time::timeout(PATIENCE, consumer.next(10)).await.unwrap().unwrap();
    assert_eq!(held.len(), 5);
    drop((consumer, store));
    drop(disk);
}

/// Publishes until it fails. Returns how many were confirmed, and why no more.
async fn publish_numbers(store: &RocksDb, from: u64) -> (u64, Error) {
    let mut number = from;
    loop {
        match store.publish(vec![numbered(number)]).await {
            Ok(()) => number += 1,
            Err(error) => return (number, error),
        }
    }
}

/// A number and a lot of bytes that cannot be compressed.
fn numbered(number: u64) -> Publication {
    let mut data = number.to_be_bytes().to_vec();
    data.extend(std::iter::repeat_with(|| fastrand::u8(..)).take(20_000));
    publication(&data)
}

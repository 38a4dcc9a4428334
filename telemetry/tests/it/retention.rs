//! Does the retention remove what is too old or too much, and only that?

use std::fs;
use std::path::Path;
use std::time::Duration;

use rohas_telemetry::{Options, Record, Timestamp, open};

use crate::{everything, keeping, request, start, starts};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn recent() -> Record {
    Record { started_at: Timestamp::now(), ..request(0) }
}

#[test]
fn old_blocks_go_when_the_database_is_opened() {
    let directory = tempfile::tempdir().unwrap();
    let (handle, service) = start(directory.path());
    for at in 0..1_000 {
        handle.record(request(at));
    }
    handle.record(recent());
    service.shutdown().unwrap();

    let (handle, service) = open(Options { retention: Some(DAY), ..keeping(directory.path()) }).unwrap();
    let entries = handle.list(&everything()).unwrap().entries;
    assert_eq!(entries.len(), 1);
    let removed = handle.stats().removed;
    assert_eq!((removed.blocks, removed.records), (2, 1_000));
    service.shutdown().unwrap();
    let (handle, _service) = start(directory.path());
    assert_eq!(handle.list(&everything()).unwrap().entries, entries);
}

#[test]
fn block_with_one_recent_record_stays() {
    let directory = tempfile::tempdir().unwrap();
    let (handle, service) = start(directory.path());
    handle.record(request(1));
    handle.record(recent());
    service.shutdown().unwrap();
    let (handle, _service) = open(Options { retention: Some(DAY), ..keeping(directory.path()) }).unwrap();
    assert_eq!(handle.list(&everything()).unwrap().entries.len(), 2);
}

#[test]
fn blocks_from_the_future_do_not_keep_old_ones() {
    let directory = tempfile::tempdir().unwrap();
    let (handle, service) = start(directory.path());
    let future = Timestamp::now().after(365 * DAY);
    for started_at in [request(1).started_at, future, request(2).started_at] {
        for _ in 0..500 {
            handle.record(Record { started_at, ..request(0) });
        }
    }
    service.shutdown().unwrap();
    let (handle, _service) = open(Options { retention: Some(DAY), ..keeping(directory.path()) }).unwrap();
    let entries = handle.list(&everything()).unwrap().entries;
    assert_eq!(entries.len(), 500);
    assert!(entries.iter().all(|entry| entry.started_at == future));
}

#[test]
fn oldest_blocks_go_when_there_are_too_many_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let most = 100_000;
    let (handle, service) = open(Options { max_bytes: Some(most), ..keeping(directory.path()) }).unwrap();
    let total = 20_000;
    for at in 0..total {
        handle.record(request(at));
        if at % 5_000 == 0 {
            handle.flush().unwrap();
        }
    }
    handle.flush().unwrap();
    let stats = handle.stats();
    assert_eq!(stats.dropped, 0);
    assert!(stats.stored_bytes <= most, "{stats:?}");
    let left = starts(&handle, &everything());
    assert_eq!(left.len() as u64 + stats.removed.records, total);
    assert!(left.len() > 500, "{}", left.len());
    assert_eq!(left, (0..total).rev().take(left.len()).collect::<Vec<_>>());
    service.shutdown().unwrap();

    let (handle, _service) = open(Options { max_bytes: Some(most), ..keeping(directory.path()) }).unwrap();
    assert_eq!(starts(&handle, &everything()), left, "what fits stays when it is opened again");
}

#[test]
fn removal_frees_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let (handle, service) = start(directory.path());
    for at in 0..120_000 {
        handle.record(request(at));
        if at % 10_000 == 0 {
            handle.flush().unwrap();
        }
    }
    handle.flush().unwrap();
    assert_eq!(handle.stats().dropped, 0);
    service.shutdown().unwrap();
    let before = tables(directory.path());
    assert!(before > 3_000_000, "{before}");
    let (_handle, service) = open(Options { max_bytes: Some(200_000), ..keeping(directory.path()) }).unwrap();
    service.shutdown().unwrap();
    let after = tables(directory.path());
    assert!(after < 400_000, "{after} of {before} bytes are left");
}

/// Bytes in the database's table files.
fn tables(path: &Path) -> u64 {
    let files = fs::read_dir(path).unwrap().map(|file| file.unwrap());
    files
        .filter(|file| file.path().extension().is_some_and(|ext| ext == "sst"))
        .map(|file| file.metadata().unwrap().len())
        .sum()
}

//! Who may open the database, and what happens around opening and closing?

use std::fs;

use rohas_telemetry::{Error, Store, open};

use crate::{everything, keeping, request, start, starts};

#[test]
fn second_owner_is_refused_by_name_until_the_first_closes() {
    let directory = tempfile::tempdir().unwrap();
    let (_handle, service) = start(directory.path());
    let error = open(keeping(directory.path())).unwrap_err();
    assert!(matches!(error, Error::InUse { .. }), "{error:?}");
    assert!(error.to_string().contains(&directory.path().display().to_string()), "{error}");
    service.shutdown().unwrap();
    assert!(open(keeping(directory.path())).is_ok());
}

#[test]
fn shutdown_stores_everything_and_closes_handles() {
    let directory = tempfile::tempdir().unwrap();
    let (handle, service) = start(directory.path());
    for at in 0..5 {
        handle.record(request(at));
    }
    service.shutdown().unwrap();
    assert!(matches!(handle.list(&everything()), Err(Error::Closed)));
    handle.record(request(9));
    assert_eq!(handle.dropped(), 1);

    let (handle, _service) = start(directory.path());
    assert_eq!(starts(&handle, &everything()), [4, 3, 2, 1, 0]);
}

#[test]
fn dropped_service_stores_everything_too() {
    let directory = tempfile::tempdir().unwrap();
    let (handle, service) = start(directory.path());
    handle.record(request(1));
    drop(service);
    let (handle, _service) = start(directory.path());
    assert_eq!(starts(&handle, &everything()), [1]);
}

#[test]
fn store_can_be_read_beside_the_daemon_and_without_it() {
    let directory = tempfile::tempdir().unwrap();
    let (handle, service) = start(directory.path());
    let record = request(1);
    handle.record(record.clone());
    handle.flush().unwrap();
    let beside = Store::open_read_only(directory.path()).unwrap();
    assert_eq!(beside.list(&everything()).unwrap().entries.len(), 1);
    handle.record(request(2));
    service.shutdown().unwrap();

    let store = Store::open_read_only(directory.path()).unwrap();
    assert_eq!(store.list(&everything()).unwrap().entries.len(), 2);
    assert_eq!(store.find(&record.trace_id.to_string()[..8]).unwrap(), record.trace_id);
    assert_eq!(store.trace(record.trace_id).unwrap().records[0].record, record);
}

#[test]
fn reading_what_was_never_written_says_so_and_makes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("telemetry");
    let error = Store::open_read_only(&path).unwrap_err();
    assert!(matches!(error, Error::Missing { .. }), "{error:?}");
    assert!(!path.exists());
}

#[test]
fn directory_that_cannot_be_made_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let error = open(keeping(&file.join("telemetry"))).unwrap_err();
    assert!(matches!(error, Error::Directory { .. }), "{error:?}");
}

#[test]
fn counters_tell_what_became_of_the_records() {
    let directory = tempfile::tempdir().unwrap();
    let (handle, _service) = start(directory.path());
    for at in 0..1_234 {
        handle.record(request(at));
    }
    handle.flush().unwrap();
    let stats = handle.stats();
    assert_eq!((stats.written, stats.dropped, stats.failed), (1_234, 0, 0));
    assert!(stats.stored_bytes > 1_234 * 16);
}

#[test]
fn small_blocks_become_one() {
    let one_by_one = tempfile::tempdir().unwrap();
    let at_once = tempfile::tempdir().unwrap();
    let (slow, _slow) = start(one_by_one.path());
    let (fast, _fast) = start(at_once.path());
    for at in 0..500 {
        let record = request(at);
        slow.record(record.clone());
        slow.flush().unwrap();
        fast.record(record);
    }
    fast.flush().unwrap();
    assert_eq!(slow.stats().stored_bytes, fast.stats().stored_bytes);
    assert_eq!(slow.stats().written, 500);
    assert_eq!(starts(&slow, &everything()).len(), 500);
}

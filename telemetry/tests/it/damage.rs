//! Is a damaged block reported, and everything else still there?

use std::fs;
use std::path::{Path, PathBuf};

use rohas_telemetry::{Listing, Store};

use crate::{everything, request, start};

/// A database with four blocks, closed. They came about from smaller ones, so that RocksDB has something to compact.
fn four_blocks(path: &Path) {
    let (handle, service) = start(path);
    for at in 0..2_000 {
        handle.record(request(at));
        if at % 100 == 0 {
            handle.flush().unwrap();
        }
    }
    handle.flush().unwrap();
    service.shutdown().unwrap();
}

/// The table files of the database, largest first.
fn tables(path: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(path).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "sst"));
    files.sort_by_key(|file| std::cmp::Reverse(fs::metadata(file).unwrap().len()));
    files
}

fn corrupt(file: &Path, at: usize) {
    let mut bytes = fs::read(file).unwrap();
    bytes[at] ^= 0xff;
    fs::write(file, bytes).unwrap();
}

fn assert_one_block_is_missing(listing: &Listing) {
    assert_eq!(listing.entries.len(), 1_500);
    assert_eq!(listing.damaged.len(), 1, "{:?}", listing.damaged);
    assert_eq!(listing.damaged[0].key.len(), 16);
    assert!(!listing.damaged[0].reason.is_empty());
}

#[test]
fn damaged_block_is_reported_and_the_others_are_readable() {
    let directory = tempfile::tempdir().unwrap();
    four_blocks(directory.path());
    let blocks = &tables(directory.path())[0];
    let middle = fs::metadata(blocks).unwrap().len() / 2;
    corrupt(blocks, middle as usize);

    let store = Store::open_read_only(directory.path()).unwrap();
    let listing = store.list(&everything()).unwrap();
    assert_one_block_is_missing(&listing);
    let some = listing.entries[700].trace_id;
    assert_eq!(store.trace(some).unwrap().records.len(), 1);
    drop(store);

    let (handle, _service) = start(directory.path());
    handle.record(request(9_999));
    let listing = handle.list(&everything()).unwrap();
    assert_eq!((listing.entries.len(), listing.damaged.len()), (1_501, 1), "new records can be added");
}

#[test]
fn damaged_index_hides_nothing() {
    let directory = tempfile::tempdir().unwrap();
    four_blocks(directory.path());
    let indexes = &tables(directory.path())[1];
    corrupt(indexes, 6_000);
    let store = Store::open_read_only(directory.path()).unwrap();
    for entry in store.list(&everything()).unwrap().entries {
        assert_eq!(store.trace(entry.trace_id).unwrap().records.len(), 1);
    }
}

#[test]
fn damaged_list_of_blocks_is_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    four_blocks(directory.path());
    let list = &tables(directory.path())[2];
    corrupt(list, 20);
    assert!(Store::open_read_only(directory.path()).and_then(|store| store.list(&everything())).is_err());
    let (handle, service) = start(directory.path());
    let listing = handle.list(&everything()).unwrap();
    assert_eq!((listing.entries.len(), listing.damaged.len()), (2_000, 0));
    let bytes = handle.stats().stored_bytes;
    assert!(bytes > 2_000 * 16, "{bytes}");
    service.shutdown().unwrap();
    let (handle, _service) = start(directory.path());
    assert_eq!(handle.list(&everything()).unwrap().entries, listing.entries);
}

#[test]
fn torn_log_loses_only_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let (handle, _service) = start(directory.path());
    for at in 0..2_000 {
        handle.record(request(at));
    }
    handle.flush().unwrap();
    // What a machine that lost power may find: the log as it was, without its last bytes.
    for file in fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().path()) {
        let to = copy.path().join(file.file_name().unwrap());
        fs::copy(&file, &to).unwrap();
        if to.extension().is_some_and(|extension| extension == "log") {
            let bytes = fs::read(&to).unwrap();
            fs::write(&to, &bytes[..bytes.len() - bytes.len() / 8]).unwrap();
        }
    }
    let (handle, _copy) = start(copy.path());
    let listing = handle.list(&everything()).unwrap();
    assert_eq!((listing.entries.len(), listing.damaged.len()), (1_500, 0));
}

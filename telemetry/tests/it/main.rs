//! Does telemetry keep what it promises, seen from outside?

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod damage;
mod kill;
mod lifecycle;
mod queries;
mod retention;

use std::path::Path;
use std::time::Duration;

use rohas_telemetry::{Filter, Handle, Kind, Options, Record, Service, SpanId, Status, Timestamp, TraceId, open};

/// A point in time that all tests count from: far enough back for retention to find it old.
const EPOCH: Timestamp = Timestamp::from_nanos(1_600_000_000_000_000_000);

/// Options that keep everything.
fn keeping(path: &Path) -> Options {
    Options { retention: None, max_bytes: None, ..Options::new(path) }
}

fn start(path: &Path) -> (Handle, Service) {
    open(keeping(path)).unwrap()
}

/// A request that began so many milliseconds after the epoch.
fn request(at_ms: u64) -> Record {
    Record {
        started_at: EPOCH.after(Duration::from_millis(at_ms)),
        duration: Duration::from_micros(250),
        handler: Some("create_user".into()),
        ..Record::new(Kind::Request, "CreateUser".into(), TraceId::random(), SpanId::random())
    }
}

fn everything() -> Filter {
    Filter { limit: usize::MAX, ..Filter::default() }
}

fn failed(at_ms: u64) -> Record {
    Record { status: Status::Failed, ..request(at_ms) }
}

/// When the listed entries began, in milliseconds after the epoch.
fn starts(handle: &Handle, filter: &Filter) -> Vec<u64> {
    let listing = handle.list(filter).unwrap();
    assert_eq!(listing.damaged, []);
    listing.entries.iter().map(|entry| (entry.started_at.as_nanos() - EPOCH.as_nanos()) / 1_000_000).collect()
}

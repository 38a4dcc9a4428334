//! What does recording cost? CPU and bytes per record, in blocks and, for comparison, as one row per record.
//!
//! `cargo run --release -p rohas-telemetry --example throughput [records]`. Records have three parts each; two thirds are
//! requests, of which every second one emits an event, and one third are the deliveries of these, in the same trace. CPU is that of the thread that writes; the two ways take turns, five rounds.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rocksdb::{ColumnFamilyDescriptor, DB, WriteBatch};
use rohas_telemetry::{
    Emit, EventId, Filter, Http, Kind, Options, Phase, Record, Span, SpanId, Store, Timestamp, TraceId, open,
};
use rustix::time::{ClockId, clock_gettime};

const ROUNDS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let count = std::env::args().nth(1).map_or(Ok(300_000), |count| count.parse())?;
    let mut blocks = Vec::new();
    let mut rows = Vec::new();
    for round in 0..ROUNDS {
        blocks.push(in_blocks(sample(count, round as u64))?);
        rows.push(in_rows(&sample(count, round as u64))?);
    }
    show("blocks of 500", &mut blocks);
    show("a row per record", &mut rows);
    show_rest(&blocks);
    Ok(())
}

struct Cost {
    cpu: Duration,
    hand_over: Duration,
    /// Wall time to list every entry from the disk.
    listing: Duration,
    disk: u64,
    records: u64,
    parts: u64,
}

#[expect(clippy::print_stdout, reason = "this is what the program is for")]
fn show(name: &str, costs: &mut [Cost]) {
    costs.sort_by_key(|cost| cost.cpu);
    let per = |total: Duration, count: u64| total.as_nanos() as f64 / 1e3 / count as f64;
    let (median, worst) = (&costs[costs.len() / 2], &costs[costs.len() - 1]);
    println!(
        "{name:17} writer CPU {:6.3} µs per record (worst round {:6.3}), {:6.3} µs per span; {:5.1} bytes per record, {:5.1} per span",
        per(median.cpu, median.records),
        per(worst.cpu, worst.records),
        per(median.cpu, median.records + median.parts),
        median.disk as f64 / median.records as f64,
        median.disk as f64 / (median.records + median.parts) as f64,
    );
}

/// What only blocks have: the cost to whoever records, and to whoever asks for everything.
#[expect(clippy::print_stdout, reason = "this is what the program is for")]
fn show_rest(costs: &[Cost]) {
    let records: u64 = costs.iter().map(|cost| cost.records).sum();
    let mean =
        |time: fn(&Cost) -> Duration| costs.iter().map(time).sum::<Duration>().as_nanos() as f64 / 1e3 / records as f64;
    let (hand_over, listing) = (mean(|cost| cost.hand_over), mean(|cost| cost.listing));
    println!("handing over takes {hand_over:.3} µs per record, listing everything from the disk {listing:.3} µs");
}

/// Records through the handle; the CPU of the writer thread is the process's without this thread's.
fn in_blocks(records: Vec<Record>) -> Result<Cost, Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let (total, parts) = (records.len() as u64, count_parts(&records));
    let (handle, service) = open(Options { retention: None, max_bytes: None, ..Options::new(directory.path()) })?;
    handle.flush()?;
    let (process, thread) = (clock(ClockId::ProcessCPUTime), clock(ClockId::ThreadCPUTime));
    let mut hand_over = Duration::ZERO;
    let mut records = records.into_iter();
    loop {
        let batch: Vec<Record> = records.by_ref().take(4_000).collect();
        if batch.is_empty() {
            break;
        }
        let start = Instant::now();
        batch.into_iter().for_each(|record| handle.record(record));
        hand_over += start.elapsed();
        handle.flush()?;
    }
    let cpu = clock(ClockId::ProcessCPUTime) - process - (clock(ClockId::ThreadCPUTime) - thread);
    assert_eq!(handle.dropped(), 0, "the figures would be too good");
    service.shutdown()?;
    let store = Store::open_read_only(directory.path())?;
    let start = Instant::now();
    let listed = store.list(&Filter { limit: usize::MAX, ..Filter::default() })?.entries.len();
    let listing = start.elapsed();
    assert_eq!(listed as u64, total, "everything that was recorded is listed");
    Ok(Cost { cpu, hand_over, listing, disk: disk(directory.path())?, records: total, parts })
}

/// What one would write first: the record as JSON under its time, and two indexes that point to it.
fn in_rows(records: &[Record]) -> Result<Cost, Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let mut options = rocksdb::Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    let family = |name| {
        let mut options = rocksdb::Options::default();
        options.set_compression_type(rocksdb::DBCompressionType::Lz4);
        ColumnFamilyDescriptor::new(name, options)
    };
    let names = ["spans", "by_time", "by_trace"];
    let db = DB::open_cf_descriptors(&options, directory.path(), names.map(family))?;
    let [spans, by_time, by_trace] = names.map(|name| db.cf_handle(name).expect("it was opened"));
    let thread = clock(ClockId::ThreadCPUTime);
    for chunk in records.chunks(500) {
        let mut batch = WriteBatch::default();
        for record in chunk {
            let id = record.span_id.as_bytes();
            let time = [&record.started_at.as_nanos().to_be_bytes()[..], id].concat();
            let trace = [&record.trace_id.as_bytes()[..], id].concat();
            batch.put_cf(spans, id, serde_json::to_vec(record)?);
            batch.put_cf(by_time, time, []);
            batch.put_cf(by_trace, trace, []);
        }
        db.write(batch)?;
    }
    let cpu = clock(ClockId::ThreadCPUTime) - thread;
    for family in [spans, by_time, by_trace] {
        db.flush_cf(family)?;
        db.compact_range_cf(family, None::<&[u8]>, None::<&[u8]>);
    }
    drop(db);
    let disk = disk(directory.path())?;
    Ok(Cost {
        cpu,
        hand_over: Duration::ZERO,
        listing: Duration::ZERO,
        disk,
        records: records.len() as u64,
        parts: count_parts(records),
    })
}

fn clock(id: ClockId) -> Duration {
    let time = clock_gettime(id);
    Duration::new(time.tv_sec.cast_unsigned(), time.tv_nsec as u32)
}

fn count_parts(records: &[Record]) -> u64 {
    records.iter().map(|record| record.spans.len() as u64).sum()
}

fn disk(path: &Path) -> Result<u64, Box<dyn Error>> {
    let mut bytes = 0;
    for file in fs::read_dir(path)? {
        let file = file?;
        if file.path().extension().is_some_and(|extension| extension == "sst") {
            bytes += file.metadata()?.len();
        }
    }
    Ok(bytes)
}

fn sample(count: usize, seed: u64) -> Vec<Record> {
    let names = Names {
        api: "CreateOrder".into(),
        event: "OrderPlaced".into(),
        handlers: ["create_order".into(), "reserve_stock".into()],
        method: "POST".into(),
        path: "/orders/{region}".into(),
    };
    let mut state = seed;
    let mut random = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let start = Timestamp::now();
    let mut records: Vec<Record> = Vec::with_capacity(count);
    for n in 0..count as u64 {
        let at = start.after(Duration::from_nanos(n * 15_500 + random(6_000)));
        let last = records.last().filter(|last| last.kind == Kind::Request && n % 3 == 2);
        let record = match last {
            Some(request) => delivery(&names, request, at, &mut random),
            None => request(&names, n % 3 == 1, at, &mut random),
        };
        records.push(record);
    }
    records
}

struct Names {
    api: Arc<str>,
    event: Arc<str>,
    handlers: [Arc<str>; 2],
    method: Arc<str>,
    path: Arc<str>,
}

fn request(names: &Names, emits: bool, at: Timestamp, random: &mut impl FnMut(u64) -> u64) -> Record {
    let spans = parts([
        (Phase::Validate, 400 + random(300)),
        (Phase::Handler, 9_000 + random(9_000)),
        (Phase::Publish, 2_000 + random(900)),
    ]);
    let emits =
        if emits { vec![Emit { event: names.event.clone(), id: uuid::Uuid::new_v4().into() }] } else { Vec::new() };
    Record {
        handler: Some(names.handlers[0].clone()),
        started_at: at,
        duration: spans.iter().map(|span| span.duration).sum(),
        http: Some(Http { method: names.method.clone(), path: names.path.clone(), status: 201 }),
        spans,
        emits,
        ..Record::new(Kind::Request, names.api.clone(), TraceId::random(), SpanId::random())
    }
}

fn delivery(names: &Names, cause: &Record, at: Timestamp, random: &mut impl FnMut(u64) -> u64) -> Record {
    let spans = parts([
        (Phase::Queue, 40_000 + random(90_000)),
        (Phase::Validate, 400 + random(300)),
        (Phase::Handler, 5_000 + random(9_000)),
    ]);
    Record {
        parent: Some(cause.span_id),
        handler: Some(names.handlers[1].clone()),
        started_at: at,
        duration: spans.iter().map(|span| span.duration).sum(),
        event_id: cause.emits.first().map(|emit| -> EventId { emit.id.clone() }),
        spans,
        ..Record::new(Kind::Delivery, names.event.clone(), cause.trace_id, SpanId::random())
    }
}

fn parts(phases: [(Phase, u64); 3]) -> Vec<Span> {
    let mut offset = Duration::from_nanos(120);
    let part = |(phase, nanos)| {
        let span = Span { phase, name: None, offset, duration: Duration::from_nanos(nanos) };
        offset += span.duration + Duration::from_nanos(40);
        span
    };
    phases.into_iter().map(part).collect()
}

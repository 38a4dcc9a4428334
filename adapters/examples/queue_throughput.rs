//! How many events per second pass through the store? Published, handed out and acked, beside a bare loop that writes as much to RocksDB.
//!
//! `cargo run --release -p rohas-adapters --example queue_throughput [messages]`. Publishers publish one event each and wait for its confirmation; one
//! consumer acks what it gets in one call. The ways take turns, five rounds; medians, and the worst round.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use rocksdb::{DB, WriteBatch};
use rohas_adapters::broker::{Broker, Consumer, Publication, Subscription};
use rohas_adapters::envelope::{Envelope, TraceContext};
use rohas_adapters::rocksdb::{Durability, Options, RocksDb};
use rustix::time::{ClockId, clock_gettime};
use tokio::task::JoinSet;
use uuid::Uuid;

const ROUNDS: usize = 5;
/// So many publishers wait for their confirmation at once.
const PUBLISHERS: usize = 256;
const DATA: &[u8] =
    br#"{"order_id":"0b6c2f1e-8a3d-4f57-9c55-7f1f2f0b9a10","quantity":3,"price":"19.99","note":"as usual"}"#;

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let count = std::env::args().nth(1).map_or(Ok(200_000), |count| count.parse())?;
    let mut costs = vec![Vec::new(); 4];
    for _ in 0..ROUNDS {
        costs[0].push(through_store(count, Durability::Disk).await?);
        costs[1].push(bare(count, true)?);
        costs[2].push(through_store(count, Durability::Process).await?);
        costs[3].push(bare(count, false)?);
    }
    for costs in &mut costs {
        costs.sort_by_key(|cost| cost.time);
    }
    show("with fsync", &costs[0], &costs[1]);
    show("without fsync", &costs[2], &costs[3]);
    Ok(())
}

/// What one round took.
#[derive(Clone, Copy)]
struct Cost {
    count: usize,
    time: Duration,
    /// Of all threads.
    cpu: Duration,
}

impl Cost {
    fn measure(count: usize, (start, cpu): (Instant, Duration)) -> Self {
        Self { count, time: start.elapsed(), cpu: cpu_time() - cpu }
    }

    fn rate(&self) -> f64 {
        self.count as f64 / self.time.as_secs_f64()
    }

    fn cpu_micros(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.count as f64
    }
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[expect(clippy::print_stdout, reason = "this is what the program is for")]
fn show(name: &str, costs: &[Cost], bare: &[Cost]) {
    let (median, worst, bare) = (&costs[ROUNDS / 2], &costs[ROUNDS - 1], &bare[ROUNDS / 2]);
    println!(
        "{name:14} {:7.0} events/s (worst round {:.0}), {:.2} µs of CPU each; bare loop {:7.0}/s, {:.2} µs; ratio {:.2}",
        median.rate(),
        worst.rate(),
        median.cpu_micros(),
        bare.rate(),
        bare.cpu_micros(),
        median.rate() / bare.rate(),
    );
}

fn publication() -> Publication {
    let envelope = Envelope {
        id: Uuid::now_v7(),
        source: "shop/place_order".into(),
        event: "OrderPlaced".into(),
        key: None,
        time: SystemTime::now(),
        data: Bytes::from_static(DATA),
        trace: TraceContext { trace_id: [7; 16], parent: [9; 8] },
        causation: None,
        version: 1,
        hops: 1,
    };
    Publication { envelope, due: None, dedupe: Duration::from_secs(24 * 60 * 60) }
}

/// Publish, hand out, ack.
async fn through_store(count: usize, durability: Durability) -> Result<Cost, Failure> {
    let directory = tempfile::tempdir()?;
    let options = Options { durability, ..Options::new(directory.path()) };
    let store = Arc::new(RocksDb::open(options)?);
    let subscription = Subscription { event: "OrderPlaced".into(), handler: "ship".into() };
    let consumer = store.subscribe(&subscription).await?;
    let start = (Instant::now(), cpu_time());
    let mut tasks = JoinSet::new();
    for publisher in 0..PUBLISHERS {
        let store = Arc::clone(&store);
        let share = count / PUBLISHERS + usize::from(publisher < count % PUBLISHERS);
        tasks.spawn(async move {
            for _ in 0..share {
                store.publish(vec![publication()]).await?;
            }
            Ok::<(), Failure>(())
        });
    }
    tasks.spawn(async move { consume(&*consumer, count).await });
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    let cost = Cost::measure(count, start);
    store.close().await?;
    Ok(cost)
}

async fn consume(consumer: &dyn Consumer, count: usize) -> Result<(), Failure> {
    let mut done = 0;
    while done < count {
        let deliveries = consumer.next(500).await?;
        consumer.ack(&deliveries).await?;
        done += deliveries.len();
    }
    Ok(())
}

/// As many bytes in as many batches as the store could have made of them: all publishers in one, then one row of progress.
fn bare(count: usize, sync: bool) -> Result<Cost, Failure> {
    let directory = tempfile::tempdir()?;
    let db = DB::open(&bare_options(), directory.path() as &Path)?;
    let block = vec![b'x'; PUBLISHERS * (DATA.len() + 60)];
    let start = (Instant::now(), cpu_time());
    for number in 0..count.div_ceil(PUBLISHERS) {
        let mut batch = WriteBatch::default();
        batch.put(number.to_be_bytes(), &block);
        db.write(batch)?;
        if sync {
            db.flush_wal(true)?;
        }
        db.put(b"progress", number.to_be_bytes())?;
    }
    Ok(Cost::measure(count, start))
}

fn bare_options() -> rocksdb::Options {
    let mut options = rocksdb::Options::default();
    options.create_if_missing(true);
    options.set_compression_type(rocksdb::DBCompressionType::Lz4);
    options.set_write_buffer_size(16 << 20);
    options
}

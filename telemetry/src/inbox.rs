//! How do records reach the writer without making anyone wait? Over one bounded buffer that the writer takes whole.
//!
//! A channel would wake the writer for each record as long as it keeps up, and a wake-up costs the sender more than
//! everything else that is done for a record. Here the writer is woken when it has had nothing to do, and when a whole batch is there.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::Record;

/// How many records wait at most; the next ones are dropped and counted.
const MAX_RECORDS: usize = 16_384;
/// How many bytes of logs and errors wait at most.
const MAX_WEIGHT: usize = 64 << 20;
/// The writer is woken early when so many records wait.
const WAKE_RECORDS: usize = 512;
/// The writer is woken early when so many bytes wait.
const WAKE_WEIGHT: usize = 4 << 20;

/// The buffer between everyone who records and the writer.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    /// Guards what waits; held for a push or a swap, never while anything is encoded or written.
    waiting: Mutex<Waiting>,
    ready: Condvar,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    records: Vec<Record>,
    weight: usize,
    /// Who waits until everything recorded so far is stored.
    flushes: Vec<SyncSender<()>>,
    closed: bool,
    /// What the writer sleeps for, so that nobody wakes it for less.
    sleep: Sleep,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Sleep {
    #[default]
    Awake,
    UntilAny,
    UntilBatch,
}

/// What the writer takes out at once.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// The records, in the order in which they came.
    pub(crate) records: Vec<Record>,
    /// Whom to tell once they are stored.
    pub(crate) flushes: Vec<SyncSender<()>>,
    /// Nothing comes after this.
    pub(crate) closed: bool,
}

impl Inbox {
    /// Hands a record to the writer; drops and counts it when the inbox is full or closed.
    pub(crate) fn push(&self, record: Record) {
        let weight = record.weight();
        let mut waiting = self.lock();
        let full = waiting.records.len() >= MAX_RECORDS || waiting.weight + weight > MAX_WEIGHT;
        if full || waiting.closed {
            drop(waiting);
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        waiting.records.push(record);
        waiting.weight += weight;
        let wake = match waiting.sleep {
            Sleep::Awake => false,
            Sleep::UntilAny => true,
            Sleep::UntilBatch => waiting.has_batch(),
        };
        if wake {
            waiting.sleep = Sleep::Awake;
            drop(waiting);
            self.ready.notify_one();
        }
    }

    /// How many records were dropped since the start.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// A receiver that hears once everything pushed so far is stored; it is disconnected when that will not happen.
    pub(crate) fn request_flush(&self) -> Receiver<()> {
        let (tx, rx) = sync_channel(1);
        let mut waiting = self.lock();
        if !waiting.closed {
            waiting.flushes.push(tx);
            waiting.sleep = Sleep::Awake;
            drop(waiting);
            self.ready.notify_one();
        }
        rx
    }

    /// Lets nothing more in; the writer takes what is there and ends.
    pub(crate) fn close(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        waiting.sleep = Sleep::Awake;
        drop(waiting);
        self.ready.notify_one();
    }

    /// Closes it for good because nobody takes anything out any more: what waits is dropped, and who waits for a flush hears so.
    pub(crate) fn abandon(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        waiting.flushes.clear();
        let left = std::mem::take(&mut waiting.records).len();
        drop(waiting);
        self.dropped.fetch_add(left as u64, Ordering::Relaxed);
    }

    /// Takes what is there as soon as there is anything to do, or after `most`.
    pub(crate) fn take_any(&self, most: Duration) -> Taken {
        self.take(Sleep::UntilAny, most)
    }

    /// Takes what is there as soon as it is a batch or somebody waits for it, or after `most`.
    pub(crate) fn take_batch(&self, most: Duration) -> Taken {
        self.take(Sleep::UntilBatch, most)
    }

    fn take(&self, sleep: Sleep, most: Duration) -> Taken {
        let mut waiting = self.sleep(self.lock(), sleep, most);
        waiting.sleep = Sleep::Awake;
        waiting.weight = 0;
        // The next batch finds room at once; without it the buffer would grow step by step under the lock each time.
        let room = Vec::with_capacity(waiting.records.len().min(WAKE_RECORDS * 2));
        Taken {
            records: std::mem::replace(&mut waiting.records, room),
            flushes: std::mem::take(&mut waiting.flushes),
            closed: waiting.closed,
        }
    }

    fn sleep<'a>(&self, mut waiting: MutexGuard<'a, Waiting>, sleep: Sleep, most: Duration) -> MutexGuard<'a, Waiting> {
        let end = Instant::now() + most;
        while !waiting.is_due(sleep) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            waiting.sleep = sleep;
            waiting = self.ready.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        waiting
    }

    /// A panic while the lock is held leaves a buffer that is whole all the same: pushes and swaps are single steps.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.records.is_empty() && self.flushes.is_empty() && !self.closed
    }

    fn has_batch(&self) -> bool {
        self.records.len() >= WAKE_RECORDS || self.weight >= WAKE_WEIGHT
    }

    fn is_due(&self, sleep: Sleep) -> bool {
        match sleep {
            Sleep::Awake => true,
            Sleep::UntilAny => !self.is_empty(),
            Sleep::UntilBatch => self.has_batch() || !self.flushes.is_empty() || self.closed,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;
    use crate::{Kind, Level, Log, SpanId, TraceId};

    const LONG: Duration = Duration::from_secs(60);

    fn record() -> Record {
        Record::new(Kind::Request, "Api".into(), TraceId::random(), SpanId::random())
    }

    #[test]
    fn full_inbox_drops_and_counts() {
        let inbox = Inbox::default();
        for _ in 0..MAX_RECORDS + 3 {
            inbox.push(record());
        }
        assert_eq!(inbox.dropped(), 3);
        assert_eq!(inbox.take_any(LONG).records.len(), MAX_RECORDS);
        inbox.push(record());
        assert_eq!(inbox.dropped(), 3);
    }

    #[test]
    fn large_logs_fill_it_too() {
        let inbox = Inbox::default();
        let message: Box<str> = "x".repeat(MAX_WEIGHT / 4).into();
        for _ in 0..5 {
            let log = Log { offset: Duration::ZERO, level: Level::Info, message: message.clone(), fields: None };
            inbox.push(Record { logs: vec![log], ..record() });
        }
        assert_eq!(inbox.dropped(), 2);
    }

    #[test]
    fn batch_ends_the_wait() {
        let inbox = Arc::new(Inbox::default());
        let taker = thread::spawn({
            let inbox = Arc::clone(&inbox);
            move || inbox.take_batch(LONG).records.len()
        });
        for _ in 0..WAKE_RECORDS {
            inbox.push(record());
        }
        assert!(taker.join().unwrap() >= WAKE_RECORDS);
    }

    #[test]
    fn flush_ends_the_wait_and_is_handed_over_with_what_came_before() {
        let inbox = Inbox::default();
        inbox.push(record());
        let rx = inbox.request_flush();
        let taken = inbox.take_any(LONG);
        assert_eq!((taken.records.len(), taken.flushes.len()), (1, 1));
        taken.flushes[0].send(()).unwrap();
        assert!(rx.recv().is_ok());
    }

    #[test]
    fn abandoned_inbox_keeps_nobody_waiting() {
        let inbox = Inbox::default();
        inbox.push(record());
        let rx = inbox.request_flush();
        inbox.abandon();
        assert!(rx.recv().is_err() && inbox.request_flush().recv().is_err());
        assert_eq!(inbox.dropped(), 1);
    }

    #[test]
    fn closed_inbox_takes_nothing_more() {
        let inbox = Inbox::default();
        inbox.push(record());
        inbox.close();
        inbox.push(record());
        let taken = inbox.take_any(LONG);
        assert!(taken.closed);
        assert_eq!((taken.records.len(), inbox.dropped()), (1, 1));
        assert!(inbox.request_flush().recv().is_err());
    }
}

//! Which blocks go? Those in which everything is too old, and the oldest ones while there are too many bytes.
//!
//! Choosing and dropping is quick and done by the writer, so that nothing is written in between. Compaction, which frees what
//! shared a file with newer blocks, may take seconds and has a thread of its own.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};

use crate::block::Meta;
use crate::service::Shared;
use crate::store::{Key, Removed, Store};
use crate::{Error, Options, Timestamp};

/// Applies the options' limits to a store.
#[derive(Debug)]
pub(crate) struct Retention {
    options: Options,
    compactor: Compactor,
}

impl Retention {
    pub(crate) fn start(options: Options, shared: Arc<Shared>) -> Result<Self, Error> {
        Ok(Self { options, compactor: Compactor::start(shared)? })
    }

    /// Whether there are more bytes than allowed.
    pub(crate) fn is_over(&self, store: &Store) -> bool {
        self.options.max_bytes.is_some_and(|most| store.bytes() > most)
    }

    /// Removes what has to go and tells how much it was.
    pub(crate) fn apply(&mut self, store: &Store, now: Timestamp) -> Result<Removed, Error> {
        let mut removed = Removed::default();
        if let Some(age) = self.options.retention {
            removed += self.remove(store, expired(store, now.before(age), now)?)?;
        }
        if let Some(most) = self.options.max_bytes.filter(|most| store.bytes() > *most) {
            // A little more than needed, so that a full store is not trimmed for each new block.
            removed += self.remove(store, vec![excess(store, most - most / 16)?])?;
        }
        if removed.blocks > 0 {
            let Removed { blocks, records, bytes } = removed;
            tracing::info!(blocks, records, bytes, path = %store.path().display(), "old telemetry removed");
        }
        Ok(removed)
    }

    fn remove(&mut self, store: &Store, runs: Vec<Run>) -> Result<Removed, Error> {
        let mut removed = Removed::default();
        for run in runs {
            removed += store.remove(&run)?;
            if let (Some((first, _)), Some((last, _))) = (run.first(), run.last()) {
                self.compactor.request(*first, *last);
            }
        }
        Ok(removed)
    }

    /// Waits for a compaction that runs.
    pub(crate) fn stop(&mut self) -> Result<(), Error> {
        self.compactor.stop()
    }
}

/// Neighbouring blocks, oldest first.
type Run = Vec<(Key, Meta)>;

/// The blocks in which every record began before `limit`.
fn expired(store: &Store, limit: Timestamp, now: Timestamp) -> Result<Vec<Run>, Error> {
    let mut runs = vec![Run::new()];
    for block in store.view().oldest_first() {
        let (key, meta) = block?;
        if meta.last() < limit {
            runs.last_mut().expect("there is always one").push((key, meta));
        } else if meta.last() > now {
            // Written while the clock was wrong: not old yet, but what follows it may be.
            runs.push(Run::new());
        } else {
            break;
        }
    }
    Ok(runs)
}

/// The oldest blocks without which there are at most `most` bytes.
fn excess(store: &Store, most: u64) -> Result<Run, Error> {
    let mut bytes = store.bytes();
    let mut run = Run::new();
    for block in store.view().oldest_first() {
        if bytes <= most {
            break;
        }
        let (key, meta) = block?;
        bytes = bytes.saturating_sub(meta.bytes);
        run.push((key, meta));
    }
    Ok(run)
}

/// The first and the last key of what was removed.
type Range = (Key, Key);

/// A thread that compacts what was removed.
#[derive(Debug)]
struct Compactor {
    /// The thread and the way to it, until it is stopped.
    running: Option<(SyncSender<Range>, JoinHandle<()>)>,
    /// Where the next request begins, when one before it found the thread busy.
    from: Option<Key>,
}

impl Compactor {
    fn start(shared: Arc<Shared>) -> Result<Self, Error> {
        let (tx, rx) = sync_channel::<Range>(1);
        let compact = move || {
            for (first, last) in rx {
                if shared.slot.with(|store| store.compact(first, last)).is_err() {
                    break;
                }
            }
        };
        let name = "telemetry-compact";
        let thread = thread::Builder::new().name(name.into()).spawn(compact);
        let thread = thread.map_err(|source| Error::Thread { name, source })?;
        Ok(Self { running: Some((tx, thread)), from: None })
    }

    fn request(&mut self, first: Key, last: Key) {
        let Some((tx, _)) = &self.running else { return };
        let first = self.from.take().map_or(first, |from| from.min(first));
        if let Err(TrySendError::Full(_)) = tx.try_send((first, last)) {
            self.from = Some(first);
        }
    }

    fn stop(&mut self) -> Result<(), Error> {
        let Some((tx, thread)) = self.running.take() else { return Ok(()) };
        drop(tx);
        thread.join().map_err(|_payload| Error::Panicked { name: "telemetry-compact" })
    }
}

//! Which number does `generate_id` give? One that no worker of this daemon has given before.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::slots::Words;

/// 2020-01-01T00:00:00Z.
const EPOCH: Duration = Duration::from_secs(1_577_836_800);

/// Ids fit into the integers that a JSON number can hold exactly everywhere.
const MASK: u64 = (1 << 53) - 1;

/// The counter that all workers share.
pub(crate) struct Ids {
    words: Words,
}

impl Ids {
    /// Maps the counter behind a descriptor.
    ///
    /// # Errors
    ///
    /// When the memory can't be mapped or holds no word.
    pub(crate) fn map(file: &File) -> io::Result<Self> {
        let words = Words::map(file)?;
        if words.get(0).is_none() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the shared memory for ids is empty"));
        }
        Ok(Self { words })
    }

    /// A new id.
    pub(crate) fn generate(&self) -> u64 {
        let last = self.words.get(0).expect("checked when it was mapped");
        next(last, SystemTime::now())
    }
}

fn next(last: &AtomicU64, now: SystemTime) -> u64 {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(EPOCH);
    let floor = u64::try_from(since.as_millis()).unwrap_or(u64::MAX) << 12;
    let mut seen = last.load(Ordering::Relaxed);
    loop {
        let id = (seen + 1).max(floor) & MASK;
        match last.compare_exchange_weak(seen, id, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return id,
            Err(other) => seen = other,
        }
    }
}

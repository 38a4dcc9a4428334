//! Which calls has this worker entered? Memory shared with the daemon says so, even after a crash.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::{MmapOptions, MmapRaw};

const ENTERED: u64 = 1 << 63;

/// The slots of this worker.
pub(crate) struct Slots {
    words: Words,
}

impl Slots {
    /// Maps the slots behind a descriptor.
    pub(crate) fn map(file: &File) -> io::Result<Self> {
        Ok(Self { words: Words::map(file)? })
    }

    /// Marks a call as entered; false when the daemon has taken it back, so that it must not be run.
    pub(crate) fn enter(&self, slot: u32, id: u64) -> bool {
        let Some(word) = usize::try_from(slot).ok().and_then(|slot| self.words.get(slot)) else { return false };
        word.compare_exchange(id, id | ENTERED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// Shared memory seen as 64-bit words.
pub(crate) struct Words {
    map: MmapRaw,
}

impl Words {
    /// Maps all of a file.
    pub(crate) fn map(file: &File) -> io::Result<Self> {
        Ok(Self { map: MmapOptions::new().map_raw(file)? })
    }

    /// The word at an index, if the memory reaches that far.
    #[expect(unsafe_code, reason = "shared memory is only reachable by pointer")]
    pub(crate) fn get(&self, index: usize) -> Option<&AtomicU64> {
        if index >= self.map.len() / size_of::<u64>() {
            return None;
        }
        // SAFETY: the mapping starts at a page, so the word is aligned; it lies within the mapping, which lives as
        // long as `self`; the daemon writes it with atomic instructions only.
        Some(unsafe { AtomicU64::from_ptr(self.map.as_mut_ptr().cast::<u64>().add(index)) })
    }
}

//! Which calls has a worker begun? Shared memory says so without a message, even after the worker's death.
//!
//! `docs/worker-protocol.md` has the states of a word. Only the daemon makes a word a call's id, only the worker marks
//! it as entered, and either side's compare-and-swap decides races between taking back and entering.
#![expect(unsafe_code, reason = "atomics in memory shared with another process have no safe form")]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::MmapRaw;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

const ENTERED: u64 = 1 << 63;
const WORD: usize = size_of::<u64>();

/// Words shared with worker processes, zero at first.
pub(super) struct SharedWords {
    map: MmapRaw,
    file: File,
    count: usize,
}

impl SharedWords {
    pub(super) fn new(name: &str, count: usize) -> io::Result<Self> {
        let descriptor = memfd_create(name, MemfdFlags::CLOEXEC)?;
        let bytes = count * WORD;
        ftruncate(&descriptor, u64::try_from(bytes).map_err(io::Error::other)?)?;
        let file = File::from(descriptor);
        let map = MmapRaw::map_raw(&file)?;
        Ok(Self { map, file, count })
    }

    /// A descriptor to hand to a worker.
    pub(super) fn descriptor(&self) -> io::Result<OwnedFd> {
        self.file.as_fd().try_clone_to_owned()
    }

    fn word(&self, index: u32) -> &AtomicU64 {
        let index = index as usize;
        assert!(index < self.count, "slots are given out by the daemon, below their count");
        // SAFETY: the mapping is page-aligned, `count` words long and lives as long as `self`; all parties use it as atomics only.
        unsafe { AtomicU64::from_ptr(self.map.as_mut_ptr().cast::<u64>().add(index)) }
    }

    /// Offers a call to the worker.
    pub(super) fn offer(&self, slot: u32, id: u64) {
        self.word(slot).store(id, Ordering::Release);
    }

    /// Takes a call back. False when the worker has entered it.
    pub(super) fn take_back(&self, slot: u32, id: u64) -> bool {
        self.word(slot).compare_exchange(id, 0, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// What a worker does before it runs user code.
    #[cfg(test)]
    pub(super) fn enter(&self, slot: u32, id: u64) -> bool {
        self.word(slot).compare_exchange(id, id | ENTERED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    pub(super) fn entered(&self, slot: u32, id: u64) -> bool {
        self.word(slot).load(Ordering::Acquire) == id | ENTERED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_either_entered_or_taken_back() {
        let slots = SharedWords::new("test", 2).unwrap();
        slots.offer(1, 42);
        assert!(!slots.entered(1, 42));
        assert!(slots.take_back(1, 42));
        assert!(!slots.take_back(1, 42));

        slots.offer(1, 43);
        assert!(slots.enter(1, 43));
        assert!(slots.entered(1, 43));
        assert!(!slots.take_back(1, 43));
    }

    #[test]
    fn other_mappings_of_the_descriptor_see_the_same_words() {
        let slots = SharedWords::new("test", 4).unwrap();
        let other = MmapRaw::map_raw(&File::from(slots.descriptor().unwrap())).unwrap();
        slots.offer(2, 7);
        // SAFETY: as in `word`.
        let word = unsafe { AtomicU64::from_ptr(other.as_mut_ptr().cast::<u64>().add(2)) };
        assert_eq!(word.load(Ordering::Acquire), 7);
    }
}

//! Which delivery may run now? One at a time per key and in order, any number without a key, at most `concurrency` in all.
//!
//! A failed delivery waits for its next attempt at the head of its lane, so later ones of the same key stay behind it. It
//! takes up no slot meanwhile, and neither it nor what stays behind it counts towards the window that intake keeps full: other
//! lanes go on. Time is an argument.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;

/// Deliveries that are ready or run, as a multiple of the concurrency: enough that no slot stays empty while more is fetched.
const WINDOW: usize = 8;

/// Most deliveries that one subscription holds, those that wait included.
const MOST_HELD: usize = 10_000;

/// Most bytes that they may have when more is fetched.
const MOST_BYTES: usize = 32 << 20;

/// What lanes are made of.
pub(super) trait Entry {
    /// Whose lane it takes; without one it takes none.
    fn key(&self) -> Option<&Arc<str>>;

    /// How many bytes it holds.
    fn size(&self) -> usize;
}

/// Deliveries of one subscription that are not finished. `I` is a point in time.
pub(super) struct Lanes<T, I> {
    /// A lane per key with something unfinished: what stays behind the one that is ready, runs or waits.
    behind: HashMap<Arc<str>, VecDeque<T>>,
    /// First come, first served, so that no lane is passed over.
    ready: VecDeque<T>,
    /// Failed ones that wait for their time, the earliest first.
    waiting: BinaryHeap<Reverse<Waiting<T, I>>>,
    /// Numbers those that wait, so that of two that are due at once the one that failed first goes first.
    waits: u64,
    /// Taken out of their slots until they may run alone; their lanes stay closed.
    aside: VecDeque<T>,
    /// How many run.
    running: usize,
    /// How many there are in all.
    held: usize,
    /// What they hold in all.
    bytes: usize,
}

struct Waiting<T, I> {
    due: I,
    number: u64,
    delivery: T,
}

impl<T: Entry, I: Ord + Copy> Lanes<T, I> {
    pub(super) fn new() -> Self {
        Self {
            behind: HashMap::new(),
            ready: VecDeque::new(),
            waiting: BinaryHeap::new(),
            waits: 0,
            aside: VecDeque::new(),
            running: 0,
            held: 0,
            bytes: 0,
        }
    }

    /// Takes a new delivery.
    pub(super) fn push(&mut self, delivery: T) {
        self.held += 1;
        self.bytes += delivery.size();
        if let Some(key) = delivery.key() {
            if let Some(behind) = self.behind.get_mut(key) {
                behind.push_back(delivery);
                return;
            }
            self.behind.insert(Arc::clone(key), VecDeque::new());
        }
        self.ready.push_back(delivery);
    }

    /// The next delivery to run, if there is one and a slot for it. It stays held until [`Lanes::finish`].
    pub(super) fn next(&mut self, now: I, concurrency: usize) -> Option<T> {
        if self.running >= concurrency {
            return None;
        }
        self.resume(now);
        let next = self.ready.pop_front()?;
        self.running += 1;
        Some(next)
    }

    /// A delivery that ran has failed and is to run again, not before `due`. Its lane stays closed.
    pub(super) fn wait(&mut self, due: I, delivery: T) {
        self.running -= 1;
        self.waits += 1;
        self.waiting.push(Reverse(Waiting { due, number: self.waits, delivery }));
    }

    /// A delivery that was to run may only run alone: it gives its slot up and waits for [`Lanes::next_aside`].
    pub(super) fn set_aside(&mut self, delivery: T) {
        self.running -= 1;
        self.aside.push_back(delivery);
    }

    /// Whether some wait to run alone.
    pub(super) fn has_aside(&self) -> bool {
        !self.aside.is_empty()
    }

    /// The next one of those that may only run alone, if there is one and a slot for it.
    pub(super) fn next_aside(&mut self, concurrency: usize) -> Option<T> {
        if self.running >= concurrency {
            return None;
        }
        let next = self.aside.pop_front()?;
        self.running += 1;
        Some(next)
    }

    /// A delivery that ran is finished, or its broker's again: the next of its key may run.
    pub(super) fn finish(&mut self, delivery: &impl Entry) {
        self.running -= 1;
        self.held -= 1;
        self.bytes -= delivery.size();
        let Some(key) = delivery.key() else { return };
        let Some(behind) = self.behind.get_mut(key) else { return };
        match behind.pop_front() {
            Some(next) => self.ready.push_back(next),
            None => {
                self.behind.remove(key);
            }
        }
    }

    /// When [`Lanes::next`] may have more because of the time alone.
    pub(super) fn next_due(&self) -> Option<I> {
        self.waiting.peek().map(|Reverse(first)| first.due)
    }

    /// How many more should be fetched.
    pub(super) fn room(&self, concurrency: usize) -> usize {
        let window = concurrency.saturating_mul(WINDOW);
        let free = window.saturating_sub(self.ready.len() + self.running);
        // One fetch for many rather than one for each.
        let free = if free < window / 4 { 0 } else { free };
        let bytes = match MOST_BYTES.saturating_sub(self.bytes) {
            0 => 0,
            // More of the size that they had so far.
            room => room / (self.bytes / self.held.max(1)).max(1) + 1,
        };
        free.min(MOST_HELD.saturating_sub(self.held)).min(bytes)
    }

    /// How many are here, whatever they wait for.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// How many run.
    pub(super) fn running(&self) -> usize {
        self.running
    }

    /// Takes out what has not run yet. What has runs again in its lane, before anything of its key that comes now.
    pub(super) fn take_new(&mut self, is_new: impl Fn(&T) -> bool) -> Vec<T> {
        let mut taken = Vec::new();
        for queue in [&mut self.ready, &mut self.aside] {
            let (new, tried): (VecDeque<T>, VecDeque<T>) = queue.drain(..).partition(&is_new);
            *queue = tried;
            taken.extend(new);
        }
        let heads = taken.len();
        taken.extend(self.behind.values_mut().flat_map(|behind| behind.drain(..)));
        for key in taken[..heads].iter().filter_map(Entry::key) {
            self.behind.remove(key);
        }
        self.held -= taken.len();
        self.bytes -= taken.iter().map(Entry::size).sum::<usize>();
        taken
    }

    /// Takes out everything that does not run.
    pub(super) fn clear(&mut self) -> Vec<T> {
        let mut idle: Vec<T> = self.ready.drain(..).collect();
        idle.extend(self.aside.drain(..));
        idle.extend(self.waiting.drain().map(|Reverse(waiting)| waiting.delivery));
        idle.extend(self.behind.values_mut().flat_map(|behind| behind.drain(..)));
        self.held -= idle.len();
        self.bytes -= idle.iter().map(Entry::size).sum::<usize>();
        idle
    }

    /// Those that are due queue up behind what is ready.
    fn resume(&mut self, now: I) {
        while self.next_due().is_some_and(|due| due <= now) {
            let Some(Reverse(waiting)) = self.waiting.pop() else { return };
            self.ready.push_back(waiting.delivery);
        }
    }
}

impl<T, I: Ord> Ord for Waiting<T, I> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.due.cmp(&other.due).then(self.number.cmp(&other.number))
    }
}

impl<T, I: Ord> PartialOrd for Waiting<T, I> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T, I: Ord> Eq for Waiting<T, I> {}

impl<T, I: Ord> PartialEq for Waiting<T, I> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

#[cfg(test)]
#[path = "lanes_tests.rs"]
mod tests;

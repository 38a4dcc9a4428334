//! Which delivery may run now? One at a time per key and in order, any number without a key, at most `concurrency` in all.
//!
//! A failed delivery waits for its next attempt at the head of its lane, so later ones of the same key stay behind it. It
//! takes up no slot meanwhile, and neither it nor what stays behind it counts towards the window that intake keeps full: other
//! lanes go on. When much stays behind, only the tags of the rest are kept, and they are recalled when their turn has come. Time is
//! an argument.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::iter::Peekable;
use std::sync::Arc;

/// Deliveries that are ready or run, as a multiple of the concurrency: enough that no slot stays empty while more is fetched.
const WINDOW: usize = 8;

/// Most bytes that deliveries may have when more is fetched; those that stay behind others have half of them at most.
const MOST_BYTES: usize = 32 << 20;

/// Most deliveries of which only the tags and sizes are kept: 16 MB of them.
const MOST_PARKED: usize = 1_000_000;

/// So many lanes are recalled at once, and so many deliveries of each.
const LANES_AT_ONCE: usize = 64;
const OF_EACH: usize = 32;

/// What lanes are made of.
pub(super) trait Entry {
    /// Whose lane it takes; without one it takes none.
    fn key(&self) -> Option<&Arc<str>>;

    /// How many bytes it holds.
    fn size(&self) -> usize;

    /// Its broker's mark.
    fn tag(&self) -> u64;
}

/// Tags of deliveries whose turn has come or is near.
#[derive(Debug, PartialEq)]
pub(super) struct Recall {
    /// The first of them in each of so many lanes.
    lanes: usize,
    pub(super) tags: Vec<u64>,
}

/// What stays behind the one of its key that is ready, runs or waits.
struct Lane<T> {
    held: VecDeque<T>,
    /// The rest, which stays behind those.
    parked: VecDeque<Parked>,
}

/// What is kept of a delivery that is not held.
struct Parked {
    tag: u64,
    /// How many bytes it has, as far as that can be said.
    size: u32,
}

/// How much may be recalled for one lane.
struct Share {
    items: usize,
    bytes: usize,
}

/// Deliveries of one subscription that are not finished. `I` is a point in time.
pub(super) struct Lanes<T, I> {
    /// A lane per key with something unfinished.
    lanes: HashMap<Arc<str>, Lane<T>>,
    /// Lanes with nothing but parked deliveries: the first of each is ready once it is recalled.
    recalls: VecDeque<Arc<str>>,
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
    /// How many of them stay behind others, and what those hold.
    behind: usize,
    behind_bytes: usize,
    /// How many there are besides, by their tags only.
    parked: usize,
}

impl<T: Entry> Lane<T> {
    /// Takes those out of what is parked that were asked for, and returns those that were found.
    fn unpark(
        &mut self,
        asked: &mut Peekable<impl Iterator<Item = u64>>,
        found: &mut Peekable<impl Iterator<Item = T>>,
    ) -> VecDeque<T> {
        let mut recalled = VecDeque::new();
        while let Some(tag) = asked.next_if(|tag| self.parked.front().is_some_and(|parked| parked.tag == *tag)) {
            self.parked.pop_front();
            recalled.extend(found.next_if(|found| found.tag() == tag));
        }
        recalled
    }

    /// The first of what is parked that has room in a share: one at least.
    fn first_parked(&self, Share { items, bytes }: &Share) -> impl Iterator<Item = u64> {
        let mut size = 0;
        let fits = move |(index, parked): &(usize, &Parked)| {
            size += parked.size as usize;
            *index == 0 || size <= *bytes
        };
        self.parked.iter().take(*items).enumerate().take_while(fits).map(|(_, parked)| parked.tag)
    }
}

struct Waiting<T, I> {
    due: I,
    number: u64,
    delivery: T,
}

impl<T: Entry, I: Ord + Copy> Lanes<T, I> {
    pub(super) fn new() -> Self {
        Self {
            lanes: HashMap::new(),
            recalls: VecDeque::new(),
            ready: VecDeque::new(),
            waiting: BinaryHeap::new(),
            waits: 0,
            aside: VecDeque::new(),
            running: 0,
            held: 0,
            bytes: 0,
            behind: 0,
            behind_bytes: 0,
            parked: 0,
        }
    }

    /// Takes a new delivery. When `most` stay behind others already, only its tag is kept if it must too.
    pub(super) fn push(&mut self, delivery: T, most: usize) {
        let size = delivery.size();
        if let Some(key) = delivery.key() {
            let is_full = self.is_full(size, most);
            if let Some(lane) = self.lanes.get_mut(key) {
                if is_full || !lane.parked.is_empty() {
                    let size = u32::try_from(size).unwrap_or(u32::MAX);
                    lane.parked.push_back(Parked { tag: delivery.tag(), size });
                    self.parked += 1;
                } else {
                    lane.held.push_back(delivery);
                    self.hold(size);
                    self.behind += 1;
                    self.behind_bytes += size;
                }
                return;
            }
            self.lanes.insert(Arc::clone(key), Lane { held: VecDeque::new(), parked: VecDeque::new() });
        }
        self.hold(size);
        self.ready.push_back(delivery);
    }

    fn hold(&mut self, size: usize) {
        self.held += 1;
        self.bytes += size;
    }

    /// Whether no more can be held behind others.
    fn is_full(&self, size: usize, most: usize) -> bool {
        self.behind >= most || self.behind_bytes + size > MOST_BYTES / 2
    }

    /// What is to be recalled now, if anything is. It stays parked until [`Lanes::recalled`], and only one is under way at a time.
    pub(super) fn recall(&self, most: usize) -> Option<Recall> {
        if self.recalls.is_empty() {
            return None;
        }
        // The first of each lane may have half of the bytes, as what stays behind others may have the other half.
        let mut room = (MOST_BYTES / 2).saturating_sub(self.bytes - self.behind_bytes);
        let has_room = |key: &&Arc<str>| {
            let first =
                self.lanes.get(*key).and_then(|lane| lane.parked.front()).map_or(0, |first| first.size as usize);
            let fits = first <= room;
            room = room.saturating_sub(first);
            fits
        };
        let lanes = self.recalls.iter().take(LANES_AT_ONCE).take_while(has_room).count().max(1);
        let share = Share {
            items: (most.saturating_sub(self.behind) / lanes).clamp(1, OF_EACH),
            bytes: (MOST_BYTES / 2).saturating_sub(self.behind_bytes) / lanes,
        };
        let first = self.recalls.iter().take(lanes).filter_map(|key| self.lanes.get(key));
        Some(Recall { lanes, tags: first.flat_map(|lane| lane.first_parked(&share)).collect() })
    }

    /// Takes what was recalled, in the order of the tags. What is missing is finished.
    pub(super) fn recalled(&mut self, recall: Recall, found: Vec<T>) {
        let (mut asked, mut found) = (recall.tags.into_iter().peekable(), found.into_iter().peekable());
        for _ in 0..recall.lanes {
            let Some(key) = self.recalls.pop_front() else { return };
            let Some(lane) = self.lanes.get_mut(&key) else { continue };
            let before = lane.parked.len();
            let mut recalled = lane.unpark(&mut asked, &mut found);
            let size: usize = recalled.iter().map(Entry::size).sum();
            self.parked -= before - lane.parked.len();
            self.held += recalled.len();
            self.bytes += size;
            if let Some(first) = recalled.pop_front() {
                self.behind += recalled.len();
                self.behind_bytes += size - first.size();
                lane.held.extend(recalled);
                self.ready.push_back(first);
            } else if lane.parked.is_empty() {
                self.lanes.remove(&key);
            } else {
                self.recalls.push_back(key);
            }
        }
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
        let Some(lane) = self.lanes.get_mut(key) else { return };
        match lane.held.pop_front() {
            Some(next) => {
                self.behind -= 1;
                self.behind_bytes -= next.size();
                self.ready.push_back(next);
            }
            None if lane.parked.is_empty() => drop(self.lanes.remove(key)),
            None => self.recalls.push_back(Arc::clone(key)),
        }
    }

    /// When [`Lanes::next`] may have more because of the time alone.
    pub(super) fn next_due(&self) -> Option<I> {
        self.waiting.peek().map(|Reverse(first)| first.due)
    }

    /// How many more should be fetched. At most `most` run or could, or wait for their next attempt.
    pub(super) fn room(&self, concurrency: usize, most: usize) -> usize {
        let window = concurrency.saturating_mul(WINDOW);
        let free = window.saturating_sub(self.ready.len() + self.running + self.recalls.len());
        // One fetch for many rather than one for each.
        let free = if free < window / 4 { 0 } else { free };
        let bytes = match MOST_BYTES.saturating_sub(self.bytes) {
            0 => 0,
            // More of the size that they had so far.
            room => room / (self.bytes / self.held.max(1)).max(1) + 1,
        };
        let heads = self.held - self.behind + self.recalls.len();
        free.min(most.saturating_sub(heads)).min(MOST_PARKED.saturating_sub(self.parked)).min(bytes)
    }

    /// How many run.
    pub(super) fn running(&self) -> usize {
        self.running
    }

    /// Takes out what has not run yet, by its tags. What has runs again in its lane, before anything of its key that comes now.
    pub(super) fn take_new(&mut self, is_new: impl Fn(&T) -> bool) -> Vec<u64> {
        let mut tags = self.take_parked();
        let mut taken = Vec::new();
        for queue in [&mut self.ready, &mut self.aside] {
            let (new, tried): (VecDeque<T>, VecDeque<T>) = queue.drain(..).partition(&is_new);
            *queue = tried;
            taken.extend(new);
        }
        let heads = taken.len();
        taken.extend(self.take_behind());
        for key in taken[..heads].iter().filter_map(Entry::key) {
            self.lanes.remove(key);
        }
        self.held -= taken.len();
        self.bytes -= taken.iter().map(Entry::size).sum::<usize>();
        tags.extend(taken.iter().map(Entry::tag));
        tags
    }

    /// Takes out those of which only the tags are kept.
    pub(super) fn take_parked(&mut self) -> Vec<u64> {
        let tags = self.lanes.values_mut().flat_map(|lane| lane.parked.drain(..)).map(|parked| parked.tag).collect();
        for key in self.recalls.drain(..) {
            self.lanes.remove(&key);
        }
        self.parked = 0;
        tags
    }

    fn take_behind(&mut self) -> Vec<T> {
        (self.behind, self.behind_bytes) = (0, 0);
        self.lanes.values_mut().flat_map(|lane| lane.held.drain(..)).collect()
    }

    /// Takes out everything that does not run and is held.
    pub(super) fn clear(&mut self) -> Vec<T> {
        let mut idle: Vec<T> = self.ready.drain(..).collect();
        idle.extend(self.aside.drain(..));
        idle.extend(self.waiting.drain().map(|Reverse(waiting)| waiting.delivery));
        idle.extend(self.take_behind());
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

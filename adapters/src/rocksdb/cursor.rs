//! What does a subscription hand out next? First what was put back and is due, then what was put back at its place, then what is new.
//!
//! **Invariant**: below `next` a position is finished, in flight or ready, and only one of these. The writer moves positions after the change is written; consumers take them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use super::progress::Progress;
use super::ranges::Ranges;
use super::topic::Page;
use crate::broker::{Delivery, History};

/// Marks the tag of a message from `returned`; without it a tag is a position.
pub(super) const RETURNED_TAG: u64 = 1 << 63;

/// A message that was put back with a delay, or redriven: its due time and its sequence number.
pub(super) type Due = (u64, u64);

/// A subscription's place in its event's log, in memory.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    /// The first position that was never handed out.
    pub(super) next: u64,
    /// Below `next`, to be handed out again.
    pub(super) ready: Ranges,
    pub(super) in_flight: Ranges,
    /// What unfinished messages have been through, by their tags.
    pub(super) histories: BTreeMap<u64, History>,
    /// Put back with a delay and not handed out.
    pub(super) returned: BTreeSet<Due>,
    /// Handed out from there: the due time by the sequence number.
    pub(super) returned_in_flight: HashMap<u64, u64>,
    /// Nothing from here on is handed out. Set while the subscription is retired.
    pub(super) end: Option<u64>,
    /// It was pruned.
    pub(super) gone: bool,
    /// What was read from the database last.
    pub(super) page: Page,
}

impl Cursor {
    /// Takes over what is stored, and keeps what is in flight in flight.
    pub(super) fn reload(
        &mut self,
        progress: &Progress,
        histories: &BTreeMap<u64, History>,
        end: u64,
        returned: impl Iterator<Item = Due>,
    ) {
        self.next = progress.frontier().max(self.next.min(end));
        let was_in_flight = std::mem::take(&mut self.in_flight);
        self.ready = Ranges::default();
        for run in progress.unfinished(self.next) {
            for held in was_in_flight.within(run.clone()) {
                self.in_flight.insert(held);
            }
            for free in was_in_flight.missing(run) {
                self.ready.insert(free);
            }
        }
        self.histories.clone_from(histories);
        let was_in_flight = std::mem::take(&mut self.returned_in_flight);
        self.returned.clear();
        for (due, sequence) in returned {
            if was_in_flight.contains_key(&sequence) {
                self.returned_in_flight.insert(sequence, due);
            } else {
                self.returned.insert((due, sequence));
            }
        }
        self.page = Page::default();
    }

    /// Up to `limit` of those that were put back and are due.
    pub(super) fn due(&self, now: u64, limit: usize) -> Vec<Due> {
        self.returned.range(..=(now, u64::MAX)).take(limit).copied().collect()
    }

    /// When the next one that was put back is due.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.returned.first().map(|(due, _)| *due)
    }

    /// Takes one that was put back, unless somebody else has.
    pub(super) fn take_due(&mut self, (due, sequence): Due) -> bool {
        let there = self.returned.remove(&(due, sequence));
        if there {
            self.returned_in_flight.insert(sequence, due);
        }
        there
    }

    /// The next positions to be handed out, when the log ends at `end`.
    pub(super) fn wanted(&self, end: u64, limit: u64) -> Option<Range<u64>> {
        if let Some(run) = self.ready.iter().next() {
            return Some(run.start..run.end.min(run.start.saturating_add(limit)));
        }
        let end = end.min(self.end.unwrap_or(u64::MAX)).min(self.next.saturating_add(limit));
        (self.next < end).then_some(self.next..end)
    }

    /// Hands these out: all of them are the next ones.
    pub(super) fn take(&mut self, range: Range<u64>) {
        if self.ready.remove(range.clone()) == 0 {
            self.next = range.end;
        }
        self.in_flight.insert(range);
    }

    /// Gives a message what it has been through, if anything is known here that its row does not say.
    pub(super) fn restore(&self, delivery: &mut Delivery) {
        delivery.history = self.history(delivery.tag).unwrap_or(delivery.history);
    }

    /// What the message with this tag has been through, if anything is known here.
    pub(super) fn history(&self, tag: u64) -> Option<History> {
        if self.histories.is_empty() { None } else { self.histories.get(&tag).copied() }
    }

    /// These are finished, wherever they were.
    pub(super) fn finish(&mut self, range: Range<u64>) {
        self.in_flight.remove(range.clone());
        if !self.ready.is_empty() {
            self.ready.remove(range.clone());
        }
        if !self.histories.is_empty() {
            let gone: Vec<u64> = self.histories.range(range.clone()).map(|(&position, _)| position).collect();
            for position in gone {
                self.histories.remove(&position);
            }
        }
        if range.contains(&self.next) {
            self.next = range.end;
        }
    }

    /// Those of these that are in flight are handed out again.
    pub(super) fn put_back(&mut self, range: Range<u64>) {
        for held in self.in_flight.within(range) {
            self.in_flight.remove(held.clone());
            self.ready.insert(held);
        }
    }

    /// Those of these that are in flight are handed out again, as if they had not been.
    pub(super) fn release(&mut self, tags: &[u64]) {
        for &tag in tags {
            let sequence = tag & !RETURNED_TAG;
            if sequence == tag {
                self.put_back(tag..tag + 1);
            } else if let Some(due) = self.returned_in_flight.remove(&sequence) {
                self.returned.insert((due, sequence));
            }
        }
    }

    pub(super) fn finish_returned(&mut self, (due, sequence): Due) {
        self.returned_in_flight.remove(&sequence);
        self.returned.remove(&(due, sequence));
        self.histories.remove(&(sequence | RETURNED_TAG));
    }

    pub(super) fn set_history(&mut self, tag: u64, history: History) {
        if history == History::default() {
            self.histories.remove(&tag);
        } else {
            self.histories.insert(tag, history);
        }
    }

    /// It is declared again and goes on at `end`; what it had not handed out stays.
    pub(super) fn declare(&mut self, end: u64) {
        if let Some(before) = self.end.take() {
            self.ready.insert(self.next..before);
            self.next = self.next.max(end);
        }
    }

    /// Published and not handed out, when the log ends at `end`.
    pub(super) fn waiting(&self, end: u64, now: u64) -> u64 {
        let new = end.min(self.end.unwrap_or(u64::MAX)).saturating_sub(self.next);
        new + self.ready.len() + self.returned.range(..=(now, u64::MAX)).count() as u64
    }

    pub(super) fn delayed(&self, now: u64) -> u64 {
        self.returned.range((now, u64::MAX)..).count() as u64
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.in_flight.len() + self.returned_in_flight.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(next: u64) -> Cursor {
        Cursor { next, ..Cursor::default() }
    }

    #[test]
    fn what_was_put_back_comes_before_what_is_new() {
        let mut cursor = at(0);
        cursor.take(0..5);
        assert_eq!(cursor.wanted(8, 100), Some(5..8));
        cursor.put_back(3..4);
        cursor.put_back(1..2);
        assert_eq!(cursor.wanted(8, 100), Some(1..2));
        cursor.take(1..2);
        assert_eq!(cursor.wanted(8, 100), Some(3..4));
        cursor.take(3..4);
        assert_eq!(cursor.wanted(8, 2), Some(5..7));
        assert_eq!((cursor.in_flight(), cursor.waiting(8, 0)), (5, 3));
    }

    #[test]
    fn only_what_is_in_flight_can_be_put_back() {
        let mut cursor = at(0);
        cursor.take(0..3);
        cursor.finish(0..2);
        cursor.put_back(0..9);
        assert_eq!((cursor.wanted(3, 9), cursor.in_flight(), cursor.waiting(3, 0)), (Some(2..3), 0, 1));
    }

    #[test]
    fn a_restart_hands_out_what_is_unfinished_in_order() {
        let mut progress = Progress::starting_at(2);
        progress.finish(4..6);
        let history = History { attempts: 2, deaths: 1, ..History::default() };
        let mut cursor = at(0);
        cursor.reload(&progress, &[(3, history)].into(), 8, [(7, 1)].into_iter());
        assert_eq!(cursor.wanted(8, 9), Some(2..4));
        assert_eq!((cursor.history(2), cursor.history(3)), (None, Some(history)));
        cursor.take(2..4);
        assert_eq!(cursor.wanted(8, 9), Some(6..8));
        assert_eq!((cursor.due(6, 9), cursor.due(7, 9)), (vec![], vec![(7, 1)]));
    }

    #[test]
    fn reloading_keeps_in_flight_what_is_in_flight() {
        let mut progress = Progress::starting_at(0);
        let mut cursor = at(0);
        cursor.take(0..6);
        cursor.put_back(1..2);
        progress.finish(4..5);
        cursor.returned_in_flight.insert(1, 7);
        cursor.reload(&progress, &BTreeMap::new(), 9, [(7, 1), (7, 2)].into_iter());
        assert_eq!(cursor.in_flight.iter().collect::<Vec<_>>(), [0..1, 2..4, 5..6]);
        assert_eq!((cursor.wanted(9, 9), cursor.next), (Some(1..2), 6));
        assert_eq!(cursor.due(9, 9), [(7, 2)]);
    }

    #[test]
    fn a_retired_subscription_keeps_what_it_has_and_passes_over_what_came_meanwhile() {
        let mut cursor = at(3);
        cursor.end = Some(5);
        assert_eq!(cursor.wanted(9, 9), Some(3..5));
        cursor.declare(9);
        assert_eq!(cursor.wanted(9, 9), Some(3..5));
        cursor.take(3..5);
        assert_eq!(cursor.wanted(11, 9), Some(9..11));
    }
}

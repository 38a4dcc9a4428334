//! Which parts of an event's log are still needed, and how large are they? Runs of blocks, summed up.
//!
//! A span is closed when it is large or old and then has a row of its own, so that opening the store reads only the blocks behind the last closed one.
//! Bounds and retention count in spans; of a span that a subscription is in the middle of, the unfinished share counts.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Neighbouring blocks of one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Span {
    pub(super) first: u64,
    /// Behind its last position.
    pub(super) end: u64,
    pub(super) bytes: u64,
    /// Commit times of its first and last block, in nanoseconds since 1970.
    pub(super) opened: u64,
    pub(super) last: u64,
}

impl Span {
    /// A span of one block.
    pub(super) fn of_block(first: u64, count: u64, bytes: u64, time: u64) -> Self {
        Self { first, end: first + count, bytes, opened: time, last: time }
    }

    fn extend(&mut self, block: Self) {
        self.end = block.end;
        self.bytes += block.bytes;
        self.last = block.last;
    }

    /// The bytes of what is at or behind `floor`.
    fn held(&self, floor: u64) -> u64 {
        if floor <= self.first {
            return self.bytes;
        }
        let left = u128::from(self.end.saturating_sub(floor));
        let all = u128::from((self.end - self.first).max(1));
        u64::try_from(u128::from(self.bytes) * left / all).unwrap_or(self.bytes)
    }
}

/// When a span is closed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) bytes: u64,
    /// Nanoseconds between its first block and the next one.
    pub(super) age: u64,
}

/// The spans of one event, oldest first. Kept by the writer.
#[derive(Debug, Default)]
pub(super) struct Spans {
    spans: VecDeque<Span>,
    /// Whether the last one still grows.
    open: bool,
    /// Sum of their bytes.
    bytes: u64,
    /// How many of the first spans are finished by everybody.
    free: usize,
    /// Bytes in those.
    free_bytes: u64,
}

impl Spans {
    /// Spans that were closed earlier.
    pub(super) fn from_closed(spans: VecDeque<Span>) -> Self {
        let bytes = spans.iter().map(|span| span.bytes).sum();
        Self { spans, bytes, ..Self::default() }
    }

    /// Adds a block. Returns the span that is closed before it.
    pub(super) fn push(&mut self, block: Span, limits: Limits) -> Option<Span> {
        let closed =
            self.close_if(|span| span.bytes >= limits.bytes || block.opened.saturating_sub(span.opened) >= limits.age);
        self.bytes += block.bytes;
        let length = self.spans.len();
        match self.spans.back_mut() {
            Some(last) if self.open => {
                if self.free == length {
                    self.free -= 1;
                    self.free_bytes -= last.bytes;
                }
                last.extend(block);
            }
            _ => self.spans.push_back(block),
        }
        self.open = true;
        closed
    }

    /// Closes the growing span when it was opened before `time`.
    pub(super) fn close_older(&mut self, time: u64) -> Option<Span> {
        self.close_if(|span| span.opened < time)
    }

    fn close_if(&mut self, condition: impl FnOnce(&Span) -> bool) -> Option<Span> {
        let last = self.spans.back().copied().filter(|span| self.open && condition(span))?;
        self.open = false;
        Some(last)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The end of the span that holds `position`: reading goes on there when what lies between is unreadable.
    pub(super) fn end_of(&self, position: u64) -> Option<u64> {
        self.containing(position).map(|span| span.end)
    }

    fn containing(&self, position: u64) -> Option<Span> {
        let index = self.spans.partition_point(|span| span.end <= position);
        self.spans.get(index).copied().filter(|span| span.first <= position)
    }

    /// Where the blocks begin that may have been committed at `time` or later.
    pub(super) fn since(&self, time: u64) -> Option<u64> {
        let index = self.spans.partition_point(|span| span.last < time);
        self.spans.get(index).map(|span| span.first)
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Span> {
        self.spans.iter()
    }

    /// The bytes that nobody may remove when everything below `floor` is finished.
    pub(super) fn held(&mut self, floor: u64) -> u64 {
        while self.free > 0 && self.spans[self.free - 1].end > floor {
            self.free -= 1;
            self.free_bytes -= self.spans[self.free].bytes;
        }
        while self.spans.get(self.free).is_some_and(|span| span.end <= floor) {
            self.free_bytes += self.spans[self.free].bytes;
            self.free += 1;
        }
        let Some(partial) = self.spans.get(self.free) else { return 0 };
        self.bytes - self.free_bytes - (partial.bytes - partial.held(floor))
    }

    /// The oldest span, when it is closed and everything in it lies below `floor`.
    pub(super) fn removable(&self, floor: u64) -> Option<Span> {
        let closed = self.spans.len() > 1 || !self.open;
        self.spans.front().copied().filter(|span| closed && span.end <= floor)
    }

    /// Forgets the oldest span.
    pub(super) fn pop(&mut self) {
        let Some(span) = self.spans.pop_front() else { return };
        self.bytes -= span.bytes;
        if self.free > 0 {
            self.free -= 1;
            self.free_bytes -= span.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { bytes: 100, age: 1_000 };

    fn filled() -> Spans {
        let mut spans = Spans::default();
        for number in 0..10 {
            spans.push(Span::of_block(number * 10, 10, 60, number), LIMITS);
        }
        spans
    }

    #[test]
    fn a_span_closes_when_it_is_large_or_old() {
        let mut spans = Spans::default();
        assert_eq!(spans.push(Span::of_block(0, 10, 60, 0), LIMITS), None);
        assert_eq!(spans.push(Span::of_block(10, 10, 60, 1), LIMITS), None);
        let closed = spans.push(Span::of_block(20, 10, 60, 2), LIMITS).unwrap();
        assert_eq!(closed, Span { first: 0, end: 20, bytes: 120, opened: 0, last: 1 });
        assert_eq!(spans.push(Span::of_block(30, 1, 1, 1_002), LIMITS).map(|span| span.end), Some(30));
        assert_eq!(spans.close_older(1_002), None);
        assert_eq!(spans.close_older(1_003).map(|span| span.end), Some(31));
        assert_eq!(spans.close_older(2_000), None, "it is closed already");
        assert_eq!(spans.bytes(), 181);
    }

    #[test]
    fn what_is_unfinished_is_held_in_proportion() {
        let mut spans = filled();
        assert_eq!(spans.held(0), 600);
        assert_eq!(spans.held(5), 600 - 30);
        assert_eq!(spans.held(40), 600 - 240);
        assert_eq!(spans.held(100), 0);
        assert_eq!(spans.held(30), 600 - 180, "a rewound floor holds more again");
        assert_eq!(spans.held(u64::MAX), 0);
    }

    #[test]
    fn what_is_added_to_a_finished_span_is_held() {
        let mut spans = Spans::default();
        spans.push(Span::of_block(0, 10, 40, 0), LIMITS);
        assert_eq!(spans.held(u64::MAX), 0);
        spans.push(Span::of_block(10, 10, 40, 0), LIMITS);
        assert_eq!((spans.held(10), spans.held(20), spans.held(0)), (40, 0, 80));
    }

    #[test]
    fn only_closed_and_finished_spans_leave() {
        let mut spans = filled();
        assert_eq!(spans.removable(19), None);
        for end in [20, 40, 60, 80] {
            assert_eq!(spans.removable(100).map(|span| span.end), Some(end));
            spans.held(100);
            spans.pop();
        }
        assert_eq!(spans.removable(100), None, "the last one still grows");
        spans.close_older(u64::MAX);
        assert_eq!(spans.removable(100).map(|span| span.end), Some(100));
        spans.pop();
        assert_eq!((spans.bytes(), spans.held(0)), (0, 0));
    }

    #[test]
    fn positions_and_times_are_found() {
        let spans = filled();
        assert_eq!((spans.end_of(25), spans.end_of(100)), (Some(40), None));
        assert_eq!(
            (spans.since(0), spans.since(2), spans.since(9), spans.since(10)),
            (Some(0), Some(20), Some(80), None)
        );
    }
}

//! Which messages has a subscription finished? All below its floor, and single runs beyond it.
//!
//! **Invariant**: the floor is the lowest unfinished position, so it never passes a message that is not finished. What is finished stays so until it is rewound.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::ranges::Ranges;

/// How far one subscription has come in its event's log. It is stored as one row and changed by the writer only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// The lowest position that is not finished.
    floor: u64,
    /// Finished ones beyond the floor.
    finished: Ranges,
}

impl Progress {
    /// Nothing below `floor` is of interest.
    pub(super) fn starting_at(floor: u64) -> Self {
        Self { floor, ..Self::default() }
    }

    pub(super) fn floor(&self) -> u64 {
        self.floor
    }

    pub(super) fn is_finished(&self, position: u64) -> bool {
        position < self.floor || self.finished.contains(position)
    }

    /// Marks these as finished and returns how many were not yet.
    pub(super) fn finish(&mut self, range: Range<u64>) -> u64 {
        let range = range.start.max(self.floor)..range.end;
        if range.is_empty() {
            return 0;
        }
        let before = self.finished.len();
        self.finished.insert(range);
        let added = self.finished.len() - before;
        if self.finished.first() == Some(self.floor) {
            self.floor = self.finished.take_first(u64::MAX).map_or(self.floor, |run| run.end);
        }
        added
    }

    /// Makes everything from `start` on unfinished again. Returns what was finished below `end`.
    pub(super) fn rewind(&mut self, start: u64, end: u64) -> Vec<Range<u64>> {
        let mut again: Vec<Range<u64>> = Vec::new();
        if start < self.floor.min(end) {
            again.push(start..self.floor.min(end));
        }
        again.extend(self.finished.within(start..end));
        self.finished.remove(start..u64::MAX);
        if start < self.floor {
            // What lay between the floor and the first finished run was unfinished before and is now.
            self.floor = start;
        }
        again
    }

    /// The unfinished positions below `end`.
    pub(super) fn unfinished(&self, end: u64) -> Vec<Range<u64>> {
        if end <= self.floor { Vec::new() } else { self.finished.missing(self.floor..end) }
    }

    /// How many are unfinished below `end`.
    pub(super) fn count_unfinished(&self, end: u64) -> u64 {
        self.unfinished(end).iter().map(|run| run.end - run.start).sum()
    }

    /// Behind the last position that is finished: nothing from here on was ever finished.
    pub(super) fn frontier(&self) -> u64 {
        self.finished.end().unwrap_or(self.floor)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Finish(u64, u64),
        Rewind(u64),
        /// The row is stored.
        Write,
        /// The process ends and comes back with what was stored.
        Crash,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0_u64..100, 1_u64..8).prop_map(|(start, length)| Step::Finish(start, length)),
            1 => (0_u64..100).prop_map(Step::Rewind),
            3 => Just(Step::Write),
            1 => Just(Step::Crash),
        ]
    }

    fn check(progress: &Progress, finished: &BTreeSet<u64>) -> Result<(), TestCaseError> {
        let lowest = (0..).find(|position| !finished.contains(position)).unwrap();
        prop_assert_eq!(progress.floor(), lowest, "the floor passes no unfinished message");
        let unfinished: Vec<u64> = progress.unfinished(120).into_iter().flatten().collect();
        let expected: Vec<u64> = (0..120).filter(|position| !finished.contains(position)).collect();
        prop_assert_eq!(progress.count_unfinished(120), expected.len() as u64);
        prop_assert_eq!(unfinished, expected);
        Ok(())
    }

    proptest! {
        #[test]
        fn what_was_stored_is_what_comes_back(steps in prop::collection::vec(step(), 0..120)) {
            let mut progress = Progress::default();
            let mut finished = BTreeSet::new();
            let mut stored = (postcard::to_stdvec(&progress).unwrap(), finished.clone());
            for step in steps {
                match step {
                    Step::Finish(start, length) => {
                        let new = (start..start + length).filter(|position| !finished.contains(position)).count();
                        prop_assert_eq!(progress.finish(start..start + length), new as u64);
                        finished.extend(start..start + length);
                    }
                    Step::Rewind(start) => {
                        let again: Vec<u64> = progress.rewind(start, 120).into_iter().flatten().collect();
                        prop_assert_eq!(again, finished.split_off(&start).into_iter().collect::<Vec<_>>());
                    }
                    Step::Write => stored = (postcard::to_stdvec(&progress).unwrap(), finished.clone()),
                    Step::Crash => {
                        progress = postcard::from_bytes(&stored.0).unwrap();
                        finished.clone_from(&stored.1);
                    }
                }
                check(&progress, &finished)?;
            }
        }
    }

    #[test]
    fn the_frontier_lies_behind_everything_finished() {
        let mut progress = Progress::starting_at(5);
        assert_eq!(progress.frontier(), 5);
        progress.finish(8..9);
        assert_eq!((progress.floor(), progress.frontier()), (5, 9));
        progress.finish(5..8);
        assert_eq!((progress.floor(), progress.frontier()), (9, 9));
    }
}

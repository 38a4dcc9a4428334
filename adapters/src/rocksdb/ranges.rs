//! Which positions belong to a set? Sets of log positions, kept as the few runs that they mostly are.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

/// A set of positions. Runs neither overlap nor touch, so two equal sets look alike.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ranges {
    /// End (excluded) of each run by its first position.
    runs: BTreeMap<u64, u64>,
    len: u64,
}

impl Ranges {
    /// How many positions are in it.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    pub(super) fn first(&self) -> Option<u64> {
        self.runs.first_key_value().map(|(&start, _)| start)
    }

    /// The position behind the last one.
    pub(super) fn end(&self) -> Option<u64> {
        self.runs.last_key_value().map(|(_, &end)| end)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Range<u64>> {
        self.runs.iter().map(|(&start, &end)| start..end)
    }

    pub(super) fn contains(&self, position: u64) -> bool {
        self.run_at(position).is_some()
    }

    /// The run that `position` is in.
    fn run_at(&self, position: u64) -> Option<Range<u64>> {
        let (&start, &end) = self.runs.range(..=position).next_back()?;
        (position < end).then_some(start..end)
    }

    /// Adds a run; what was in already stays.
    pub(super) fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let mut merged = range;
        while let Some((&start, &end)) = self.runs.range(..=merged.end).next_back() {
            if end < merged.start {
                break;
            }
            self.runs.remove(&start);
            self.len -= end - start;
            merged = merged.start.min(start)..merged.end.max(end);
        }
        self.len += merged.end - merged.start;
        self.runs.insert(merged.start, merged.end);
    }

    /// Removes what is in `range` and returns how many positions that were.
    pub(super) fn remove(&mut self, range: Range<u64>) -> u64 {
        if range.is_empty() {
            return 0;
        }
        let before = self.len;
        while let Some((&start, &end)) = self.runs.range(..range.end).next_back() {
            if end <= range.start {
                break;
            }
            self.runs.remove(&start);
            self.len -= end - start;
            self.restore(start..range.start);
            self.restore(range.end..end);
        }
        before - self.len
    }

    /// Puts a remainder back that touches no other run.
    fn restore(&mut self, rest: Range<u64>) {
        if !rest.is_empty() {
            self.len += rest.end - rest.start;
            self.runs.insert(rest.start, rest.end);
        }
    }

    /// Removes the first run, or its first `limit` positions.
    pub(super) fn take_first(&mut self, limit: u64) -> Option<Range<u64>> {
        let (&start, &end) = self.runs.first_key_value()?;
        let taken = start..end.min(start.saturating_add(limit));
        self.remove(taken.clone());
        Some(taken)
    }

    /// Those of `range` that are in the set.
    pub(super) fn within(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let from = self.run_at(range.start).map_or(range.start, |run| run.start);
        let overlapping = self.runs.range(from..).take_while(|(start, _)| **start < range.end);
        overlapping
            .map(|(&start, &end)| start.max(range.start)..end.min(range.end))
            .filter(|part| !part.is_empty())
            .collect()
    }

    /// Those of `range` that are not in the set.
    pub(super) fn missing(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let mut gaps = Vec::new();
        let mut from = range.start;
        for run in self.within(range.clone()) {
            if from < run.start {
                gaps.push(from..run.start);
            }
            from = run.end;
        }
        if from < range.end {
            gaps.push(from..range.end);
        }
        gaps
    }
}

/// Positions as runs, in order.
pub(super) fn runs_of(mut positions: Vec<u64>) -> Vec<Range<u64>> {
    positions.sort_unstable();
    let mut runs: Vec<Range<u64>> = Vec::new();
    for position in positions {
        match runs.last_mut() {
            Some(last) if position < last.end => {}
            Some(last) if position == last.end => last.end += 1,
            _ => runs.push(position..position + 1),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn positions(ranges: impl IntoIterator<Item = Range<u64>>) -> Vec<u64> {
        ranges.into_iter().flatten().collect()
    }

    proptest! {
        #[test]
        fn it_holds_what_a_plain_set_would(steps in prop::collection::vec((any::<bool>(), 0_u64..60, 0_u64..12), 0..80)) {
            let mut ranges = Ranges::default();
            let mut model = BTreeSet::new();
            for (insert, start, length) in steps {
                let range = start..start + length;
                if insert {
                    ranges.insert(range.clone());
                    model.extend(range);
                } else {
                    let there = model.iter().filter(|position| range.contains(position)).count() as u64;
                    prop_assert_eq!(ranges.remove(range.clone()), there);
                    model.retain(|position| !range.contains(position));
                }
                prop_assert_eq!(positions(ranges.iter()), model.iter().copied().collect::<Vec<_>>());
                prop_assert_eq!(ranges.len(), model.len() as u64);
                prop_assert!(ranges.runs.iter().zip(ranges.runs.iter().skip(1)).all(|(one, other)| one.1 < other.0));
                let part = 20..40;
                let inside: Vec<u64> = model.range(part.clone()).copied().collect();
                prop_assert_eq!(positions(ranges.within(part.clone())), inside);
                let outside: Vec<u64> = part.clone().filter(|position| !model.contains(position)).collect();
                prop_assert_eq!(positions(ranges.missing(part)), outside);
            }
        }

        #[test]
        fn runs_hold_each_position_once(mut numbers in prop::collection::vec(0_u64..50, 0..50)) {
            let runs = runs_of(numbers.clone());
            numbers.sort_unstable();
            numbers.dedup();
            prop_assert_eq!(positions(runs), numbers);
        }
    }

    #[test]
    fn the_first_run_is_taken_piece_by_piece() {
        let mut ranges = Ranges::default();
        ranges.insert(3..8);
        ranges.insert(10..11);
        assert_eq!(ranges.take_first(3), Some(3..6));
        assert_eq!(ranges.take_first(9), Some(6..8));
        assert_eq!(ranges.take_first(9), Some(10..11));
        assert_eq!(ranges.take_first(9), None);
    }
}

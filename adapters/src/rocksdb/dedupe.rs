//! Was this id published a short while ago? The ids of the dedupe window, bounded in number.

use std::collections::{HashMap, VecDeque};

use uuid::Uuid;

/// So many ids are kept; beyond it the oldest leave before their window has ended.
pub(super) const MAX_IDS: usize = 1_000_000;

/// Recent ids. Kept by the writer.
#[derive(Debug)]
pub(super) struct Dedupe {
    most: usize,
    /// The end of each id's window, in nanoseconds since 1970.
    ends: HashMap<Uuid, u64>,
    /// In the order of their arrival. An id that came again after its window stands here twice.
    order: VecDeque<(Uuid, u64)>,
}

impl Dedupe {
    pub(super) fn new(most: usize) -> Self {
        Self { most, ends: HashMap::new(), order: VecDeque::new() }
    }

    /// Whether the window of this id has not ended.
    pub(super) fn contains(&self, id: Uuid, now: u64) -> bool {
        self.ends.get(&id).is_some_and(|end| *end > now)
    }

    /// Keeps an id until `end`.
    pub(super) fn insert(&mut self, id: Uuid, end: u64, now: u64) {
        if end <= now {
            return;
        }
        self.ends.insert(id, end);
        self.order.push_back((id, end));
        while self.order.len() > self.most || self.order.front().is_some_and(|(_, end)| *end <= now) {
            let Some((oldest, end)) = self.order.pop_front() else { break };
            if self.ends.get(&oldest) == Some(&end) {
                self.ends.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    #[test]
    fn an_id_is_known_until_its_window_ends() {
        let mut dedupe = Dedupe::new(10);
        dedupe.insert(id(1), 5, 0);
        assert!(dedupe.contains(id(1), 4));
        assert!(!dedupe.contains(id(1), 5));
        dedupe.insert(id(2), 3, 3);
        assert!(!dedupe.contains(id(2), 0), "a window that has ended keeps nothing");
    }

    #[test]
    fn the_oldest_leave_first_and_nothing_remains_of_them() {
        let mut dedupe = Dedupe::new(3);
        for number in 0..10 {
            dedupe.insert(id(number), 100, 0);
        }
        assert!((0..7).all(|number| !dedupe.contains(id(number), 0)));
        assert!((7..10).all(|number| dedupe.contains(id(number), 0)));
        assert_eq!((dedupe.ends.len(), dedupe.order.len()), (3, 3));
        dedupe.insert(id(20), 200, 150);
        assert_eq!((dedupe.ends.len(), dedupe.order.len()), (1, 1));
    }

    #[test]
    fn an_id_that_came_again_is_kept_for_its_later_window() {
        let mut dedupe = Dedupe::new(10);
        dedupe.insert(id(1), 5, 0);
        dedupe.insert(id(1), 20, 6);
        dedupe.insert(id(2), 20, 7);
        assert!(dedupe.contains(id(1), 10));
    }
}

//! Has this id been published before? The newest ids, each with its window.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

/// Most ids that one broker remembers, whatever their windows: the oldest leave first.
const MOST: usize = 100_000;

/// The ids that were published last.
#[derive(Default)]
pub(super) struct Recent {
    /// When each id may be published again.
    ends: HashMap<Uuid, Instant>,
    /// The same in the order of their publication. An id that was published again after its window stands here twice; its
    /// entry in `ends` belongs to the later one.
    order: VecDeque<(Uuid, Instant)>,
}

impl Recent {
    /// Whether a publication of this id is a copy.
    pub(super) fn contains(&self, id: &Uuid, now: Instant) -> bool {
        !self.ends.is_empty() && self.ends.get(id).is_some_and(|end| now < *end)
    }

    /// Remembers an id, unless it is a copy: then this is false.
    pub(super) fn insert(&mut self, id: Uuid, window: Duration, now: Instant) -> bool {
        if self.contains(&id, now) {
            return false;
        }
        if window.is_zero() {
            return true;
        }
        let end = super::queue::later(now, window);
        self.ends.insert(id, end);
        self.order.push_back((id, end));
        self.forget(now);
        true
    }

    fn forget(&mut self, now: Instant) {
        while let Some((id, end)) = self.order.front() {
            if self.order.len() <= MOST && now < *end {
                return;
            }
            if self.ends.get(id) == Some(end) {
                self.ends.remove(id);
            }
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);

    #[test]
    fn an_id_is_remembered_for_its_window_and_no_longer() {
        let (mut recent, now, id) = (Recent::default(), Instant::now(), Uuid::now_v7());
        assert!(recent.insert(id, WINDOW, now));
        assert!(!recent.insert(id, WINDOW, now + Duration::from_secs(59)));
        assert!(recent.insert(id, WINDOW, now + WINDOW));
        assert!(recent.contains(&id, now + WINDOW + Duration::from_secs(59)), "the second window counts from there");
    }

    #[test]
    fn without_a_window_nothing_is_remembered() {
        let (mut recent, now, id) = (Recent::default(), Instant::now(), Uuid::now_v7());
        assert!(recent.insert(id, Duration::ZERO, now) && recent.insert(id, Duration::ZERO, now));
    }

    #[test]
    fn the_oldest_ids_leave_first() {
        let (mut recent, now) = (Recent::default(), Instant::now());
        let ids: Vec<Uuid> = (0..=MOST).map(|_| Uuid::now_v7()).collect();
        for id in &ids {
            assert!(recent.insert(*id, WINDOW, now));
        }
        assert!(!recent.contains(&ids[0], now) && recent.contains(&ids[1], now));
        assert_eq!((recent.ends.len(), recent.order.len()), (MOST, MOST));
    }
}

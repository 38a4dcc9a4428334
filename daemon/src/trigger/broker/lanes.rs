//! Which delivery may run now? One at a time per key, any number without a key, at most `concurrency` in all.
//!
//! A failed delivery keeps its lane while it waits for its next attempt, so later ones of the same key stay behind it;
//! it does not take up room meanwhile, so other lanes go on.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

type Key = Option<Arc<str>>;

/// Deliveries of one subscription that are not finished.
pub(super) struct Lanes<T> {
    /// Deliveries that wait behind another of their key.
    behind: HashMap<Arc<str>, VecDeque<T>>,
    /// Deliveries whose lane is free or is their own.
    ready: VecDeque<(Key, T)>,
    /// Deliveries that run.
    running: usize,
    /// Deliveries in all, those that wait for their next attempt included.
    held: usize,
}

impl<T> Default for Lanes<T> {
    fn default() -> Self {
        Self { behind: HashMap::new(), ready: VecDeque::new(), running: 0, held: 0 }
    }
}

impl<T> Lanes<T> {
    /// Takes a new delivery.
    pub(super) fn push(&mut self, key: Key, delivery: T) {
        self.held += 1;
        let Some(lane) = &key else {
            self.ready.push_back((None, delivery));
            return;
        };
        match self.behind.get_mut(lane) {
            Some(behind) => behind.push_back(delivery),
            None => {
                self.behind.insert(Arc::clone(lane), VecDeque::new());
                self.ready.push_back((key, delivery));
            }
        }
    }

    /// The next delivery to run, if there is one and room for it.
    pub(super) fn next(&mut self, concurrency: usize) -> Option<(Key, T)> {
        if self.running >= concurrency {
            return None;
        }
        let next = self.ready.pop_front()?;
        self.running += 1;
        Some(next)
    }

    /// A delivery has failed and will come back by [`Lanes::resume`]; its lane stays closed.
    pub(super) fn pause(&mut self) {
        self.running -= 1;
    }

    /// A paused delivery is due: it goes before all that are ready.
    pub(super) fn resume(&mut self, key: Key, delivery: T) {
        self.ready.push_front((key, delivery));
    }

    /// A delivery is finished: the next of its key may run.
    pub(super) fn finish(&mut self, key: Key) {
        self.running -= 1;
        self.held -= 1;
        let Some(lane) = key else { return };
        let Some(behind) = self.behind.get_mut(&lane) else { return };
        match behind.pop_front() {
            Some(delivery) => self.ready.push_back((Some(lane), delivery)),
            None => {
                self.behind.remove(&lane);
            }
        }
    }

    /// Takes out everything that is not running and not paused.
    pub(super) fn clear(&mut self) -> Vec<T> {
        let mut idle: Vec<T> = self.ready.drain(..).map(|(_, delivery)| delivery).collect();
        idle.extend(self.behind.drain().flat_map(|(_, behind)| behind));
        self.held -= idle.len();
        idle
    }

    pub(super) fn held(&self) -> usize {
        self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Some(name.into())
    }

    fn next(lanes: &mut Lanes<u32>) -> Option<u32> {
        lanes.next(10).map(|(_, delivery)| delivery)
    }

    #[test]
    fn one_key_runs_one_at_a_time_and_in_order() {
        let mut lanes = Lanes::default();
        for (name, delivery) in [("a", 1), ("a", 2), ("b", 3), ("a", 4)] {
            lanes.push(key(name), delivery);
        }
        assert_eq!((next(&mut lanes), next(&mut lanes), next(&mut lanes)), (Some(1), Some(3), None));
        lanes.finish(key("a"));
        assert_eq!((next(&mut lanes), next(&mut lanes)), (Some(2), None));
        lanes.finish(key("a"));
        assert_eq!(next(&mut lanes), Some(4));
        lanes.finish(key("a"));
        lanes.finish(key("b"));
        assert_eq!((lanes.held(), lanes.running), (0, 0));
    }

    #[test]
    fn a_failed_delivery_keeps_its_lane_but_no_room() {
        let mut lanes = Lanes::default();
        lanes.push(key("a"), 1);
        lanes.push(key("a"), 2);
        lanes.push(key("b"), 3);
        assert_eq!(lanes.next(1), Some((key("a"), 1)));
        assert_eq!(lanes.next(1), None);
        lanes.pause();
        assert_eq!(lanes.next(1), Some((key("b"), 3)));
        lanes.finish(key("b"));
        assert_eq!(lanes.next(1), None, "2 stays behind 1");
        lanes.resume(key("a"), 1);
        assert_eq!(lanes.next(1), Some((key("a"), 1)));
        lanes.finish(key("a"));
        assert_eq!(lanes.next(1), Some((key("a"), 2)));
    }

    #[test]
    fn keyless_deliveries_run_up_to_the_bound() {
        let mut lanes = Lanes::default();
        for delivery in 0..5 {
            lanes.push(None, delivery);
        }
        let started: Vec<_> = std::iter::from_fn(|| lanes.next(3)).collect();
        assert_eq!(started.len(), 3);
        assert_eq!(lanes.clear().len(), 2);
        assert_eq!(lanes.held(), 3);
    }
}

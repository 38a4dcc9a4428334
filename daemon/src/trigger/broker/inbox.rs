//! Has this event been handled before? Ids of handled events, remembered for the dedupe window.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

/// Most ids that one subscription remembers, whatever its window.
const MOST: usize = 100_000;

/// The handled events of one subscription.
#[derive(Default)]
pub(super) struct Inbox {
    handled: HashSet<Uuid>,
    by_time: VecDeque<(Instant, Uuid)>,
}

impl Inbox {
    pub(super) fn contains(&mut self, id: &Uuid, window: Duration) -> bool {
        self.forget(window);
        self.handled.contains(id)
    }

    pub(super) fn insert(&mut self, id: Uuid, window: Duration) {
        if !window.is_zero() && self.handled.insert(id) {
            self.by_time.push_back((Instant::now(), id));
        }
        self.forget(window);
    }

    fn forget(&mut self, window: Duration) {
        let now = Instant::now();
        while let Some((at, id)) = self.by_time.front() {
            if self.by_time.len() <= MOST && now.duration_since(*at) < window {
                return;
            }
            self.handled.remove(id);
            self.by_time.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_id_is_remembered_for_the_window_and_no_longer() {
        let window = Duration::from_secs(60);
        let mut inbox = Inbox::default();
        let id = Uuid::now_v7();
        assert!(!inbox.contains(&id, window));
        inbox.insert(id, window);
        tokio::time::advance(Duration::from_secs(59)).await;
        assert!(inbox.contains(&id, window));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!inbox.contains(&id, window));
    }

    #[test]
    fn without_a_window_nothing_is_remembered() {
        let mut inbox = Inbox::default();
        let id = Uuid::now_v7();
        inbox.insert(id, Duration::ZERO);
        assert!(!inbox.contains(&id, Duration::ZERO));
    }
}

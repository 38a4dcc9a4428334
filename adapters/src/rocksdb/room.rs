//! Is there room for more? What is not yet handled, dead letters and what waits for its time count against `max_bytes`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Notify;

use super::error::closed;
use crate::broker::Error;

const WHAT: &str = "the event store";

/// The bound of everything that retention cannot remove.
#[derive(Debug)]
pub(super) struct Room {
    max: u64,
    /// What is stored. The writer sets it after each commit.
    used: AtomicU64,
    /// What was promised to publications that are not written yet.
    reserved: AtomicU64,
    freed: Notify,
    /// Nothing will be written any more.
    closed: AtomicBool,
}

/// Room for one publication; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    room: Arc<Room>,
    bytes: u64,
}

impl Room {
    pub(super) fn new(max: u64) -> Self {
        Self {
            max,
            used: AtomicU64::new(0),
            reserved: AtomicU64::new(0),
            freed: Notify::new(),
            closed: AtomicBool::new(false),
        }
    }

    /// Waits until there is room.
    pub(super) async fn reserve(self: &Arc<Self>, bytes: u64) -> Result<Reservation, Error> {
        self.fits(bytes)?;
        loop {
            let freed = self.freed.notified();
            if let Some(reservation) = self.take(bytes, self.max) {
                return Ok(reservation);
            }
            if self.closed.load(Ordering::Acquire) {
                return Err(closed());
            }
            freed.await;
        }
    }

    /// Does not wait, and may use a tenth more.
    pub(super) fn try_reserve(self: &Arc<Self>, bytes: u64) -> Result<Reservation, Error> {
        self.fits(bytes)?;
        let max = self.max.saturating_add(self.max / 10);
        self.take(bytes, max).ok_or_else(|| Error::Full { what: WHAT.to_owned(), bound: self.bound() })
    }

    fn fits(&self, bytes: u64) -> Result<(), Error> {
        if bytes <= self.max {
            return Ok(());
        }
        Err(Error::TooLarge { what: WHAT.to_owned(), bound: self.bound() })
    }

    fn bound(&self) -> String {
        format!("{} bytes that are not yet handled, `max_bytes`", self.max)
    }

    fn take(self: &Arc<Self>, bytes: u64, max: u64) -> Option<Reservation> {
        // Whoever is refused must never have reserved anything: others would find less room than there is.
        let reserve = |reserved: u64| {
            let wanted = reserved.saturating_add(bytes);
            (self.used.load(Ordering::Acquire).saturating_add(wanted) <= max).then_some(wanted)
        };
        self.reserved.fetch_update(Ordering::AcqRel, Ordering::Acquire, reserve).ok()?;
        Some(Reservation { room: Arc::clone(self), bytes })
    }

    /// Tells those who wait for room that there will be none.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.freed.notify_waiters();
    }

    /// Sets what is stored and lets those go on that wait for room.
    pub(super) fn set_used(&self, used: u64) {
        if self.used.swap(used, Ordering::AcqRel) > used {
            self.freed.notify_waiters();
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.room.reserved.fetch_sub(self.bytes, Ordering::AcqRel);
        self.room.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[tokio::test]
    async fn whoever_waits_goes_on_when_there_is_room() {
        let room = Arc::new(Room::new(100));
        room.set_used(60);
        let first = room.reserve(40).await.unwrap();
        assert!(matches!(room.try_reserve(11), Err(Error::Full { .. })));
        assert!(room.try_reserve(10).is_ok(), "a tenth is kept for those who cannot wait");
        let waiting = room.reserve(40);
        tokio::pin!(waiting);
        assert!(tokio::select! { biased; _ = &mut waiting => false, () = std::future::ready(()) => true });
        drop(first);
        waiting.await.unwrap();
        assert!(matches!(room.reserve(101).await, Err(Error::TooLarge { .. })));
        let waiting = room.reserve(70);
        tokio::pin!(waiting);
        assert!(tokio::select! { biased; _ = &mut waiting => false, () = std::future::ready(()) => true });
        room.set_used(30);
        waiting.await.unwrap();
    }

    #[test]
    fn a_publisher_that_is_refused_takes_no_room_from_others() {
        let room = Arc::new(Room::new(100));
        room.set_used(50);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    assert!(room.take(100, room.max).is_none());
                }
            });
            let refused = (0..500_000).filter(|_| room.take(40, room.max).is_none()).count();
            done.store(true, Ordering::Relaxed);
            assert_eq!(refused, 0);
        });
    }
}

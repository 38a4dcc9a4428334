//! When does a caller hear that its call took too long? At the deadline, from one task that watches over all calls.
//!
//! Few calls miss their deadlines, so none has a timer of its own: the task sleeps until the earliest deadline that it knows of, and
//! looks at all calls then.

use std::sync::Arc;

use tokio::time::{Instant, sleep_until};

use crate::worker::pool::Shared;

impl Shared {
    /// Ends calls at their deadlines until the pool is dropped.
    pub(super) async fn keep_deadlines(self: Arc<Self>) {
        loop {
            let look_at = self.state().look_at;
            tokio::select! {
                () = until(look_at) => {}
                () = self.sooner.notified() => continue,
                () = self.closing.cancelled() => return,
            }
            if self.state().expire(Instant::now()) {
                self.changed.notify_one();
            }
        }
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

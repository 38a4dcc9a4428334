//! How is a point in time waited for? The scheduler wakes us shortly before, a timer does the rest.
//!
//! The scheduler's one-shots go by whole seconds and look at the clock twice a second, so alone they would be up to a second off
//! ([ADR 10](../../../../docs/adr/0010-timers-of-cron-jobs.md)). It goes by the clock of the world, which a timer does not: after
//! a machine has slept, or its clock was set forward, it notices within half a second. A clock that was set back is noticed within a minute.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};
use uuid::Uuid;

/// The scheduler is to wake us so long before the time: its wake-ups are early by up to a second, and late by half a one.
const LEAD: Duration = Duration::from_secs(2);

/// What is nearer than this is waited for with a timer alone.
const NEAR: Duration = Duration::from_secs(4);

/// The clock is looked at after this at the latest: when it is set back, what was waited for may be years away.
const LONGEST: Duration = Duration::from_secs(60);

/// A scheduler that failed is asked again after this.
const PAUSE: Duration = Duration::from_secs(1);

/// Waits for points in time.
#[derive(Default)]
pub(super) struct Clock {
    /// Made when something is waited for that is not near.
    scheduler: Option<JobScheduler>,
    /// The one-shot that was asked for last and may still be to come.
    armed: Option<Uuid>,
    /// Rung by one-shots.
    rung: Arc<Notify>,
}

impl Clock {
    /// Returns at that time, or earlier: whoever waits looks at the clock again. Dropping the future is no loss.
    pub(super) async fn wait(&mut self, due: Option<Timestamp>) {
        self.disarm().await;
        let Some(due) = due else { return std::future::pending().await };
        let ahead = Duration::try_from(due.duration_since(Timestamp::now())).unwrap_or_default();
        if ahead < NEAR {
            return sleep(ahead).await;
        }
        match self.arm(ahead - LEAD).await {
            Ok(()) => drop(timeout(LONGEST, self.rung.notified()).await),
            Err(error) => {
                tracing::error!(%error, "the scheduler of cron jobs failed; it is asked again");
                sleep(PAUSE).await;
            }
        }
    }

    /// Ends the scheduler's own task.
    pub(super) async fn close(mut self) {
        if let Some(scheduler) = &mut self.scheduler
            && let Err(error) = scheduler.shutdown().await
        {
            tracing::warn!(%error, "the scheduler of cron jobs was not ended");
        }
    }

    async fn arm(&mut self, ahead: Duration) -> Result<(), JobSchedulerError> {
        let rung = Arc::clone(&self.rung);
        let job = Job::new_one_shot(ahead, move |_id, _scheduler| rung.notify_one())?;
        let id = self.scheduler().await?.add(job).await?;
        self.armed = Some(id);
        Ok(())
    }

    async fn scheduler(&mut self) -> Result<&JobScheduler, JobSchedulerError> {
        let scheduler = match self.scheduler.take() {
            Some(scheduler) => scheduler,
            None => {
                let scheduler = JobScheduler::new().await?;
                scheduler.start().await?;
                scheduler
            }
        };
        Ok(self.scheduler.insert(scheduler))
    }

    /// What was waited for is waited for no longer, or has come; then it is gone already.
    async fn disarm(&mut self) {
        if let (Some(id), Some(scheduler)) = (self.armed.take(), &self.scheduler)
            && let Err(error) = scheduler.remove(&id).await
        {
            tracing::debug!(%error, "a wake-up that was not needed any more had gone");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_wakes_in_time_however_far_the_time_is() {
        let mut clock = Clock::default();
        for ahead in [Duration::from_millis(300), NEAR + Duration::from_millis(700)] {
            let due = Timestamp::now().checked_add(ahead).unwrap();
            while Timestamp::now() < due {
                clock.wait(Some(due)).await;
            }
            let late = Timestamp::now().duration_since(due);
            assert!(late.as_millis() < 200, "{late:?} late after {ahead:?}");
        }
        assert!(clock.scheduler.is_some(), "the scheduler was not needed");
        clock.close().await;
    }

    #[tokio::test(start_paused = true)]
    async fn it_looks_at_the_clock_each_minute_however_far_the_time_is() {
        let mut clock = Clock::default();
        let begin = tokio::time::Instant::now();
        clock.wait(Some(Timestamp::now() + Duration::from_hours(24 * 365 * 70))).await;
        assert!((LONGEST..LONGEST * 2).contains(&begin.elapsed()), "{:?}", begin.elapsed());
        clock.close().await;
    }
}

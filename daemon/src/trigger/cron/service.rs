//! Who fires? One task that decides about all jobs of the current version whenever one of them is due, and after each reload.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use rohas_adapters::broker::{self, Status};
use tokio::task::spawn_blocking;

use crate::app::App;
use crate::brokers::patiently;
use crate::trigger::cron::clock::Clock;
use crate::trigger::cron::firing::publication;
use crate::trigger::cron::ledger::Ledger;
use crate::trigger::cron::plan::{Job, Moment};
use crate::version::{CronRoute, Version};

/// What a broker could not take, or a disk, is tried again after this.
const PAUSE: Duration = Duration::from_secs(1);

/// After it was said that the ledger cannot be written, it is not said again for so long, then for twice as long each time.
const REPORT: Duration = Duration::from_secs(10);
const MAX_REPORT: Duration = Duration::from_hours(1);

/// Fires what is due.
pub(crate) struct Service {
    app: Arc<App>,
    ledger: Ledger,
    clock: Clock,
    /// Since when it looks at the clock.
    since: Timestamp,
    /// Since the ledger cannot be written: when that was said, and how long it is not said again.
    reported: Option<(Instant, Duration)>,
}

impl Service {
    pub(crate) fn new(app: Arc<App>, ledger: Ledger) -> Self {
        Self { app, ledger, clock: Clock::default(), since: Timestamp::now(), reported: None }
    }

    /// Fires until the daemon drains.
    pub(crate) async fn run(mut self) {
        let mut versions = self.app.versions();
        let intake = self.app.intake.clone();
        loop {
            versions.mark_unchanged();
            let version = self.app.current();
            let next = self.turn(&version).await;
            // What waits must not keep a version alive.
            drop(version);
            tokio::select! {
                () = intake.cancelled() => break,
                changed = versions.changed() => if changed.is_err() { break },
                () = self.clock.wait(next) => {}
            }
        }
        self.clock.close().await;
    }

    /// Decides about everything that is due and says when to look again.
    async fn turn(&mut self, version: &Version) -> Option<Timestamp> {
        let now = Timestamp::now();
        // The clock may be set back: then it looks at it since now, and not since some time to come.
        self.since = self.since.min(now);
        self.ledger.retain(|job| version.crons.values().any(|cron| *cron.name == *job));
        let mut statuses = None;
        let mut next: Option<Timestamp> = None;
        for cron in version.crons.values() {
            let job = Job {
                project: &version.settings.project.name,
                name: &cron.name,
                timing: &cron.timing,
                jitter: cron.jitter,
                overlap: cron.overlap,
                catch_up: cron.catch_up,
            };
            let due = match self.decide(cron, job, now, &mut statuses).await {
                Ok(due) => due,
                Err(error) => {
                    tracing::error!(job = %cron.name, %error, "a cron job could not be fired; it is tried again");
                    now.checked_add(PAUSE).ok()
                }
            };
            next = [next, due].into_iter().flatten().min();
        }
        if self.save().await { next } else { [next, now.checked_add(PAUSE).ok()].into_iter().flatten().min() }
    }

    /// Decides about one job and says when it is due again.
    async fn decide(
        &mut self,
        cron: &CronRoute,
        job: Job<'_>,
        now: Timestamp,
        statuses: &mut Option<Vec<Status>>,
    ) -> Result<Option<Timestamp>, broker::Error> {
        let decided = self.ledger.decided(&cron.name, &cron.schedule, cron.timezone.as_deref(), now);
        match job.next_due(decided) {
            Some(due) if due <= now => {}
            next => return Ok(next),
        }
        let unfinished = self.unfinished(cron, statuses).await?;
        let plan = job.plan(&Moment { now, since: self.since, decided, unfinished });
        if let Some(missed) = plan.missed {
            let (slots, first, catch_up) = (missed.counted(), missed.first, cron.catch_up);
            tracing::warn!(
                job = %cron.name, slots, %first, ?catch_up,
                "slots of a cron job passed without a daemon or are more than 60 s late; `catchUp` leaves them out"
            );
            self.ledger.decide(&cron.name, missed.until);
        }
        let broker = self.app.brokers.named(self.app.brokers.name(&cron.event));
        let fired = plan.fire.len();
        for slot in plan.fire {
            let firing = publication(cron, job.firing_id(slot), SystemTime::from(slot));
            patiently(broker.try_publish(vec![firing])).await?;
            // What follows may fail, and is then decided again without this one.
            self.ledger.decide(&cron.name, slot);
        }
        if let Some(slot) = plan.left_out.first() {
            let (slots, unfinished) = (plan.left_out.len(), unfinished + fired);
            tracing::warn!(job = %cron.name, slots, first = %slot, unfinished, "a cron job is still busy; firings are left out");
        }
        let decided = plan.decided.unwrap_or(decided);
        self.ledger.decide(&cron.name, decided);
        Ok(job.next_due(decided))
    }

    /// How many firings of a job wait or run. The broker knows, also of those that were under way when an earlier daemon was killed.
    async fn unfinished(&self, cron: &CronRoute, statuses: &mut Option<Vec<Status>>) -> Result<usize, broker::Error> {
        let statuses = match statuses {
            Some(statuses) => statuses,
            None => {
                let broker = self.app.brokers.named(self.app.brokers.name(&cron.event));
                statuses.insert(patiently(broker.status()).await?)
            }
        };
        let own = statuses
            .iter()
            .find(|status| status.subscription.event == cron.event && status.subscription.handler == cron.handler.name);
        let unfinished = own.map_or(0, |status| status.waiting + status.delayed + status.in_flight);
        Ok(usize::try_from(unfinished).unwrap_or(usize::MAX))
    }

    /// Writes down what was decided, after it was published: a daemon that is killed in between fires again, under the same id.
    async fn save(&mut self) -> bool {
        let Some(draft) = self.ledger.unsaved() else { return true };
        let saved = spawn_blocking(move || draft.save()).await;
        let error: &dyn Error = match &saved {
            Ok(Ok(())) => {
                self.ledger.saved();
                if self.reported.take().is_some() {
                    tracing::info!("which cron jobs have fired is written down again");
                }
                return true;
            }
            Ok(Err(error)) => error,
            Err(error) => error,
        };
        if let Some(pause) = next_report(self.reported, Instant::now()) {
            self.reported = Some((Instant::now(), pause));
            let cause = error.source().map(tracing::field::display);
            tracing::error!(%error, cause, "which cron jobs have fired could not be written down; it is tried again");
        }
        false
    }
}

/// How long to be silent after what is to be said now; `None` when it is too early to say it again.
fn next_report(last: Option<(Instant, Duration)>, now: Instant) -> Option<Duration> {
    match last {
        None => Some(REPORT),
        Some((at, pause)) if now >= at + pause => Some((pause * 2).min(MAX_REPORT)),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_failing_is_said_ever_more_rarely_but_each_hour() {
        let begin = Instant::now();
        let (mut last, mut said) = (None, Vec::new());
        for second in 0..20_000 {
            let now = begin + Duration::from_secs(second);
            if let Some(pause) = next_report(last, now) {
                last = Some((now, pause));
                said.push(second);
            }
        }
        assert_eq!(said, [0, 10, 30, 70, 150, 310, 630, 1270, 2550, 5110, 8710, 12_310, 15_910, 19_510]);
    }
}

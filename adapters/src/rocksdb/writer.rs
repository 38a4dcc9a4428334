//! How is everything written? One thread takes all that waits, writes it as one batch, shows it, and answers.
//!
//! A write that fails fails all it covers: nothing of it is seen. The database is then closed and opened again until that works, and the ledger is loaded anew, so
//! that what the writer believes is what is stored.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use super::broker::Lost;
use super::build::Builder;
use super::codec::{from_nanos, to_nanos};
use super::command::{Command, Taken};
use super::commit::{Answer, Commit};
use super::confirmed::Confirmed;
use super::database::Database;
use super::error::{Fault, OpenError};
use super::ledger::Ledger;
use super::shared::Shared;
use super::spans::Limits;
use super::syncer::Syncer;
use super::topic::Topic;
use super::{Durability, retention};
use crate::broker::Error;

const NAME: &str = "events-write";
/// Between two attempts to open the database again.
const BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(1);
/// Between two lines of the log that say that it does not open. It grows, so that an outage of hours leaves a few lines.
const REPORT: Duration = Duration::from_secs(10);
const MAX_REPORT: Duration = Duration::from_hours(1);

/// A running writer, and what came of closing the store when it has ended.
pub(super) type Thread = JoinHandle<Result<(), Error>>;

/// The thread that writes.
pub(super) struct Writer {
    shared: Arc<Shared>,
    ledger: Ledger,
    limits: Limits,
    syncer: Syncer,
    /// Blocks in memory, oldest first, with about how many bytes they take.
    recent: VecDeque<(Arc<Topic>, u64)>,
    recent_bytes: u64,
    next_retention: Instant,
}

impl Writer {
    /// Loads what is stored and starts the thread.
    pub(super) fn start(shared: Arc<Shared>) -> Result<(Thread, Option<Lost>), OpenError> {
        let ledger = shared.slot.with(|database| load(database, &shared, &Ledger::empty(0)));
        let damaged = |fault: Fault| OpenError::Damaged { path: shared.options.path.clone(), what: fault.to_string() };
        let ledger = ledger.map_err(damaged)?;
        let (confirmed, lost) = confirmed(&shared, ledger.written)?;
        let syncer = Syncer::start(Arc::clone(&shared), confirmed)?;
        let limits = retention::limits(&shared.options);
        let mut writer = Self {
            shared,
            ledger,
            limits,
            syncer,
            recent: VecDeque::new(),
            recent_bytes: 0,
            next_retention: Instant::now(),
        };
        writer.show_ledger();
        let thread = thread::Builder::new().name(NAME.to_owned()).spawn(move || writer.run());
        Ok((thread.map_err(|source| OpenError::Thread { name: NAME, source })?, lost))
    }

    fn run(mut self) -> Result<(), Error> {
        loop {
            let taken = self.shared.inbox.take(self.idle());
            if let Some(cause) = taken.broken {
                taken.commands.into_iter().for_each(|command| command.refuse(Error::Unavailable(cause.clone())));
                self.recover(cause);
                continue;
            }
            let closed = taken.closed;
            let result = self.commit(taken.commands).and_then(|()| self.retain());
            if closed {
                return self.close(result);
            }
            if let Err(fault) = result {
                self.recover(fault.to_string());
            }
        }
    }

    /// How long nothing need be done when nobody asks for anything.
    fn idle(&self) -> Duration {
        let retention = self.next_retention.saturating_duration_since(Instant::now());
        let Some((due, _)) = self.ledger.next_due else { return retention };
        let now = to_nanos(SystemTime::now());
        retention.min(Duration::from_nanos(due.saturating_sub(now)))
    }

    fn commit(&mut self, commands: Vec<Command>) -> Result<(), Fault> {
        let mut commit = Commit { now: self.ledger.tick(), wall: to_nanos(SystemTime::now()), ..Commit::default() };
        let mut commands = VecDeque::from(commands);
        let shared = Arc::clone(&self.shared);
        let result = shared.slot.with(|database| {
            let mut builder = Builder { database, ledger: &mut self.ledger, commit: &mut commit };
            builder.publish_due()?;
            while let Some(command) = commands.pop_front() {
                builder.add(command);
            }
            builder.finish(self.limits);
            let batch = std::mem::take(&mut commit.batch);
            if !batch.is_empty() {
                database.write(batch)?;
            }
            Ok(())
        });
        if let Err(fault) = result {
            let error = Error::Unavailable(fault.to_string());
            commands.into_iter().for_each(|command| command.refuse(error.clone()));
            let answers = commit.written.into_iter().chain(commit.durable);
            answers.for_each(|answer| answer.fail(error.clone()));
            return Err(fault);
        }
        self.show(commit);
        Ok(())
    }

    /// Makes visible what was written and answers.
    fn show(&mut self, commit: Commit) {
        for effect in commit.effects {
            effect.apply();
        }
        if self.shared.count_topics() < self.ledger.topics.len() {
            self.show_topics();
        }
        for (topic, block, bytes) in commit.blocks {
            topic.push(block);
            self.recent_bytes += bytes;
            self.recent.push_back((topic, bytes));
        }
        self.forget_old();
        for &index in &commit.topics {
            self.ledger.recount(index);
        }
        for &index in &commit.published {
            for sub in self.ledger.topics[index].subs.iter().filter_map(|number| self.ledger.subs.get(number)) {
                sub.shared.arrived.notify_one();
            }
        }
        self.shared.room.set_used(self.ledger.used());
        drop(commit.holds);
        if !commit.published.is_empty() {
            self.shared.published.notify_waiters();
        }
        if commit.outboxed {
            self.shared.outboxed.notify_waiters();
        }
        commit.written.into_iter().for_each(Answer::succeed);
        match self.shared.options.durability {
            Durability::Disk => self.syncer.queue().push(commit.durable, self.ledger.written),
            Durability::Process => commit.durable.into_iter().for_each(Answer::succeed),
        }
    }

    fn forget_old(&mut self) {
        while self.recent_bytes > self.shared.options.cache_bytes {
            let Some((topic, bytes)) = self.recent.pop_front() else { break };
            topic.forget_oldest();
            self.recent_bytes -= bytes;
        }
    }

    fn retain(&mut self) -> Result<(), Fault> {
        let full = self.ledger.bytes() > self.shared.options.max_bytes;
        if Instant::now() < self.next_retention && !full {
            return Ok(());
        }
        self.next_retention = Instant::now() + retention::interval(&self.shared.options);
        let shared = Arc::clone(&self.shared);
        shared.slot.with(|database| retention::apply(database, &mut self.ledger, &shared.options))?;
        self.shared.room.set_used(self.ledger.used());
        Ok(())
    }

    /// Opens the database again until that works. Meanwhile everybody is told why it does not.
    fn recover(&mut self, cause: String) {
        tracing::error!(path = %self.shared.slot.path().display(), cause, "the event store cannot be written; it is opened again");
        self.shared.slot.set_down(cause.clone());
        let error = Error::Unavailable(cause);
        self.syncer.queue().fail(&error);
        self.shared.wake_all(&self.ledger);
        let mut backoff = BACKOFF;
        let mut reports = Reports::default();
        while let Err(failure) = self.reopen() {
            if reports.is_due(Instant::now()) {
                tracing::warn!(cause = failure, "the event store does not open yet");
            }
            if self.refuse_for(backoff, &error) {
                return;
            }
            backoff = (backoff * 2).min(MAX_BACKOFF);
        }
        tracing::info!(path = %self.shared.slot.path().display(), "the event store works again");
    }

    /// Answers everybody with `error` for so long. True when the store is to be closed.
    fn refuse_for(&self, time: Duration, error: &Error) -> bool {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Taken { commands, closed, .. } = self.shared.inbox.take(left);
            commands.into_iter().for_each(|command| command.refuse(error.clone()));
            if closed || left.is_zero() {
                return closed;
            }
        }
    }

    fn reopen(&mut self) -> Result<(), String> {
        let database = Database::open(&self.shared.options.path).map_err(|error| describe(&error))?;
        // Loading is not enough: what cannot be synced now would fail the next publisher.
        database.sync().map_err(|error| error.to_string())?;
        self.ledger = load(&database, &self.shared, &self.ledger).map_err(|fault| fault.to_string())?;
        self.shared.slot.set_open(database);
        self.show_ledger();
        Ok(())
    }

    /// Brings consumers in line with a ledger that was just loaded.
    fn show_ledger(&mut self) {
        self.recent.clear();
        self.recent_bytes = 0;
        self.ledger.restore();
        self.show_topics();
        self.shared.room.set_used(self.ledger.used());
    }

    fn show_topics(&self) {
        self.shared.set_topics(self.ledger.topics.iter().map(|topic| Arc::clone(&topic.shared)).collect());
    }

    /// Everything that was asked for is written: brings it to the disk and lets the database go.
    fn close(mut self, result: Result<(), Fault>) -> Result<(), Error> {
        self.syncer.stop();
        let result = result.and_then(|()| self.shared.slot.with(|database| Ok(database.sync()?)));
        result.map_err(Error::from)
    }
}

impl Drop for Writer {
    /// Nobody waits for a writer that has ended, by a panic at the worst.
    fn drop(&mut self) {
        self.shared.inbox.abandon();
        self.shared.room.close();
        self.shared.slot.close();
        self.shared.wake_all(&self.ledger);
    }
}

/// When to say again that something still fails: at once, and then less and less often.
#[derive(Default)]
struct Reports {
    /// The last one, and how long nothing is said after it.
    last: Option<(Instant, Duration)>,
}

impl Reports {
    fn is_due(&mut self, now: Instant) -> bool {
        let pause = match self.last {
            None => REPORT,
            Some((at, pause)) if now >= at + pause => (pause * 2).min(MAX_REPORT),
            Some(_) => return false,
        };
        self.last = Some((now, pause));
        true
    }
}

/// Compares what was confirmed with the last commit that is there.
fn confirmed(shared: &Shared, written: u64) -> Result<(Confirmed, Option<Lost>), OpenError> {
    let store = &shared.options.path;
    let file = |source| OpenError::File { path: Confirmed::path(store), source };
    let (confirmed, time) = Confirmed::open(store).map_err(file)?;
    if time <= written {
        return Ok((confirmed, None));
    }
    let lost = Lost { after: from_nanos(written), until: from_nanos(time) };
    tracing::error!(
        path = %store.display(),
        after = ?lost.after,
        until = ?lost.until,
        "the event store has lost what was confirmed between these times: the end of its log is damaged or missing; restore the directory from a backup to get it back"
    );
    // It is reported once.
    confirmed.write(written).map_err(file)?;
    Ok((confirmed, Some(lost)))
}

fn load(database: &Database, shared: &Shared, known: &Ledger) -> Result<Ledger, Fault> {
    Ledger::load(database, shared.options.dedupe, known)
}

/// An error with its causes in one line.
fn describe(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_reported_at_once_and_then_less_and_less_often() {
        let (begin, mut reports) = (Instant::now(), Reports::default());
        let due = |second: &u64| reports.is_due(begin + Duration::from_secs(*second));
        let reported: Vec<_> = (0..=12_000).filter(due).collect();
        assert_eq!(reported, [0, 10, 30, 70, 150, 310, 630, 1270, 2550, 5110, 8710]);
    }
}

//! How far have the subscriptions come, and where does the log stand at a time? Answers from the ledger.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::SystemTime;

use super::block;
use super::codec::to_nanos;
use super::command::Overview;
use super::database::{Database, LOG};
use super::error::Fault;
use super::ledger::{Ledger, SubLedger, TopicLedger};
use super::rows::{log_key, position};
use super::topic::Topic;
use crate::broker::Status;

/// All subscriptions in the order of their names.
pub(super) fn of(ledger: &Ledger) -> Vec<Overview> {
    let subs = ledger.by_name.values().filter_map(|number| ledger.subs.get(number));
    subs.map(|sub| overview(ledger, sub)).collect()
}

fn overview(ledger: &Ledger, sub: &SubLedger) -> Overview {
    let topic = &ledger.topics[sub.topic];
    let stored = &sub.stored;
    let end = topic.next.min(stored.end.unwrap_or(u64::MAX));
    let cursor = sub.shared.cursor();
    let now = to_nanos(SystemTime::now());
    let status = Status {
        subscription: stored.subscription.clone(),
        declared: stored.declared,
        paused: stored.paused,
        waiting: cursor.waiting(topic.next, now),
        delayed: cursor.delayed(now) + if stored.declared { topic.delayed } else { 0 },
        in_flight: cursor.in_flight(),
        dead: ledger.dead.get(&stored.subscription).copied().unwrap_or(0),
        oldest: None,
    };
    let floor = stored.progress.floor();
    let returned = sub.returned.first_key_value().map(|(&sequence, row)| (row.due, sequence));
    let returned = returned.map(|due| (sub.shared.number, due));
    Overview { status, oldest: (floor < end).then(|| (Arc::clone(&topic.shared), floor)), returned }
}

/// Where each event's log continues at `time`.
pub(super) fn since(database: &Database, ledger: &Ledger, time: u64) -> Result<Vec<(Arc<Topic>, u64)>, Fault> {
    let topics = ledger.topics.iter();
    topics.map(|topic| Ok((Arc::clone(&topic.shared), position_at(database, topic, time)?))).collect()
}

/// The first position that was committed at `time` or later.
pub(super) fn position_at(database: &Database, topic: &TopicLedger, time: u64) -> Result<u64, Fault> {
    let Some(start) = topic.spans.since(time) else { return Ok(topic.next) };
    let mut found = topic.next;
    let number = topic.shared.number;
    let (from, to) = (log_key(number, start), log_key(number, topic.next));
    database.scan(LOG, (&from, Some(&to)), |key, value| {
        // A block that cannot be read is passed over when its turn comes.
        let earlier = block::head(value).is_some_and(|head| head.time < time);
        if !earlier {
            found = position(key).unwrap_or(found);
            return Ok(ControlFlow::Break(()));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
}

//! What waits to be relayed to another broker? Publications in order, per broker, durable as the events themselves.

use std::ops::ControlFlow;
use std::time::{Duration, SystemTime};

use uuid::Uuid;

use super::build::Builder;
use super::codec::{duration_nanos, from_nanos, to_nanos, weight};
use super::command::{Command, Hold};
use super::database::{DEAD, Database, OUTBOX};
use super::error::Fault;
use super::ledger::{Ledger, OutboxLedger};
use super::load::damaged;
use super::rows::{DeadHead, OutboxHead, Relay, decode_message, encode_message};
use super::{RocksDb, publish};
use crate::broker::{Error, Failure, History, Obituary, Publication, Subscription};
use crate::envelope::Envelope;

/// What is dead because its broker never takes it belongs to no handler. This stands in the place of one, before the broker's name; the colon tells
/// it from all that can be a handler.
const DEAD_HANDLER: &str = "outbox:";

/// What waits for one broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backlog {
    /// The broker's name in the settings.
    pub broker: String,
    /// How many publications wait.
    pub length: u64,
    /// When the oldest of them was put there.
    pub oldest: SystemTime,
}

impl RocksDb {
    /// Keeps publications for other brokers, each named with its own: all or none, durable when this returns.
    ///
    /// # Errors
    /// [`Error::Full`] and [`Error::TooLarge`] as for `try_publish`, others when the store fails.
    pub async fn outbox_push(&self, entries: Vec<(String, Publication)>) -> Result<(), Error> {
        if entries.is_empty() {
            return Ok(());
        }
        let bytes = entries.iter().map(|(broker, entry)| weight(&entry.envelope) + broker.len() as u64).sum();
        let reservation = self.shared.room.try_reserve(bytes)?;
        let hold: Hold = publish::queue(&self.shared, reservation, bytes).await?;
        self.shared.ask(|reply| Command::OutboxPush { entries, hold, reply }).await
    }

    /// The oldest publications for a broker with their numbers, in order: at most `limit`, and, beyond the first, not more than `bytes` of stored bytes.
    ///
    /// # Errors
    /// When the store fails, or one of them is damaged.
    pub async fn outbox_read(
        &self,
        broker: &str,
        limit: usize,
        bytes: usize,
    ) -> Result<Vec<(u64, Publication)>, Error> {
        let broker = broker.to_owned();
        self.shared.read(move |database| read(database, &broker, (limit, bytes))).await
    }

    /// Waits until something is put into the outbox, counted from this call and not from the first poll: whoever calls it before a look misses nothing.
    pub fn outbox_arrival(&self) -> impl Future<Output = ()> + '_ {
        self.shared.outboxed.notified()
    }

    /// Gives the oldest publication for a broker up, which has the number `number`: it is kept among the dead letters, with `outbox:` and the broker's
    /// name in the place of a handler, and can be redriven from there to wait again.
    ///
    /// # Errors
    /// When the store fails; it then stays where it is.
    pub async fn outbox_dead(&self, broker: &str, number: u64, failure: Failure) -> Result<(), Error> {
        let (broker, id) = (broker.to_owned(), Uuid::now_v7());
        self.shared.ask(|reply| Command::OutboxDead { broker, number, id, failure, reply }).await
    }

    /// Removes what has been relayed: everything for this broker up to the number `up_to`, itself included.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn outbox_remove(&self, broker: &str, up_to: u64) -> Result<(), Error> {
        let broker = broker.to_owned();
        self.shared.ask(|reply| Command::OutboxRemove { broker, up_to, reply }).await
    }

    /// What waits, by broker, in the order of their names. A broker for which nothing waits is left out.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn outbox_status(&self) -> Result<Vec<Backlog>, Error> {
        self.shared.ask(|reply| Command::OutboxStatus { reply }).await
    }
}

/// Name, zero, number.
fn key(broker: &str, number: u64) -> Vec<u8> {
    [broker.as_bytes(), &[0], &number.to_be_bytes()].concat()
}

fn split(key: &[u8]) -> Option<(&str, u64)> {
    let (rest, number) = key.split_last_chunk()?;
    let broker = std::str::from_utf8(rest.strip_suffix(&[0])?).ok()?;
    Some((broker, u64::from_be_bytes(*number)))
}

fn row(key: &[u8], value: &[u8]) -> Result<(u64, OutboxHead, Publication), Fault> {
    let decoded = split(key).zip(decode_message::<OutboxHead>(value));
    let Some(((_, number), (head, envelope))) = decoded else { return Err(damaged("a publication in the outbox")) };
    let publication = publication(envelope, head.relay);
    Ok((number, head, publication))
}

pub(super) fn publication(envelope: Envelope, Relay { due, window }: Relay) -> Publication {
    Publication { envelope, due: due.map(from_nanos), dedupe: Duration::from_nanos(window) }
}

fn read(database: &Database, broker: &str, (limit, bytes): (usize, usize)) -> Result<Vec<(u64, Publication)>, Fault> {
    let mut found = Vec::new();
    let mut left = bytes;
    database.scan(OUTBOX, (&key(broker, 0), Some(&key(broker, u64::MAX))), |key, value| {
        if found.len() >= limit || (value.len() > left && !found.is_empty()) {
            return Ok(ControlFlow::Break(()));
        }
        left = left.saturating_sub(value.len());
        let (number, _, publication) = row(key, value)?;
        found.push((number, publication));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
}

pub(super) fn push(builder: &mut Builder<'_>, entries: &[(String, Publication)]) {
    let now = builder.commit.now;
    for (broker, Publication { envelope, due, dedupe }) in entries {
        let relay = Relay { due: due.map(to_nanos), window: duration_nanos(*dedupe) };
        let head = OutboxHead { since: now, relay };
        let value = encode_message(&head, envelope);
        let number = builder.ledger.next_sequence();
        builder.put(OUTBOX, &key(broker, number), &value);
        builder.ledger.row_bytes += value.len() as u64;
        let new = || OutboxLedger { length: 0, oldest: now };
        builder.ledger.outbox.entry(broker.clone()).or_insert_with(new).length += 1;
        builder.commit.outboxed = true;
    }
}

/// The broker that a dead letter was to be relayed to, if it comes from the outbox.
pub(super) fn broker_of(subscription: &Subscription) -> Option<&str> {
    subscription.handler.strip_prefix(DEAD_HANDLER)
}

/// Moves the oldest entry of a broker to the dead letters.
pub(super) fn bury(
    builder: &mut Builder<'_>,
    (broker, number): (&str, u64),
    id: Uuid,
    failure: Failure,
) -> Result<(), Fault> {
    let key = key(broker, number);
    let Some(value) = builder.database.get(OUTBOX, &key)? else { return Ok(()) };
    let (_, OutboxHead { relay, .. }, Publication { envelope, .. }) = row(&key, &value)?;
    remove(builder, broker, number)?;
    let handler = format!("{DEAD_HANDLER}{broker}").into();
    let subscription = Subscription { event: envelope.event.clone(), handler };
    let obituary = Obituary { history: History::default(), first: failure.clone(), last: failure };
    *builder.ledger.dead.entry(subscription.clone()).or_default() += 1;
    let value = encode_message(&DeadHead { subscription, obituary, relay: Some(relay) }, &envelope);
    builder.put(DEAD, id.as_bytes(), &value);
    builder.ledger.row_bytes += value.len() as u64;
    Ok(())
}

pub(super) fn remove(builder: &mut Builder<'_>, broker: &str, up_to: u64) -> Result<(), Fault> {
    let mut removed = Vec::new();
    let mut oldest = None;
    builder.database.scan(OUTBOX, (&key(broker, 0), Some(&key(broker, u64::MAX))), |key, value| {
        let number = split(key).map_or(0, |(_, number)| number);
        if number > up_to {
            oldest = Some(row(key, value)?.1.since);
            return Ok(ControlFlow::Break(()));
        }
        removed.push((number, value.len() as u64));
        Ok(ControlFlow::Continue(()))
    })?;
    if let (Some((first, _)), Some((last, _))) = (removed.first(), removed.last()) {
        // As one range: whoever reads on passes over it at once, while single deletions would be walked over each time.
        let (from, to) = (key(broker, *first), key(broker, last + 1));
        builder.database.delete_range(&mut builder.commit.batch, OUTBOX, &from, &to);
    }
    let bytes: u64 = removed.iter().map(|(_, bytes)| bytes).sum();
    builder.ledger.row_bytes = builder.ledger.row_bytes.saturating_sub(bytes);
    let Some(outbox) = builder.ledger.outbox.get_mut(broker) else { return Ok(()) };
    outbox.length = outbox.length.saturating_sub(removed.len() as u64);
    match oldest {
        Some(oldest) => outbox.oldest = oldest,
        // What this commit has put there is not in the database yet.
        None if outbox.length > 0 => outbox.oldest = builder.commit.now,
        None => drop(builder.ledger.outbox.remove(broker)),
    }
    Ok(())
}

pub(super) fn load(database: &Database, ledger: &mut Ledger) -> Result<(), Fault> {
    database.scan(OUTBOX, (&[], None), |key, value| {
        let (number, head, _) = row(key, value)?;
        let broker = split(key).map_or("", |(broker, _)| broker);
        ledger.sequence = ledger.sequence.max(number);
        ledger.row_bytes += value.len() as u64;
        let new = || OutboxLedger { length: 0, oldest: head.since };
        ledger.outbox.entry(broker.to_owned()).or_insert_with(new).length += 1;
        Ok(ControlFlow::Continue(()))
    })
}

pub(super) fn backlogs(ledger: &Ledger) -> Vec<Backlog> {
    let waiting = ledger.outbox.iter();
    let backlog = |(broker, outbox): (&String, &OutboxLedger)| Backlog {
        broker: broker.clone(),
        length: outbox.length,
        oldest: from_nanos(outbox.oldest),
    };
    waiting.map(backlog).collect()
}

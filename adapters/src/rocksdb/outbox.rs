//! What waits to be relayed to another broker? Publications in order, per broker, durable as the events themselves.

use std::ops::ControlFlow;
use std::time::SystemTime;

use super::build::Builder;
use super::codec::{duration_nanos, from_nanos, to_nanos, weight};
use super::command::{Command, Hold};
use super::database::{Database, OUTBOX};
use super::error::Fault;
use super::ledger::{Ledger, OutboxLedger};
use super::load::damaged;
use super::rows::{OutboxHead, decode_message, encode_message};
use super::{RocksDb, publish};
use crate::broker::{Error, Publication};

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

    /// The oldest publications for a broker with their numbers, in order, at most `limit`.
    ///
    /// # Errors
    /// When the store fails, or one of them is damaged.
    pub async fn outbox_read(&self, broker: &str, limit: usize) -> Result<Vec<(u64, Publication)>, Error> {
        let broker = broker.to_owned();
        self.shared.read(move |database| read(database, &broker, limit)).await
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
    let dedupe = std::time::Duration::from_nanos(head.window);
    let publication = Publication { envelope, due: head.due.map(from_nanos), dedupe };
    Ok((number, head, publication))
}

fn read(database: &Database, broker: &str, limit: usize) -> Result<Vec<(u64, Publication)>, Fault> {
    let mut found = Vec::new();
    database.scan(OUTBOX, (&key(broker, 0), Some(&key(broker, u64::MAX))), |key, value| {
        if found.len() >= limit {
            return Ok(ControlFlow::Break(()));
        }
        let (number, _, publication) = row(key, value)?;
        found.push((number, publication));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
}

pub(super) fn push(builder: &mut Builder<'_>, entries: &[(String, Publication)]) {
    let now = builder.commit.now;
    for (broker, Publication { envelope, due, dedupe }) in entries {
        let head = OutboxHead { since: now, due: due.map(to_nanos), window: duration_nanos(*dedupe) };
        let value = encode_message(&head, envelope);
        let number = builder.ledger.next_sequence();
        builder.put(OUTBOX, &key(broker, number), &value);
        builder.ledger.row_bytes += value.len() as u64;
        let new = || OutboxLedger { length: 0, oldest: now };
        builder.ledger.outbox.entry(broker.clone()).or_insert_with(new).length += 1;
    }
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

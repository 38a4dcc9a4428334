//! How does a consumer get its messages and say what became of them? It takes from memory, reads what is not there, and tells the writer.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use tokio::sync::futures::Notified;
use tokio::sync::watch;
use tokio::task::yield_now;
use uuid::Uuid;

use super::codec::{duration_nanos, to_nanos};
use super::command::{Back, Command};
use super::cursor::{Due, RETURNED_TAG};
use super::database::{Database, RETURNED};
use super::error::Fault;
use super::rows::{DeadHead, ReturnedHead, decode_message, encode_message, returned_key};
use super::shared::Shared;
use super::subscription::Sub;
use super::topic::{Found, PAGE_BYTES};
use crate::broker::{Consumer, Delivery, Error, History, Obituary};
use crate::envelope::Envelope;

/// The clock may be set while somebody waits for a due time; it is looked at again after so long.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// So many of those that are released go back before others have a turn.
const AT_ONCE: usize = 500;

/// One consumer. Several of one subscription share its place.
#[derive(Debug)]
pub(super) struct RocksDbConsumer {
    pub(super) shared: Arc<Shared>,
    pub(super) sub: Arc<Sub>,
}

/// What `next` does next.
enum Step {
    Deliver(Vec<Delivery>),
    /// The message at this position is not in memory.
    ReadLog(u64),
    ReadReturned(Vec<Due>),
    /// Until something arrives, or until this time.
    Wait(Option<u64>),
}

impl RocksDbConsumer {
    fn step(&self, limit: usize) -> Result<Step, Error> {
        self.shared.slot.check().map_err(|fault| self.error(fault))?;
        let mut cursor = self.sub.cursor();
        if cursor.gone {
            return Err(self.closed());
        }
        if *self.sub.paused.borrow() {
            return Ok(Step::Wait(None));
        }
        if !cursor.returned.is_empty() {
            let due = cursor.due(to_nanos(SystemTime::now()), limit);
            if !due.is_empty() {
                return Ok(Step::ReadReturned(due));
            }
        }
        let mut deliveries: Vec<Delivery> = Vec::new();
        let mut envelopes = Vec::new();
        while deliveries.len() < limit {
            let Some(range) = cursor.wanted(self.sub.topic.end(), (limit - deliveries.len()) as u64) else { break };
            if self.sub.topic.copy_recent(range.clone(), &mut envelopes) == 0 {
                envelopes.extend(range.clone().map_while(|position| cursor.page.get(position).cloned()));
            }
            if envelopes.is_empty() && deliveries.is_empty() {
                return Ok(Step::ReadLog(range.start));
            }
            if envelopes.is_empty() {
                break;
            }
            cursor.take(range.start..range.start + envelopes.len() as u64);
            let positions = range.start..;
            deliveries.extend(positions.zip(envelopes.drain(..)).map(|(tag, envelope)| Delivery {
                history: cursor.history(tag).unwrap_or_default(),
                envelope,
                tag,
            }));
        }
        if deliveries.is_empty() {
            return Ok(Step::Wait(cursor.next_due()));
        }
        let more = cursor.wanted(self.sub.topic.end(), 1).is_some();
        drop(cursor);
        if more {
            self.sub.arrived.notify_one();
        }
        Ok(Step::Deliver(deliveries))
    }

    async fn read_log(&self, position: u64) -> Result<(), Error> {
        let topic = Arc::clone(&self.sub.topic);
        let end = topic.end();
        match self.shared.read(move |database| topic.read(database, position)).await? {
            Found::Page(page) => {
                self.sub.cursor().page = page;
                Ok(())
            }
            Found::Unreadable(cause, next) => self.skip((position, next, end), &cause).await,
            Found::Gone(next) => self.skip((position, Some(next), end), "it is not there").await,
        }
    }

    /// Passes over what cannot be read: the messages behind it are worth more than waiting for ever.
    pub(super) async fn skip(&self, (from, to, end): (u64, Option<u64>, u64), cause: &str) -> Result<(), Error> {
        let sub = Arc::clone(&self.sub);
        let lost = self.shared.ask(|reply| Command::Skip { sub, from, to, end, reply }).await?;
        tracing::error!(
            path = %self.shared.slot.path().display(),
            subscription = %self.sub.subscription,
            position = from,
            lost,
            cause,
            "messages of the event store cannot be read and are passed over; restore the directory from a backup to get them back"
        );
        Ok(())
    }

    async fn read_returned(&self, due: Vec<Due>) -> Result<Vec<Delivery>, Error> {
        let (_read, readable) = self.readable(due).await?;
        // Last, because whoever drops this future at an await must lose none.
        let deliveries = self.claim(readable);
        self.sub.arrived.notify_one();
        Ok(deliveries)
    }

    /// Reads messages that had been put back, as many of them as make up a page. Returns how many those are, and which can be read; damaged
    /// ones are passed over.
    pub(super) async fn readable(&self, due: Vec<Due>) -> Result<(usize, Vec<(Due, Delivery)>), Error> {
        let number = self.sub.number;
        let rows = self.shared.read(move |database| read_rows(database, number, due)).await?;
        let read = rows.len();
        let (readable, damaged) = decode_rows(rows);
        if !damaged.is_empty() {
            self.pass_over(damaged).await?;
        }
        Ok((read, readable))
    }

    /// Takes those that nobody else has taken meanwhile.
    fn claim(&self, readable: Vec<(Due, Delivery)>) -> Vec<Delivery> {
        let mut cursor = self.sub.cursor();
        let mut taken = Vec::with_capacity(readable.len());
        for (due, mut delivery) in readable {
            if cursor.take_due(due) {
                cursor.restore(&mut delivery);
                taken.push(delivery);
            }
        }
        taken
    }

    async fn pass_over(&self, tags: Vec<u64>) -> Result<(), Error> {
        tracing::error!(
            path = %self.shared.slot.path().display(),
            subscription = %self.sub.subscription,
            lost = tags.len(),
            "messages that had been put back cannot be read and are passed over; restore the directory from a backup to get them back"
        );
        let sub = Arc::clone(&self.sub);
        self.shared.ask(|reply| Command::Ack { sub, tags, reply }).await
    }

    /// The message becomes a dead letter with this id.
    pub(super) async fn give_up(&self, id: Uuid, delivery: &Delivery, obituary: &Obituary) -> Result<(), Error> {
        let (subscription, obituary) = (self.sub.subscription.clone(), obituary.clone());
        let head = DeadHead { subscription, obituary, relay: None };
        let envelope: &Envelope = &delivery.envelope;
        let value = encode_message(&head, envelope);
        let (sub, tag) = (Arc::clone(&self.sub), delivery.tag);
        self.shared.ask(|reply| Command::Dead { sub, tag, id, value, reply }).await
    }

    fn error(&self, fault: Fault) -> Error {
        if matches!(fault, Fault::Closed) { self.closed() } else { fault.into() }
    }

    fn closed(&self) -> Error {
        Error::Closed(self.sub.subscription.clone())
    }
}

/// A message that was put back, as it is stored; `None` when it was finished meanwhile.
type Stored = (Due, Option<Vec<u8>>);

/// The rows of these, as many of them as make up a page.
fn read_rows(database: &Database, number: u32, due: Vec<Due>) -> Result<Vec<Stored>, Fault> {
    let mut rows = Vec::new();
    let mut bytes = 0;
    for due in due {
        if bytes >= PAGE_BYTES {
            break;
        }
        let row = database.get(RETURNED, &returned_key(number, due))?;
        bytes += row.as_ref().map_or(0, Vec::len);
        rows.push((due, row));
    }
    Ok(rows)
}

/// Messages that had been put back, and the tags of those that are damaged. Rows that are gone were finished meanwhile.
fn decode_rows(rows: Vec<Stored>) -> (Vec<(Due, Delivery)>, Vec<u64>) {
    let (mut readable, mut damaged) = (Vec::with_capacity(rows.len()), Vec::new());
    for (due, value) in rows {
        let Some(value) = value else { continue };
        let tag = due.1 | RETURNED_TAG;
        match decode_message::<ReturnedHead>(&value) {
            Some((head, envelope)) => {
                readable.push((due, Delivery { envelope: Arc::new(envelope), history: head.history, tag }));
            }
            None => damaged.push(tag),
        }
    }
    (readable, damaged)
}

async fn wait(arrived: Notified<'_>, due: Option<u64>) {
    let Some(due) = due else { return arrived.await };
    let left = Duration::from_nanos(due.saturating_sub(to_nanos(SystemTime::now())));
    tokio::select! {
        () = arrived => {}
        () = tokio::time::sleep(left.min(LONGEST_WAIT)) => {}
    }
}

#[async_trait]
impl Consumer for RocksDbConsumer {
    async fn next(&self, limit: usize) -> Result<Vec<Delivery>, Error> {
        loop {
            let arrived = self.sub.arrived.notified();
            match self.step(limit.max(1))? {
                Step::Deliver(deliveries) => return Ok(deliveries),
                Step::ReadLog(position) => self.read_log(position).await?,
                Step::ReadReturned(due) => {
                    let deliveries = self.read_returned(due).await?;
                    if !deliveries.is_empty() {
                        return Ok(deliveries);
                    }
                }
                Step::Wait(due) => wait(arrived, due).await,
            }
        }
    }

    fn pauses(&self) -> watch::Receiver<bool> {
        self.sub.paused.subscribe()
    }

    async fn release(&self, tags: &[u64]) -> Result<(), Error> {
        for tags in tags.chunks(AT_ONCE) {
            self.sub.cursor().release(tags);
            yield_now().await;
        }
        self.sub.arrived.notify_one();
        Ok(())
    }

    async fn recall(&self, tags: &[u64]) -> Result<Vec<Delivery>, Error> {
        self.read_again(tags).await
    }

    async fn ack(&self, deliveries: &[Delivery]) -> Result<(), Error> {
        if deliveries.is_empty() {
            return Ok(());
        }
        let tags = deliveries.iter().map(|delivery| delivery.tag).collect();
        let sub = Arc::clone(&self.sub);
        self.shared.ask(|reply| Command::Ack { sub, tags, reply }).await
    }

    async fn nack(&self, delivery: &Delivery, history: History, delay: Duration) -> Result<(), Error> {
        let due = (!delay.is_zero()).then(|| to_nanos(SystemTime::now()).saturating_add(duration_nanos(delay)));
        let in_place = due.is_none() && delivery.tag & RETURNED_TAG == 0;
        let row = (!in_place).then(|| encode_message(&ReturnedHead { history }, &delivery.envelope));
        let (sub, back) = (Arc::clone(&self.sub), Back { tag: delivery.tag, history, due, row });
        self.shared.ask(|reply| Command::Nack { sub, back, reply }).await
    }

    fn note(&self, delivery: &Delivery, history: History) {
        if self.sub.note(delivery.tag, history) {
            // A store that is closed takes no notes.
            drop(self.shared.inbox.push(Command::Note { sub: Arc::clone(&self.sub) }));
        }
    }

    async fn dead_letter(&self, delivery: &Delivery, obituary: &Obituary) -> Result<(), Error> {
        self.give_up(Uuid::now_v7(), delivery, obituary).await
    }
}

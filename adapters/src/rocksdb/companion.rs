//! What does this store keep for an adapter on a network? What its broker cannot: who has handled what, what messages have been through, what waits for long, and what is dead.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use uuid::Uuid;

use super::build::Builder;
use super::codec::{to_nanos, weight};
use super::command::{Command, Reply, answer};
use super::commit::Answer;
use super::consumer::RocksDbConsumer;
use super::database::DEAD;
use super::rows::{DeadHead, ReturnedHead, encode_message};
use super::shared::Shared;
use super::subscription::Sub;
use super::{RocksDb, publish};
use crate::broker::{Consumer, Delivery, Error, History, Obituary, Subscription};
use crate::envelope::Envelope;

/// By what a message is known again that a broker may hand out twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The message's id, or what stands for it where messages of one id are not copies.
    pub(crate) id: Uuid,
    /// How long another message of this id is a copy.
    pub(crate) window: Duration,
    /// A hash of the broker's own name of the message, under which it is known beyond the window; zero when it has none.
    pub(crate) place: u64,
}

/// A message that a subscription is to get from here.
#[derive(Debug)]
pub(crate) struct HandOver<'a> {
    pub(crate) envelope: &'a Envelope,
    pub(crate) history: History,
    /// At once and in order when there is none.
    pub(crate) due: Option<SystemTime>,
}

/// One subscription of another broker, as this store knows it.
#[derive(Debug, Clone)]
pub(crate) struct Companion {
    shared: Arc<Shared>,
    sub: Arc<Sub>,
}

impl RocksDb {
    /// Subscribes here too: this hands out what was handed over and redriven.
    pub(crate) async fn accompany(&self, subscription: &Subscription) -> Result<Companion, Error> {
        let subscription = subscription.clone();
        let sub = self.shared.ask(|reply| Command::Subscribe { subscription, reply }).await?;
        Ok(Companion { shared: Arc::clone(&self.shared), sub })
    }
}

impl Companion {
    /// Hands out what was handed over and redriven.
    pub(crate) fn consumer(&self) -> Arc<dyn Consumer> {
        Arc::new(self.own())
    }

    fn own(&self) -> RocksDbConsumer {
        RocksDbConsumer { shared: Arc::clone(&self.shared), sub: Arc::clone(&self.sub) }
    }

    /// Gives up a message of this consumer under this id.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) async fn give_up(&self, id: Uuid, delivery: &Delivery, obituary: &Obituary) -> Result<(), Error> {
        self.own().give_up(id, delivery, obituary).await
    }

    /// Which of these were handled, and what the others have been through; `None` for one that was handled.
    pub(crate) fn look_up<'a>(
        &self,
        messages: impl Iterator<Item = (Uuid, Option<&'a Identity>)>,
    ) -> Vec<Option<History>> {
        let now = to_nanos(SystemTime::now());
        let foreign = self.sub.foreign();
        let look_up = |(note, identity): (Uuid, Option<&Identity>)| {
            let handled = identity.is_some_and(|identity| foreign.handled.contains(identity, now));
            (!handled).then(|| foreign.notes.get(note).unwrap_or_default())
        };
        messages.map(look_up).collect()
    }

    /// Keeps what a message has been through. Nobody waits for it: it is written soon and together with others.
    pub(crate) fn note(&self, id: Uuid, history: History) {
        let tell = self.sub.foreign().notes.set(id, history, to_nanos(SystemTime::now()));
        self.tell_of_notes(tell);
    }

    /// These are finished, and nobody need know any more what they have been through.
    pub(crate) fn forget(&self, ids: impl Iterator<Item = Uuid>) {
        let tell = self.sub.foreign().notes.forget(ids);
        self.tell_of_notes(tell);
    }

    fn tell_of_notes(&self, tell: bool) {
        if tell {
            // A store that is closed takes no notes.
            drop(self.shared.inbox.push(Command::NoteForeign { sub: Arc::clone(&self.sub) }));
        }
    }

    /// These were handled. Returns when that survives the end of this process.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) async fn handled(&self, messages: Vec<Identity>) -> Result<(), Error> {
        if messages.is_empty() {
            return Ok(());
        }
        let sub = Arc::clone(&self.sub);
        self.shared.ask(|reply| Command::Handled { sub, messages, reply }).await
    }

    /// Takes messages over, all or none, to hand them out when they are due. Durable when it returns; those of `handled` that the broker hands out again are then known.
    ///
    /// # Errors
    /// [`Error::Full`] and [`Error::TooLarge`] as for `try_publish`, others when the store fails.
    pub(crate) async fn hand_over(&self, messages: &[HandOver<'_>], handled: Vec<Identity>) -> Result<(), Error> {
        let bytes = messages.iter().map(|message| weight(message.envelope)).sum();
        let reservation = self.shared.room.try_reserve(bytes)?;
        let row = |message: &HandOver<'_>| {
            let head = ReturnedHead { history: message.history };
            (message.due.map_or(0, to_nanos), encode_message(&head, message.envelope))
        };
        let rows = messages.iter().map(row).collect();
        let hold = publish::queue(&self.shared, reservation, bytes).await?;
        let sub = Arc::clone(&self.sub);
        self.shared.ask(|reply| Command::HandOver { sub, rows, handled, hold, reply }).await
    }

    /// Keeps a message as a dead letter with this id. Durable when it returns; if the broker hands the message out again, it is known.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) async fn bury(
        &self,
        id: Uuid,
        envelope: &Envelope,
        obituary: Obituary,
        handled: Option<Identity>,
    ) -> Result<(), Error> {
        let head = DeadHead { subscription: self.sub.subscription.clone(), obituary, relay: None };
        let value = encode_message(&head, envelope);
        let sub = Arc::clone(&self.sub);
        self.shared.ask(|reply| Command::Bury { sub, id, value, handled, reply }).await
    }
}

impl Builder<'_> {
    pub(super) fn handled(&mut self, sub: &Arc<Sub>, messages: &[Identity], reply: Reply<()>) {
        self.keep_handled(sub, messages);
        self.commit.written.push(Answer::Done(reply));
    }

    pub(super) fn hand_over(
        &mut self,
        sub: &Arc<Sub>,
        (rows, handled): (Vec<(u64, Vec<u8>)>, &[Identity]),
        reply: Reply<()>,
    ) {
        // What is pruned goes with all it holds.
        for (due, value) in rows {
            let key = (due, self.ledger.next_sequence());
            self.put_returned(sub, key, &value);
        }
        self.keep_handled(sub, handled);
        self.commit.durable.push(Answer::Done(reply));
    }

    pub(super) fn bury_foreign(
        &mut self,
        sub: &Arc<Sub>,
        (id, value): (Uuid, &[u8]),
        handled: Option<Identity>,
        reply: Reply<()>,
    ) {
        // Whoever tells again after a failure has the same id.
        match self.database.get(DEAD, id.as_bytes()) {
            Ok(None) => self.put_dead(sub, id, value),
            Ok(Some(_)) => {}
            Err(fault) => return answer(reply, Err(fault.into())),
        }
        self.keep_handled(sub, handled.as_slice());
        self.commit.durable.push(Answer::Done(reply));
    }
}

//! How do the commands of people and of reloads become rows: who is subscribed, paused and gone, which dead letters live again, what is replayed?

use std::sync::Arc;

use uuid::Uuid;

use super::build::Builder;
use super::command::{Reply, answer};
use super::commit::{Answer, Change};
use super::database::{DEAD, HANDLED, MARKS, NOTES, PROGRESS, RETURNED};
use super::error::Fault;
use super::ledger::{SubLedger, TopicLedger};
use super::progress::Progress;
use super::rows::{DeadHead, ReturnedHead, Stored, decode_message, encode_message};
use super::subscription::Sub;
use super::{outbox, overview};
use crate::broker::{Error, History, Subscription};
use crate::envelope::Envelope;

impl Builder<'_> {
    pub(super) fn subscribe(&mut self, subscription: &Subscription, reply: Reply<Arc<Sub>>) {
        let topic = self.topic(&subscription.event);
        let end = self.ledger.topics[topic].end();
        let Some(sub) = self.ledger.sub(subscription) else { return self.add_sub(topic, subscription, reply) };
        let shared = Arc::clone(&sub.shared);
        if !sub.stored.declared {
            sub.stored.declared = true;
            if let Some(before) = sub.stored.end.take() {
                sub.stored.progress.finish(before..end);
            }
            self.touch_sub(shared.number);
            self.effect(&shared, Change::Declared(end));
        }
        self.commit.durable.push(Answer::Sub(reply, shared));
    }

    fn add_sub(&mut self, topic: usize, subscription: &Subscription, reply: Reply<Arc<Sub>>) {
        let TopicLedger { shared, .. } = &self.ledger.topics[topic];
        let start = self.ledger.topics[topic].end();
        let number = self.ledger.last_sub + 1;
        let sub = Arc::new(Sub::new(number, subscription.clone(), Arc::clone(shared)));
        sub.cursor().next = start;
        let progress = Progress::starting_at(start);
        let stored = Stored { subscription: subscription.clone(), declared: true, paused: false, end: None, progress };
        self.ledger.add_sub(SubLedger::new(stored, Arc::clone(&sub), topic));
        self.touch_sub(number);
        self.commit.durable.push(Answer::Sub(reply, sub));
    }

    pub(super) fn retire(&mut self, subscription: &Subscription, reply: Reply<()>) {
        let declared = self.ledger.sub(subscription).filter(|sub| sub.stored.declared);
        if let Some((shared, topic)) = declared.map(|sub| (Arc::clone(&sub.shared), sub.topic)) {
            let end = self.ledger.topics[topic].end();
            if let Some(sub) = self.ledger.sub(subscription) {
                sub.stored.declared = false;
                sub.stored.end = Some(end);
            }
            self.touch_sub(shared.number);
            self.effect(&shared, Change::Retired(end));
        }
        self.commit.durable.push(Answer::Done(reply));
    }

    pub(super) fn pause(&mut self, subscription: &Subscription, paused: bool, reply: Reply<()>) {
        let Some(sub) = self.ledger.sub(subscription) else { return unknown(subscription, reply) };
        sub.stored.paused = paused;
        let shared = Arc::clone(&sub.shared);
        self.touch_sub(shared.number);
        self.effect(&shared, Change::Paused(paused));
        self.commit.durable.push(Answer::Done(reply));
    }

    pub(super) fn prune(&mut self, subscription: &Subscription, reply: Reply<u64>) {
        let Some(sub) = self.ledger.sub(subscription) else { return unknown(subscription, reply) };
        if sub.stored.declared {
            return answer(reply, Err(Error::Declared(subscription.clone())));
        }
        let number = sub.shared.number;
        self.touch_sub(number);
        let Some(sub) = self.ledger.remove_sub(number) else { return unknown(subscription, reply) };
        let unfinished = sub.unfinished(self.ledger.topics[sub.topic].end());
        let rows: u64 = sub.returned.values().map(|row| row.bytes).sum();
        self.ledger.row_bytes = self.ledger.row_bytes.saturating_sub(rows);
        self.database.delete(&mut self.commit.batch, PROGRESS, &number.to_be_bytes());
        let (from, to) = (number.to_be_bytes(), (number + 1).to_be_bytes());
        for family in [RETURNED, MARKS, NOTES, HANDLED] {
            self.database.delete_range(&mut self.commit.batch, family, &from, &to);
        }
        self.effect(&sub.shared, Change::Pruned);
        self.commit.durable.push(Answer::Count(reply, unfinished));
    }

    pub(super) fn redrive(&mut self, ids: &[Uuid], reply: Reply<Vec<Uuid>>) {
        let mut moved = Vec::new();
        for &id in ids {
            match self.redrive_one(id) {
                Ok(true) => moved.push(id),
                Ok(false) => {}
                Err(fault) => return answer(reply, Err(fault.into())),
            }
        }
        self.commit.durable.push(Answer::Ids(reply, moved));
    }

    fn redrive_one(&mut self, id: Uuid) -> Result<bool, Fault> {
        let Some((head, envelope, bytes)) = self.dead(id)? else { return Ok(false) };
        if let Some((broker, relay)) = outbox::broker_of(&head.subscription).zip(head.relay) {
            self.unbury(id, &head.subscription, bytes);
            outbox::push(self, &[(broker.to_owned(), outbox::publication(envelope, relay))]);
            return Ok(true);
        }
        // What nobody declares may be pruned, and the message with it.
        let declared = self.ledger.sub(&head.subscription).filter(|sub| sub.stored.declared);
        let Some(shared) = declared.map(|sub| Arc::clone(&sub.shared)) else { return Ok(false) };
        self.unbury(id, &head.subscription, bytes);
        let value = encode_message(&ReturnedHead { history: History::default() }, &envelope);
        // Due whatever the clock says.
        let key = (0, self.ledger.next_sequence());
        self.put_returned(&shared, key, &value);
        Ok(true)
    }

    pub(super) fn purge(&mut self, ids: &[Uuid], reply: Reply<Vec<Uuid>>) {
        let mut gone = Vec::new();
        for &id in ids {
            match self.dead(id) {
                Ok(Some((head, _, bytes))) => {
                    self.unbury(id, &head.subscription, bytes);
                    gone.push(id);
                }
                Ok(None) => {}
                Err(fault) => return answer(reply, Err(fault.into())),
            }
        }
        self.commit.durable.push(Answer::Ids(reply, gone));
    }

    /// A dead letter that this commit has not removed, with its size. One that cannot be read is reported and taken for none, so that it holds
    /// up no other.
    fn dead(&self, id: Uuid) -> Result<Option<(DeadHead, Envelope, u64)>, Fault> {
        if self.commit.unburied.contains(&id) {
            return Ok(None);
        }
        let Some(value) = self.database.get(DEAD, id.as_bytes())? else { return Ok(None) };
        let Some((head, envelope)) = decode_message(&value) else {
            tracing::error!(%id, "a dead letter of the event store cannot be read and is left out");
            return Ok(None);
        };
        Ok(Some((head, envelope, value.len() as u64)))
    }

    fn unbury(&mut self, id: Uuid, subscription: &Subscription, bytes: u64) {
        self.database.delete(&mut self.commit.batch, DEAD, id.as_bytes());
        self.commit.unburied.insert(id);
        self.ledger.row_bytes = self.ledger.row_bytes.saturating_sub(bytes);
        if let Some(count) = self.ledger.dead.get_mut(subscription) {
            *count = count.saturating_sub(1);
        }
    }

    pub(super) fn replay(&mut self, subscription: &Subscription, from: u64, reply: Reply<u64>) {
        let Some(sub) = self.ledger.sub(subscription) else { return unknown(subscription, reply) };
        let (shared, index) = (Arc::clone(&sub.shared), sub.topic);
        let start = match overview::position_at(self.database, &self.ledger.topics[index], from) {
            Ok(start) => start,
            Err(fault) => return answer(reply, Err(fault.into())),
        };
        let end = self.ledger.topics[index].next;
        let Some(sub) = self.ledger.sub(subscription) else { return unknown(subscription, reply) };
        let again = sub.stored.progress.rewind(start, end.min(sub.stored.end.unwrap_or(u64::MAX)));
        let count = again.iter().map(|run| run.end - run.start).sum();
        self.touch_sub(shared.number);
        self.effect(&shared, Change::Rewound(again));
        self.commit.durable.push(Answer::Count(reply, count));
    }
}

fn unknown<T>(subscription: &Subscription, reply: Reply<T>) {
    answer(reply, Err(Error::Unknown(subscription.clone())));
}

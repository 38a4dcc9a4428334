//! How does a command become rows? The ledger changes, the batch gets what must be stored, and the commit learns what is to be seen of it.
//!
//! Everything that can fail (reading a row) comes before the first change of a command.

use std::ops::Range;
use std::sync::Arc;

use uuid::Uuid;

use super::block::{self, Message};
use super::codec::{duration_nanos, to_nanos, weight};
use super::command::{Back, Command, Hold, Reply, answer};
use super::commit::{Answer, Change, Commit, Effect, Finished};
use super::cursor::RETURNED_TAG;
use super::database::{DEAD, DUE, Database, LOG, MARKS, META, PROGRESS, RETURNED, SPANS};
use super::error::Fault;
use super::ledger::{Ledger, Returned, TopicLedger};
use super::ranges::runs_of;
use super::rows::{
    CLOCK_KEY, DueHead, Mark, StoredTopic, due_key, encode, encode_message, log_key, mark_key, returned_key, topic_key,
};
use super::spans::{Limits, Span, Spans};
use super::subscription::Sub;
use super::topic::{Recent, Topic};
use super::{outbox, overview};
use crate::broker::{Error, History, Publication};
use crate::envelope::Envelope;

/// One commit in the making.
pub(super) struct Builder<'a> {
    pub(super) database: &'a Database,
    pub(super) ledger: &'a mut Ledger,
    pub(super) commit: &'a mut Commit,
}

impl Builder<'_> {
    pub(super) fn add(&mut self, command: Command) {
        match command {
            Command::Publish { publications, hold, reply } => self.publish(publications, hold, reply),
            Command::Ack { sub, tags, reply } => self.ack(&sub, tags, reply),
            Command::Nack { sub, back, reply } => self.nack(&sub, back, reply),
            Command::Note { sub } => self.note(&sub),
            Command::Dead { sub, tag, id, value, reply } => self.bury(&sub, tag, (id, &value), reply),
            Command::Handled { sub, messages, reply } => self.handled(&sub, &messages, reply),
            Command::HandOver { sub, rows, handled, hold, reply } => {
                self.commit.holds.push(hold);
                self.hand_over(&sub, (rows, &handled), reply);
            }
            Command::Bury { sub, id, value, handled, reply } => self.bury_foreign(&sub, (id, &value), handled, reply),
            Command::NoteForeign { sub } => self.write_notes(&sub),
            Command::Skip { sub, from, to, end, reply } => self.skip(&sub, (from, to, end), reply),
            Command::Subscribe { subscription, reply } => self.subscribe(&subscription, reply),
            Command::Retire { subscription, reply } => self.retire(&subscription, reply),
            Command::Pause { subscription, paused, reply } => self.pause(&subscription, paused, reply),
            Command::Prune { subscription, reply } => self.prune(&subscription, reply),
            Command::Redrive { ids, reply } => self.redrive(&ids, reply),
            Command::Purge { ids, reply } => self.purge(&ids, reply),
            Command::Replay { subscription, from, reply } => self.replay(&subscription, from, reply),
            Command::Status { reply } => answer(reply, Ok(overview::of(self.ledger))),
            Command::Since { time, reply } => {
                answer(reply, overview::since(self.database, self.ledger, time).map_err(Error::from));
            }
            // Whoever is gone was refused, and may have published again.
            Command::OutboxPush { reply, .. } if reply.is_closed() => {}
            Command::OutboxPush { entries, hold, reply } => {
                outbox::push(self, &entries);
                self.commit.holds.push(hold);
                self.commit.durable.push(Answer::Done(reply));
            }
            Command::OutboxRemove { broker, up_to, reply } => match outbox::remove(self, &broker, up_to) {
                Ok(()) => self.commit.written.push(Answer::Done(reply)),
                Err(fault) => answer(reply, Err(fault.into())),
            },
            Command::OutboxDead { broker, number, id, failure, reply } => {
                match outbox::bury(self, (&broker, number), id, failure) {
                    Ok(()) => self.commit.durable.push(Answer::Done(reply)),
                    Err(fault) => answer(reply, Err(fault.into())),
                }
            }
            Command::OutboxStatus { reply } => answer(reply, Ok(outbox::backlogs(self.ledger))),
        }
    }

    fn publish(&mut self, publications: Vec<Publication>, hold: Hold, reply: Reply<()>) {
        if reply.is_closed() {
            return;
        }
        let now = self.commit.now;
        for Publication { envelope, due, dedupe } in publications {
            let window = duration_nanos(dedupe);
            if window > 0 && self.ledger.dedupe.contains(envelope.id, now) {
                continue;
            }
            let window_end = now.saturating_add(window);
            self.ledger.dedupe.insert(envelope.id, window_end, now);
            match due.map(to_nanos).filter(|due| *due > self.commit.wall) {
                Some(due) => self.delay(due, window_end, &envelope),
                None => self.append((Arc::new(envelope), window)),
            }
        }
        self.commit.holds.push(hold);
        self.commit.durable.push(Answer::Done(reply));
    }

    fn delay(&mut self, due: u64, window_end: u64, envelope: &Envelope) {
        let topic = self.topic(&envelope.event);
        self.ledger.topics[topic].delayed += 1;
        let key = (due, self.ledger.next_sequence());
        self.ledger.next_due = Some(self.ledger.next_due.map_or(key, |first| first.min(key)));
        let value = encode_message(&DueHead { window_end }, envelope);
        self.ledger.row_bytes += value.len() as u64;
        self.put(DUE, &due_key(key), &value);
    }

    /// Publishes what is due: at most about as much as a block holds. The first of those that are left is the next one.
    pub(super) fn publish_due(&mut self) -> Result<(), Fault> {
        let Some(first) = self.ledger.next_due.filter(|(due, _)| *due <= self.commit.wall) else { return Ok(()) };
        let mut rows = Vec::new();
        let next = super::due::read(self.database, first, self.commit.wall, &mut rows)?;
        for row in rows {
            self.database.delete(&mut self.commit.batch, DUE, &due_key(row.key));
            self.ledger.row_bytes = self.ledger.row_bytes.saturating_sub(row.bytes);
            let Some((window_end, envelope)) = row.message else { continue };
            let topic = self.topic(&envelope.event);
            let delayed = &mut self.ledger.topics[topic].delayed;
            *delayed = delayed.saturating_sub(1);
            self.append((Arc::new(envelope), window_end.saturating_sub(self.commit.now)));
        }
        self.ledger.next_due = next;
        Ok(())
    }

    fn append(&mut self, message: Message) {
        let index = self.topic(&message.0.event);
        self.ledger.topics[index].pending.push(message);
        self.touch_topic(index);
    }

    /// The event's topic; a new event gets one.
    pub(super) fn topic(&mut self, event: &Arc<str>) -> usize {
        if let Some(&index) = self.ledger.by_event.get(event) {
            return index;
        }
        let number = self.ledger.topics.iter().map(|topic| topic.shared.number).max().map_or(1, |last| last + 1);
        self.put(META, &topic_key(event), &encode(&StoredTopic { number, end: 0 }));
        let shared = Arc::new(Topic::new(number, Arc::clone(event), 0));
        self.ledger.add_topic(TopicLedger::new(shared, 0, Spans::default()))
    }

    /// Writes the messages of this commit as blocks, and the rows of the subscriptions that it changed.
    pub(super) fn finish(&mut self, limits: Limits) {
        for index in std::mem::take(&mut self.commit.topics) {
            let topic = &mut self.ledger.topics[index];
            let mut pending = std::mem::take(&mut topic.pending);
            if !pending.is_empty() {
                self.commit.published.push(index);
            }
            while !pending.is_empty() {
                let rest = pending.split_off(block_length(&pending));
                self.write_block(index, pending, limits);
                pending = rest;
            }
            self.commit.topics.push(index);
        }
        for number in &self.commit.subs {
            let Some(sub) = self.ledger.subs.get_mut(number) else { continue };
            sub.dirty = false;
            self.database.put(&mut self.commit.batch, PROGRESS, &number.to_be_bytes(), &encode(&sub.stored));
        }
        if !self.commit.batch.is_empty() {
            self.ledger.written = self.commit.now;
            self.put(META, CLOCK_KEY, &encode(&self.commit.now));
        }
    }

    fn write_block(&mut self, index: usize, messages: Vec<Message>, limits: Limits) {
        let topic = &mut self.ledger.topics[index];
        let (first, count, number) = (topic.next, messages.len() as u64, topic.shared.number);
        let value = block::encode(self.commit.now, &messages);
        let span = Span::of_block(first, count, value.len() as u64, self.commit.now);
        topic.next += count;
        if let Some(closed) = topic.spans.push(span, limits) {
            self.database.put(&mut self.commit.batch, SPANS, &log_key(number, closed.first), &encode(&closed));
        }
        self.database.put(&mut self.commit.batch, LOG, &log_key(number, first), &value);
        let bytes = messages.iter().map(|(envelope, _)| weight(envelope)).sum();
        let messages = messages.into_iter().map(|(envelope, _)| envelope).collect();
        self.commit.blocks.push((Arc::clone(&topic.shared), Recent { first, messages }, bytes));
    }

    /// Marks these as finished and deletes the rows of those that had been put back. Left out is what is finished already.
    fn finish_tags(&mut self, number: u32, tags: Vec<u64>) -> Finished {
        let Some(sub) = self.ledger.subs.get_mut(&number) else { return Finished::default() };
        let mut returned = Vec::new();
        let mut positions = tags;
        positions.retain(|tag| {
            let sequence = tag & !RETURNED_TAG;
            let row = (*tag != sequence).then(|| sub.returned.remove(&sequence)).flatten();
            returned.extend(row.map(|row| (row, sequence)));
            *tag == sequence && !sub.stored.progress.is_finished(*tag)
        });
        let runs = runs_of(positions);
        for run in &runs {
            sub.stored.progress.finish(run.clone());
        }
        for (row, sequence) in &returned {
            let key = returned_key(number, (row.due, *sequence));
            self.database.delete(&mut self.commit.batch, RETURNED, &key);
            self.ledger.row_bytes = self.ledger.row_bytes.saturating_sub(row.bytes);
        }
        let tags = returned.iter().map(|(_, sequence)| sequence | RETURNED_TAG);
        self.forget(number, runs.iter().cloned().chain(tags.map(|tag| tag..tag + 1)));
        if !runs.is_empty() {
            self.touch_sub(number);
        }
        Finished { runs, returned: returned.into_iter().map(|(row, sequence)| (row.due, sequence)).collect() }
    }

    fn ack(&mut self, sub: &Arc<Sub>, tags: Vec<u64>, reply: Reply<()>) {
        let finished = self.finish_tags(sub.number, tags);
        self.effect(sub, Change::Finished(finished));
        self.commit.written.push(Answer::Done(reply));
    }

    fn nack(&mut self, sub: &Arc<Sub>, back: Back, reply: Reply<()>) {
        let sequence = back.tag & !RETURNED_TAG;
        let stored = self.ledger.subs.get(&sub.number);
        let known = stored.map(|stored| (stored.returned.get(&sequence), stored.stored.progress.is_finished(back.tag)));
        match (known, back.row, back.due) {
            (Some((Some(&row), _)), Some(value), due) if back.tag != sequence => {
                let finished = self.finish_tags(sub.number, vec![back.tag]);
                self.effect(sub, Change::Finished(finished));
                if due.is_none() {
                    // Its row keeps everything but until when it waits.
                    self.mark(sub.number, back.tag, back.history);
                    self.effect(sub, Change::Marked(back.tag, back.history));
                }
                // At its place, and at once even when the clock was set back since it was handed out.
                let due = due.unwrap_or(row.due.min(self.commit.wall));
                self.put_returned(sub, (due, sequence), &value);
            }
            (Some((_, false)), Some(value), Some(due)) if back.tag == sequence => {
                let finished = self.finish_tags(sub.number, vec![back.tag]);
                self.effect(sub, Change::Finished(finished));
                let key = (due, self.ledger.next_sequence());
                self.put_returned(sub, key, &value);
            }
            (Some((_, false)), None, _) if back.tag == sequence => self.put_back(sub, back.tag, back.history),
            // It was finished before.
            _ => {}
        }
        self.commit.written.push(Answer::Done(reply));
    }

    fn put_back(&mut self, sub: &Arc<Sub>, position: u64, history: History) {
        self.mark(sub.number, position, history);
        self.effect(sub, Change::Marked(position, history));
        self.effect(sub, Change::PutBack(position));
    }

    /// Consumers see nothing of it: these messages are with them.
    fn note(&mut self, sub: &Arc<Sub>) {
        for (tag, history) in sub.take_notes() {
            let held = self.ledger.subs.get(&sub.number).is_some_and(|stored| stored.holds(tag));
            if held {
                self.mark(sub.number, tag, history);
            }
        }
    }

    /// Nobody need know any more what the messages with these tags have been through.
    fn forget(&mut self, number: u32, tags: impl Iterator<Item = Range<u64>>) {
        let Some(sub) = self.ledger.subs.get(&number).filter(|sub| !sub.marks.is_empty()) else { return };
        let gone: Vec<u64> = tags.flat_map(|tags| sub.marks.range(tags).map(|(&tag, _)| tag)).collect();
        gone.into_iter().for_each(|tag| self.mark(number, tag, History::default()));
    }

    /// Keeps what a message has been through, if that is anything and was not known.
    fn mark(&mut self, number: u32, tag: u64, history: History) {
        let Some(sub) = self.ledger.subs.get_mut(&number) else { return };
        let is_anything = history != History::default();
        let before = if is_anything { sub.marks.insert(tag, history) } else { sub.marks.remove(&tag) };
        if before.unwrap_or_default() == history {
            return;
        }
        let key = mark_key(number, tag);
        if is_anything {
            self.put(MARKS, &key, &encode(&Mark::from(history)));
        } else {
            self.database.delete(&mut self.commit.batch, MARKS, &key);
        }
    }

    pub(super) fn put_returned(&mut self, sub: &Arc<Sub>, (due, sequence): (u64, u64), value: &[u8]) {
        let Some(stored) = self.ledger.subs.get_mut(&sub.number) else { return };
        let bytes = value.len() as u64;
        stored.returned.insert(sequence, Returned { due, bytes });
        self.ledger.row_bytes += bytes;
        self.put(RETURNED, &returned_key(sub.number, (due, sequence)), value);
        self.effect(sub, Change::Returned((due, sequence)));
    }

    fn bury(&mut self, sub: &Arc<Sub>, tag: u64, (id, value): (Uuid, &[u8]), reply: Reply<()>) {
        let finished = self.finish_tags(sub.number, vec![tag]);
        if !finished.runs.is_empty() || !finished.returned.is_empty() {
            self.put_dead(sub, id, value);
            self.effect(sub, Change::Finished(finished));
        }
        self.commit.written.push(Answer::Done(reply));
    }

    pub(super) fn put_dead(&mut self, sub: &Sub, id: Uuid, value: &[u8]) {
        self.put(DEAD, id.as_bytes(), value);
        self.ledger.row_bytes += value.len() as u64;
        *self.ledger.dead.entry(sub.subscription.clone()).or_default() += 1;
    }

    fn skip(&mut self, sub: &Arc<Sub>, (from, to, end): (u64, Option<u64>, u64), reply: Reply<u64>) {
        let Some(stored) = self.ledger.subs.get_mut(&sub.number) else { return answer(reply, Ok(0)) };
        let topic = &self.ledger.topics[stored.topic];
        let to = to.or_else(|| topic.spans.end_of(from)).unwrap_or(end).min(end).max(from);
        let count = stored.stored.progress.finish(from..to);
        self.forget(sub.number, std::iter::once(from..to));
        self.touch_sub(sub.number);
        self.effect(
            sub,
            Change::Finished(Finished { runs: std::iter::once(from..to).collect(), returned: Vec::new() }),
        );
        self.commit.written.push(Answer::Count(reply, count));
    }

    /// The row of this subscription is written, and what its topic holds is counted anew.
    pub(super) fn touch_sub(&mut self, number: u32) {
        let Some(sub) = self.ledger.subs.get_mut(&number) else { return };
        let topic = sub.topic;
        if !std::mem::replace(&mut sub.dirty, true) {
            self.commit.subs.push(number);
        }
        self.touch_topic(topic);
    }

    fn touch_topic(&mut self, index: usize) {
        if !self.commit.topics.contains(&index) {
            self.commit.topics.push(index);
        }
    }

    pub(super) fn put(&mut self, family: &'static str, key: &[u8], value: &[u8]) {
        self.database.put(&mut self.commit.batch, family, key, value);
    }

    pub(super) fn effect(&mut self, sub: &Arc<Sub>, change: Change) {
        self.commit.effects.push(Effect { sub: Arc::clone(sub), change });
    }
}

/// How many of these go into one block.
fn block_length(messages: &[Message]) -> usize {
    let mut bytes = 0;
    let full = messages.iter().take(block::MAX_MESSAGES).position(|(envelope, _)| {
        bytes += weight(envelope);
        bytes >= block::MAX_BYTES
    });
    full.map_or(messages.len().min(block::MAX_MESSAGES), |last| last + 1)
}

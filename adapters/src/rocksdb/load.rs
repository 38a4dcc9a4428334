//! How does the writer learn what is stored? It reads all small rows, the blocks behind the last closed span, and the ids of the dedupe window.

use std::collections::{HashMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use super::block;
use super::codec::duration_nanos;
use super::database::{DEAD, DUE, Database, LOG, MARKS, META, PROGRESS, RETURNED, SPANS};
use super::dedupe::MAX_IDS;
use super::error::Fault;
use super::ledger::{Ledger, Returned, SubLedger, TopicLedger};
use super::rows::{
    CLOCK_KEY, DeadHead, DueHead, Mark, Stored, StoredTopic, TOPIC_PREFIX, decode, decode_message, log_key, position,
    split_due, split_mark, split_returned,
};
use super::spans::{Limits, Span, Spans};
use super::subscription::Sub;
use super::topic::Topic;
use super::{handled, notes, outbox};

/// Blocks that are there already close no span: the next one that is written does.
const UNLIMITED: Limits = Limits { bytes: u64::MAX, age: u64::MAX };

impl Ledger {
    /// Reads everything anew, the ids of the last `dedupe` included. Topics and subscriptions that `known` has stay the same to their consumers.
    pub(super) fn load(database: &Database, dedupe: Duration, known: &Self) -> Result<Self, Fault> {
        let mut ledger = Self::empty(MAX_IDS);
        ledger.sequence = known.sequence;
        ledger.clock = known.clock;
        // A number that was given is never given again, or whoever still holds it would finish another's messages.
        ledger.last_sub = known.last_sub;
        ledger.load_clock(database)?;
        ledger.load_topics(database, known)?;
        ledger.load_subs(database, known)?;
        ledger.load_returned(database)?;
        ledger.load_marks(database)?;
        ledger.load_dead(database)?;
        handled::load(database, &mut ledger, known)?;
        notes::load(database, &ledger, known)?;
        outbox::load(database, &mut ledger)?;
        let oldest = ledger.tick().saturating_sub(duration_nanos(dedupe));
        ledger.load_ids(database, oldest)?;
        ledger.load_due(database)?;
        (0..ledger.topics.len()).for_each(|index| ledger.recount(index));
        Ok(ledger)
    }

    fn load_clock(&mut self, database: &Database) -> Result<(), Fault> {
        let Some(value) = database.get(META, CLOCK_KEY)? else { return Ok(()) };
        self.written = decode(&value).ok_or_else(|| damaged("the time of the last commit"))?;
        self.clock = self.clock.max(self.written);
        Ok(())
    }

    fn load_topics(&mut self, database: &Database, known: &Self) -> Result<(), Fault> {
        let mut closed = load_spans(database)?;
        let mut stored = Vec::new();
        database.scan(META, (TOPIC_PREFIX, None), |key, value| {
            let Some(event) = key.strip_prefix(TOPIC_PREFIX) else { return Ok(ControlFlow::Break(())) };
            let event = std::str::from_utf8(event).map_err(|_utf8| damaged("the name of an event"))?;
            let row: StoredTopic = decode(value).ok_or_else(|| damaged(&format!("the row of the event {event}")))?;
            stored.push((Arc::from(event), row));
            Ok(ControlFlow::Continue(()))
        })?;
        for (event, row) in stored {
            let spans = Spans::from_closed(closed.remove(&row.number).unwrap_or_default());
            let topic = load_log(database, (event, row), spans)?;
            self.clock = self.clock.max(topic.spans.iter().next_back().map_or(0, |span| span.last));
            self.add_topic(reuse(topic, known));
        }
        Ok(())
    }

    fn load_subs(&mut self, database: &Database, known: &Self) -> Result<(), Fault> {
        database.scan(PROGRESS, (&[], None), |key, value| {
            let number = key.try_into().map(u32::from_be_bytes).ok();
            let (Some(number), Some(stored)) = (number, decode::<Stored>(value)) else {
                return Err(damaged("the progress of a subscription"));
            };
            let subscription = &stored.subscription;
            let Some(&topic) = self.by_event.get(&subscription.event) else {
                return Err(damaged(&format!("the event of the subscription {subscription}")));
            };
            let shared = known.subs.get(&number).map(|sub| Arc::clone(&sub.shared));
            let shared = shared.unwrap_or_else(|| {
                Arc::new(Sub::new(number, subscription.clone(), Arc::clone(&self.topics[topic].shared)))
            });
            self.add_sub(SubLedger::new(stored, shared, topic));
            Ok(ControlFlow::Continue(()))
        })
    }

    fn load_returned(&mut self, database: &Database) -> Result<(), Fault> {
        database.scan(RETURNED, (&[], None), |key, value| {
            let Some((number, (due, sequence))) = split_returned(key) else {
                return Err(damaged("the key of a message that was put back"));
            };
            let bytes = value.len() as u64;
            self.sequence = self.sequence.max(sequence);
            if let Some(sub) = self.subs.get_mut(&number) {
                sub.returned.insert(sequence, Returned { due, bytes });
                self.row_bytes += bytes;
            }
            Ok(ControlFlow::Continue(()))
        })
    }

    fn load_marks(&mut self, database: &Database) -> Result<(), Fault> {
        database.scan(MARKS, (&[], None), |key, value| {
            let (number, tag) = split_mark(key).ok_or_else(|| damaged("the key of a mark"))?;
            let Some(sub) = self.subs.get_mut(&number).filter(|sub| sub.holds(tag)) else {
                return Ok(ControlFlow::Continue(()));
            };
            if let Some(mark) = decode::<Mark>(value) {
                sub.marks.insert(tag, mark.into());
            } else {
                let subscription = &sub.stored.subscription;
                tracing::warn!(%subscription, tag, "the attempts at a message of the event store cannot be read; they begin anew");
            }
            Ok(ControlFlow::Continue(()))
        })
    }

    fn load_dead(&mut self, database: &Database) -> Result<(), Fault> {
        database.scan(DEAD, (&[], None), |_, value| {
            self.row_bytes += value.len() as u64;
            // A damaged one is still there and counts; whoever reads it is told.
            if let Some((head, _)) = decode_message::<DeadHead>(value) {
                *self.dead.entry(head.subscription).or_default() += 1;
            }
            Ok(ControlFlow::Continue(()))
        })
    }

    fn load_due(&mut self, database: &Database) -> Result<(), Fault> {
        let now = self.clock;
        database.scan(DUE, (&[], None), |key, value| {
            let due = split_due(key).ok_or_else(|| damaged("the key of a message that is not yet due"))?;
            self.next_due = self.next_due.or(Some(due));
            self.sequence = self.sequence.max(due.1);
            self.row_bytes += value.len() as u64;
            // One that cannot be read is reported when it is due.
            let Some((head, envelope)) = decode_message::<DueHead>(value) else { return Ok(ControlFlow::Continue(())) };
            self.dedupe.insert(envelope.id, head.window_end, now);
            if let Some(&topic) = self.by_event.get(&envelope.event) {
                self.topics[topic].delayed += 1;
            }
            Ok(ControlFlow::Continue(()))
        })
    }

    /// Fills the dedupe window from the newest blocks, oldest first. A block that cannot be read is passed over here; its consumers report it.
    fn load_ids(&mut self, database: &Database, oldest: u64) -> Result<(), Fault> {
        let mut spans: Vec<(u64, u32, Span)> = Vec::new();
        for topic in &self.topics {
            let recent = topic.spans.iter().filter(|span| span.last >= oldest);
            spans.extend(recent.map(|span| (span.last, topic.shared.number, *span)));
        }
        spans.sort_unstable_by_key(|(last, ..)| std::cmp::Reverse(*last));
        let mut count = 0;
        let enough = spans.iter().position(|(.., span)| {
            count += span.end - span.first;
            count >= MAX_IDS as u64
        });
        spans.truncate(enough.map_or(spans.len(), |index| index + 1));
        let now = self.clock;
        for (_, number, span) in spans.into_iter().rev() {
            let (from, to) = (log_key(number, span.first), log_key(number, span.end));
            let read = database.scan(LOG, (&from, Some(&to)), |_, value| {
                for (id, end) in block::ids(value).unwrap_or_default() {
                    self.dedupe.insert(id, end, now);
                }
                Ok(ControlFlow::Continue(()))
            });
            match read {
                Err(fault) if !fault.is_damage() => return Err(fault),
                _ => {}
            }
        }
        Ok(())
    }

    /// Brings what consumers share in line with what is stored.
    pub(super) fn restore(&self) {
        for topic in &self.topics {
            topic.shared.reset(topic.next);
        }
        for sub in self.subs.values() {
            let end = self.topics[sub.topic].next.min(sub.stored.end.unwrap_or(u64::MAX));
            let mut cursor = sub.shared.cursor();
            let returned = sub.returned.iter().map(|(&sequence, row)| (row.due, sequence));
            cursor.reload(&sub.stored.progress, &sub.marks, end, returned);
            cursor.end = sub.stored.end;
            drop(cursor);
            sub.shared.paused.send_replace(sub.stored.paused);
            sub.shared.arrived.notify_one();
        }
    }
}

fn load_spans(database: &Database) -> Result<HashMap<u32, VecDeque<Span>>, Fault> {
    let mut spans: HashMap<u32, VecDeque<Span>> = HashMap::new();
    database.scan(SPANS, (&[], None), |key, value| {
        let number = key.first_chunk().map(|number| u32::from_be_bytes(*number));
        let (Some(number), Some(span)) = (number, decode(value)) else {
            return Err(damaged("the list of spans of the log"));
        };
        spans.entry(number).or_default().push_back(span);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(spans)
}

/// Counts the blocks behind the last closed span.
fn load_log(
    database: &Database,
    (event, row): (Arc<str>, StoredTopic),
    mut spans: Spans,
) -> Result<TopicLedger, Fault> {
    let behind = spans.iter().next_back().map_or(0, |span| span.end);
    let mut end = row.end.max(behind);
    let bounds = (log_key(row.number, behind), log_key(row.number, u64::MAX));
    database.scan(LOG, (&bounds.0, Some(&bounds.1)), |key, value| {
        let (Some(first), Some(head)) = (position(key), block::head(value)) else {
            return Err(damaged(&format!("the newest messages of the event {event}, from position {behind}")));
        };
        let block = Span::of_block(first, head.count, value.len() as u64, head.time);
        spans.push(block, UNLIMITED);
        end = end.max(first + head.count);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(TopicLedger::new(Arc::new(Topic::new(row.number, event, end)), end, spans))
}

/// The same topic as before, for those who hold it.
fn reuse(mut topic: TopicLedger, known: &Ledger) -> TopicLedger {
    if let Some(&index) = known.by_event.get(&topic.shared.event) {
        topic.shared = Arc::clone(&known.topics[index].shared);
    }
    topic
}

pub(super) fn damaged(what: &str) -> Fault {
    Fault::Damaged(format!("{what} cannot be read"))
}

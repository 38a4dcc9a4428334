//! Which messages of another broker has a subscription handled? Their ids, known again for as long as they may come once more, bounded in time and number.
//!
//! They are written in blocks, one per call however many messages it names, and not synced: after a crash of the machine the last ones may be handled again.

use std::collections::{HashMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::build::Builder;
use super::codec::duration_nanos;
use super::commit::Change;
use super::companion::Identity;
use super::database::{Database, HANDLED};
use super::error::Fault;
use super::ledger::Ledger;
use super::load::damaged;
use super::rows::{decode, encode, log_key, split_mark};
use super::subscription::Sub;

/// So many are known of one subscription; beyond it the oldest are forgotten before their time.
const MAX_IDS: usize = 500_000;

/// A message may be handed out again by its broker for so long, after a replica was away for example.
const KEPT: Duration = Duration::from_hours(24);

/// So many blocks that are not needed any more are deleted together.
const AT_ONCE: usize = 64;

/// What one subscription has handled.
#[derive(Debug, Default)]
pub(super) struct Handled {
    known: HashMap<Uuid, Known>,
    /// Oldest first.
    blocks: VecDeque<Block>,
    /// How many ids the blocks have.
    count: usize,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    /// Until when another message of this id is a copy, in nanoseconds since 1970.
    copies_until: u64,
    place: u64,
    /// The last block that has it.
    sequence: u64,
}

/// What was written by one call.
#[derive(Debug)]
pub(super) struct Block {
    sequence: u64,
    /// When none of it is needed any more, in nanoseconds since 1970.
    until: u64,
    ids: Vec<Stored>,
}

/// A row in `handled`.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    until: u64,
    ids: Vec<Stored>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Stored {
    id: Uuid,
    copies_until: u64,
    place: u64,
}

impl Handled {
    pub(super) fn contains(&self, identity: &Identity, now: u64) -> bool {
        let Some(known) = self.known.get(&identity.id) else { return false };
        now < known.copies_until || (identity.place != 0 && identity.place == known.place)
    }

    fn push(&mut self, block: Block) {
        self.count += block.ids.len();
        for Stored { id, copies_until, place } in &block.ids {
            let known = Known { copies_until: *copies_until, place: *place, sequence: block.sequence };
            self.known.insert(*id, known);
        }
        self.blocks.push_back(block);
    }

    /// Adds what was written, and forgets all blocks up to one.
    pub(super) fn apply(&mut self, block: Block, forgotten: Option<u64>) {
        self.push(block);
        while let Some(oldest) = self.blocks.front().filter(|oldest| Some(oldest.sequence) <= forgotten) {
            let sequence = oldest.sequence;
            self.count -= oldest.ids.len();
            for Stored { id, .. } in &oldest.ids {
                if self.known.get(id).is_some_and(|known| known.sequence == sequence) {
                    self.known.remove(id);
                }
            }
            self.blocks.pop_front();
        }
    }

    /// The last of the oldest blocks, if all of those that are deleted together are not needed any more.
    fn deletable(&self, now: u64) -> Option<u64> {
        let (mut left, mut last) = (self.count, None);
        for block in self.blocks.iter().take(AT_ONCE) {
            if block.until > now && left <= MAX_IDS {
                return None;
            }
            left -= block.ids.len();
            last = Some(block.sequence);
        }
        last.filter(|_| self.blocks.len() >= AT_ONCE)
    }
}

impl Builder<'_> {
    /// Writes that a subscription has handled these.
    pub(super) fn keep_handled(&mut self, sub: &Arc<Sub>, messages: &[Identity]) {
        if messages.is_empty() || !self.ledger.subs.contains_key(&sub.number) {
            return;
        }
        let now = self.commit.wall;
        let stored = |message: &Identity| Stored {
            id: message.id,
            copies_until: now.saturating_add(duration_nanos(message.window)),
            place: message.place,
        };
        let ids: Vec<Stored> = messages.iter().map(stored).collect();
        let longest = ids.iter().map(|stored| stored.copies_until).max().unwrap_or_default();
        let row = Row { until: longest.max(now.saturating_add(duration_nanos(KEPT))), ids };
        let sequence = self.ledger.next_sequence();
        self.put(HANDLED, &log_key(sub.number, sequence), &encode(&row));
        let forgotten = sub.foreign().handled.deletable(now);
        if let Some(last) = forgotten {
            let (from, to) = (log_key(sub.number, 0), log_key(sub.number, last + 1));
            self.database.delete_range(&mut self.commit.batch, HANDLED, &from, &to);
        }
        let block = Block { sequence, until: row.until, ids: row.ids };
        self.effect(sub, Change::Handled(block, forgotten));
    }
}

/// Reads what is known of the subscriptions that `known` does not have: the others know it already.
pub(super) fn load(database: &Database, ledger: &mut Ledger, known: &Ledger) -> Result<(), Fault> {
    database.scan(HANDLED, (&[], None), |key, value| {
        let (number, sequence) = split_mark(key).ok_or_else(|| damaged("the key of what was handled"))?;
        // A number that was given is never given again: a later row would replace this one.
        ledger.sequence = ledger.sequence.max(sequence);
        let Some(sub) = ledger.subs.get(&number).filter(|_| !known.subs.contains_key(&number)) else {
            return Ok(ControlFlow::Continue(()));
        };
        if let Some(Row { until, ids }) = decode(value) {
            sub.shared.foreign().handled.push(Block { sequence, until, ids });
        } else {
            let subscription = &sub.stored.subscription;
            tracing::warn!(%subscription, "some ids of what was handled cannot be read; these messages may be handled again");
        }
        Ok(ControlFlow::Continue(()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(number: u128, place: u64) -> Identity {
        Identity { id: Uuid::from_u128(number), window: Duration::ZERO, place }
    }

    fn block(sequence: u64, until: u64, numbers: std::ops::Range<u128>) -> Block {
        let stored = |number| Stored { id: Uuid::from_u128(number), copies_until: until, place: sequence };
        Block { sequence, until, ids: numbers.map(stored).collect() }
    }

    #[test]
    fn an_id_is_known_within_its_window_and_after_it_at_its_place() {
        let mut handled = Handled::default();
        handled.apply(block(7, 100, 0..3), None);
        assert!(handled.contains(&identity(2, 0), 99));
        assert!(!handled.contains(&identity(2, 0), 100) && !handled.contains(&identity(3, 7), 0));
        assert!(handled.contains(&identity(2, 7), 100), "the same message comes again");
        assert!(!handled.contains(&identity(2, 8), 100), "another message of that id is new");
    }

    #[test]
    fn what_is_old_or_too_much_is_forgotten_together_and_nothing_remains_of_it() {
        let mut handled = Handled::default();
        let blocks = AT_ONCE as u64;
        for sequence in 1..=blocks + 1 {
            let first = u128::from(sequence) * 10;
            handled.apply(block(sequence, 100 + sequence, first..first + 2), None);
        }
        // It came again later.
        handled.apply(block(500, 900, 10..11), None);
        assert_eq!(handled.deletable(100 + blocks - 1), None, "one of the first is still needed");
        assert_eq!(handled.deletable(100 + blocks), Some(blocks));
        handled.apply(block(501, 900, 5000..5001), Some(blocks));
        assert_eq!((handled.count, handled.blocks.len(), handled.known.len()), (4, 3, 4));
        assert!(handled.contains(&identity(10, 500), 1000) && !handled.contains(&identity(11, 1), 0));
        handled.count += MAX_IDS;
        assert_eq!(handled.deletable(0), None, "there are too few blocks");
    }
}

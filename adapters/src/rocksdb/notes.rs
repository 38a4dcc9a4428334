//! What have unfinished messages of another broker been through? A history by the message's id, for as long as it is not finished and not too old.
//!
//! They are known at once, and written soon and together with others, without a sync: what a crash takes begins its attempts anew.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::build::Builder;
use super::codec::duration_nanos;
use super::database::{Database, NOTES};
use super::error::Fault;
use super::ledger::Ledger;
use super::load::damaged;
use super::rows::{Mark, decode, encode, note_key, split_note};
use super::subscription::Sub;
use crate::broker::History;

/// So many messages of one subscription have a history at a time; those beyond it begin anew when they come again.
const MAX_NOTES: usize = 100_000;

/// A message that did not come again for so long has gone another way.
const MAX_AGE: Duration = Duration::from_hours(7 * 24);

/// Old ones are looked for when so much time has passed.
const CLEAN_UP: Duration = Duration::from_hours(1);

/// What messages of one subscription have been through.
#[derive(Debug, Default)]
pub(super) struct Notes {
    known: HashMap<Uuid, Noted>,
    /// Changed since the writer was here.
    changed: HashSet<Uuid>,
    /// When old ones were last looked for, in nanoseconds since 1970.
    cleaned: u64,
}

#[derive(Debug, Clone, Copy)]
struct Noted {
    history: History,
    /// In nanoseconds since 1970.
    at: u64,
}

/// A row in `notes`.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    at: u64,
    mark: Mark,
}

impl Notes {
    pub(super) fn get(&self, id: Uuid) -> Option<History> {
        if self.known.is_empty() { None } else { self.known.get(&id).map(|noted| noted.history) }
    }

    /// Knows it from now on. True when the writer must be told.
    pub(super) fn set(&mut self, id: Uuid, history: History, now: u64) -> bool {
        if history == History::default() {
            return self.forget(std::iter::once(id));
        }
        if self.known.len() >= MAX_NOTES && !self.known.contains_key(&id) {
            return false;
        }
        self.known.insert(id, Noted { history, at: now });
        let first = self.changed.is_empty();
        self.changed.insert(id);
        first
    }

    /// These are finished. True when the writer must be told.
    pub(super) fn forget(&mut self, ids: impl Iterator<Item = Uuid>) -> bool {
        if self.known.is_empty() {
            return false;
        }
        let first = self.changed.is_empty();
        for id in ids {
            if self.known.remove(&id).is_some() {
                self.changed.insert(id);
            }
        }
        first && !self.changed.is_empty()
    }

    /// What is to be written: with its time where there is something, and nothing where its row is to go.
    fn take(&mut self, now: u64) -> Vec<(Uuid, Option<Noted>)> {
        if now.saturating_sub(self.cleaned) > duration_nanos(CLEAN_UP) {
            self.cleaned = now;
            let oldest = now.saturating_sub(duration_nanos(MAX_AGE));
            let old: Vec<Uuid> = self.known.iter().filter(|(_, noted)| noted.at < oldest).map(|(id, _)| *id).collect();
            self.forget(old.into_iter());
        }
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().map(|id| (id, self.known.get(&id).copied())).collect()
    }

    /// Nothing of it is written.
    pub(super) fn drop_changes(&mut self) {
        self.changed.clear();
    }
}

impl Builder<'_> {
    pub(super) fn write_notes(&mut self, sub: &Arc<Sub>) {
        let notes = sub.foreign().notes.take(self.commit.wall);
        if !self.ledger.subs.contains_key(&sub.number) {
            return;
        }
        for (id, noted) in notes {
            let key = note_key(sub.number, id);
            match noted {
                Some(Noted { history, at }) => self.put(NOTES, &key, &encode(&Row { at, mark: history.into() })),
                None => self.database.delete(&mut self.commit.batch, NOTES, &key),
            }
        }
    }
}

/// Reads the notes of the subscriptions that `known` does not have: the others have theirs.
pub(super) fn load(database: &Database, ledger: &Ledger, known: &Ledger) -> Result<(), Fault> {
    database.scan(NOTES, (&[], None), |key, value| {
        let (number, id) = split_note(key).ok_or_else(|| damaged("the key of a note"))?;
        let Some(sub) = ledger.subs.get(&number).filter(|_| !known.subs.contains_key(&number)) else {
            return Ok(ControlFlow::Continue(()));
        };
        if let Some(Row { at, mark }) = decode(value) {
            sub.shared.foreign().notes.known.insert(id, Noted { history: mark.into(), at });
        } else {
            let subscription = &sub.stored.subscription;
            tracing::warn!(%subscription, %id, "the attempts at a message cannot be read; they begin anew");
        }
        Ok(ControlFlow::Continue(()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(attempts: u32) -> History {
        History { attempts, ..History::default() }
    }

    #[test]
    fn the_writer_is_told_once_and_gets_what_changed() {
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut notes = Notes::default();
        assert!(!notes.forget([one].into_iter()), "it was never known");
        assert!(notes.set(one, after(1), 0));
        assert!(!notes.set(one, after(2), 0) && !notes.set(other, after(1), 0));
        assert_eq!((notes.get(one), notes.get(Uuid::nil())), (Some(after(2)), None));
        assert_eq!(notes.take(0).len(), 2);
        assert!(notes.set(one, History::default(), 0), "nothing is a history that is forgotten");
        let left = notes.take(0);
        assert!(matches!(left[..], [(id, None)] if id == one));
    }

    #[test]
    fn what_is_old_goes_when_something_is_written() {
        let mut notes = Notes::default();
        let day = duration_nanos(Duration::from_hours(24));
        notes.set(Uuid::from_u128(1), after(1), 0);
        notes.set(Uuid::from_u128(2), after(1), 5 * day);
        notes.take(5 * day);
        notes.set(Uuid::from_u128(3), after(1), 8 * day);
        let gone = notes.take(8 * day).into_iter().find(|(id, _)| *id == Uuid::from_u128(1));
        assert!(matches!(gone, Some((_, None))));
        assert_eq!(notes.known.len(), 2);
    }

    #[test]
    fn there_are_only_so_many() {
        let mut notes = Notes::default();
        for number in 0..MAX_NOTES as u128 + 5 {
            notes.set(Uuid::from_u128(number), after(1), 0);
        }
        assert_eq!(notes.known.len(), MAX_NOTES);
        notes.set(Uuid::from_u128(0), after(9), 0);
        assert_eq!(notes.get(Uuid::from_u128(0)), Some(after(9)));
    }
}

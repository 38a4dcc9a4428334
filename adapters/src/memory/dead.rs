//! Where do messages stay that were given up? In one bounded list per subscription, which outlives it.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use crate::broker::{DeadLetter, DeadLetterFilter, Failure, Subscription};
use crate::memory::Options;
use crate::memory::queue::Load;

/// What one call lists takes up no more memory than this and one more of them.
const MAX_BYTES: usize = 8 << 20;

/// All dead letters of a broker.
#[derive(Default)]
pub(super) struct DeadLetters {
    lists: BTreeMap<Subscription, List>,
}

#[derive(Default)]
struct List {
    load: Load,
    /// By their ids, which rise with time.
    letters: BTreeMap<Uuid, DeadLetter>,
}

impl DeadLetters {
    /// Keeps one. Beyond the bounds the oldest make room: memory is the one adapter that may lose, and it says so.
    pub(super) fn insert(&mut self, letter: DeadLetter, options: &Options) {
        let list = self.lists.entry(letter.subscription.clone()).or_default();
        list.load.add(bytes(&letter));
        list.letters.insert(letter.id, letter);
        while !list.load.fits(options) && list.load.items > 1 {
            let Some((_, lost)) = list.letters.pop_first() else { break };
            list.load.remove(bytes(&lost));
            tracing::warn!(
                subscription = %lost.subscription,
                event_id = %lost.envelope.id,
                "the oldest dead letter was dropped: the memory adapter keeps as many as its queue holds"
            );
        }
    }

    pub(super) fn remove(&mut self, id: &Uuid) -> Option<DeadLetter> {
        let list = self.lists.values_mut().find(|list| list.letters.contains_key(id))?;
        let letter = list.letters.remove(id)?;
        list.load.remove(bytes(&letter));
        if list.letters.is_empty() {
            self.lists.remove(&letter.subscription);
        }
        Some(letter)
    }

    /// Whose message it was.
    pub(super) fn subscription(&self, id: &Uuid) -> Option<&Subscription> {
        self.lists.iter().find(|(_, list)| list.letters.contains_key(id)).map(|(subscription, _)| subscription)
    }

    /// Newest first, at most `limit` and about [`MAX_BYTES`].
    pub(super) fn list(&self, filter: &DeadLetterFilter, limit: usize) -> Vec<DeadLetter> {
        let before = filter.before.unwrap_or(Uuid::max());
        let matching = self.lists.iter().filter(|(subscription, _)| matches(filter, subscription));
        let mut found: Vec<&DeadLetter> = matching
            .flat_map(|(_, list)| list.letters.range(..before).rev().take(limit).map(|(_, letter)| letter))
            .collect();
        found.sort_unstable_by_key(|letter| Reverse(letter.id));
        let mut before = 0;
        let fitting = found.into_iter().take(limit).take_while(|letter| {
            let fits = before < MAX_BYTES;
            before += bytes(letter);
            fits
        });
        fitting.cloned().collect()
    }

    pub(super) fn count(&self, subscription: &Subscription) -> usize {
        self.lists.get(subscription).map_or(0, |list| list.load.items)
    }
}

fn matches(filter: &DeadLetterFilter, subscription: &Subscription) -> bool {
    let is = |wanted: &Option<String>, name: &Arc<str>| wanted.as_ref().is_none_or(|wanted| **wanted == **name);
    is(&filter.event, &subscription.event) && is(&filter.handler, &subscription.handler)
}

fn bytes(letter: &DeadLetter) -> usize {
    let failure = |failure: &Failure| failure.message.len() + failure.traceback.as_ref().map_or(0, String::len);
    letter.envelope.size() + failure(&letter.obituary.first) + failure(&letter.obituary.last)
}

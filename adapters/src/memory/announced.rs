//! What do those who look see of publications with a delay? Each when it is due, once, whoever subscribes to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;

use crate::envelope::Envelope;
use crate::memory::Options;
use crate::memory::queue::Load;

/// Publications that are not yet due, for those who look. The messages themselves belong to the queues.
#[derive(Default)]
pub(super) struct Announced {
    load: Load,
    /// The number keeps those of one instant apart, in the order of their publication.
    envelopes: BTreeMap<(Instant, u64), Arc<Envelope>>,
    last_number: u64,
}

impl Announced {
    /// Keeps one until it is due. It is false when there is no room for it: nobody who looks will see it then.
    pub(super) fn insert(&mut self, envelope: &Arc<Envelope>, due: Instant, options: &Options) -> bool {
        let mut load = self.load;
        load.add(envelope.size());
        if !load.fits(options) {
            return false;
        }
        self.load = load;
        self.last_number += 1;
        self.envelopes.insert((due, self.last_number), Arc::clone(envelope));
        true
    }

    /// The next one that is due.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Arc<Envelope>> {
        let first = self.envelopes.first_entry().filter(|first| first.key().0 <= now)?;
        let envelope = first.remove();
        self.load.remove(envelope.size());
        Some(envelope)
    }

    /// When the next one is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.envelopes.first_key_value().map(|((due, _), _)| *due)
    }
}

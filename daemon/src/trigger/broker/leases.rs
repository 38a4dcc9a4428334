//! Which deliveries are still ours? Where a broker lends them for a time, the lease of all that is held is renewed at half time.

use std::collections::HashMap;
use std::time::Duration;

use rohas_adapters::broker::Delivery;
use tokio::time::Instant;

/// The leases of one subscription. Keeps nothing where deliveries are ours until they are finished.
pub(super) struct Leases {
    lease: Option<Duration>,
    held: HashMap<u64, Delivery>,
    /// When they are to be renewed.
    due: Instant,
}

impl Leases {
    pub(super) fn new(lease: Option<Duration>) -> Self {
        Self { lease, held: HashMap::new(), due: Instant::now() }
    }

    /// Deliveries have arrived.
    pub(super) fn take(&mut self, deliveries: &[Delivery]) {
        let Some(lease) = self.lease else { return };
        if self.held.is_empty() {
            self.due = Instant::now() + lease / 2;
        }
        self.held.extend(deliveries.iter().map(|delivery| (delivery.tag, delivery.clone())));
    }

    /// A delivery is finished or its broker's again.
    pub(super) fn release(&mut self, tag: u64) {
        if self.lease.is_some() {
            self.held.remove(&tag);
        }
    }

    /// When [`Leases::renew`] is to be called.
    pub(super) fn due(&self) -> Option<Instant> {
        (!self.held.is_empty()).then_some(self.due)
    }

    /// What is to be renewed now.
    pub(super) fn renew(&mut self, now: Instant) -> Option<Vec<Delivery>> {
        if self.due()? > now {
            return None;
        }
        self.due = now + self.lease? / 2;
        Some(self.held.values().cloned().collect())
    }
}

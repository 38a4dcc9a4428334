//! How does a firing travel? As an event with a name that no schema can declare, and an id that follows from job and slot.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use rohas_adapters::broker::{self, Publication};
use rohas_adapters::{Envelope, TraceContext};
use rohas_telemetry::TraceId;
use uuid::Uuid;

use crate::brokers::{Brokers, patiently};
use crate::control::Published;
use crate::version::CronRoute;

/// How long a firing that is published again, after a restart or by another daemon, is taken for a copy.
pub(crate) const DEDUPE: Duration = Duration::from_hours(24);

/// The name of the event that a firing of the job is. No declared name has a hyphen.
pub(crate) fn event_name(job: &str) -> String {
    format!("cron-{job}")
}

/// A firing, the root of a trace of its own.
pub(super) fn publication(cron: &CronRoute, id: Uuid, slot: SystemTime) -> Publication {
    let envelope = Envelope {
        id,
        source: Arc::from("cron"),
        event: Arc::clone(&cron.event),
        key: None,
        time: slot,
        data: Bytes::from_static(b"null"),
        trace: TraceContext { trace_id: *TraceId::random().as_bytes(), parent: [0; 8] },
        causation: None,
        version: 1,
        hops: 0,
    };
    Publication { envelope, due: None, dedupe: DEDUPE }
}

/// Fires a job because somebody asks for it, whatever its schedule says.
///
/// # Errors
/// When the broker cannot take it.
pub(crate) async fn fire_now(brokers: &Brokers, cron: &CronRoute) -> Result<Published, broker::Error> {
    let publication = publication(cron, Uuid::now_v7(), SystemTime::now());
    let published = Published {
        id: publication.envelope.id.to_string(),
        event: cron.event.to_string(),
        trace_id: TraceId::from_bytes(publication.envelope.trace.trace_id).to_string(),
    };
    patiently(brokers.named(brokers.name(&cron.event)).try_publish(vec![publication])).await?;
    Ok(published)
}

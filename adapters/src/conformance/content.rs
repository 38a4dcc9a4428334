//! Does an envelope arrive as it was published?

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use uuid::Uuid;

use crate::broker::Publication;
use crate::conformance::kit::{Failed, Kit, Verdict, ensure, ensure_eq, publication};
use crate::envelope::{Envelope, TraceContext};

/// What arrives of this envelope.
async fn arrived(kit: &Kit<'_>, envelope: Envelope) -> Result<Envelope, Failed> {
    let (_place, broker) = kit.open().await?;
    let reader = kit.reader(&broker, &envelope.event, "h").await?;
    broker.publish(vec![Publication { envelope, due: None, dedupe: Duration::ZERO }]).await?;
    Ok(Envelope::clone(&reader.next().await?.envelope))
}

pub(super) async fn every_attribute_of_the_envelope_arrives(kit: &Kit<'_>) -> Verdict {
    let full = Envelope {
        id: Uuid::new_v5(&Uuid::NAMESPACE_OID, b"an emit"),
        source: "shop/place_order".into(),
        event: "OrderPlaced".into(),
        key: Some("customer-7".into()),
        time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_750_000_000_789),
        data: Bytes::from_static(br#"{"total": 12.50}"#),
        trace: TraceContext { trace_id: [0xab; 16], parent: [0xcd; 8] },
        causation: Some(Uuid::now_v7()),
        version: 3,
        hops: 31,
    };
    ensure_eq!(arrived(kit, full.clone()).await?, full);
    let bare = Envelope { key: None, causation: None, hops: 0, ..full };
    ensure_eq!(arrived(kit, bare.clone()).await?, bare);
    Ok(())
}

pub(super) async fn the_trace_context_arrives(kit: &Kit<'_>) -> Verdict {
    const HEADER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let trace = TraceContext::parse(HEADER).ok_or_else(|| Failed("the header cannot be read".to_owned()))?;
    let arrived = arrived(kit, Envelope { trace, ..publication("E", "1").envelope }).await?;
    ensure_eq!(arrived.trace.to_string(), HEADER);
    Ok(())
}

pub(super) async fn a_payload_of_one_mebibyte_arrives(kit: &Kit<'_>) -> Verdict {
    // Neighbouring bytes differ, so that a part in a wrong place shows.
    let text: String = (0..1024 * 1024_u32 - 2).map(|place| char::from(b'0' + (place % 43).to_le_bytes()[0])).collect();
    let sent = publication("E", text).envelope;
    let arrived = arrived(kit, sent.clone()).await?;
    ensure!(arrived.data == sent.data, "{} other bytes arrived", arrived.data.len());
    Ok(())
}

pub(super) async fn a_payload_of_null_arrives(kit: &Kit<'_>) -> Verdict {
    let data = Bytes::from_static(b"null");
    let arrived = arrived(kit, Envelope { data, ..publication("E", "0").envelope }).await?;
    ensure_eq!(arrived.data, "null");
    Ok(())
}

pub(super) async fn unicode_in_key_and_data_arrives(kit: &Kit<'_>) -> Verdict {
    let key: Arc<str> = "größe/日本語 \u{1f980}\n%00".into();
    let sent = Envelope { key: Some(key), ..publication("E", "größe \u{1f980} \u{202e} ñ").envelope };
    let arrived = arrived(kit, sent.clone()).await?;
    ensure_eq!((&arrived.key, &arrived.data), (&sent.key, &sent.data));
    Ok(())
}

//! Is a message that is published twice handed out once?

use std::time::Duration;

use crate::broker::Publication;
use crate::conformance::kit::{Kit, Verdict, ensure_eq, publication};

pub(super) async fn a_copy_within_the_window_is_dropped(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    let message = publication("E", "1");
    broker.publish(vec![message.clone()]).await?;
    broker.publish(vec![message.clone()]).await?;
    broker.try_publish(vec![message, publication("E", "2")]).await?;
    ensure_eq!(reader.next().await?.envelope.data, "1");
    ensure_eq!(reader.next().await?.envelope.data, "2");
    reader.quiet().await
}

pub(super) async fn a_copy_of_what_was_handled_is_dropped(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    let message = publication("E", "1");
    broker.publish(vec![message.clone()]).await?;
    reader.ack(&reader.next().await?).await?;
    broker.publish(vec![message]).await?;
    reader.quiet().await
}

pub(super) async fn a_copy_in_the_same_call_is_dropped(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    let message = publication("E", "1");
    broker.publish(vec![message.clone(), message]).await?;
    ensure_eq!(reader.next().await?.envelope.data, "1");
    reader.quiet().await
}

pub(super) async fn without_a_window_nothing_is_dropped(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    let message = Publication { dedupe: Duration::ZERO, ..publication("E", "1") };
    broker.publish(vec![message.clone()]).await?;
    broker.publish(vec![message]).await?;
    reader.take(2).await?;
    Ok(())
}

pub(super) async fn after_the_window_an_id_is_new(kit: &Kit<'_>) -> Verdict {
    const WINDOW: Duration = Duration::from_millis(200);
    let (_place, broker) = kit.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    let message = Publication { dedupe: WINDOW, ..publication("E", "1") };
    broker.publish(vec![message.clone()]).await?;
    reader.ack(&reader.next().await?).await?;
    tokio::time::sleep(WINDOW + Duration::from_millis(5)).await;
    broker.publish(vec![message]).await?;
    reader.next().await?;
    Ok(())
}

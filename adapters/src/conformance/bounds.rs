//! What happens when there is no room? Publishers wait, consumers are told, and nothing is lost.

use std::sync::Arc;
use std::time::Duration;

use crate::broker::{Broker, Error, Publication};
use crate::conformance::kit::{Failed, Kit, Reader, Verdict, ensure, ensure_eq, heavy, publication, text};

/// More messages of 16 KiB than a small broker holds.
const MANY: usize = 600;

/// A publisher that has waited so long has found no room.
const WAIT: Duration = Duration::from_secs(1);

/// Publishes until publishers have to wait. Returns how many went in.
async fn fill(broker: &Arc<dyn Broker>, event: &str) -> Result<usize, Failed> {
    for count in 0..MANY {
        match tokio::time::timeout(WAIT, broker.publish(vec![heavy(event)])).await {
            Ok(outcome) => outcome?,
            Err(_elapsed) => return Ok(count),
        }
    }
    Err(Failed(format!("{MANY} messages of 16 KiB went in")))
}

/// Publishes as consumers do until that is refused.
async fn fill_by_trying(broker: &Arc<dyn Broker>, event: &str) -> Result<usize, Failed> {
    for count in 0..MANY {
        match broker.try_publish(vec![heavy(event)]).await {
            Ok(()) => {}
            Err(Error::Full { .. }) => return Ok(count),
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failed(format!("{MANY} messages of 16 KiB went in")))
}

/// Publishes as soon as there is room for a consumer.
async fn insist(broker: &Arc<dyn Broker>, publications: &[Publication]) -> Result<(), Error> {
    loop {
        match broker.try_publish(publications.to_vec()).await {
            Err(Error::Full { .. }) => tokio::time::sleep(Duration::from_millis(5)).await,
            outcome => return outcome,
        }
    }
}

/// Takes and acks so many messages.
async fn consume(reader: &Reader, count: usize) -> Verdict {
    for _ in 0..count {
        reader.ack(&reader.next().await?).await?;
    }
    Ok(())
}

pub(super) async fn a_full_subscription_holds_publishers_back(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open_small().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    let count = fill(&broker, "E").await?;
    ensure!(count >= 4, "only {count} messages of 16 KiB went in");
    let waiting = broker.publish(vec![publication("E", "last")]);
    let consuming = consume(&reader, count);
    let (published, consumed) =
        kit.soon("a publisher and a consumer", async { tokio::join!(waiting, consuming) }).await?;
    published?;
    consumed?;
    ensure_eq!(text(&reader.next().await?.envelope), "last");
    Ok(())
}

pub(super) async fn a_full_subscription_is_an_answer_to_consumers(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open_small().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    let count = fill_by_trying(&broker, "E").await?;
    ensure!(count >= 4, "only {count} messages of 16 KiB went in");
    consume(&reader, count).await?;
    kit.soon("room", insist(&broker, &[publication("E", "last")])).await??;
    ensure_eq!(text(&reader.next().await?.envelope), "last");
    reader.quiet().await
}

pub(super) async fn a_publisher_that_gives_up_has_published_nothing(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open_small().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    // Those that gave up among them are not counted.
    let count = fill(&broker, "E").await?;
    ensure!(fill(&broker, "E").await? <= 1, "room appeared in a full subscription");
    let left = reader.status(&broker).await?.waiting;
    ensure!(left >= count as u64, "{left} wait of {count}");
    consume(&reader, count).await?;
    let late = reader.status(&broker).await?.waiting;
    ensure_eq!(late, left - count as u64);
    Ok(())
}

pub(super) async fn a_full_subscription_keeps_the_whole_call_out(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open_small().await?;
    let (_full, free) = (kit.reader(&broker, "Full", "h").await?, kit.reader(&broker, "Free", "h").await?);
    fill_by_trying(&broker, "Full").await?;
    let both = || vec![publication("Free", "1"), heavy("Full")];
    let refused = broker.try_publish(both()).await;
    ensure!(matches!(refused, Err(Error::Full { .. })), "the answer is {refused:?}");
    let waited = tokio::time::timeout(WAIT, broker.publish(both())).await;
    ensure!(waited.is_err(), "the outcome is {waited:?}");
    free.quiet().await
}

pub(super) async fn more_than_there_is_ever_room_for_is_refused(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open_small().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    let many: Vec<Publication> = (0..MANY).map(|_| heavy("E")).collect();
    let waited = kit.soon("an answer", broker.publish(many.clone())).await?;
    ensure!(matches!(waited, Err(Error::TooLarge { .. })), "the answer is {waited:?}");
    let tried = broker.try_publish(many).await;
    ensure!(matches!(tried, Err(Error::TooLarge { .. })), "the answer is {tried:?}");
    reader.quiet().await
}

pub(super) async fn a_handler_that_emits_as_much_as_it_consumes_goes_on(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open_small().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    let count = fill(&broker, "E").await?;
    for _ in 0..3 * count {
        let delivery = reader.next().await?;
        kit.soon("room for what a handler emits", insist(&broker, &[heavy("E")])).await??;
        reader.ack(&delivery).await?;
    }
    Ok(())
}

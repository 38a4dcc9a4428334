//! In which order, and when, are messages handed out?

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::broker::{Delivery, Publication};
use crate::conformance::kit::{
    HISTORY, Kit, Verdict, data, ensure, ensure_eq, later, numbered, publication, text, texts,
};

/// Longer than a broker takes to hand out what is due.
const DELAY: Duration = Duration::from_millis(300);

pub(super) async fn messages_come_in_the_order_of_their_publication(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    for start in (0..1000).step_by(50) {
        broker.publish(numbered("E", start..start + 50)).await?;
    }
    ensure_eq!(data(&reader.take(1000).await?), texts(0..1000));
    Ok(())
}

pub(super) async fn a_message_put_back_comes_before_later_ones(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    broker.publish(numbered("E", 0..4)).await?;
    let taken = reader.take(2).await?;
    reader.put_back(&taken[0]).await?;
    ensure_eq!(data(&reader.take(3).await?), texts([0, 2, 3]));
    Ok(())
}

pub(super) async fn messages_put_back_in_any_order_come_in_the_old_one(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    broker.publish(numbered("E", 0..8)).await?;
    let taken = reader.take(6).await?;
    for place in [4, 0, 5, 2] {
        reader.put_back(&taken[place]).await?;
    }
    ensure_eq!(data(&reader.take(6).await?), texts([0, 2, 4, 5, 6, 7]));
    Ok(())
}

pub(super) async fn a_message_put_back_with_a_delay_holds_up_no_other(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    broker.publish(numbered("E", 0..3)).await?;
    let first = reader.next().await?;
    reader.consumer.nack(&first, first.history, DELAY).await?;
    ensure_eq!(data(&reader.take(3).await?), texts([1, 2, 0]));
    Ok(())
}

pub(super) async fn what_is_released_comes_again_as_it_was_and_in_order(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    broker.publish(numbered("E", 0..9)).await?;
    let first = reader.take(2).await?;
    reader.consumer.nack(&first[0], HISTORY, Duration::ZERO).await?;
    reader.consumer.nack(&first[1], HISTORY, Duration::from_millis(1)).await?;
    let taken = reader.take(9).await?;
    reader.ack(&taken[3]).await?;
    let tags: Vec<u64> = taken.iter().rev().map(|delivery| delivery.tag).collect();
    // One of them is finished.
    reader.consumer.release(&tags).await?;
    let status = reader.status(&broker).await?;
    ensure_eq!((status.waiting, status.in_flight, status.delayed), (8, 0, 0));
    let again = reader.take(8).await?;
    // One that had been put back with a delay has no place among the others.
    let in_order = data(&again).into_iter().filter(|text| text != "1");
    ensure!(in_order.is_sorted(), "they come as {:?}", data(&again));
    let known = |all: &[Delivery]| all.iter().map(|one| (one.envelope.id, one.history)).collect::<HashMap<_, _>>();
    let mut expected = known(&taken);
    expected.remove(&taken[3].envelope.id);
    ensure_eq!(known(&again), expected);
    reader.consumer.ack(&again).await?;
    reader.quiet().await
}

pub(super) async fn a_delayed_publication_comes_when_it_is_due(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    let before = Instant::now();
    broker.publish(vec![later("E", "late", DELAY), publication("E", "now")]).await?;
    ensure_eq!(text(&reader.next().await?.envelope), "now");
    ensure_eq!(text(&reader.next().await?.envelope), "late");
    // The broker's clock may count in milliseconds.
    ensure!(before.elapsed() + Duration::from_millis(2) >= DELAY, "it came after {:?}", before.elapsed());
    Ok(())
}

pub(super) async fn delayed_publications_come_in_the_order_of_their_times(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    let third = later("E", "2", DELAY * 2);
    broker.publish(vec![third, later("E", "1", DELAY)]).await?;
    broker.publish(vec![later("E", "0", DELAY / 2)]).await?;
    ensure_eq!(data(&reader.take(3).await?), texts(0..3));
    Ok(())
}

pub(super) async fn a_time_that_has_passed_is_no_delay(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    let past = Publication { due: Some(SystemTime::UNIX_EPOCH), ..publication("E", "0") };
    broker.publish(vec![past, publication("E", "1")]).await?;
    let mut both = data(&reader.take(2).await?);
    both.sort_unstable();
    ensure_eq!(both, texts(0..2));
    Ok(())
}

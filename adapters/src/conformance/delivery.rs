//! Does every handler get every message until it has finished it, and no longer?

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use crate::broker::{Delivery, Error, History};
use crate::conformance::kit::{
    HISTORY, Kit, Verdict, data, ensure, ensure_eq, numbered, publication, text, texts, waiting,
};

pub(super) async fn a_published_message_is_handed_out(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    broker.publish(vec![publication("E", "1")]).await?;
    let delivery = reader.next().await?;
    ensure_eq!(delivery.envelope.data, "1");
    ensure_eq!(delivery.history, History::default());
    Ok(())
}

pub(super) async fn an_acked_message_never_comes_again(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    broker.publish(vec![publication("E", "1")]).await?;
    reader.ack(&reader.next().await?).await?;
    broker.publish(vec![publication("E", "2")]).await?;
    ensure_eq!(reader.next().await?.envelope.data, "2");
    reader.quiet().await
}

pub(super) async fn acks_of_many_messages_take_one_call(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    broker.publish(numbered("E", 0..100)).await?;
    let taken = reader.take(100).await?;
    reader.consumer.ack(&taken).await?;
    ensure_eq!(reader.status(&broker).await?.in_flight, 0);
    reader.quiet().await
}

pub(super) async fn a_message_put_back_comes_again(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    let published = publication("E", "1");
    broker.publish(vec![published.clone()]).await?;
    for _ in 0..3 {
        let delivery = reader.next().await?;
        ensure_eq!(delivery.envelope.id, published.envelope.id);
        reader.put_back(&delivery).await?;
    }
    reader.ack(&reader.next().await?).await?;
    reader.quiet().await
}

pub(super) async fn a_message_put_back_with_a_delay_comes_after_it(kit: &Kit<'_>) -> Verdict {
    const DELAY: Duration = Duration::from_millis(200);
    let (_place, broker) = kit.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    broker.publish(vec![publication("E", "1")]).await?;
    let delivery = reader.next().await?;
    let before = Instant::now();
    reader.consumer.nack(&delivery, HISTORY, DELAY).await?;
    let again = reader.next().await?;
    // The broker's clock may count in milliseconds.
    ensure!(before.elapsed() + Duration::from_millis(2) >= DELAY, "it came after {:?}", before.elapsed());
    ensure_eq!(again.history, HISTORY);
    Ok(())
}

pub(super) async fn a_message_put_back_keeps_its_history(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    broker.publish(vec![publication("E", "poison"), publication("E", "other")]).await?;
    for deaths in 1..=3 {
        let delivery = reader.next().await?;
        let history = History { deaths, ..waiting() };
        reader.consumer.nack(&delivery, history, Duration::ZERO).await?;
        let again = reader.next().await?;
        ensure_eq!((&*text(&again.envelope), again.history), ("poison", history));
        reader.put_back(&again).await?;
    }
    let both = reader.take(2).await?;
    ensure_eq!(both[1].history, History::default());
    Ok(())
}

pub(super) async fn a_note_leaves_its_message_where_it_is(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    broker.publish(numbered("E", 0..3)).await?;
    let taken = reader.take(2).await?;
    reader.consumer.note(&taken[0], waiting());
    reader.ack(&taken[1]).await?;
    reader.consumer.note(&taken[1], waiting());
    ensure_eq!(reader.status(&broker).await?.in_flight, 1);
    let third = reader.next().await?;
    ensure_eq!(data(std::slice::from_ref(&third)), texts([2]));
    ensure_eq!(third.history, History::default());
    reader.consumer.ack(&[taken[0].clone(), third]).await?;
    let status = reader.status(&broker).await?;
    ensure_eq!((status.waiting, status.delayed, status.in_flight), (0, 0, 0));
    reader.quiet().await
}

pub(super) async fn every_handler_of_an_event_gets_its_own_copy(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let (one, other) = (kit.reader(&broker, "E", "one").await?, kit.reader(&broker, "E", "other").await?);
    broker.publish(numbered("E", 0..3)).await?;
    for reader in [one, other] {
        let taken = reader.take(3).await?;
        ensure_eq!(data(&taken), texts(0..3));
        reader.consumer.ack(&taken).await?;
        reader.quiet().await?;
    }
    Ok(())
}

pub(super) async fn a_failure_at_one_handler_does_not_reach_another(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let (fails, works) = (kit.reader(&broker, "E", "fails").await?, kit.reader(&broker, "E", "works").await?);
    broker.publish(vec![publication("E", "1")]).await?;
    let failed = fails.next().await?;
    works.ack(&works.next().await?).await?;
    fails.consumer.nack(&failed, HISTORY, Duration::ZERO).await?;
    ensure_eq!(fails.next().await?.history, HISTORY);
    works.quiet().await
}

pub(super) async fn an_event_without_handlers_is_accepted(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    kit.soon("publishing", broker.publish(vec![publication("E", "1")])).await??;
    kit.soon("publishing", broker.try_publish(vec![publication("E", "1")])).await??;
    Ok(())
}

pub(super) async fn several_events_are_published_in_one_call(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let (first, second) = (kit.reader(&broker, "First", "h").await?, kit.reader(&broker, "Second", "h").await?);
    let all = vec![publication("First", "0"), publication("Second", "1"), publication("First", "2")];
    broker.publish(all).await?;
    ensure_eq!(data(&first.take(2).await?), texts([0, 2]));
    ensure_eq!(data(&second.take(1).await?), texts([1]));
    Ok(())
}

pub(super) async fn a_subscription_begins_with_new_messages(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let _early = kit.reader(&broker, "E", "early").await?;
    broker.publish(vec![publication("E", "before")]).await?;
    let late = kit.reader(&broker, "E", "late").await?;
    broker.publish(vec![publication("E", "after")]).await?;
    ensure_eq!(text(&late.next().await?.envelope), "after");
    late.quiet().await
}

pub(super) async fn no_more_are_handed_out_than_asked_for(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    broker.publish(numbered("E", 0..10)).await?;
    let mut taken = Vec::new();
    while taken.len() < 10 {
        let few = kit.soon("messages", reader.consumer.next(3)).await??;
        ensure!((1..=3).contains(&few.len()), "{} came, 3 were asked for", few.len());
        taken.extend(few);
    }
    ensure_eq!(data(&taken), texts(0..10));
    Ok(())
}

pub(super) async fn two_consumers_of_one_subscription_share_no_message(kit: &Kit<'_>) -> Verdict {
    const COUNT: usize = 300;
    let (_place, broker) = kit.open().await?;
    let (one, other) = (kit.reader(&broker, "E", "h").await?, kit.reader(&broker, "E", "h").await?);
    let mut taken = Vec::new();
    broker.publish(numbered("E", 0..COUNT)).await?;
    while taken.len() < COUNT {
        let both = async {
            tokio::select! {
                taken = one.consumer.next(7) => taken,
                taken = other.consumer.next(5) => taken,
            }
        };
        taken.extend(kit.soon("messages", both).await??);
    }
    let distinct: BTreeSet<String> = data(&taken).into_iter().collect();
    ensure_eq!((taken.len(), distinct.len()), (COUNT, COUNT));
    one.consumer.ack(&taken).await?;
    other.quiet().await
}

pub(super) async fn a_dropped_call_for_messages_loses_none(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    let publishing = async {
        for number in 0..50 {
            broker.publish(vec![publication("E", number.to_string())]).await?;
            tokio::task::yield_now().await;
        }
        Ok::<(), Error>(())
    };
    let mut taken = Vec::new();
    let impatient = async {
        while taken.len() < 50 {
            // Dropped while it waits, again and again.
            if let Ok(deliveries) = tokio::time::timeout(Duration::from_micros(300), reader.consumer.next(4)).await {
                taken.extend(deliveries?);
            }
        }
        Ok::<(), Error>(())
    };
    kit.soon("all messages", async { tokio::try_join!(publishing, impatient) }).await??;
    ensure_eq!(data(&taken), texts(0..50));
    Ok(())
}

pub(super) async fn many_in_flight_are_finished_in_any_order(kit: &Kit<'_>) -> Verdict {
    const COUNT: usize = 200;
    let (_place, broker) = kit.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    broker.publish(numbered("E", 0..COUNT)).await?;
    let taken = reader.take(COUNT).await?;
    // A walk over all of them that keeps no order: 77 and 200 have no common divisor.
    for step in 0..COUNT {
        let delivery = &taken[step * 77 % COUNT];
        if step * 77 % COUNT % 10 == 3 {
            reader.put_back(delivery).await?;
        } else {
            reader.ack(delivery).await?;
        }
    }
    let again = reader.take(COUNT / 10).await?;
    ensure_eq!(data(&again), texts((3..COUNT).step_by(10)));
    reader.consumer.ack(&again).await?;
    reader.quiet().await
}

pub(super) async fn what_a_dropped_consumer_took_can_be_finished(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let old = kit.reader(&broker, "E", "h").await?;
    broker.publish(numbered("E", 0..3)).await?;
    let taken = old.take(2).await?;
    drop(old);
    let new = kit.reader(&broker, "E", "h").await?;
    new.ack(&taken[0]).await?;
    new.put_back(&taken[1]).await?;
    ensure_eq!(data(&new.take(2).await?), texts([1, 2]));
    new.quiet().await
}

pub(super) async fn what_was_handed_out_can_be_recalled(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    for start in [0, 20, 40] {
        broker.publish(numbered("E", start..start + 20)).await?;
    }
    let first = reader.take(2).await?;
    reader.consumer.nack(&first[0], HISTORY, Duration::ZERO).await?;
    reader.consumer.nack(&first[1], HISTORY, Duration::from_millis(1)).await?;
    let taken = reader.take(60).await?;
    reader.ack(&taken[7]).await?;
    let all = |from: &[Delivery]| from.iter().map(|one| (one.tag, one.envelope.id, one.history)).collect::<Vec<_>>();
    let mut wanted = [&taken[50..], &taken[..7], &taken[30..40], &taken[8..30]].concat();
    wanted.swap(3, 11);
    let tags: Vec<u64> = wanted.iter().map(|delivery| delivery.tag).collect();
    ensure_eq!(all(&reader.consumer.recall(&tags).await?), all(&wanted));
    ensure_eq!(all(&reader.consumer.recall(&tags[..1]).await?), all(&wanted[..1]));
    ensure_eq!(reader.status(&broker).await?.in_flight, 59);
    reader.consumer.ack(&wanted).await?;
    reader.quiet().await
}

//! What outlives consumers, declarations and processes?

use std::time::{Duration, SystemTime};

use crate::broker::{DeadLetterFilter, Error, History};
use crate::conformance::kit::{
    Failed, HISTORY, Kit, Verdict, data, ensure, ensure_eq, later, numbered, obituary, publication, subscription,
    texts, waiting,
};

pub(super) async fn a_paused_subscription_waits_until_it_is_resumed(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    let other = kit.reader(&broker, "E", "other").await?;
    broker.set_paused(&reader.subscription, true).await?;
    broker.publish(vec![publication("E", "1")]).await?;
    other.next().await?;
    reader.quiet().await?;
    let status = reader.status(&broker).await?;
    ensure_eq!((status.paused, status.declared, status.waiting), (true, true, 1));
    let resuming = broker.set_paused(&reader.subscription, false);
    let (delivery, resumed) = tokio::join!(reader.next(), resuming);
    resumed?;
    ensure_eq!(delivery?.envelope.data, "1");
    ensure!(!reader.status(&broker).await?.paused, "it is still paused");
    Ok(())
}

pub(super) async fn a_pause_reaches_those_who_hold_messages(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    let mut pauses = reader.consumer.pauses();
    ensure!(!*pauses.borrow_and_update(), "it is paused");
    broker.publish(numbered("E", 0..3)).await?;
    let taken = reader.take(2).await?;
    for paused in [true, false, true] {
        broker.set_paused(&reader.subscription, paused).await?;
        ensure_eq!(pauses.has_changed().ok(), Some(true));
        ensure_eq!(*pauses.borrow_and_update(), paused);
    }
    let tags: Vec<u64> = taken.iter().map(|delivery| delivery.tag).collect();
    reader.consumer.release(&tags).await?;
    reader.quiet().await?;
    ensure!(*kit.reader(&broker, "E", "h").await?.consumer.pauses().borrow(), "a new consumer does not see it");
    broker.set_paused(&reader.subscription, false).await?;
    ensure_eq!(data(&reader.take(3).await?), texts(0..3));
    Ok(())
}

pub(super) async fn a_retired_subscription_keeps_what_it_has_and_gets_nothing(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    broker.publish(vec![publication("E", "before")]).await?;
    broker.retire(&reader.subscription).await?;
    broker.publish(vec![publication("E", "meanwhile")]).await?;
    ensure!(!reader.status(&broker).await?.declared, "it is still declared");
    let again = kit.reader(&broker, "E", "h").await?;
    broker.publish(vec![publication("E", "after")]).await?;
    ensure_eq!(data(&again.take(2).await?), ["before", "after"]);
    again.quiet().await
}

pub(super) async fn a_pruned_subscription_is_gone(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    broker.publish(numbered("E", 0..3)).await?;
    let _in_flight = reader.next().await?;
    broker.retire(&reader.subscription).await?;
    ensure_eq!(broker.prune(&reader.subscription).await?, 3);
    ensure_eq!(broker.status().await?.len(), 0);
    let ended = kit.soon("the end", reader.consumer.next(1)).await?;
    ensure!(matches!(ended, Err(Error::Closed(_))), "the answer is {ended:?}");
    let new = kit.reader(&broker, "E", "h").await?;
    new.quiet().await
}

pub(super) async fn a_declared_subscription_is_not_pruned(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    broker.publish(vec![publication("E", "1")]).await?;
    let refused = broker.prune(&reader.subscription).await;
    ensure!(matches!(refused, Err(Error::Declared(_))), "the answer is {refused:?}");
    ensure_eq!(reader.next().await?.envelope.data, "1");
    Ok(())
}

pub(super) async fn unknown_subscriptions_are_named(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let nobody = subscription("E", "nobody");
    let (paused, pruned) = (broker.set_paused(&nobody, true).await, broker.prune(&nobody).await);
    ensure!(matches!(&paused, Err(Error::Unknown(named)) if *named == nobody), "the answer is {paused:?}");
    ensure!(matches!(&pruned, Err(Error::Unknown(named)) if *named == nobody), "the answer is {pruned:?}");
    Ok(broker.retire(&nobody).await?)
}

pub(super) async fn dead_letters_outlive_their_subscription(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    reader.bury(&broker, "1").await?;
    broker.retire(&reader.subscription).await?;
    let letters = broker.dead_letters(&DeadLetterFilter::default(), 10).await?;
    ensure_eq!(letters.len(), 1);
    ensure_eq!(broker.redrive(&[letters[0].id]).await?.len(), 0);
    ensure_eq!(broker.prune(&reader.subscription).await?, 0);
    ensure_eq!(broker.dead_letters(&DeadLetterFilter::default(), 10).await?.len(), 1);
    ensure_eq!(broker.redrive(&[letters[0].id]).await?.len(), 0);
    let new = kit.reader(&broker, "E", "h").await?;
    ensure_eq!(broker.redrive(&[letters[0].id]).await?.len(), 1);
    ensure_eq!(new.next().await?.envelope.data, "1");
    Ok(())
}

/// The data of a hundred messages, in the order in which they come after a restart.
async fn hundred_after_a_restart(kit: &Kit<'_>) -> Result<Vec<String>, Failed> {
    let place = kit.place().await?;
    let broker = place.open().await?;
    drop(kit.reader(&broker, "E", "h").await?);
    broker.publish(numbered("E", 0..100)).await?;
    let broker = kit.restart(&*place, broker).await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    Ok(data(&reader.take(100).await?))
}

pub(super) async fn published_messages_survive_a_restart(kit: &Kit<'_>) -> Verdict {
    let (mut found, mut expected) = (hundred_after_a_restart(kit).await?, texts(0..100));
    found.sort();
    expected.sort();
    ensure_eq!(found, expected);
    Ok(())
}

pub(super) async fn a_restart_keeps_the_order_of_publication(kit: &Kit<'_>) -> Verdict {
    ensure_eq!(hundred_after_a_restart(kit).await?, texts(0..100));
    Ok(())
}

pub(super) async fn finished_messages_stay_finished_after_a_restart(kit: &Kit<'_>) -> Verdict {
    let place = kit.place().await?;
    let broker = place.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    broker.publish(numbered("E", 0..10)).await?;
    let taken = reader.take(10).await?;
    reader.consumer.ack(&taken[..4]).await?;
    reader.consumer.ack(&taken[6..9]).await?;
    drop(reader);
    let broker = kit.restart(&*place, broker).await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    let again = reader.take(3).await?;
    ensure_eq!(data(&again), texts([4, 5, 9]));
    reader.quiet().await
}

pub(super) async fn unfinished_messages_come_again_after_a_restart_with_their_history(kit: &Kit<'_>) -> Verdict {
    let place = kit.place().await?;
    let broker = place.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    broker.publish(numbered("E", 0..4)).await?;
    let taken = reader.take(3).await?;
    reader.consumer.nack(&taken[1], waiting(), Duration::ZERO).await?;
    drop(reader);
    let broker = kit.restart(&*place, broker).await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    let again = reader.take(4).await?;
    ensure_eq!(data(&again), texts(0..4));
    ensure_eq!((again[0].history, again[1].history), (History::default(), waiting()));
    Ok(())
}

pub(super) async fn what_was_noted_survives_a_restart(kit: &Kit<'_>) -> Verdict {
    let place = kit.place().await?;
    let broker = place.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    broker.publish(numbered("E", 0..5)).await?;
    let taken = reader.take(4).await?;
    reader.consumer.nack(&taken[2], History::default(), Duration::from_millis(1)).await?;
    let late = reader.take(2).await?.into_iter().find(|delivery| delivery.envelope.data == "2");
    let Some(late) = late else { return Err(Failed("what was put back did not come again".to_owned())) };
    for (delivery, history) in
        [(&taken[0], waiting()), (&taken[0], HISTORY), (&taken[1], waiting()), (&late, waiting())]
    {
        reader.consumer.note(delivery, history);
    }
    reader.consumer.note(&taken[3], HISTORY);
    reader.ack(&taken[3]).await?;
    drop(reader);
    let broker = kit.restart(&*place, broker).await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    let mut again = reader.take(4).await?;
    again.sort_by_key(|delivery| delivery.envelope.data.clone());
    ensure_eq!(data(&again), texts([0, 1, 2, 4]));
    let histories: Vec<History> = again.iter().map(|delivery| delivery.history).collect();
    ensure_eq!(histories, [HISTORY, waiting(), waiting(), History::default()]);
    Ok(())
}

pub(super) async fn delayed_publications_survive_a_restart(kit: &Kit<'_>) -> Verdict {
    const DELAY: Duration = Duration::from_millis(500);
    let place = kit.place().await?;
    let broker = place.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    broker.publish(vec![later("E", "late", DELAY), publication("E", "put back")]).await?;
    let due = SystemTime::now() + DELAY;
    let delivery = reader.next().await?;
    reader.consumer.nack(&delivery, HISTORY, DELAY / 2).await?;
    drop(reader);
    let broker = kit.restart(&*place, broker).await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    let both = reader.take(2).await?;
    ensure_eq!(data(&both), ["put back", "late"]);
    ensure_eq!(both[0].history, HISTORY);
    ensure!(SystemTime::now() + Duration::from_millis(20) >= due, "it came too early");
    Ok(())
}

pub(super) async fn dead_letters_survive_a_restart(kit: &Kit<'_>) -> Verdict {
    let place = kit.place().await?;
    let broker = place.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    reader.bury(&broker, "1").await?;
    drop(reader);
    let broker = kit.restart(&*place, broker).await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    let letters = broker.dead_letters(&DeadLetterFilter::default(), 10).await?;
    ensure_eq!(letters.len(), 1);
    ensure_eq!(letters[0].obituary, obituary());
    ensure_eq!(broker.redrive(&[letters[0].id]).await?.len(), 1);
    ensure_eq!(reader.next().await?.envelope.data, "1");
    Ok(())
}

pub(super) async fn pauses_survive_a_restart(kit: &Kit<'_>) -> Verdict {
    let place = kit.place().await?;
    let broker = place.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    broker.publish(vec![publication("E", "1")]).await?;
    broker.set_paused(&reader.subscription, true).await?;
    drop(reader);
    let broker = kit.restart(&*place, broker).await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    reader.quiet().await?;
    broker.set_paused(&reader.subscription, false).await?;
    ensure_eq!(reader.next().await?.envelope.data, "1");
    Ok(())
}

pub(super) async fn copies_are_dropped_after_a_restart(kit: &Kit<'_>) -> Verdict {
    let place = kit.place().await?;
    let broker = place.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    let message = publication("E", "1");
    broker.publish(vec![message.clone()]).await?;
    reader.ack(&reader.next().await?).await?;
    drop(reader);
    let broker = kit.restart(&*place, broker).await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    broker.publish(vec![message]).await?;
    reader.quiet().await
}

//! Are messages that were given up kept, found, and handed out again when somebody wants that?

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::broker::{Broker, DeadLetter, DeadLetterFilter, Error, History};
use crate::conformance::kit::{
    HISTORY, Kit, Verdict, data, ensure, ensure_eq, numbered, obituary, publication, text, texts,
};

async fn all(broker: &Arc<dyn Broker>) -> Result<Vec<DeadLetter>, Error> {
    broker.dead_letters(&DeadLetterFilter::default(), 100).await
}

fn ids(letters: &[DeadLetter]) -> Vec<Uuid> {
    letters.iter().map(|letter| letter.id).collect()
}

fn texts_of(letters: &[DeadLetter]) -> Vec<String> {
    letters.iter().map(|letter| text(&letter.envelope)).collect()
}

pub(super) async fn a_dead_letter_keeps_its_message_and_obituary(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    let message = publication("E", "1");
    broker.publish(vec![message.clone()]).await?;
    reader.consumer.dead_letter(&reader.next().await?, &obituary()).await?;
    let letters = all(&broker).await?;
    ensure_eq!(letters.len(), 1);
    ensure_eq!((&letters[0].subscription, &*letters[0].envelope), (&reader.subscription, &message.envelope));
    ensure_eq!(letters[0].obituary, obituary());
    ensure_eq!(letters[0].id.get_version_num(), 7);
    Ok(())
}

pub(super) async fn a_dead_letter_is_not_handed_out(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    reader.bury(&broker, "1").await?;
    let status = reader.status(&broker).await?;
    ensure_eq!((status.waiting, status.in_flight, status.dead), (0, 0, 1));
    reader.quiet().await
}

pub(super) async fn dead_letters_are_listed_by_pages_newest_first(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let (one, other) = (kit.reader(&broker, "One", "h").await?, kit.reader(&broker, "Other", "h").await?);
    for letter in ["a", "b", "c"] {
        one.bury(&broker, letter).await?;
        other.bury(&broker, &letter.to_uppercase()).await?;
    }
    let mut found: Vec<DeadLetter> = Vec::new();
    loop {
        let before = found.last().map(|letter| letter.id);
        let page = broker.dead_letters(&DeadLetterFilter { before, ..DeadLetterFilter::default() }, 4).await?;
        ensure!(page.len() <= 4, "{} were listed, 4 asked for", page.len());
        if page.is_empty() {
            break;
        }
        found.extend(page);
    }
    ensure_eq!(texts_of(&found), ["C", "c", "B", "b", "A", "a"]);
    Ok(())
}

pub(super) async fn dead_letters_are_found_by_event_and_handler(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    for (event, handler) in [("A", "x"), ("A", "y"), ("B", "x")] {
        let reader = kit.reader(&broker, event, handler).await?;
        reader.bury(&broker, handler).await?;
        broker.retire(&reader.subscription).await?;
    }
    let count = async |event: Option<&str>, handler: Option<&str>| {
        let (event, handler) = (event.map(str::to_owned), handler.map(str::to_owned));
        broker.dead_letters(&DeadLetterFilter { event, handler, before: None }, 10).await.map(|found| found.len())
    };
    ensure_eq!(count(None, None).await?, 3);
    ensure_eq!(count(Some("A"), None).await?, 2);
    ensure_eq!(count(None, Some("x")).await?, 2);
    ensure_eq!(count(Some("A"), Some("x")).await?, 1);
    ensure_eq!(count(Some("B"), Some("y")).await?, 0);
    Ok(())
}

pub(super) async fn one_message_may_be_dead_at_two_handlers(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let readers = [kit.reader(&broker, "E", "one").await?, kit.reader(&broker, "E", "other").await?];
    broker.publish(vec![publication("E", "1")]).await?;
    for reader in &readers {
        reader.consumer.dead_letter(&reader.next().await?, &obituary()).await?;
    }
    let letters = all(&broker).await?;
    ensure_eq!(ids(&letters).into_iter().collect::<BTreeSet<Uuid>>().len(), 2);
    ensure_eq!(letters[0].envelope.id, letters[1].envelope.id);
    Ok(())
}

pub(super) async fn a_redriven_message_goes_to_its_own_handler_only(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let (failed, works) = (kit.reader(&broker, "E", "failed").await?, kit.reader(&broker, "E", "works").await?);
    failed.bury(&broker, "1").await?;
    works.ack(&works.next().await?).await?;
    let letters = ids(&all(&broker).await?);
    ensure_eq!(broker.redrive(&letters).await?, letters);
    ensure_eq!(failed.next().await?.envelope.data, "1");
    works.quiet().await?;
    ensure_eq!(all(&broker).await?.len(), 0);
    Ok(())
}

pub(super) async fn a_redriven_message_begins_a_new_history(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    broker.publish(vec![publication("E", "1")]).await?;
    reader.consumer.nack(&reader.next().await?, HISTORY, Duration::ZERO).await?;
    reader.consumer.dead_letter(&reader.next().await?, &obituary()).await?;
    broker.redrive(&ids(&all(&broker).await?)).await?;
    let again = reader.next().await?;
    ensure_eq!(again.history, History::default());
    reader.ack(&again).await?;
    reader.quiet().await
}

pub(super) async fn redriven_messages_come_in_the_order_of_their_deaths(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    broker.publish(numbered("E", 0..5)).await?;
    let taken = reader.take(5).await?;
    for number in [3, 0, 4, 1, 2] {
        reader.consumer.dead_letter(&taken[number], &obituary()).await?;
    }
    let newest_first = ids(&all(&broker).await?);
    let mixed = [1, 4, 0, 2, 3].map(|place| newest_first[place]);
    ensure_eq!(broker.redrive(&mixed).await?.len(), 5);
    ensure_eq!(data(&reader.take(5).await?), texts([3, 0, 4, 1, 2]));
    Ok(())
}

pub(super) async fn a_dead_letter_is_redriven_once(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    reader.bury(&broker, "1").await?;
    let letters = ids(&all(&broker).await?);
    let (one, other) = tokio::join!(broker.redrive(&letters), broker.redrive(&letters));
    ensure_eq!(one?.len() + other?.len(), 1);
    reader.ack(&reader.next().await?).await?;
    reader.quiet().await
}

pub(super) async fn unknown_dead_letters_are_left_out(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    reader.bury(&broker, "1").await?;
    reader.bury(&broker, "2").await?;
    let known = ids(&all(&broker).await?);
    ensure_eq!(broker.redrive(&[Uuid::now_v7(), known[0], Uuid::nil()]).await?, known[..1]);
    ensure_eq!(broker.purge(&[Uuid::now_v7(), known[0], known[1]]).await?, known[1..]);
    Ok(())
}

pub(super) async fn a_purged_dead_letter_is_gone(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    reader.bury(&broker, "1").await?;
    let letters = ids(&all(&broker).await?);
    ensure_eq!(broker.purge(&letters).await?, letters);
    ensure_eq!(broker.redrive(&letters).await?, Vec::<Uuid>::new());
    ensure_eq!(reader.status(&broker).await?.dead, 0);
    reader.quiet().await
}

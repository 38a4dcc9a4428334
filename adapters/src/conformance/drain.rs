//! Does what a consumer holds when it ends go back whole, in order, and with what it has been through?

use std::sync::Arc;
use std::time::Duration;

use crate::broker::{Broker, History};
use crate::conformance::kit::{Kit, Reader, Verdict, data, ensure_eq, numbered, texts};

const PUBLISHED: usize = 40;
/// So many of them are taken; 7 and 30 have no common divisor.
const TAKEN: usize = 30;

/// Every fifth of those that were taken is handled before the end.
fn is_handled(number: usize) -> bool {
    number < TAKEN && number.is_multiple_of(5)
}

/// What a message has been through at the end.
fn history(number: usize) -> History {
    let attempts = if number < TAKEN { u32::try_from(number % 3).unwrap_or_default() } else { 0 };
    History { attempts, ..History::default() }
}

/// Takes most of what there is, handles some and puts the rest back, in no order.
async fn work_and_drain(reader: Reader, broker: &Arc<dyn Broker>) -> Verdict {
    broker.publish(numbered(&reader.subscription.event, 0..PUBLISHED)).await?;
    let taken = reader.take(TAKEN).await?;
    for step in 0..TAKEN {
        let number = step * 7 % TAKEN;
        if is_handled(number) {
            reader.ack(&taken[number]).await?;
        } else {
            reader.consumer.nack(&taken[number], history(number), Duration::ZERO).await?;
        }
    }
    Ok(())
}

/// Everything that was not handled comes once more, as it went back, and nothing else.
async fn take_the_rest(reader: &Reader, broker: &Arc<dyn Broker>) -> Verdict {
    let rest: Vec<usize> = (0..PUBLISHED).filter(|number| !is_handled(*number)).collect();
    let again = reader.take(rest.len()).await?;
    ensure_eq!(data(&again), texts(rest.iter().copied()));
    for (delivery, number) in again.iter().zip(rest) {
        ensure_eq!(delivery.history, history(number));
    }
    reader.consumer.ack(&again).await?;
    reader.quiet().await?;
    let status = reader.status(broker).await?;
    ensure_eq!((status.waiting, status.delayed, status.in_flight, status.oldest), (0, 0, 0, None));
    Ok(())
}

pub(super) async fn what_a_drained_consumer_held_goes_to_the_next_one(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    work_and_drain(reader, &broker).await?;
    take_the_rest(&kit.reader(&broker, "E", "h").await?, &broker).await
}

pub(super) async fn what_a_drained_consumer_held_comes_again_after_a_restart(kit: &Kit<'_>) -> Verdict {
    let place = kit.place().await?;
    let broker = place.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    work_and_drain(reader, &broker).await?;
    let broker = kit.restart(&*place, broker).await?;
    take_the_rest(&kit.reader(&broker, "E", "h").await?, &broker).await
}

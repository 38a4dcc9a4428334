//! Can order by key and an end to every message be kept on top of a broker, when handlers fail?
//!
//! The lanes of the daemon are its own; here a consumer does the same in small: of each key one message at a time, the others held back behind it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::broker::{Broker, DeadLetterFilter, Delivery, History, Obituary, Publication};
use crate::conformance::kit::{
    Failed, Kit, Reader, Verdict, data, ensure, ensure_eq, numbered, obituary, publication, text, texts,
};
use crate::envelope::Envelope;

const KEYS: usize = 8;
const EACH: usize = 12;
const ATTEMPTS: u32 = 3;

fn keyed(key: &str, text: &str) -> Publication {
    let plain = publication("E", text);
    Publication { envelope: Envelope { key: Some(key.into()), ..plain.envelope }, ..plain }
}

fn after(attempts: u32) -> History {
    History { attempts, ..History::default() }
}

/// Whether the handler fails, by the number of the message and how often it was tried.
fn fails(number: usize, attempts: u32) -> bool {
    attempts < 4 && (number * 31 + attempts as usize * 17) % 5 < 2
}

fn number_of(delivery: &Delivery) -> Result<usize, Failed> {
    let text = String::from_utf8_lossy(&delivery.envelope.data);
    text.parse().map_err(|_no_number| Failed(format!("{text:?} came, which nobody published")))
}

/// Works off one key until it fails; then it goes back with all behind it, the last one first.
async fn work_off(reader: &Reader, lane: &mut VecDeque<Delivery>, done: &mut Vec<usize>) -> Verdict {
    while let Some(head) = lane.pop_front() {
        let number = number_of(&head)?;
        if !fails(number, head.history.attempts) {
            reader.ack(&head).await?;
            done.push(number);
            continue;
        }
        while let Some(behind) = lane.pop_back() {
            reader.put_back(&behind).await?;
        }
        reader.consumer.nack(&head, after(head.history.attempts + 1), Duration::ZERO).await?;
    }
    Ok(())
}

pub(super) async fn messages_of_a_key_stay_in_order_when_they_fail(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    let all = (0..KEYS * EACH).map(|number| keyed(&(number % KEYS).to_string(), &number.to_string()));
    broker.publish(all.collect()).await?;
    let mut done = Vec::new();
    while done.len() < KEYS * EACH {
        let taken = kit.soon("messages", reader.consumer.next(20)).await??;
        let mut lanes: BTreeMap<usize, VecDeque<Delivery>> = BTreeMap::new();
        for delivery in taken {
            lanes.entry(number_of(&delivery)? % KEYS).or_default().push_back(delivery);
        }
        for lane in lanes.values_mut() {
            work_off(&reader, lane, &mut done).await?;
        }
    }
    for key in 0..KEYS {
        let handled: Vec<usize> = done.iter().copied().filter(|number| number % KEYS == key).collect();
        ensure_eq!(handled, (key..KEYS * EACH).step_by(KEYS).collect::<Vec<_>>());
    }
    reader.quiet().await
}

pub(super) async fn a_message_that_always_fails_dies_after_its_attempts(kit: &Kit<'_>) -> Verdict {
    const REST: Duration = Duration::from_millis(30);
    let (_place, broker) = kit.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    broker.publish(vec![keyed("a", "poison"), keyed("a", "0"), keyed("a", "1")]).await?;
    let mut lane = VecDeque::from(reader.take(3).await?);
    let mut head = lane.pop_front().ok_or_else(|| Failed("nothing came".to_owned()))?;
    for attempts in 1..ATTEMPTS {
        ensure_eq!(head.history, after(attempts - 1));
        reader.consumer.nack(&head, after(attempts), REST).await?;
        head = reader.next().await?;
        ensure_eq!(text(&head.envelope), "poison");
    }
    let history = after(head.history.attempts + 1);
    reader.consumer.dead_letter(&head, &Obituary { history, ..obituary() }).await?;
    // Now those behind it have their turn, as they were taken.
    ensure_eq!(data(lane.make_contiguous()), texts(0..2));
    reader.consumer.ack(lane.make_contiguous()).await?;
    reader.quiet().await?;
    let letters = broker.dead_letters(&DeadLetterFilter::default(), 10).await?;
    ensure_eq!(letters.len(), 1);
    ensure_eq!((&*text(&letters[0].envelope), letters[0].obituary.history), ("poison", after(ATTEMPTS)));
    let status = reader.status(&broker).await?;
    ensure_eq!((status.waiting, status.delayed, status.in_flight, status.dead), (0, 0, 0, 1));
    Ok(())
}

pub(super) async fn a_message_that_always_fails_delays_no_other_key(kit: &Kit<'_>) -> Verdict {
    /// So long that what waited for it would show.
    const REST: Duration = Duration::from_secs(5);
    let (_place, broker) = kit.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    broker.publish(vec![keyed("a", "poison"), keyed("b", "0")]).await?;
    let start = Instant::now();
    let both = reader.take(2).await?;
    reader.consumer.nack(&both[0], after(1), REST).await?;
    reader.ack(&both[1]).await?;
    for number in 1..50 {
        broker.publish(vec![keyed("b", &number.to_string())]).await?;
        let delivery = reader.next().await?;
        ensure_eq!(data(std::slice::from_ref(&delivery)), texts([number]));
        reader.ack(&delivery).await?;
    }
    ensure!(start.elapsed() < REST, "others took {:?}", start.elapsed());
    let status = reader.status(&broker).await?;
    ensure_eq!((status.waiting, status.delayed, status.in_flight), (0, 1, 0));
    Ok(())
}

/// Consumes until `all` messages are handled, a few at a time; every seventh fails once.
async fn consume(reader: &Reader, all: usize, handled: &AtomicUsize) -> Result<Vec<usize>, Failed> {
    let mut done = Vec::new();
    while handled.load(Ordering::Relaxed) < all {
        let waited = tokio::time::timeout(Duration::from_millis(20), reader.consumer.next(5)).await;
        let Ok(taken) = waited else { continue };
        for delivery in taken? {
            let number = number_of(&delivery)?;
            if number.is_multiple_of(7) && delivery.history == History::default() {
                reader.consumer.nack(&delivery, after(1), Duration::from_millis(number as u64 % 3)).await?;
                continue;
            }
            reader.ack(&delivery).await?;
            done.push(number);
            handled.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(done)
}

async fn publish_slowly(broker: &Arc<dyn Broker>, numbers: std::ops::Range<usize>) -> Verdict {
    for start in numbers.clone().step_by(10) {
        broker.publish(numbered("E", start..start + 10)).await?;
        tokio::task::yield_now().await;
    }
    Ok(())
}

pub(super) async fn consumers_and_publishers_at_once_lose_and_double_nothing(kit: &Kit<'_>) -> Verdict {
    const COUNT: usize = 400;
    let (_place, broker) = kit.open().await?;
    let one = kit.reader(&broker, "E", "h").await?;
    let (two, three) = (kit.reader(&broker, "E", "h").await?, kit.reader(&broker, "E", "h").await?);
    let handled = AtomicUsize::new(0);
    let all = async {
        tokio::join!(
            publish_slowly(&broker, 0..COUNT / 2),
            publish_slowly(&broker, COUNT / 2..COUNT),
            consume(&one, COUNT, &handled),
            consume(&two, COUNT, &handled),
            consume(&three, COUNT, &handled),
        )
    };
    let (first, second, one_done, two_done, three_done) = kit.soon("all messages", all).await?;
    first?;
    second?;
    let mut done = [one_done?, two_done?, three_done?].concat();
    done.sort_unstable();
    ensure_eq!(done, (0..COUNT).collect::<Vec<_>>());
    one.quiet().await
}

//! What do people see and do who look after a broker?

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::broker::{Broker, Seen, Tail};
use crate::conformance::kit::{
    Failed, Kit, Reader, Verdict, data, ensure, ensure_eq, later, numbered, publication, text, texts,
};

/// The next message that a tail shows.
async fn shown(kit: &Kit<'_>, tail: &mut Box<dyn Tail>) -> Result<String, Failed> {
    match kit.soon("a message in the tail", tail.next()).await? {
        Some(Seen::Message(envelope)) => Ok(text(&envelope)),
        other => Err(Failed(format!("the tail shows {other:?}"))),
    }
}

pub(super) async fn the_status_counts_what_waits_and_is_in_flight(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let (later_one, first) = (kit.reader(&broker, "B", "h").await?, kit.reader(&broker, "A", "h").await?);
    ensure_eq!(first.status(&broker).await?.oldest, None);
    let oldest = publication("A", "0");
    broker.publish(vec![oldest.clone()]).await?;
    broker.publish(numbered("A", 1..5)).await?;
    broker.publish(vec![later("A", "5", Duration::from_hours(1))]).await?;
    let taken = first.take(2).await?;
    let all = broker.status().await?;
    let names: Vec<_> = all.iter().map(|status| &status.subscription).collect();
    ensure_eq!(names, [&first.subscription, &later_one.subscription]);
    let status = &all[0];
    ensure_eq!((status.waiting, status.in_flight, status.delayed, status.dead), (3, 2, 1, 0));
    ensure_eq!(status.oldest, Some(oldest.envelope.time));
    ensure!(status.declared && !status.paused, "it is {status:?}");
    first.consumer.ack(&taken).await?;
    let status = first.status(&broker).await?;
    ensure_eq!((status.waiting, status.in_flight, status.delayed), (3, 0, 1));
    Ok(())
}

pub(super) async fn a_tail_sees_what_is_published(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let reader = kit.reader(&broker, "A", "h").await?;
    broker.publish(vec![publication("A", "before")]).await?;
    let mut tail = broker.tail(None, None).await?;
    broker.publish(vec![publication("A", "0"), publication("B", "1")]).await?;
    let mut both = [shown(kit, &mut tail).await?, shown(kit, &mut tail).await?];
    both.sort_unstable();
    ensure_eq!(both.to_vec(), texts(0..2));
    ensure_eq!(reader.take(2).await?.len(), 2);
    Ok(())
}

pub(super) async fn a_tail_of_one_event_sees_no_other(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let _readers = (kit.reader(&broker, "A", "h").await?, kit.reader(&broker, "B", "h").await?);
    let mut tail = broker.tail(Some("B"), None).await?;
    for number in 0..6 {
        let event = if number % 2 == 0 { "A" } else { "B" };
        broker.publish(vec![publication(event, number.to_string())]).await?;
    }
    let all = [shown(kit, &mut tail).await?, shown(kit, &mut tail).await?, shown(kit, &mut tail).await?];
    ensure_eq!(all.to_vec(), texts([1, 3, 5]));
    Ok(())
}

pub(super) async fn a_tail_sees_a_delayed_message_when_it_is_due(kit: &Kit<'_>) -> Verdict {
    const DELAY: Duration = Duration::from_millis(200);
    let (_place, broker) = kit.open().await?;
    let _readers = (kit.reader(&broker, "E", "one").await?, kit.reader(&broker, "E", "other").await?);
    let mut early = broker.tail(None, None).await?;
    let start = Instant::now();
    broker.publish(vec![later("E", "0", DELAY), later("Unheard", "1", DELAY * 2)]).await?;
    let mut late = broker.tail(Some("E"), None).await?;
    broker.publish(vec![publication("E", "now")]).await?;
    ensure_eq!(shown(kit, &mut early).await?, "now");
    ensure_eq!(shown(kit, &mut early).await?, "0");
    // The broker's clock may count in milliseconds.
    ensure!(start.elapsed() + Duration::from_millis(2) >= DELAY, "it was shown after {:?}", start.elapsed());
    ensure_eq!(shown(kit, &mut early).await?, "1");
    broker.publish(vec![publication("E", "last")]).await?;
    ensure_eq!(shown(kit, &mut early).await?, "last");
    for wanted in ["now", "0", "last"] {
        ensure_eq!(shown(kit, &mut late).await?, wanted);
    }
    Ok(())
}

pub(super) async fn a_tail_that_is_slow_is_told_what_it_missed(kit: &Kit<'_>) -> Verdict {
    const COUNT: usize = 5000;
    let (_place, broker) = kit.open().await?;
    let _reader = kit.reader(&broker, "E", "h").await?;
    let mut tail = broker.tail(Some("E"), None).await?;
    for start in (0..COUNT).step_by(100) {
        kit.soon("publishing", broker.publish(numbered("E", start..start + 100))).await??;
    }
    let (mut seen, mut last) = (0, None);
    while seen < COUNT {
        match kit.soon("the tail", tail.next()).await? {
            Some(Seen::Missed(count)) => seen += usize::try_from(count).unwrap_or(usize::MAX),
            Some(Seen::Message(envelope)) => {
                ensure_eq!(String::from_utf8_lossy(&envelope.data), seen.to_string());
                seen += 1;
                last = Some(seen);
            }
            None => return Err(Failed("the tail has ended".to_owned())),
        }
    }
    ensure_eq!((seen, last), (COUNT, Some(COUNT)));
    Ok(())
}

/// Publishes and handles two messages. The times lie before the first and between them.
async fn publish_apart(reader: &Reader, broker: &Arc<dyn Broker>) -> Result<(SystemTime, SystemTime), Failed> {
    const APART: Duration = Duration::from_millis(20);
    let begin = SystemTime::now();
    broker.publish(vec![publication("E", "0")]).await?;
    reader.ack(&reader.next().await?).await?;
    tokio::time::sleep(APART).await;
    let between = SystemTime::now();
    tokio::time::sleep(APART).await;
    broker.publish(vec![publication("E", "1")]).await?;
    reader.ack(&reader.next().await?).await?;
    Ok((begin, between))
}

pub(super) async fn a_tail_begins_at_a_time_that_has_passed(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let reader = kit.reader(&broker, "E", "h").await?;
    let (begin, since) = publish_apart(&reader, &broker).await?;
    let mut tail = broker.tail(Some("E"), Some(since)).await?;
    broker.publish(vec![publication("E", "2")]).await?;
    ensure_eq!([shown(kit, &mut tail).await?, shown(kit, &mut tail).await?].to_vec(), texts([1, 2]));
    let mut all = broker.tail(None, Some(begin)).await?;
    ensure_eq!(shown(kit, &mut all).await?, "0");
    Ok(())
}

pub(super) async fn a_replay_hands_out_what_was_handled(kit: &Kit<'_>) -> Verdict {
    let (_place, broker) = kit.open().await?;
    let (reader, other) = (kit.reader(&broker, "E", "h").await?, kit.reader(&broker, "E", "other").await?);
    let (begin, since) = publish_apart(&reader, &broker).await?;
    let both = other.take(2).await?;
    other.consumer.ack(&both).await?;
    ensure_eq!(broker.replay(&reader.subscription, since).await?, 1);
    let again = reader.next().await?;
    ensure_eq!(again.envelope.data, "1");
    reader.ack(&again).await?;
    reader.quiet().await?;
    ensure_eq!(broker.replay(&reader.subscription, begin).await?, 2);
    ensure_eq!(data(&reader.take(2).await?), texts(0..2));
    other.quiet().await
}

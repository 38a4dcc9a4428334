//! Does the memory broker keep every message until it is finished, and hold publishers back when full?

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use uuid::Uuid;

use crate::broker::{Broker, Consumer, Error, Failure, History, Obituary, Publication, Seen, Subscription};
use crate::envelope::{Envelope, TraceContext};
use crate::memory::{Memory, Options};

fn publication(event: &str, data: &str) -> Publication {
    let envelope = Envelope {
        id: Uuid::now_v7(),
        source: "test".into(),
        event: event.into(),
        key: None,
        time: SystemTime::UNIX_EPOCH,
        data: Bytes::copy_from_slice(data.as_bytes()),
        trace: TraceContext { trace_id: [1; 16], parent: [0; 8] },
        causation: None,
        version: 1,
        hops: 0,
    };
    Publication { envelope, due: None, dedupe: Duration::ZERO }
}

fn memory(buffer_size: usize) -> Memory {
    Memory::new(Options { buffer_size, ..Options::default() })
}

fn obituary() -> Obituary {
    let failure = Failure { at: SystemTime::UNIX_EPOCH, code: "x".into(), message: "boom".into(), traceback: None };
    Obituary { history: History::default(), first: failure.clone(), last: failure }
}

async fn ack(consumer: &Arc<dyn Consumer>, delivery: crate::Delivery) {
    consumer.ack(&[delivery]).await.unwrap();
}

async fn dead(broker: &Memory) -> u64 {
    broker.status().await.unwrap()[0].dead
}

async fn subscribe(broker: &Memory, event: &str, handler: &str) -> Arc<dyn Consumer> {
    broker.subscribe(&Subscription { event: event.into(), handler: handler.into() }).await.unwrap()
}

async fn next(consumer: &Arc<dyn Consumer>) -> crate::Delivery {
    consumer.next(1).await.unwrap().remove(0)
}

#[tokio::test]
async fn every_subscription_gets_its_own_copy() {
    let broker = memory(10);
    let first = subscribe(&broker, "E", "a").await;
    let second = subscribe(&broker, "E", "b").await;
    broker.publish(vec![publication("E", "1")]).await.unwrap();
    assert_eq!(next(&first).await.envelope.data, "1");
    assert_eq!(next(&second).await.envelope.data, "1");
}

#[tokio::test]
async fn an_event_without_subscriptions_is_accepted() {
    memory(1).publish(vec![publication("E", "1")]).await.unwrap();
}

#[tokio::test]
async fn a_full_queue_holds_the_publisher_until_a_message_is_finished() {
    let broker = Arc::new(memory(1));
    let consumer = subscribe(&broker, "E", "a").await;
    broker.publish(vec![publication("E", "1")]).await.unwrap();
    assert!(matches!(broker.try_publish(vec![publication("E", "2")]).await, Err(Error::Full { .. })));

    let mut waiting = Box::pin(broker.publish(vec![publication("E", "2")]));
    assert!(futures_poll_once(&mut waiting).await.is_none());
    let delivery = next(&consumer).await;
    assert!(futures_poll_once(&mut waiting).await.is_none(), "a delivery in flight keeps its place");
    ack(&consumer, delivery).await;
    waiting.await.unwrap();
    assert_eq!(next(&consumer).await.envelope.data, "2");
}

#[tokio::test]
async fn one_full_queue_keeps_the_event_out_of_all_of_them() {
    let broker = memory(1);
    let slow = subscribe(&broker, "E", "slow").await;
    let quick = subscribe(&broker, "E", "quick").await;
    broker.publish(vec![publication("E", "1")]).await.unwrap();
    let delivery = next(&quick).await;
    ack(&quick, delivery).await;
    assert!(broker.try_publish(vec![publication("E", "2")]).await.is_err());
    let status = broker.status().await.unwrap();
    assert_eq!(status.iter().map(|status| status.waiting + status.in_flight).sum::<u64>(), 1);
    drop(slow);
}

#[tokio::test]
async fn more_at_once_than_the_queue_holds_is_refused() {
    let broker = memory(1);
    let _consumer = subscribe(&broker, "E", "a").await;
    let both = vec![publication("E", "1"), publication("E", "2")];
    assert!(matches!(broker.publish(both).await, Err(Error::TooLarge { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_nacked_message_comes_again_after_its_delay_with_its_history() {
    let broker = memory(10);
    let consumer = subscribe(&broker, "E", "a").await;
    broker.publish(vec![publication("E", "1")]).await.unwrap();
    let first = next(&consumer).await;
    let before = tokio::time::Instant::now();
    let history = History { attempts: 2, deaths: 1, deaths_alone: 1, endings: 3, not_before: None };
    consumer.nack(&first, history, Duration::from_secs(5)).await.unwrap();
    let second = next(&consumer).await;
    assert!(before.elapsed() >= Duration::from_secs(5));
    assert_eq!((first.history, second.history), (History::default(), history));
}

#[tokio::test(start_paused = true)]
async fn a_delayed_message_does_not_hold_up_others() {
    let broker = memory(10);
    let consumer = subscribe(&broker, "E", "a").await;
    let mut late = publication("E", "late");
    late.due = Some(SystemTime::now() + Duration::from_secs(60));
    broker.publish(vec![late, publication("E", "now")]).await.unwrap();
    assert_eq!(next(&consumer).await.envelope.data, "now");
    assert_eq!(next(&consumer).await.envelope.data, "late");
}

#[tokio::test]
async fn a_message_survives_the_consumer_that_never_finished_asking_for_it() {
    let broker = memory(10);
    let consumer = subscribe(&broker, "E", "a").await;
    let mut asking = Box::pin(consumer.next(1));
    assert!(futures_poll_once(&mut asking).await.is_none());
    broker.publish(vec![publication("E", "1")]).await.unwrap();
    drop(asking);
    let again = subscribe(&broker, "E", "a").await;
    assert_eq!(next(&again).await.envelope.data, "1");
}

#[tokio::test]
async fn a_burst_beyond_the_bound_never_ends_the_subscription() {
    let broker = Arc::new(memory(4));
    let consumer = subscribe(&broker, "E", "a").await;
    let publisher = {
        let broker = Arc::clone(&broker);
        async move {
            for number in 0..1000 {
                broker.publish(vec![publication("E", &number.to_string())]).await.unwrap();
            }
        }
    };
    let reader = async {
        for number in 0..1000 {
            let delivery = next(&consumer).await;
            assert_eq!(delivery.envelope.data, number.to_string());
            ack(&consumer, delivery).await;
        }
    };
    tokio::join!(publisher, reader);
}

#[tokio::test]
async fn a_dead_letter_frees_its_place_and_is_counted() {
    let broker = memory(1);
    let consumer = subscribe(&broker, "E", "a").await;
    for _ in 0..3 {
        broker.publish(vec![publication("E", "1")]).await.unwrap();
        let delivery = next(&consumer).await;
        consumer.dead_letter(&delivery, &obituary()).await.unwrap();
    }
    assert_eq!(dead(&broker).await, 1, "bounded like the queue");
}

async fn futures_poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(match std::pin::Pin::new(&mut *future).poll(context) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

#[tokio::test]
async fn a_retired_subscription_holds_nobody_up_and_keeps_what_it_has() {
    let broker = memory(1);
    let subscription = Subscription { event: "E".into(), handler: "a".into() };
    drop(broker.subscribe(&subscription).await.unwrap());
    broker.publish(vec![publication("E", "1")]).await.unwrap();
    broker.retire(&subscription).await.unwrap();
    broker.try_publish(vec![publication("E", "2")]).await.unwrap();
    let consumer = broker.subscribe(&subscription).await.unwrap();
    let delivery = next(&consumer).await;
    assert_eq!(delivery.envelope.data, "1");
    ack(&consumer, delivery).await;
    broker.try_publish(vec![publication("E", "3")]).await.unwrap();
    assert_eq!(next(&consumer).await.envelope.data, "3");
}

#[tokio::test]
async fn a_publisher_in_line_at_one_queue_holds_nothing_at_others() {
    let broker = memory(1);
    let full = subscribe(&broker, "Full", "h").await;
    let free = subscribe(&broker, "Free", "h").await;
    broker.publish(vec![publication("Full", "1")]).await.unwrap();
    let mut both = Box::pin(broker.publish(vec![publication("Free", "2"), publication("Full", "2")]));
    assert!(futures_poll_once(&mut both).await.is_none());
    let mut other = Box::pin(broker.publish(vec![publication("Free", "3")]));
    futures_poll_once(&mut other).await.expect("room that nobody holds").unwrap();

    let first = next(&full).await;
    ack(&full, first).await;
    assert!(futures_poll_once(&mut both).await.is_none(), "now there is no room at the other queue");
    let third = next(&free).await;
    assert_eq!(third.envelope.data, "3");
    ack(&free, third).await;
    futures_poll_once(&mut both).await.expect("room at both").unwrap();
    assert_eq!(
        (next(&free).await.envelope.data.as_ref(), next(&full).await.envelope.data.as_ref()),
        (&b"2"[..], &b"2"[..])
    );
}

#[tokio::test]
async fn publishers_have_their_turn_in_the_order_of_their_arrival() {
    let broker = memory(2);
    let consumer = subscribe(&broker, "E", "a").await;
    broker.publish(vec![publication("E", "1"), publication("E", "2")]).await.unwrap();
    let mut large = Box::pin(broker.publish(vec![publication("E", "3"), publication("E", "4")]));
    assert!(futures_poll_once(&mut large).await.is_none());
    let mut small = Box::pin(broker.publish(vec![publication("E", "5")]));
    assert!(futures_poll_once(&mut small).await.is_none());
    let first = next(&consumer).await;
    ack(&consumer, first).await;
    assert!(futures_poll_once(&mut small).await.is_none(), "the larger one came first");
    drop(large);
    futures_poll_once(&mut small).await.expect("it gave up its place").unwrap();
    assert_eq!(next(&consumer).await.envelope.data, "2");
    assert_eq!(next(&consumer).await.envelope.data, "5");
}

#[tokio::test]
async fn publishers_in_line_at_a_subscription_that_is_retired_go_on() {
    let broker = memory(1);
    let subscription = Subscription { event: "E".into(), handler: "a".into() };
    let _consumer = broker.subscribe(&subscription).await.unwrap();
    broker.publish(vec![publication("E", "1")]).await.unwrap();
    let mut waiting = Box::pin(broker.publish(vec![publication("E", "2")]));
    assert!(futures_poll_once(&mut waiting).await.is_none());
    broker.retire(&subscription).await.unwrap();
    futures_poll_once(&mut waiting).await.expect("nobody to wait for").unwrap();
}

#[tokio::test]
async fn bytes_are_bounded_too() {
    let broker = Memory::new(Options { buffer_size: 100, max_bytes: 5000 });
    let _consumer = subscribe(&broker, "E", "a").await;
    let large = "x".repeat(2000);
    broker.try_publish(vec![publication("E", &large), publication("E", &large)]).await.unwrap();
    assert!(matches!(broker.try_publish(vec![publication("E", &large)]).await, Err(Error::Full { .. })));
    let larger = broker.publish(vec![publication("E", &"x".repeat(6000))]).await;
    assert!(matches!(larger, Err(Error::TooLarge { .. })));
}

#[tokio::test(start_paused = true)]
async fn delayed_messages_have_a_bound_of_their_own() {
    let broker = memory(1);
    let consumer = subscribe(&broker, "E", "a").await;
    let late =
        |data: &str| Publication { due: Some(SystemTime::now() + Duration::from_secs(60)), ..publication("E", data) };
    broker.try_publish(vec![late("1")]).await.unwrap();
    assert!(matches!(broker.try_publish(vec![late("2")]).await, Err(Error::Full { .. })));
    broker.try_publish(vec![publication("E", "now")]).await.unwrap();
    assert_eq!(next(&consumer).await.envelope.data, "now");
    assert_eq!(next(&consumer).await.envelope.data, "1");
    broker.try_publish(vec![late("2")]).await.unwrap();
}

#[tokio::test]
async fn messages_that_rest_make_no_room_for_more() {
    let broker = memory(1);
    let consumer = subscribe(&broker, "E", "a").await;
    broker.try_publish(vec![publication("E", "1")]).await.unwrap();
    let delivery = next(&consumer).await;
    consumer.nack(&delivery, History::default(), Duration::from_secs(60)).await.unwrap();
    assert!(matches!(broker.try_publish(vec![publication("E", "2")]).await, Err(Error::Full { .. })));
}

#[tokio::test]
async fn closing_ends_everybody_who_waits() {
    let broker = memory(1);
    let consumer = subscribe(&broker, "E", "a").await;
    let mut tail = broker.tail(None, None).await.unwrap();
    broker.publish(vec![publication("E", "1")]).await.unwrap();
    let _taken = next(&consumer).await;
    assert!(matches!(tail.next().await, Some(Seen::Message(_))));
    let mut publishing = Box::pin(broker.publish(vec![publication("E", "2")]));
    let mut asking = Box::pin(consumer.next(1));
    let mut looking = tail.next();
    assert!(futures_poll_once(&mut publishing).await.is_none());
    assert!(futures_poll_once(&mut asking).await.is_none());
    assert!(futures_poll_once(&mut looking).await.is_none());
    broker.close().await.unwrap();
    assert!(matches!(publishing.await, Err(Error::Unavailable(_))));
    assert!(matches!(asking.await, Err(Error::Closed(_))));
    assert!(looking.await.is_none());
}

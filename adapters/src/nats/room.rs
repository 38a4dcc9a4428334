//! What can be removed when the stream is full? What all of its consumers have finished; without need it is kept for those who look back.

use std::collections::HashMap;

use async_nats::jetstream::consumer::{AckPolicy, Info};
use futures_util::TryStreamExt;

use super::connection::failed;
use super::topology::Topology;
use crate::broker::Error;

/// Up to where every consumer of a subject is done.
type Floors = HashMap<String, u64>;

impl Topology {
    /// Removes finished messages. Returns whether there were any.
    pub(super) async fn make_room(&self) -> Result<bool, Error> {
        let _turn = self.making_room.lock().await;
        let stream = self.handle().await?;
        let consumers: Vec<Info> =
            stream.consumers().try_collect().await.map_err(|error| failed("the consumers cannot be listed", error))?;
        let mut removed = 0;
        for (subject, floor) in floors(&consumers) {
            let purge = stream.purge().filter(subject).sequence(floor + 1);
            let purged = purge.await.map_err(|error| failed("finished messages cannot be removed", error))?;
            removed += purged.purged;
        }
        if removed > 0 {
            tracing::info!(adapter = "nats", stream = %self.names.stream, removed, "the stream was full; finished messages were removed from it");
        }
        Ok(removed > 0)
    }
}

/// By subjects that have a consumer. One that takes several, or all, holds all of them back.
fn floors(consumers: &[Info]) -> Floors {
    let mut floors = Floors::new();
    let mut least = u64::MAX;
    for consumer in consumers.iter().filter(|consumer| consumer.config.ack_policy != AckPolicy::None) {
        let floor = consumer.ack_floor.stream_sequence;
        let subject = &consumer.config.filter_subject;
        if subject.is_empty() || subject.contains(['*', '>']) {
            least = least.min(floor);
        } else {
            let of_subject = floors.entry(subject.clone()).or_insert(floor);
            *of_subject = floor.min(*of_subject);
        }
    }
    floors.values_mut().for_each(|floor| *floor = least.min(*floor));
    floors.retain(|_, floor| *floor > 0);
    floors
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn consumer(subject: &str, ack: &str, floor: u64) -> Info {
        let config = json!({
            "deliver_policy": "all", "ack_policy": ack, "filter_subject": subject, "replay_policy": "instant",
        });
        let sequence = |number: u64| json!({ "consumer_seq": number, "stream_seq": number });
        let info = json!({
            "stream_name": "S", "name": "c", "created": "2026-01-01T00:00:00Z", "config": config,
            "delivered": sequence(99), "ack_floor": sequence(floor), "num_ack_pending": 0, "num_redelivered": 0,
            "num_waiting": 0, "num_pending": 0,
        });
        serde_json::from_value(info).expect("this is what a server says")
    }

    #[test]
    fn only_what_all_consumers_of_a_subject_have_finished_is_removed() {
        let consumers = [
            consumer("a", "explicit", 7),
            consumer("a", "explicit", 5),
            consumer("b", "explicit", 9),
            consumer("c", "explicit", 0),
        ];
        assert_eq!(floors(&consumers), Floors::from([("a".to_owned(), 5), ("b".to_owned(), 9)]));
    }

    #[test]
    fn one_that_takes_everything_holds_everything_back_unless_it_only_looks() {
        let one = consumer("a", "explicit", 7);
        assert_eq!(floors(&[one.clone(), consumer("x.>", "explicit", 3)]), Floors::from([("a".to_owned(), 3)]));
        assert_eq!(floors(&[one, consumer("x.>", "none", 0)]), Floors::from([("a".to_owned(), 7)]));
    }
}

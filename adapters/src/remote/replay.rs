//! How does a subscription get once more what it had? The broker shows it, and the companion hands it out, to this subscription only.

use std::time::SystemTime;

use super::broker::Remote;
use super::wire;
use crate::broker::{Broker, Error, History, Subscription};
use crate::envelope::Envelope;
use crate::rocksdb::{Companion, HandOver};

/// So many are written together, and no more bytes by much.
const AT_ONCE: usize = 500;
const BYTES_AT_ONCE: usize = 4 << 20;

pub(super) async fn replay(remote: &Remote, subscription: &Subscription, from: SystemTime) -> Result<u64, Error> {
    let known = remote.companion.status().await?.into_iter().any(|status| status.subscription == *subscription);
    if !known {
        return Err(Error::Unknown(subscription.clone()));
    }
    if !remote.link.traits().history {
        return Err(Error::Unsupported { adapter: remote.link.adapter(), what: "replay" });
    }
    let Some(sub) = remote.sub(subscription) else {
        return Err(Error::Unavailable(format!("nobody consumes the subscription {subscription} here")));
    };
    let mut feed = remote.link.feed(Some(&subscription.event), Some(from)).await?;
    let (mut envelopes, mut bytes, mut count) = (Vec::new(), 0, 0);
    while !feed.caught_up() {
        // What cannot be read is a dead letter already.
        let Ok((envelope, _)) = wire::read(feed.next().await?, SystemTime::now()) else { continue };
        bytes += envelope.size();
        envelopes.push(envelope);
        if envelopes.len() >= AT_ONCE || bytes >= BYTES_AT_ONCE {
            count += hand_over(&sub.companion, &mut envelopes).await?;
            bytes = 0;
        }
    }
    Ok(count + hand_over(&sub.companion, &mut envelopes).await?)
}

async fn hand_over(companion: &Companion, envelopes: &mut Vec<Envelope>) -> Result<u64, Error> {
    let message = |envelope| HandOver { envelope, history: History::default(), due: None };
    let messages: Vec<HandOver<'_>> = envelopes.iter().map(message).collect();
    companion.hand_over(&messages, Vec::new()).await?;
    let count = envelopes.len() as u64;
    envelopes.clear();
    Ok(count)
}

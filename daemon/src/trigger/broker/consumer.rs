//! How does one subscription work off its messages? Fetching, running and finishing overlap; none of them waits for another.
//!
//! Nothing but the end of the subscription ends this loop: what a broker cannot do now is tried again.

use std::pin::pin;
use std::sync::Arc;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use rohas_adapters::broker::{Consumer, Delivery, Error, Subscription};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::trigger::broker::attempt::{Ended, Runner};
use crate::trigger::broker::lanes::Recall;
use crate::trigger::broker::pump::{Pump, Settled, resolved};

/// Works off a subscription until it is stopped; then what waits goes back to its source, and what runs is finished. Whoever
/// stops it bounds how long that may take.
pub(super) async fn run<R: Runner>(
    mut runner: R,
    subscription: Subscription,
    consumer: Arc<dyn Consumer>,
    stop: CancellationToken,
) {
    let mut stopped = pin!(stop.cancelled());
    let mut pump = Pump::new(subscription, Arc::clone(&consumer), runner.quarantine(), &stop);
    let mut attempts = FuturesUnordered::new();
    let mut pauses = consumer.pauses();
    let mut paused = *pauses.borrow_and_update();
    loop {
        let rules = if paused { None } else { runner.rules() };
        let bounds = rules.map(|rules| (rules.concurrency, rules.buffer_size));
        let concurrency = bounds.map(|(concurrency, _)| concurrency);
        if let Some((concurrency, buffer_size)) = bounds {
            // Looked up for all that begin in this turn.
            let mut route = None;
            while let Some(message) = pump.next(concurrency) {
                match route.get_or_insert_with(|| runner.route()) {
                    Some(route) => attempts.push(R::attempt(route.clone(), message)),
                    None => pump.put_back(message),
                }
            }
            pump.fetch(concurrency, buffer_size);
            pump.recall(buffer_size);
        }
        pump.ack();
        let wake = pump.wake_at(concurrency);
        let step = tokio::select! {
            biased;
            () = stopped.as_mut() => break,
            now = changed(&mut pauses) => Step::Paused(now),
            Some(ended) = attempts.next() => Step::Ended(ended),
            acked = resolved(&mut pump.acking) => Step::Acked(acked),
            Some(settled) = pump.settling.next() => Step::Settled(settled),
            tags = resolved(&mut pump.releasing) => Step::Released(tags),
            fetched = resolved(&mut pump.fetching) => Step::Fetched(fetched),
            (recall, found) = resolved(&mut pump.recalling) => Step::Recalled(recall, found),
            permit = resolved(&mut pump.quarantining) => Step::Alone(permit),
            () = resolved(&mut pump.extending) => Step::Due,
            () = until(wake) => Step::Due,
        };
        match step {
            Step::Paused(now) => {
                paused = now;
                if paused { pump.pause() } else { pump.resume() }
            }
            Step::Ended(ended) => {
                pump.ended(ended, runner.rules());
                // What has ended together is acked together.
                while let Some(Some(ended)) = attempts.next().now_or_never() {
                    pump.ended(ended, runner.rules());
                }
            }
            Step::Acked(acked) => pump.acked(&acked),
            Step::Settled(settled) => pump.settled(settled),
            Step::Released(tags) => pump.released(&tags),
            Step::Fetched(Ok(deliveries)) => pump.fetched(deliveries),
            Step::Fetched(Err(Error::Closed(_))) => break,
            Step::Fetched(Err(error)) => pump.fetch_failed(&error),
            Step::Recalled(recall, Ok(found)) => pump.recalled(recall, found),
            Step::Recalled(_, Err(error)) => pump.recall_failed(&error),
            Step::Alone(permit) => pump.quarantine(permit),
            Step::Due => pump.extend_leases(),
        }
    }
    pump.return_all();
    while !attempts.is_empty() || pump.is_finishing() {
        pump.ack();
        tokio::select! {
            Some(ended) = attempts.next() => pump.ended(ended, runner.rules()),
            acked = resolved(&mut pump.acking) => pump.acked(&acked),
            Some(settled) = pump.settling.next() => pump.settled(settled),
            tags = resolved(&mut pump.releasing) => pump.released(&tags),
        }
    }
}

/// What the loop wakes for.
enum Step {
    /// Somebody has paused (`true`) or resumed the subscription.
    Paused(bool),
    Ended(Ended),
    Acked(Vec<Delivery>),
    Settled(Settled),
    Released(Vec<u64>),
    Fetched(Result<Vec<Delivery>, Error>),
    Recalled(Recall, Result<Vec<Delivery>, Error>),
    Alone(Option<OwnedSemaphorePermit>),
    Due,
}

/// Waits until it changes. It does not any more once the subscription is gone.
async fn changed(pauses: &mut watch::Receiver<bool>) -> bool {
    match pauses.changed().await {
        Ok(()) => *pauses.borrow_and_update(),
        Err(_gone) => std::future::pending().await,
    }
}

async fn until(wake: Option<Instant>) {
    match wake {
        Some(wake) => sleep_until(wake).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
#[path = "consumer_tests.rs"]
mod tests;

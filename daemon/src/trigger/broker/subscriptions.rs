//! Which consumers does a version need, and how do reload and drain reach them?

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rohas_adapters::broker::{Consumer, Subscription};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::brokers::Brokers;
use crate::trigger::broker::attempt::Current;
use crate::trigger::broker::consumer;
use crate::version::{EventRoute, HandlerRef, Version};

/// The name of a broker and a subscription there.
type Place = (String, Subscription);

/// The consumers of a daemon, one per (event, handler) of the present version.
#[derive(Default)]
pub(crate) struct Subscriptions {
    /// An event that moves to another broker is consumed at both, so that what the old one still holds is handled.
    running: HashMap<Place, Running>,
    /// Stopped, and still finishing what they ran. The next consumer at such a place begins when its predecessor has ended, for
    /// two of them would run messages of one key at a time.
    ending: HashMap<Place, JoinHandle<()>>,
}

/// A consumer at work.
struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// What a version subscribes to for the first time: its brokers keep messages for it, and nobody takes them yet.
pub(crate) struct Opened(Vec<(Place, Arc<dyn Consumer>)>);

impl Subscriptions {
    /// Makes what is new in a version exist at its brokers. [`Subscriptions::follow`] is the second half.
    ///
    /// # Errors
    /// When a broker refuses. Nothing has changed then: what had been made is retired again.
    pub(crate) async fn open(
        &self,
        brokers: &Brokers,
        version: &Version,
    ) -> Result<Opened, rohas_adapters::broker::Error> {
        let mut opened = Opened(Vec::new());
        for subscription in wanted(version) {
            let place = (brokers.name_in(&version.schema, &subscription.event).to_owned(), subscription);
            if self.running.contains_key(&place) {
                continue;
            }
            match brokers.subscribe(&place.0, &place.1).await {
                Ok(consumer) => opened.0.push((place, consumer)),
                Err(error) => {
                    for (place, _) in opened.0 {
                        retire(brokers, &place).await;
                    }
                    return Err(error);
                }
            }
        }
        Ok(opened)
    }

    /// Starts consumers of what was opened for a version, which is current by now, and stops those of what is gone from it. The
    /// others go on: they take each message with the version that is current then.
    pub(crate) async fn follow(&mut self, app: &Arc<App>, version: &Version, opened: Opened) {
        for (place, consumer) in opened.0 {
            let stop = app.intake.child_token();
            let runner = Current::new(Arc::clone(app), place.1.clone());
            let consuming = consumer::run(runner, place.1.clone(), consumer, stop.clone());
            let before = self.ending.remove(&place);
            let task = app.tracker.spawn(async move {
                if let Some(before) = before {
                    // One that panicked has ended too.
                    drop(before.await);
                }
                consuming.await;
            });
            self.running.insert(place, Running { stop, task });
        }
        let wanted: HashSet<Subscription> = wanted(version).collect();
        let gone: Vec<_> = self.running.extract_if(|(_, subscription), _| !wanted.contains(subscription)).collect();
        self.ending.retain(|_, task| !task.is_finished());
        for (place, Running { stop, task }) in gone {
            stop.cancel();
            retire(&app.brokers, &place).await;
            self.ending.insert(place, task);
        }
    }
}

fn wanted(version: &Version) -> impl Iterator<Item = Subscription> {
    version.events.values().flat_map(|event| event.handlers.iter().map(|handler| subscription(event, handler)))
}

/// A subscription that cannot be retired fills up without being consumed, which is for people to know; nothing else depends on it.
async fn retire(brokers: &Brokers, (broker, subscription): &Place) {
    if let Err(error) = brokers.retire(broker, subscription).await {
        tracing::warn!(%subscription, %error, "a subscription that nothing declares could not be retired");
    }
}

fn subscription(event: &EventRoute, handler: &HandlerRef) -> Subscription {
    Subscription { event: Arc::clone(&event.name), handler: Arc::clone(&handler.name) }
}

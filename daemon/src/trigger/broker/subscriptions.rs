//! Which consumers does a version need, and how do reload and drain reach them?

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use rohas_adapters::broker::{Consumer, Subscription};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::brokers::{Brokers, Gathered};
use crate::trigger::broker::attempt::Current;
use crate::trigger::broker::consumer;
use crate::version::{HandlerRef, Version};

/// Between two looks at what events have left behind at other brokers.
const LOOK: Duration = Duration::from_secs(1);

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
    /// It works off what an earlier daemon has left behind at a broker that does not carry the event any more, and ends with that.
    left_behind: bool,
}

/// What a version subscribes to for the first time: its brokers keep messages for it, and nobody takes them yet.
#[derive(Default)]
pub(crate) struct Opened {
    consumers: Vec<(Place, Arc<dyn Consumer>)>,
    /// Those of them at brokers that do not carry the event any more.
    left_behind: HashSet<Place>,
}

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
        let Gathered { found, unavailable } = brokers.left_behind(&version.schema).await;
        for (broker, error) in unavailable {
            tracing::warn!(broker, %error, "what events have left behind at this broker is not worked off now");
        }
        let of_one = |(broker, left): (&str, Vec<Subscription>)| -> Vec<Place> {
            left.into_iter().map(|subscription| (broker.to_owned(), subscription)).collect()
        };
        let mut opened = Opened { left_behind: found.into_iter().flat_map(of_one).collect(), ..Opened::default() };
        let carried = |subscription: Subscription| {
            (brokers.name_in(&version.schema, &subscription.event).to_owned(), subscription)
        };
        let places: Vec<Place> = wanted(version).map(carried).chain(opened.left_behind.iter().cloned()).collect();
        for place in places {
            if self.running.contains_key(&place) {
                continue;
            }
            match brokers.subscribe(&place.0, &place.1).await {
                Ok(consumer) => opened.consumers.push((place, consumer)),
                Err(error) => {
                    for (place, _) in
                        opened.consumers.into_iter().filter(|(place, _)| !opened.left_behind.contains(place))
                    {
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
        for (place, consumer) in opened.consumers {
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
            let left_behind = opened.left_behind.contains(&place);
            self.running.insert(place, Running { stop, task, left_behind });
        }
        let wanted: HashSet<Subscription> = wanted(version).collect();
        for ((broker, subscription), running) in &mut self.running {
            // It may have moved away by this version, or come back to where it was.
            running.left_behind = app.brokers.name_in(&version.schema, &subscription.event) != *broker;
        }
        self.end(app, |(_, subscription), _| !wanted.contains(subscription)).await;
    }

    /// Waits until [`Subscriptions::end_worked_off`] may have something to do.
    pub(crate) async fn look_due(&self) {
        match self.running.values().any(|running| running.left_behind) {
            true => sleep(LOOK).await,
            false => std::future::pending().await,
        }
    }

    /// Ends what was to work off what had been left behind, and has done so.
    pub(crate) async fn end_worked_off(&mut self, app: &Arc<App>) {
        let version = app.current();
        let looked = app.brokers.left_behind(&version.schema).await.found;
        let is_done = |(broker, subscription): &Place| {
            looked.iter().any(|(looked, left)| looked == broker && !left.contains(subscription))
        };
        self.end(app, |place, running| running.left_behind && is_done(place)).await;
    }

    /// Stops some consumers and lets nothing new enter their subscriptions.
    async fn end(&mut self, app: &Arc<App>, which: impl Fn(&Place, &Running) -> bool) {
        let ended: Vec<_> = self.running.extract_if(|place, running| which(place, running)).collect();
        self.ending.retain(|_, task| !task.is_finished());
        for (place, Running { stop, task, .. }) in ended {
            stop.cancel();
            retire(&app.brokers, &place).await;
            self.ending.insert(place, task);
        }
    }
}

fn wanted(version: &Version) -> impl Iterator<Item = Subscription> {
    let events = version
        .events
        .values()
        .flat_map(|event| event.handlers.iter().map(|handler| subscription(&event.name, handler)));
    events.chain(version.crons.values().map(|cron| subscription(&cron.event, &cron.handler)))
}

/// A subscription that cannot be retired fills up without being consumed, which is for people to know; nothing else depends on it.
async fn retire(brokers: &Brokers, (broker, subscription): &Place) {
    if let Err(error) = brokers.retire(broker, subscription).await {
        tracing::warn!(%subscription, %error, "a subscription that nothing declares could not be retired");
    }
}

fn subscription(event: &Arc<str>, handler: &HandlerRef) -> Subscription {
    Subscription { event: Arc::clone(event), handler: Arc::clone(&handler.name) }
}

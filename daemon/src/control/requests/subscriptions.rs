//! How do the subscriptions stand, and what is to become of them?

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rohas_adapters::broker::{self, Broker, Status};
use serde::{Deserialize, Serialize};

use super::{Error, Request, elsewhere, unavailable};
use crate::brokers::{Brokers, Gathered, patiently};
use crate::control::view::{Backlog, Overview, Subscription, Unavailable};

/// All subscriptions, and what waits in the outbox.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Subscriptions {}

/// Stops or resumes the subscriptions of an event, or one of them; answers with their names.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Pause {
    pub(crate) event: String,
    pub(crate) handler: Option<String>,
    pub(crate) paused: bool,
}

/// Removes a subscription that the schema no longer declares.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Prune(pub(crate) Name);

/// Hands what was published since a time to a handler once more.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Replay {
    pub(crate) subscription: Name,
    /// Nanoseconds since 1970.
    pub(crate) since: u64,
}

/// Names a subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Name {
    pub(crate) event: String,
    pub(crate) handler: String,
}

/// What went with a subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pruned {
    pub(crate) event: String,
    pub(crate) handler: String,
    /// Messages that it had not finished.
    pub(crate) messages: u64,
}

/// What a handler gets once more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Replayed {
    pub(crate) event: String,
    pub(crate) handler: String,
    pub(crate) messages: u64,
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}--{}", self.event, self.handler)
    }
}

impl From<&broker::Subscription> for Name {
    fn from(subscription: &broker::Subscription) -> Self {
        Self { event: subscription.event.to_string(), handler: subscription.handler.to_string() }
    }
}

/// A subscription and where it is.
struct Held<'a> {
    adapter: &'a str,
    broker: &'a Arc<dyn Broker>,
    status: Status,
}

/// The subscriptions of all brokers that answer, by name.
async fn held(brokers: &Brokers) -> (Vec<Held<'_>>, Vec<(&str, broker::Error)>) {
    let Gathered { found, unavailable } = brokers.gather(|broker| patiently(broker.status())).await;
    let of_one = |(adapter, all): (_, Vec<Status>)| {
        all.into_iter().map(move |status| Held { adapter, broker: brokers.named(adapter), status })
    };
    let mut held: Vec<_> = found.into_iter().flat_map(of_one).collect();
    held.sort_by(|one, other| one.status.subscription.cmp(&other.status.subscription));
    (held, unavailable)
}

/// Those of an event, or of one of its handlers; an error that names the known ones when there is none.
async fn named<'a>(brokers: &'a Brokers, event: &str, handler: Option<&str>) -> Result<Vec<Held<'a>>, Error> {
    let (held, missing) = held(brokers).await;
    // Elsewhere the event can only have left something behind, which is not all that is meant.
    if let Some((_, error)) = missing.iter().find(|(name, _)| *name == brokers.name(event)) {
        return Err(error.clone().into());
    }
    let (found, others): (Vec<Held<'_>>, Vec<Held<'_>>) = held.into_iter().partition(|held| {
        let subscription = &held.status.subscription;
        *subscription.event == *event && handler.is_none_or(|handler| *subscription.handler == *handler)
    });
    if found.is_empty() {
        let wanted = handler.map_or_else(|| format!("of the event {event}"), |handler| format!("{event}--{handler}"));
        return Err(Error::Subscription { wanted, known: known(&others, &unavailable(missing)) });
    }
    Ok(found)
}

fn known(held: &[Held<'_>], unavailable: &[Unavailable]) -> String {
    let names: Vec<String> = held.iter().map(|held| held.status.subscription.to_string()).collect();
    let known = match names.as_slice() {
        [] => "there is none yet; `rohas dev` or `rohas run` makes those that the schema declares".to_owned(),
        names => format!("there are {}", names.join(", ")),
    };
    known + &elsewhere(unavailable)
}

impl Request for Subscriptions {
    const PATH: &'static str = "/subscriptions";
    type Answer = Overview;

    async fn answer(self, brokers: &Brokers) -> Result<Self::Answer, Error> {
        let now = SystemTime::now();
        let (held, missing) = held(brokers).await;
        let subscriptions = held.iter().map(|held| Subscription::new(held.adapter, &held.status, now)).collect();
        let outbox = brokers.backlogs().await.iter().map(|backlog| Backlog::new(backlog, now)).collect();
        Ok(Overview { subscriptions, outbox, unavailable: unavailable(missing) })
    }
}

impl Request for Pause {
    const PATH: &'static str = "/subscriptions/pause";
    type Answer = Vec<Name>;

    async fn answer(self, brokers: &Brokers) -> Result<Self::Answer, Error> {
        let mut changed = Vec::new();
        for held in named(brokers, &self.event, self.handler.as_deref()).await? {
            held.broker.set_paused(&held.status.subscription, self.paused).await?;
            changed.push(Name::from(&held.status.subscription));
        }
        Ok(changed)
    }
}

impl Request for Prune {
    const PATH: &'static str = "/subscriptions/prune";
    type Answer = Pruned;

    async fn answer(self, brokers: &Brokers) -> Result<Self::Answer, Error> {
        let Prune(Name { event, handler }) = self;
        let mut messages = 0;
        // An event that moved to another adapter has left its old subscription behind there.
        let (declared, left): (Vec<_>, Vec<_>) =
            named(brokers, &event, Some(&handler)).await?.into_iter().partition(|held| held.status.declared);
        if left.is_empty() {
            return Err(Error::Declared(declared.iter().map(|held| held.status.subscription.to_string()).collect()));
        }
        for held in left {
            messages += held.broker.prune(&held.status.subscription).await?;
        }
        Ok(Pruned { event, handler, messages })
    }
}

impl Request for Replay {
    const PATH: &'static str = "/subscriptions/replay";
    type Answer = Replayed;

    async fn answer(self, brokers: &Brokers) -> Result<Self::Answer, Error> {
        let Name { event, handler } = self.subscription;
        let since = UNIX_EPOCH + Duration::from_nanos(self.since);
        let mut messages = 0;
        for held in named(brokers, &event, Some(&handler)).await? {
            messages += held.broker.replay(&held.status.subscription, since).await?;
        }
        Ok(Replayed { event, handler, messages })
    }
}

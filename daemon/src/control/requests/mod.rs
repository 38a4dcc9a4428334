//! What can be asked about messages? Each request says where it goes and how it is answered from the brokers.
//!
//! A running daemon answers over its socket; without one, the command that asks has opened the brokers itself.

mod dead_letters;
mod subscriptions;
mod tail;

pub(crate) use dead_letters::{Find, Identify, Ids, List, Purge, Redrive, Selection};
pub(crate) use subscriptions::{Name, Pause, Prune, Replay, Subscriptions};
pub(crate) use tail::{Seeing, Watch, nanos};

use rohas_adapters::broker;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::brokers::Brokers;
use crate::control::view::Unavailable;

/// Something that commands ask for.
pub(crate) trait Request: Serialize + DeserializeOwned + Send + 'static {
    /// Where the daemon takes it in.
    const PATH: &'static str;
    type Answer: Serialize + DeserializeOwned + Send + 'static;

    /// Does what is asked for.
    fn answer(self, brokers: &Brokers) -> impl Future<Output = Result<Self::Answer, Error>> + Send;
}

fn unavailable(missing: Vec<(&str, broker::Error)>) -> Vec<Unavailable> {
    missing.into_iter().map(|(adapter, error)| Unavailable::new(adapter, &error)).collect()
}

/// Why a request was not fulfilled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Broker(#[from] broker::Error),
    #[error("there is no subscription {wanted}; {known}")]
    Subscription { wanted: String, known: String },
    #[error("the schema declares {0}; only a subscription that it no longer declares can be pruned")]
    Declared(String),
    #[error("there is no dead letter {prefix}{}", elsewhere(.unavailable))]
    DeadLetter { prefix: String, unavailable: Vec<Unavailable> },
    #[error("the event {0} lives in the memory of a daemon, and none runs this project")]
    Carrier(String),
    #[error("{prefix:?} is no id; it has hexadecimal digits, at least {least}")]
    Prefix { prefix: String, least: usize },
    #[error("several dead letters begin with {prefix}, among them {first} and {second}; give more digits")]
    Ambiguous { prefix: String, first: uuid::Uuid, second: uuid::Uuid },
}

/// Where something may be that was not found.
fn elsewhere(unavailable: &[Unavailable]) -> String {
    unavailable.iter().map(|unavailable| format!("; {unavailable}")).collect()
}

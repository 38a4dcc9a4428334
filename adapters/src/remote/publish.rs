//! How do publications get to the broker? Once all that is subscribed to is kept there, at once or when they are due.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{sleep, timeout};

use super::broker::Remote;
use super::subscription::{Made, Sub};
use super::wire::Outgoing;
use crate::broker::{Error, Publication};

/// While a subscription is made for the first time publishers wait so long for it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whoever waits for room looks again after these.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// Publishes what is to be seen now, and keeps the rest until it is due. Nothing of the rest is kept unless the broker has taken the first.
pub(super) async fn publish(remote: &Remote, publications: Vec<Publication>, wait: bool) -> Result<(), Error> {
    let now = SystemTime::now();
    let (later, at_once): (Vec<_>, Vec<_>) =
        publications.into_iter().partition(|publication| publication.due.is_some_and(|due| due > now));
    if !at_once.is_empty() {
        for publication in &at_once {
            wait_until_made(&remote.subs_of(&publication.envelope.event)).await?;
        }
        let outgoing = |Publication { envelope, dedupe, .. }| Outgoing { envelope, dedupe };
        let messages: Vec<Outgoing> = at_once.into_iter().map(outgoing).collect();
        send(remote, &messages, wait).await?;
    }
    if later.is_empty() { Ok(()) } else { remote.due.keep(later, wait).await }
}

async fn send(remote: &Remote, messages: &[Outgoing], wait: bool) -> Result<(), Error> {
    let mut pause = FIRST_PAUSE;
    loop {
        match remote.link.publish(messages).await {
            Err(Error::Full { .. }) if wait => sleep(pause).await,
            outcome => return outcome,
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// What is published before the broker keeps it for all who subscribe would be lost to some.
async fn wait_until_made(subs: &[Arc<Sub>]) -> Result<(), Error> {
    for sub in subs {
        let mut made = sub.made.subscribe();
        let known = timeout(PATIENCE, made.wait_for(|made| !matches!(made, Made::Trying)));
        // The sender is in `sub`.
        let why = match known.await {
            Ok(Ok(made)) => match &*made {
                Made::Failed(error) => error.to_string(),
                Made::Yes | Made::Trying => continue,
            },
            _ => format!("it did not answer within {} s", PATIENCE.as_secs()),
        };
        return Err(Error::Unavailable(format!("the subscription {} was never made: {why}", sub.subscription)));
    }
    Ok(())
}

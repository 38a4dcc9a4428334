//! What becomes of messages that nobody gets? What is given up is shown to those who work with the broker and kept by the companion; what was handled before is acked.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::held::Chore;
use super::subscription::{Sub, TELLING, silent};
use crate::broker::{DeadLetter, Error, Obituary};
use crate::envelope::Envelope;

/// What could not be given up is tried again after this.
const PAUSE: Duration = Duration::from_secs(1);

/// Gives a message up: its copy at the broker first, then the letter here, then its end at the broker.
///
/// # Errors
/// When it could not be kept; it then stays.
pub(super) async fn bury(sub: &Sub, tag: u64, obituary: &Obituary) -> Result<(), Error> {
    let found = sub.look(|held| Some((held.letter(tag)?, held.get(tag)?)));
    let Some((id, (envelope, identity))) = found else { return Ok(()) };
    show(sub, id, &envelope, obituary).await?;
    sub.companion.bury(id, &envelope, obituary.clone(), identity).await?;
    sub.finish(std::iter::once(tag)).await;
    Ok(())
}

/// Puts a copy where people look who work with the broker. One that the broker never takes is only kept here.
///
/// # Errors
/// When the broker cannot take it now.
pub(super) async fn show(sub: &Sub, id: Uuid, envelope: &Arc<Envelope>, obituary: &Obituary) -> Result<(), Error> {
    let (envelope, subscription) = (Arc::clone(envelope), sub.subscription.clone());
    let letter = DeadLetter { id, envelope, subscription, obituary: obituary.clone() };
    match timeout(TELLING, sub.link.bury(&letter)).await {
        Ok(Err(error @ Error::TooLarge { .. })) => {
            let subscription = &sub.subscription;
            tracing::warn!(%subscription, %id, %error, "the broker takes no copy of a dead letter; it is kept in the embedded store alone");
            Ok(())
        }
        Ok(result) => result,
        Err(_elapsed) => Err(silent()),
    }
}

/// Does the chores of a subscription for as long as it lives.
pub(super) async fn run(sub: &Sub) {
    let mut unburied = Vec::new();
    loop {
        let more = sub.chores.notified();
        let chores = sub.take_chores();
        if chores.is_empty() && unburied.is_empty() {
            more.await;
            continue;
        }
        let mut copies = Vec::new();
        for chore in chores {
            match chore {
                Chore::Ack { generation, token } => copies.push((generation, token)),
                Chore::Bury { tag, obituary } => unburied.push((tag, obituary)),
            }
        }
        sub.tell_of_copies(copies.into_iter()).await;
        unburied = bury_all(sub, unburied).await;
        if !unburied.is_empty() {
            tokio::select! {
                () = more => {}
                () = sleep(PAUSE) => {}
            }
        }
    }
}

/// Tries each of them. Returns those that are left.
async fn bury_all(sub: &Sub, letters: Vec<(u64, Obituary)>) -> Vec<(u64, Obituary)> {
    let mut left = Vec::new();
    for (tag, obituary) in letters {
        let subscription = &sub.subscription;
        match bury(sub, tag, &obituary).await {
            Ok(()) => {
                tracing::error!(%subscription, error = obituary.last.message, "a message was given up because it cannot be read")
            }
            Err(error) => {
                tracing::warn!(%subscription, %error, "a message that cannot be read could not be given up; it is held until it can");
                left.push((tag, obituary));
            }
        }
    }
    left
}

//! How does a subscription stay connected? It is subscribed to until that works, and again whenever its intake has failed, for as long as somebody wants its messages.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::subscription::{Made, Opened, Sub, TELLING, Wish};
use super::{burial, leases};
use crate::broker::Error;

/// Between two attempts.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A link that has not said by then whether it could subscribe is asked anew.
const PATIENCE: Duration = Duration::from_secs(10);

/// Everything that goes on for a subscription beside its consumers, until it is to end.
pub(super) async fn run(sub: Arc<Sub>) {
    let beside = async {
        tokio::join!(burial::run(&sub), leases::run(&sub));
    };
    tokio::select! {
        () = connect(&sub) => {}
        () = beside => {}
    }
    sub.ended.send_replace(true);
}

/// What decides whether messages are wanted.
struct Wants {
    wish: watch::Receiver<Wish>,
    pauses: watch::Receiver<bool>,
}

impl Wants {
    fn is_end(&self) -> bool {
        *self.wish.borrow() == Wish::End
    }

    fn is_consuming(&self) -> bool {
        *self.wish.borrow() == Wish::Consume && !*self.pauses.borrow()
    }

    /// Neither sender is dropped while the subscription is there.
    async fn changed(&mut self) {
        tokio::select! {
            Ok(()) = self.wish.changed() => {}
            Ok(()) = self.pauses.changed() => {}
            else => std::future::pending().await,
        }
    }
}

async fn connect(sub: &Sub) {
    let mut wants = Wants { wish: sub.wish.subscribe(), pauses: sub.own.pauses() };
    let mut made = false;
    while !wants.is_end() {
        // Even one that is paused must exist at the broker, or it would miss what is published.
        if made && !wants.is_consuming() {
            wants.changed().await;
            continue;
        }
        if !subscribe(sub, &mut wants).await {
            return;
        }
        made = true;
        hold(sub, &mut wants).await;
    }
}

/// Subscribes until that works. False when it is to end before.
async fn subscribe(sub: &Sub, wants: &mut Wants) -> bool {
    let mut pause = FIRST_PAUSE;
    let mut failed = false;
    loop {
        let subscribing = timeout(PATIENCE, sub.link.subscribe(&sub.subscription));
        let outcome = tokio::select! {
            outcome = subscribing => outcome,
            _ended = wants.wish.wait_for(|wish| *wish == Wish::End) => return false,
        };
        let silent = || Error::Unavailable(format!("it did not answer within {} s", PATIENCE.as_secs()));
        let (adapter, subscription) = (sub.link.adapter(), &sub.subscription);
        match outcome.unwrap_or_else(|_elapsed| Err(silent())) {
            Ok(intake) => {
                if failed {
                    tracing::info!(adapter, %subscription, "the broker is subscribed to");
                }
                sub.open(intake);
                sub.made.send_replace(Made::Yes);
                return true;
            }
            Err(error) => {
                if !failed {
                    tracing::warn!(adapter, %subscription, %error, "the broker cannot be subscribed to; it is tried until it can");
                }
                failed = true;
                sub.made.send_if_modified(|made| {
                    let missing = !matches!(made, Made::Yes);
                    if missing {
                        *made = Made::Failed(error);
                    }
                    missing
                });
            }
        }
        tokio::select! {
            () = sleep(pause) => {}
            _ended = wants.wish.wait_for(|wish| *wish == Wish::End) => return false,
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Keeps the intake until it is lost or not wanted. What is handed out is finished through it.
async fn hold(sub: &Sub, wants: &mut Wants) {
    while sub.opened().is_some() {
        let resting = !wants.is_consuming();
        sub.set_resting(resting);
        if wants.is_end() || (resting && !sub.is_out()) {
            return close(sub).await;
        }
        tokio::select! {
            () = wants.changed() => {}
            () = sub.turn.notified() => {}
        }
    }
}

/// Gives back what is not finished.
async fn close(sub: &Sub) {
    let Some(opened) = sub.take_opened() else { return };
    if let Err(error) = close_intake(&opened).await {
        let (adapter, subscription) = (sub.link.adapter(), &sub.subscription);
        tracing::warn!(adapter, %subscription, %error, "the broker could not be told what was finished; it hands that out again, and it is known");
    }
}

async fn close_intake(opened: &Opened) -> Result<(), Error> {
    let closing = timeout(TELLING, opened.intake.close());
    closing.await.unwrap_or_else(|_elapsed| Err(super::subscription::silent()))
}

//! Which messages are still ours? Where a broker lends them for a time, the leases of all that are ours are renewed long before they end.

use tokio::time::{sleep, timeout};

use super::subscription::{Sub, silent};

/// So often within a lease they are renewed.
const TIMES: u32 = 3;

/// Renews leases for as long as the subscription lives.
pub(super) async fn run(sub: &Sub) {
    loop {
        let changed = sub.changed.notified();
        let leased = sub.opened().and_then(|opened| Some((opened.intake.lease()?, opened)));
        let Some((lease, opened)) = leased else {
            changed.await;
            continue;
        };
        let interval = lease / TIMES;
        sleep(interval).await;
        let tokens = sub.look(|held| if held.generation() == opened.generation { held.tokens() } else { Vec::new() });
        if tokens.is_empty() {
            continue;
        }
        match timeout(interval, opened.intake.extend(&tokens)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => sub.lose(opened.generation, &error),
            Err(_elapsed) => {
                let error = silent();
                tracing::warn!(adapter = sub.link.adapter(), subscription = %sub.subscription, %error, "leases could not be renewed; messages may be handed out twice");
            }
        }
    }
}

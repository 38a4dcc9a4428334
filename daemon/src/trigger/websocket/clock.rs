//! When is something due on a connection? One task looks after all of them, so that none needs a timer of its own.

use std::sync::Weak;
use std::time::Duration;

use crate::app::App;
use crate::trigger::websocket::pulse::Rules;

/// How often it looks while the daemon drains, when connections are to end soon.
const DRAINING: Duration = Duration::from_millis(50);

/// Pings, closes and cuts what is due, for as long as the app is there.
pub(crate) async fn beat(app: Weak<App>) {
    while let Some(present) = app.upgrade() {
        let rules = Rules::new(&present.current().settings.websocket);
        present.websockets.tick(rules);
        let intake = present.intake.clone();
        drop(present);
        if intake.is_cancelled() {
            tokio::time::sleep(DRAINING).await;
        } else {
            tokio::select! {
                () = tokio::time::sleep(rules.tick()) => {}
                () = intake.cancelled() => {}
            }
        }
    }
}

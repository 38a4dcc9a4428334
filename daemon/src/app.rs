//! What does a running daemon consist of? What every trigger shares, and how a new version takes over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use rohas_adapters::broker;
use rohas_telemetry::Handle;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::brokers::Brokers;
use crate::trigger::broker::Subscriptions;
use crate::trigger::http::Site;
use crate::trigger::websocket::{self, Registry};
use crate::version::Version;

/// The parts of a daemon that outlive reloads.
pub(crate) struct App {
    pub(crate) brokers: Arc<Brokers>,
    pub(crate) telemetry: Handle,
    /// Every task that must have ended before the daemon does.
    pub(crate) tracker: TaskTracker,
    /// Cancelled when the daemon begins to drain: nothing new is taken in from then on.
    pub(crate) intake: CancellationToken,
    pub(crate) requests: Gauge,
    /// Open WebSockets.
    pub(crate) websockets: Arc<Registry>,
    /// One permit per WebSocket message that may be in its handlers.
    pub(crate) messages: Semaphore,
    /// Deliveries suspected of killing their workers run one at a time, each in a worker of its own: whoever runs one holds the
    /// permit.
    pub(crate) quarantine: Arc<Semaphore>,
    /// The present version. Swapped by [`App::install`] only.
    site: ArcSwap<Site>,
    /// Told of each new version once it has taken over.
    installed: watch::Sender<u64>,
    ready: AtomicBool,
}

/// How many requests are running.
#[derive(Default)]
pub(crate) struct Gauge(AtomicUsize);

/// Counts as one request until it is dropped.
pub(crate) struct Entered {
    app: Arc<App>,
}

impl App {
    /// An app that consumes for its first version, and is ready for requests once [`App::open`] is called.
    ///
    /// # Errors
    /// When a broker refuses a subscription.
    pub(crate) async fn start(
        brokers: Arc<Brokers>,
        telemetry: Handle,
        tracker: TaskTracker,
        (websockets, version): (Arc<Registry>, Arc<Version>),
    ) -> Result<(Arc<Self>, Subscriptions), broker::Error> {
        let mut subscriptions = Subscriptions::default();
        let opened = subscriptions.open(&brokers, &version).await?;
        brokers.assign(&version.schema);
        let messages = usize::try_from(version.settings.websocket.max_in_flight.get()).unwrap_or(usize::MAX);
        let installed = watch::Sender::new(version.number);
        let app = Arc::new_cyclic(|app| Self {
            brokers,
            telemetry,
            tracker,
            intake: CancellationToken::new(),
            requests: Gauge::default(),
            websockets,
            messages: Semaphore::new(messages.min(Semaphore::MAX_PERMITS)),
            quarantine: Arc::new(Semaphore::new(1)),
            site: ArcSwap::from_pointee(Site::new(app, Arc::clone(&version))),
            installed,
            ready: AtomicBool::new(false),
        });
        app.brokers.relay(&app.tracker, &app.intake);
        app.tracker.spawn(websocket::beat(Arc::downgrade(&app)));
        subscriptions.follow(&app, &version, opened).await;
        Ok((app, subscriptions))
    }

    /// Lets a version take over. Its subscriptions come first, so that nothing it publishes finds no queue; then its routes;
    /// then the consumers, which run messages on the version that is current. What runs stays on the version it started on.
    ///
    /// # Errors
    /// When a broker refuses a subscription; the old version then goes on as if nothing had been tried.
    pub(crate) async fn install(
        self: &Arc<Self>,
        version: Arc<Version>,
        subscriptions: &mut Subscriptions,
    ) -> Result<(), broker::Error> {
        let opened = subscriptions.open(&self.brokers, &version).await?;
        self.brokers.assign(&version.schema);
        self.websockets.remember(&self.current(), &version);
        self.site.store(Arc::new(Site::new(&Arc::downgrade(self), Arc::clone(&version))));
        self.websockets.close_undeclared(&version);
        subscriptions.follow(self, &version, opened).await;
        self.installed.send_replace(version.number);
        Ok(())
    }

    pub(crate) fn site(&self) -> Arc<Site> {
        self.site.load_full()
    }

    pub(crate) fn current(&self) -> Arc<Version> {
        Arc::clone(&self.site.load().version)
    }

    /// The number of the present version.
    pub(crate) fn version_number(&self) -> u64 {
        self.site.load().version.number
    }

    /// The number of the present version, and every change of it.
    pub(crate) fn versions(&self) -> watch::Receiver<u64> {
        self.installed.subscribe()
    }

    /// Everything is bound and loaded.
    pub(crate) fn open(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }

    /// Why the daemon should get no requests, if it shouldn't.
    pub(crate) fn not_ready(&self) -> Option<&'static str> {
        if self.intake.is_cancelled() {
            return Some("it is shutting down");
        }
        (!self.ready.load(Ordering::Relaxed)).then_some("it is starting")
    }

    /// Counts a request in, unless `most` are running.
    pub(crate) fn enter_request(self: &Arc<Self>, most: usize) -> Option<Entered> {
        let more = |running| (running < most).then_some(running + 1);
        self.requests.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Entered { app: Arc::clone(self) })
    }
}

impl Gauge {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.app.requests.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;

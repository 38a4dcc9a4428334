//! How does a daemon live? Lock, check, open, bind, load, serve, reload, drain: in this order, and back.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rohas_config::schema::Schema;
use rohas_config::settings::Settings;
use rohas_handlers_host::load::Report;
use rohas_telemetry::Service;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;

use crate::app::App;
use crate::brokers::{self, Brokers};
use crate::control;
use crate::files;
use crate::lock::Lock;
use crate::project::{Project, Sound, Unsound};
use crate::screen::Screen;
use crate::signals::Signals;
use crate::trigger::broker::Subscriptions;
use crate::trigger::cron;
use crate::trigger::http::Listener;
use crate::version::Version;
use crate::watch::Watcher;
use crate::workers::{self, Surroundings};

/// How long workers and connections may take to end after the drain grace.
const END_PATIENCE: Duration = Duration::from_secs(1);

/// After this long somebody at the screen wants to know what is being waited for.
const LONG_LOAD: Duration = Duration::from_secs(3);

/// How many loads in a row an edit ends at once.
const QUICKLY_ENDED: u32 = 3;

/// How a daemon is to be run.
pub(crate) struct Plan {
    pub(crate) project: Project,
    pub(crate) surroundings: Surroundings,
    /// `dev`: watch, generate code, wait for a broken schema to be mended, show errors to callers.
    pub(crate) development: bool,
    pub(crate) screen: Screen,
}

/// Why a daemon did not start. Each has its own exit code.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Unsound(#[from] Unsound),
    #[error(transparent)]
    Lock(#[from] crate::lock::Error),
    #[error(transparent)]
    Telemetry(#[from] rohas_telemetry::Error),
    #[error("cannot listen on {address}")]
    Bind { address: String, source: std::io::Error },
    #[error("cannot open the control socket {path}")]
    Control { path: String, source: std::io::Error },
    #[error(transparent)]
    Workers(#[from] workers::Error),
    #[error(transparent)]
    Brokers(#[from] brokers::OpenError),
    #[error(transparent)]
    Close(#[from] brokers::CloseError),
    #[error(transparent)]
    Broker(#[from] rohas_adapters::broker::Error),
    #[error(transparent)]
    Cron(#[from] cron::Error),
    #[error("cannot watch the project")]
    Watch(#[from] notify::Error),
    #[error("cannot set up signals")]
    Signals(#[source] std::io::Error),
    #[error("the handlers have errors; `rohas run` starts only when all of them load")]
    Handlers,
}

/// Runs a daemon until it is told to stop.
pub(crate) async fn run(plan: Plan) -> Result<(), Error> {
    let _lock = Lock::take(&plan.project.root)?;
    files::raise_limit();
    let mut signals = Signals::new().map_err(Error::Signals)?;
    let (sound, mut watcher) = tokio::select! {
        first = first_sound(&plan) => first?,
        () = signals.stop() => return Ok(()),
    };
    plan.screen.warnings(&sound);

    let settings = Arc::clone(&sound.settings);
    let (telemetry, service) = rohas_telemetry::open(telemetry_options(&plan.project, &settings))?;
    let address = settings.server.host.with_port(settings.server.port);
    let listener = Listener::bind(&settings.server, plan.development)
        .await
        .map_err(|source| Error::Bind { address: address.clone(), source })?;
    let bound = listener.address().map_err(|source| Error::Bind { address, source })?;

    let tracker = TaskTracker::new();
    let (sound, version) = tokio::select! {
        first = first_version(&plan, sound, watcher.as_mut(), &tracker) => first?,
        () = signals.stop() => return Ok(()),
    };
    plan.screen.needs_restart(&settings, &sound.settings);
    let broken = plan.screen.load_errors(&version.handlers, &version.host.report());
    if broken && !plan.development {
        return Err(Error::Handlers);
    }
    plan.screen.load_warnings(&version);
    let ledger = cron::Ledger::open(&plan.project.root)?;
    let brokers = Brokers::open(&plan.project.root, &settings, &version.schema).await?;
    brokers.retire_undeclared(&version.schema).await?;
    brokers.warn_of_strays().await;
    let websockets = Arc::clone(&plan.surroundings.websockets);
    let (app, subscriptions) = App::start(Arc::new(brokers), telemetry, tracker, (websockets, version)).await?;
    let control = control::Socket::bind(&plan.project.root, bound)
        .map_err(|(path, source)| Error::Control { path: path.display().to_string(), source })?;
    app.tracker.spawn(control.run(Arc::clone(&app)));
    app.tracker.spawn(listener.run(Arc::clone(&app)));
    app.tracker.spawn(cron::Service::new(Arc::clone(&app), ledger).run());
    app.open();
    plan.screen.serving(&app.current(), bound);

    // The reloader has the only lasting reference: when `drain` drops it, the last version goes and its workers end.
    let mut reloader = Reloader { plan: &plan, app, watcher, subscriptions, generated: sound.schema, number: 1 };
    loop {
        tokio::select! {
            () = signals.stop() => break,
            () = reloader.follow() => {}
        }
    }
    drain(&plan, reloader, &mut signals, service).await
}

/// Waits for an edit that ends a load: code that hangs while it is imported must not keep the edit that mends it waiting.
///
/// After a few in a row it takes longer and longer until one counts, for an import that writes files below `src` would
/// supersede its own load for ever.
async fn superseding(watcher: Option<&mut Watcher>, superseded: u32) {
    sleep(LONG_LOAD * (superseded + 1).saturating_sub(QUICKLY_ENDED)).await;
    changed(watcher).await;
}

async fn changed(watcher: Option<&mut Watcher>) {
    match watcher {
        Some(watcher) => watcher.changed().await,
        None => std::future::pending().await,
    }
}

/// Reads the project for the first time, in development with a watcher of its files.
async fn first_sound(plan: &Plan) -> Result<(Sound, Option<Watcher>), Error> {
    if !plan.development {
        let sound = read(plan, true).await?;
        sound.check_generated(&plan.project.root)?;
        return Ok((sound, None));
    }
    // The settings come first: a daemon whose configuration is broken has nothing to wait for.
    plan.project.runnable_settings()?;
    let mut watcher = Watcher::new(&plan.project.root)?;
    let sound = mended(plan, &mut watcher).await?;
    Ok((sound, Some(watcher)))
}

/// Reads the project and generates its code. What is wrong with it is shown, and mending it is waited for.
async fn mended(plan: &Plan, watcher: &mut Watcher) -> Result<Sound, Error> {
    loop {
        // Before the files are read: what is edited meanwhile is then a change.
        watcher.settle().await;
        match read(plan, false).await {
            Ok(sound) => {
                let generated = generate(plan, &sound).await?;
                if !generated {
                    return Ok(sound);
                }
                // What was only missing a moment ago, such as a handler's file, may have been made now.
            }
            Err(unsound) => {
                plan.screen.waiting(&unsound.render(plan.screen.color), "The project has faults.");
                watcher.changed().await;
            }
        }
    }
}

/// Loads the first version. In development, code that does not load is shown and the next edit waited for.
async fn first_version(
    plan: &Plan,
    mut sound: Sound,
    watcher: Option<&mut Watcher>,
    tracker: &TaskTracker,
) -> Result<(Sound, Arc<Version>), Error> {
    let Some(watcher) = watcher else {
        let version = load(plan, &sound, 1, tracker).await?;
        return Ok((sound, version));
    };
    let mut superseded = 0;
    loop {
        let loaded = tokio::select! {
            loaded = load(plan, &sound, 1, tracker) => Some(loaded),
            () = superseding(Some(&mut *watcher), superseded) => None,
        };
        match loaded {
            Some(Ok(version)) => return Ok((sound, version)),
            Some(Err(error)) if error.is_mendable() => {
                superseded = 0;
                plan.screen.waiting(&format!("error: {error}\n"), "The handlers do not load.");
                watcher.changed().await;
            }
            Some(Err(error)) => return Err(error.into()),
            None => superseded += 1,
        }
        sound = mended(plan, watcher).await?;
        plan.screen.warnings(&sound);
    }
}

async fn read(plan: &Plan, strict: bool) -> Result<Sound, Unsound> {
    let project = plan.project.clone();
    spawn_blocking(move || project.read(strict)).await?
}

/// Generates code; true when files changed.
async fn generate(plan: &Plan, sound: &Sound) -> Result<bool, Unsound> {
    let (root, files) = (plan.project.root.clone(), sound.generated());
    let changes = spawn_blocking(move || rohas_codegen::sync(&root, &files)).await??;
    plan.screen.generated(&changes);
    Ok(!changes.is_empty())
}

async fn load(plan: &Plan, sound: &Sound, number: u64, tracker: &TaskTracker) -> Result<Arc<Version>, workers::Error> {
    let mut starting = pin!(workers::start(&plan.project.root, sound, &plan.surroundings, plan.development, tracker));
    let started = timeout(LONG_LOAD, starting.as_mut()).await;
    let started = match started {
        Ok(started) => started,
        Err(_elapsed) => {
            plan.screen.still_loading();
            starting.await
        }
    };
    let (host, handlers) = started?;
    let project = (Arc::clone(&sound.settings), Arc::clone(&sound.schema));
    Ok(Arc::new(Version::new(number, project, handlers, host, plan.development)))
}

pub(crate) fn telemetry_options(project: &Project, settings: &Settings) -> rohas_telemetry::Options {
    let telemetry = &settings.telemetry;
    let days = telemetry.retention_days;
    rohas_telemetry::Options {
        path: telemetry.directory(&project.root),
        retention: (days > 0).then(|| Duration::from_secs(u64::from(days) * 24 * 60 * 60)),
        max_bytes: Some(telemetry.max_bytes.as_u64()),
        max_cache_size: usize::try_from(telemetry.max_cache_size).unwrap_or(usize::MAX),
        traces: telemetry.enable_traces,
        logs: telemetry.enable_logs,
    }
}

/// Brings edits to life.
struct Reloader<'a> {
    plan: &'a Plan,
    app: Arc<App>,
    watcher: Option<Watcher>,
    subscriptions: Subscriptions,
    /// What `src/generated` was made from: not always the version that serves, since its successor may have failed to load.
    generated: Arc<Schema>,
    number: u64,
}

impl Reloader<'_> {
    /// Waits for an edit and brings it to life, or the one that was made meanwhile.
    async fn follow(&mut self) {
        tokio::select! {
            () = changed(self.watcher.as_mut()) => {}
            () = self.subscriptions.look_due() => return self.subscriptions.end_worked_off(&self.app).await,
        }
        let mut superseded = 0;
        while self.reload(superseded).await == Reload::Superseded {
            superseded += 1;
        }
    }

    /// Reads the project anew and lets it take over if it is sound; otherwise the last good version goes on. `superseded` says
    /// how many attempts in a row ended with an edit.
    async fn reload(&mut self, superseded: u32) -> Reload {
        let began = Instant::now();
        match self.try_reload(superseded).await {
            Err(Kept::Superseded) => return Reload::Superseded,
            Ok(()) => self.plan.screen.reloaded(&self.app.current(), began.elapsed()),
            Err(Kept::Unsound(unsound)) => self.plan.screen.kept(&unsound.render(self.plan.screen.color)),
            Err(Kept::Workers(error)) => self.plan.screen.kept(&format!("{error}\n")),
            Err(Kept::Broker(error)) => self.plan.screen.kept(&format!("{error}\n")),
            Err(Kept::Handlers) => self.plan.screen.kept(""),
        }
        Reload::Ended
    }

    async fn try_reload(&mut self, superseded: u32) -> Result<(), Kept> {
        let sound = read(self.plan, false).await?;
        let current = self.app.current();
        self.plan.screen.needs_restart(&current.settings, &sound.settings);
        self.plan.screen.warnings(&sound);
        if sound.schema != self.generated {
            generate(self.plan, &sound).await?;
            self.generated = Arc::clone(&sound.schema);
        }
        let version = tokio::select! {
            version = load(self.plan, &sound, self.number + 1, &self.app.tracker) => version.map_err(Kept::Workers)?,
            () = superseding(self.watcher.as_mut(), superseded) => return Err(Kept::Superseded),
        };
        if breaks_more(&current, &version) {
            self.plan.screen.load_errors(&version.handlers, &version.host.report());
            return Err(Kept::Handlers);
        }
        self.plan.screen.load_errors(&version.handlers, &version.host.report());
        self.plan.screen.load_warnings(&version);
        drop(current);
        self.app.install(version, &mut self.subscriptions).await.map_err(Kept::Broker)?;
        self.number += 1;
        Ok(())
    }
}

/// How an attempt to reload ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reload {
    /// The edit was taken up or refused.
    Ended,
    /// There was another edit before this one was loaded.
    Superseded,
}

/// Why the last good version goes on.
#[derive(Debug, thiserror::Error)]
enum Kept {
    #[error(transparent)]
    Unsound(#[from] Unsound),
    #[error(transparent)]
    Workers(workers::Error),
    #[error(transparent)]
    Broker(rohas_adapters::broker::Error),
    #[error("handlers do not load")]
    Handlers,
    #[error("the project was edited again")]
    Superseded,
}

/// Whether a handler that loads now would no longer do so.
fn breaks_more(current: &Version, next: &Version) -> bool {
    let broken = |version: &Version, report: &Report| -> Vec<String> {
        let failed = version.handlers.iter().zip(&report.handlers).filter(|(_, loaded)| loaded.is_broken());
        failed.map(|(handler, _)| format!("{:?} {} {}", handler.kind, handler.owner, handler.name)).collect()
    };
    let before = broken(current, &current.host.report());
    broken(next, &next.host.report()).iter().any(|handler| !before.contains(handler))
}

/// Takes in nothing new, finishes what runs within the grace, and closes the stores.
async fn drain(plan: &Plan, reloader: Reloader<'_>, signals: &mut Signals, telemetry: Service) -> Result<(), Error> {
    let Reloader { app, subscriptions, .. } = reloader;
    plan.screen.draining(app.requests.count());
    app.intake.cancel();
    app.websockets.drain();
    drop(subscriptions);
    let version = app.current();
    let grace = tokio::time::Instant::now() + version.settings.server.drain_grace;
    let tracker = app.tracker.clone();
    let quiet = async {
        while app.requests.count() > 0 || app.websockets.count() > 0 || version.host.in_flight() > 0 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        () = quiet => {}
        () = tokio::time::sleep_until(grace) => {
            plan.screen.cut_off(app.requests.count() + version.host.in_flight());
            app.websockets.cut();
        }
        () = signals.stop() => return Ok(()),
    }
    let brokers = Arc::clone(&app.brokers);
    drop(version);
    drop(app);
    tracker.close();
    tracing::debug!("work is done; workers end");
    let ended_by = grace.max(tokio::time::Instant::now() + END_PATIENCE);
    tokio::select! {
        () = tracker.wait() => {}
        () = tokio::time::sleep_until(ended_by) => tracing::warn!("workers or connections did not end in time"),
        () = signals.stop() => return Ok(()),
    }
    let closed = brokers.close().await;
    telemetry.shutdown()?;
    Ok(closed?)
}

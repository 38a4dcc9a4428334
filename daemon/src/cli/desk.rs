//! Who answers a command about messages? The daemon that runs the project, or, while none does, the stores themselves.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use bytes::Bytes;
use futures_util::StreamExt as _;
use rohas_adapters::broker::Subscription;
use rohas_config::settings::Settings;
use tokio::time::timeout;

use crate::brokers::Brokers;
use crate::cli::{Common, Failure, Outcome};
use crate::control::requests::{Request, Seeing, Watch};
use crate::control::view::{Seen, Unavailable};
use crate::control::{Client, Lines, PublishOptions, Published};
use crate::environment;
use crate::lifecycle::telemetry_options;
use crate::lock::{self, Lock};
use crate::project::{Project, Unsound};
use crate::publish::{self, ByHand};
use crate::version::event_routes;

/// Without a daemon nobody publishes: after this long without a message all that are kept have been shown.
const QUIET: Duration = Duration::from_secs(1);

const IN_MEMORY: &str = "no daemon runs this project, and the events of the memory adapter live in the daemon; start `rohas dev` or \
    `rohas run`, or keep events on disk with `type = \"rocksdb\"` in [adapter]";

/// What commands about messages are asked of.
pub(super) enum Desk {
    /// A daemon runs the project in this directory.
    Daemon(PathBuf),
    /// None does, and none can begin to while we hold the project's lock.
    Stores(Box<Stores>),
}

/// The durable brokers of a project that nobody runs.
pub(super) struct Stores {
    brokers: Brokers,
    settings: Arc<Settings>,
    project: Project,
    _lock: Lock,
}

/// Messages as they are published.
pub(super) enum Watching {
    Daemon(Lines),
    Stores(Seeing),
}

impl Desk {
    pub(super) async fn open(common: &Common) -> Result<Self, Failure> {
        Self::of(common.project(None, environment::overrides())?).await
    }

    pub(super) async fn of(project: Project) -> Result<Self, Failure> {
        if Client::connect(&project.root).await?.is_some() {
            return Ok(Self::Daemon(project.root));
        }
        Ok(Self::Stores(Box::new(Stores::open(project).await?)))
    }

    pub(super) async fn ask<R: Request>(&self, request: R) -> Result<R::Answer, anyhow::Error> {
        match self {
            Self::Daemon(root) => Ok(client(root).await?.ask(&request).await?),
            Self::Stores(stores) => Ok(request.answer(&stores.brokers).await?),
        }
    }

    pub(super) async fn watch(&self, watch: &Watch) -> Result<Watching, anyhow::Error> {
        match self {
            Self::Daemon(root) => Ok(Watching::Daemon(client(root).await?.watch(watch).await?)),
            Self::Stores(_) if watch.since.is_none() => Err(anyhow!(
                "no daemon runs this project, so nothing is published; start `rohas dev` or `rohas run`, or give --since \
                 to see what is kept"
            )),
            Self::Stores(stores) => Ok(Watching::Stores(watch.begin(&stores.brokers).await?)),
        }
    }

    pub(super) async fn publish(
        &self,
        event: &str,
        payload: Bytes,
        options: &PublishOptions,
    ) -> Result<Published, Failure> {
        match self {
            Self::Daemon(root) => {
                let mut client = client(root).await?;
                Ok(client.publish(event, payload, options).await?)
            }
            Self::Stores(stores) => stores.publish(event, &payload, options).await,
        }
    }

    /// Writes what is still to be written.
    pub(super) async fn close(self) -> Result<(), anyhow::Error> {
        match self {
            Self::Daemon(_) => Ok(()),
            Self::Stores(stores) => Ok(stores.brokers.close().await?),
        }
    }
}

impl Stores {
    async fn open(project: Project) -> Result<Self, Failure> {
        let settings = project.settings().map_err(|error| invalid(&Unsound::Settings(error)))?.settings;
        if !Brokers::has_durable(&settings) {
            return Err(anyhow!(IN_MEMORY).into());
        }
        let lock = Lock::take(&project.root).map_err(busy)?;
        let brokers = Brokers::open_durable(&project.root, &settings).await?;
        let stores = Self { brokers, settings: Arc::new(settings), project, _lock: lock };
        if let Ok(sound) = stores.project.read(false) {
            // The next daemon would begin with that too.
            stores.brokers.assign(&sound.schema);
            stores.brokers.retire_undeclared(&sound.schema).await?;
        }
        Ok(stores)
    }

    /// Publishes as a daemon would, to every handler that the schema declares.
    async fn publish(&self, event: &str, payload: &Bytes, options: &PublishOptions) -> Result<Published, Failure> {
        let sound = self.project.read(false).map_err(|unsound| invalid(&unsound))?;
        let routes = event_routes(&self.settings, &sound.schema, &sound.handlers());
        let ByHand { publication, published, recorder } = publish::by_hand(&routes, event, payload, options)?;
        let broker = self.brokers.carrier(event)?.ok_or_else(|| anyhow!(IN_MEMORY))?;
        for handler in sound.schema.events.get(event).into_iter().flat_map(|event| &event.handlers) {
            // One that no daemon has served yet would otherwise begin only with what comes after this.
            drop(broker.subscribe(&Subscription { event: event.into(), handler: handler.as_str().into() }).await?);
        }
        broker.try_publish(vec![publication]).await?;
        let (telemetry, service) = rohas_telemetry::open(telemetry_options(&self.project, &self.settings))?;
        recorder.finish(&telemetry);
        drop(telemetry);
        service.shutdown()?;
        Ok(published)
    }
}

impl Watching {
    /// The next message; `None` when there will be no more.
    pub(super) async fn next(&mut self) -> Result<Option<Seen>, anyhow::Error> {
        match self {
            Self::Daemon(lines) => Ok(lines.next().await?),
            Self::Stores(seeing) => Ok(timeout(QUIET, seeing.next()).await.unwrap_or_default()),
        }
    }

    /// Whether the end was to be expected.
    pub(super) fn ended(&self) -> Result<(), anyhow::Error> {
        match self {
            Self::Daemon(_) => Err(anyhow!("the daemon has ended")),
            Self::Stores(_) => Ok(()),
        }
    }
}

/// Fails when something that a command was to change cannot be reached now.
///
/// # Errors
/// One that names those adapters.
pub(super) fn all_available(unavailable: &[Unavailable]) -> Outcome {
    if unavailable.is_empty() {
        return Ok(());
    }
    let which: Vec<String> = unavailable.iter().map(ToString::to_string).collect();
    Err(anyhow!("what they hold was left as it is: {}", which.join("; ")).into())
}

async fn client(root: &Path) -> Result<Client, anyhow::Error> {
    Client::connect(root).await?.ok_or_else(|| anyhow!("the daemon has ended meanwhile"))
}

fn invalid(unsound: &Unsound) -> Failure {
    Failure::Invalid(unsound.render(environment::color(&std::io::stderr())))
}

/// The socket does not answer and the lock is taken: the daemon is on its way up or down.
fn busy(error: lock::Error) -> anyhow::Error {
    match error {
        lock::Error::Held { pid } => {
            anyhow!("the process {pid} has this project and does not answer yet, or no longer; try again in a moment")
        }
        other => other.into(),
    }
}

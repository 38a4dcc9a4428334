use std::fs;
use std::sync::{Mutex, OnceLock, Weak};

use async_trait::async_trait;
use rohas_adapters::broker::{Broker, Consumer, Delivery, Depth, Error, Publication, Subscription};
use rohas_adapters::memory::Memory;
use rohas_config::settings::Overrides;
use rohas_handlers_host::load::Report;
use rohas_handlers_host::{Finished, Host, HostError, Invocation};
use tempfile::TempDir;

use super::*;
use crate::project::Project;

/// A broker that tells what it was asked for, and which version was current then.
struct Witness {
    memory: Memory,
    told: Arc<Told>,
    /// The handler whose subscription is refused.
    refused: Mutex<&'static str>,
}

#[derive(Default)]
struct Told {
    app: OnceLock<Weak<App>>,
    lines: Mutex<Vec<String>>,
}

impl Told {
    fn tell(&self, what: &str, subscription: &Subscription) {
        let app = self.app.get().and_then(Weak::upgrade);
        let version = app.map_or(0, |app| app.current().number);
        self.lines.lock().unwrap().push(format!("{what} {} in version {version}", subscription.handler));
    }

    /// What was told since it was last asked.
    fn lines(&self) -> Vec<String> {
        std::mem::take(&mut *self.lines.lock().unwrap())
    }
}

#[async_trait]
impl Broker for Witness {
    async fn subscribe(&self, subscription: &Subscription) -> Result<Arc<dyn Consumer>, Error> {
        if *self.refused.lock().unwrap() == &*subscription.handler {
            return Err(Error::Closed(subscription.clone()));
        }
        self.told.tell("subscribe", subscription);
        let consumer = self.memory.subscribe(subscription).await?;
        Ok(Arc::new(WitnessConsumer { consumer, subscription: subscription.clone(), told: Arc::clone(&self.told) }))
    }

    async fn pause(&self, subscription: &Subscription) -> Result<(), Error> {
        self.told.tell("pause", subscription);
        self.memory.pause(subscription).await
    }

    async fn publish(&self, publications: Vec<Publication>) -> Result<(), Error> {
        self.memory.publish(publications).await
    }

    async fn try_publish(&self, publications: Vec<Publication>) -> Result<(), Error> {
        self.memory.try_publish(publications).await
    }

    fn depths(&self) -> Vec<Depth> {
        self.memory.depths()
    }
}

struct WitnessConsumer {
    consumer: Arc<dyn Consumer>,
    subscription: Subscription,
    told: Arc<Told>,
}

#[async_trait]
impl Consumer for WitnessConsumer {
    async fn next(&self, limit: usize) -> Result<Vec<Delivery>, Error> {
        self.told.tell("consume", &self.subscription);
        self.consumer.next(limit).await
    }

    async fn ack(&self, delivery: &Delivery) -> Result<(), Error> {
        self.consumer.ack(delivery).await
    }

    async fn nack(&self, delivery: &Delivery, delay: std::time::Duration) -> Result<(), Error> {
        self.consumer.nack(delivery, delay).await
    }

    async fn dead_letter(&self, delivery: &Delivery, attempts: u32, error: &str) -> Result<(), Error> {
        self.consumer.dead_letter(delivery, attempts, error).await
    }
}

/// A host without workers.
struct Idle;

#[async_trait]
impl Host for Idle {
    fn report(&self) -> Arc<Report> {
        Arc::default()
    }

    async fn invoke(&self, _invocation: Invocation) -> Finished {
        Finished { result: Err(HostError::Closed), logs: Vec::new(), dropped_logs: 0 }
    }

    fn in_flight(&self) -> usize {
        0
    }
}

/// An app whose broker is a witness, serving version 1.
struct Fixture {
    directory: TempDir,
    witness: Arc<Witness>,
    app: Arc<App>,
    subscriptions: Subscriptions,
    _telemetry: rohas_telemetry::Service,
}

impl Fixture {
    async fn serving(handlers: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let witness =
            Arc::new(Witness { memory: Memory::new(10), told: Arc::default(), refused: Mutex::new("nobody") });
        let options = rohas_telemetry::Options::new(directory.path().join("telemetry"));
        let (handle, service) = rohas_telemetry::open(options).unwrap();
        let brokers = Brokers::only(Arc::clone(&witness) as Arc<dyn Broker>);
        let version = version(&directory, 1, handlers);
        let (app, subscriptions) = App::start(brokers, handle, TaskTracker::new(), version).await.unwrap();
        assert!(witness.told.app.set(Arc::downgrade(&app)).is_ok());
        Self { directory, witness, app, subscriptions, _telemetry: service }
    }

    async fn install(&mut self, number: u64, handlers: &str) -> Result<(), Error> {
        let version = version(&self.directory, number, handlers);
        self.app.install(version, &mut self.subscriptions).await?;
        tokio::task::yield_now().await;
        Ok(())
    }
}

fn version(directory: &TempDir, number: u64, handlers: &str) -> Arc<Version> {
    let root = directory.path();
    for folder in ["config", "schema"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    fs::write(root.join("config/rohas.toml"), "[project]\nname = \"test\"\n").unwrap();
    let event = format!("event Noted {{ payload: Json handler: [{handlers}] }}\n");
    fs::write(root.join("schema/event.ro"), event).unwrap();
    let project = Project { root: root.to_owned(), schema: root.join("schema"), overrides: Overrides::default() };
    let sound = project.read(false).unwrap();
    let handlers = sound.handlers();
    Arc::new(Version::new(number, (sound.settings, sound.schema), handlers, Arc::new(Idle), false))
}

#[tokio::test]
async fn a_version_subscribes_before_it_is_current_and_consumes_after() {
    let mut fixture = Fixture::serving("old").await;
    tokio::task::yield_now().await;
    fixture.witness.told.lines();
    fixture.install(2, "new").await.unwrap();
    let lines = fixture.witness.told.lines();
    assert_eq!(lines, ["subscribe new in version 1", "pause old in version 2", "consume new in version 2"]);
}

#[tokio::test]
async fn a_refused_subscription_leaves_everything_as_it_was() {
    let mut fixture = Fixture::serving("old").await;
    tokio::task::yield_now().await;
    fixture.witness.told.lines();
    *fixture.witness.refused.lock().unwrap() = "second";
    fixture.install(2, "first, second").await.unwrap_err();
    let lines = fixture.witness.told.lines();
    assert_eq!(lines, ["subscribe first in version 1", "pause first in version 1"]);
    assert_eq!(fixture.app.current().number, 1);

    // The next version finds no trace of the one that failed.
    fixture.install(3, "first").await.unwrap();
    let lines = fixture.witness.told.lines();
    assert_eq!(lines, ["subscribe first in version 1", "pause old in version 3", "consume first in version 3"]);
}

#[tokio::test]
async fn a_subscription_of_both_versions_goes_on() {
    let mut fixture = Fixture::serving("old").await;
    tokio::task::yield_now().await;
    assert_eq!(fixture.witness.told.lines(), ["subscribe old in version 0", "consume old in version 1"]);
    fixture.install(2, "old").await.unwrap();
    assert_eq!(fixture.witness.told.lines(), [""; 0]);
}

use std::fs;
use std::sync::{Mutex, OnceLock, Weak};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use rohas_adapters::broker::{
    Broker, Capabilities, Consumer, DeadLetter, DeadLetterFilter, Delivery, Error, History, Obituary, Publication,
    Status, Subscription, Tail,
};
use rohas_adapters::memory::{Memory, Options};
use rohas_adapters::{Envelope, TraceContext};
use rohas_config::settings::Overrides;
use rohas_handlers_host::load::Report;
use rohas_handlers_host::{Completed, Finished, Host, HostError, Invocation, Outcome};
use tempfile::TempDir;
use tokio::sync::watch;
use uuid::Uuid;

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
    fn capabilities(&self) -> Capabilities {
        self.memory.capabilities()
    }

    async fn subscribe(&self, subscription: &Subscription) -> Result<Arc<dyn Consumer>, Error> {
        if *self.refused.lock().unwrap() == &*subscription.handler {
            return Err(Error::Closed(subscription.clone()));
        }
        self.told.tell("subscribe", subscription);
        let consumer = self.memory.subscribe(subscription).await?;
        Ok(Arc::new(WitnessConsumer { consumer, subscription: subscription.clone(), told: Arc::clone(&self.told) }))
    }

    async fn retire(&self, subscription: &Subscription) -> Result<(), Error> {
        self.told.tell("retire", subscription);
        self.memory.retire(subscription).await
    }

    async fn set_paused(&self, subscription: &Subscription, paused: bool) -> Result<(), Error> {
        self.memory.set_paused(subscription, paused).await
    }

    async fn prune(&self, subscription: &Subscription) -> Result<u64, Error> {
        self.memory.prune(subscription).await
    }

    async fn publish(&self, publications: Vec<Publication>) -> Result<(), Error> {
        self.memory.publish(publications).await
    }

    async fn try_publish(&self, publications: Vec<Publication>) -> Result<(), Error> {
        self.memory.try_publish(publications).await
    }

    async fn status(&self) -> Result<Vec<Status>, Error> {
        self.memory.status().await
    }

    async fn dead_letters(&self, filter: &DeadLetterFilter, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        self.memory.dead_letters(filter, limit).await
    }

    async fn redrive(&self, ids: &[Uuid]) -> Result<Vec<Uuid>, Error> {
        self.memory.redrive(ids).await
    }

    async fn purge(&self, ids: &[Uuid]) -> Result<Vec<Uuid>, Error> {
        self.memory.purge(ids).await
    }

    async fn replay(&self, subscription: &Subscription, from: SystemTime) -> Result<u64, Error> {
        self.memory.replay(subscription, from).await
    }

    async fn tail(&self, event: Option<&str>, since: Option<SystemTime>) -> Result<Box<dyn Tail>, Error> {
        self.memory.tail(event, since).await
    }

    async fn close(&self) -> Result<(), Error> {
        self.memory.close().await
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

    fn pauses(&self) -> watch::Receiver<bool> {
        self.consumer.pauses()
    }

    async fn recall(&self, tags: &[u64]) -> Result<Vec<Delivery>, Error> {
        self.consumer.recall(tags).await
    }

    async fn release(&self, tags: &[u64]) -> Result<(), Error> {
        self.consumer.release(tags).await
    }

    async fn ack(&self, deliveries: &[Delivery]) -> Result<(), Error> {
        self.consumer.ack(deliveries).await
    }

    async fn nack(&self, delivery: &Delivery, history: History, delay: Duration) -> Result<(), Error> {
        self.consumer.nack(delivery, history, delay).await
    }

    async fn dead_letter(&self, delivery: &Delivery, obituary: &Obituary) -> Result<(), Error> {
        self.consumer.dead_letter(delivery, obituary).await
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

/// A host whose handlers run until they are let go.
struct Gated {
    told: Arc<Told>,
    gate: Arc<Semaphore>,
}

#[async_trait]
impl Host for Gated {
    fn report(&self) -> Arc<Report> {
        Arc::default()
    }

    async fn invoke(&self, _invocation: Invocation) -> Finished {
        self.told.lines.lock().unwrap().push("begun".to_owned());
        self.gate.acquire().await.unwrap().forget();
        self.told.lines.lock().unwrap().push("handled".to_owned());
        let reply = Bytes::from_static(b"null");
        let completed = Completed {
            status: None,
            headers: Vec::new(),
            reply,
            emits: Vec::new(),
            sets: Vec::new(),
            replaces: false,
        };
        Finished { result: Ok(Outcome::Completed(completed)), logs: Vec::new(), dropped_logs: 0 }
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
        Self::serving_on(Arc::new(Idle), Arc::default(), handlers).await
    }

    async fn serving_on(host: Arc<dyn Host>, told: Arc<Told>, handlers: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let witness =
            Arc::new(Witness { memory: Memory::new(Options::default()), told, refused: Mutex::new("nobody") });
        let options = rohas_telemetry::Options::new(directory.path().join("telemetry"));
        let (handle, service) = rohas_telemetry::open(options).unwrap();
        let brokers = Brokers::only(Arc::clone(&witness) as Arc<dyn Broker>);
        let version = version(&directory, 1, handlers, host);
        let (app, subscriptions) =
            App::start(Arc::new(brokers), handle, TaskTracker::new(), (Arc::new(Registry::new()), version))
                .await
                .unwrap();
        assert!(witness.told.app.set(Arc::downgrade(&app)).is_ok());
        Self { directory, witness, app, subscriptions, _telemetry: service }
    }

    async fn install(&mut self, number: u64, handlers: &str) -> Result<(), Error> {
        let version = version(&self.directory, number, handlers, Arc::new(Idle));
        self.app.install(version, &mut self.subscriptions).await?;
        tokio::task::yield_now().await;
        Ok(())
    }

    /// Waits until this was told, and returns everything that was told up to then.
    async fn told(&self, wanted: &str) -> Vec<String> {
        let mut lines = Vec::new();
        let waiting = async {
            while !lines.iter().any(|line| line == wanted) {
                tokio::time::sleep(Duration::from_millis(1)).await;
                lines.extend(self.witness.told.lines());
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(20), waiting).await;
        assert!(waited.is_ok(), "{wanted:?} was never told in {lines:?}");
        lines
    }
}

fn noted() -> Publication {
    let envelope = Envelope {
        id: Uuid::now_v7(),
        source: "test".into(),
        event: "Noted".into(),
        key: None,
        time: SystemTime::now(),
        data: Bytes::from_static(b"1"),
        trace: TraceContext { trace_id: [1; 16], parent: [0; 8] },
        causation: None,
        version: 1,
        hops: 0,
    };
    Publication { envelope, due: None, dedupe: Duration::ZERO }
}

fn version(directory: &TempDir, number: u64, handlers: &str, host: Arc<dyn Host>) -> Arc<Version> {
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
    Arc::new(Version::new(number, (sound.settings, sound.schema), handlers, host, false))
}

#[tokio::test]
async fn a_version_subscribes_before_it_is_current_and_consumes_after() {
    let mut fixture = Fixture::serving("old").await;
    tokio::task::yield_now().await;
    fixture.witness.told.lines();
    fixture.install(2, "new").await.unwrap();
    let lines = fixture.witness.told.lines();
    assert_eq!(lines, ["subscribe new in version 1", "retire old in version 2", "consume new in version 2"]);
}

#[tokio::test]
async fn a_refused_subscription_leaves_everything_as_it_was() {
    let mut fixture = Fixture::serving("old").await;
    tokio::task::yield_now().await;
    fixture.witness.told.lines();
    *fixture.witness.refused.lock().unwrap() = "second";
    fixture.install(2, "first, second").await.unwrap_err();
    let lines = fixture.witness.told.lines();
    assert_eq!(lines, ["subscribe first in version 1", "retire first in version 1"]);
    assert_eq!(fixture.app.current().number, 1);

    // The next version finds no trace of the one that failed.
    fixture.install(3, "first").await.unwrap();
    let lines = fixture.witness.told.lines();
    assert_eq!(lines, ["subscribe first in version 1", "retire old in version 3", "consume first in version 3"]);
}

#[tokio::test]
async fn a_subscription_of_both_versions_goes_on() {
    let mut fixture = Fixture::serving("old").await;
    tokio::task::yield_now().await;
    assert_eq!(fixture.witness.told.lines(), ["subscribe old in version 0", "consume old in version 1"]);
    fixture.install(2, "old").await.unwrap();
    assert_eq!(fixture.witness.told.lines(), [""; 0]);
}

#[tokio::test]
async fn a_handler_that_comes_back_consumes_when_what_it_ran_before_has_ended() {
    let (told, gate) = (Arc::<Told>::default(), Arc::new(Semaphore::new(0)));
    let host = Gated { told: Arc::clone(&told), gate: Arc::clone(&gate) };
    let mut fixture = Fixture::serving_on(Arc::new(host), told, "old").await;
    fixture.witness.publish(vec![noted()]).await.unwrap();
    fixture.told("begun").await;
    // Twice, so that there is one that goes before it has begun.
    for number in [2, 4] {
        fixture.install(number, "other").await.unwrap();
        fixture.install(number + 1, "old, other").await.unwrap();
    }
    let lines = fixture.witness.told.lines();
    assert!(lines.iter().all(|line| !line.starts_with("consume old")), "the handler still runs: {lines:?}");
    gate.add_permits(1);
    let lines = fixture.told("consume old in version 5").await;
    assert_eq!(lines, ["handled", "consume old in version 5"]);
}

//! Which broker carries which event? The settings name them; an event chooses one with `adapter:`.

use std::collections::{HashMap, HashSet};
use std::error;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::join_all;
use rohas_adapters::broker::{Broker, Consumer, Error, Publication, Status, Subscription};
use rohas_adapters::memory::{self, Memory};
use rohas_adapters::remote::{self, Remote};
use rohas_adapters::rocksdb::{self, RocksDb};
use rohas_config::schema::Schema;
use rohas_config::schema::model::snake_case;
use rohas_config::settings::{self, Adapter, Settings};
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::control::view::section;
use crate::links::{self, Place};
use crate::outbox::{Backlog, Outbox};
use crate::trigger::cron;

/// A broker that does not answer somebody who looks is taken for one that is not available after this.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often a broker is asked for that a start waits for.
const KNOCK: Duration = Duration::from_millis(200);

/// All brokers of a daemon. They outlive reloads: what they hold belongs to no version.
pub(crate) struct Brokers {
    /// By name; the empty name is `[adapter]`.
    brokers: HashMap<String, Arc<dyn Broker>>,
    /// The broker's name per event. Replaced at a reload.
    names: RwLock<HashMap<String, String>>,
    /// Where emits of requests wait for a broker that is not available: in the first embedded store. The others have what was kept when they were
    /// the first, and what came behind it.
    outboxes: Vec<Arc<Outbox>>,
    /// Stores that did not open, by name. A daemon does not start then; without one, people can look at the others.
    missing: HashMap<String, Error>,
}

/// What those brokers say that answer, and why the others do not, each with the broker's name.
pub(crate) struct Gathered<'a, T> {
    pub(crate) found: Vec<(&'a str, T)>,
    pub(crate) unavailable: Vec<(&'a str, Error)>,
}

impl Brokers {
    /// Opens all brokers of the project at `root`. Ids are known again as far back as some event of the schema asks for.
    ///
    /// # Errors
    /// When a store does not open; the error names it and the remedy.
    pub(crate) async fn open(root: &Path, settings: &Settings, schema: &Schema) -> Result<Self, OpenError> {
        let crons = (!schema.crons.is_empty()).then_some(cron::DEDUPE);
        let windows = schema.events.values().filter_map(|event| event.dedupe).chain(crons);
        let dedupe = windows.fold(settings.events.dedupe, Duration::max);
        let mut opened = Opened::default();
        let place = Place { project: &settings.project.name, root, dedupe };
        for (name, adapter) in adapters(settings) {
            opened.add(name, adapter, &place).await?;
        }
        opened.into_brokers(HashMap::new()).await
    }

    /// Opens those that keep events on disk: what a project has when no daemon runs it. Some of them may be missing.
    ///
    /// # Errors
    /// When none of the stores opens; the error names it and the remedy.
    pub(crate) async fn open_durable(root: &Path, settings: &Settings) -> Result<Self, OpenError> {
        let (mut opened, mut missing) = (Opened::default(), HashMap::new());
        let place = Place { project: &settings.project.name, root, dedupe: settings.events.dedupe };
        let mut first = None;
        for (name, adapter) in adapters(settings).filter(|(_, adapter)| is_durable(adapter)) {
            if let Err(error) = opened.add(name.clone(), adapter, &place).await {
                missing.insert(name, Error::Unavailable(describe(&error)));
                first.get_or_insert(error);
            }
        }
        match first {
            Some(error) if opened.brokers.is_empty() => Err(error),
            _ => opened.into_brokers(missing).await,
        }
    }

    /// Whether a project keeps any of its events on disk.
    pub(crate) fn has_durable(settings: &Settings) -> bool {
        adapters(settings).any(|(_, adapter)| is_durable(adapter))
    }

    #[cfg(test)]
    pub(crate) fn only(broker: Arc<dyn Broker>) -> Self {
        Self::these([(String::new(), broker)])
    }

    #[cfg(test)]
    pub(crate) fn these<const N: usize>(brokers: [(String, Arc<dyn Broker>); N]) -> Self {
        Self { brokers: brokers.into(), names: RwLock::default(), outboxes: Vec::new(), missing: HashMap::new() }
    }

    /// Takes over which event goes where.
    pub(crate) fn assign(&self, schema: &Schema) {
        let names = schema.events.values().map(|event| (event.name.clone(), event.adapter.clone().unwrap_or_default()));
        *self.names.write().unwrap_or_else(PoisonError::into_inner) = names.collect();
    }

    /// The name of the broker that carries an event.
    pub(crate) fn name(&self, event: &str) -> &str {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        // A broker that only the edited configuration names comes with the restart that the screen asks for.
        let known = names.get(event).and_then(|name| self.brokers.get_key_value(name));
        known.map_or("", |(name, _)| name)
    }

    /// The name of the broker that carries an event once this schema is assigned.
    pub(crate) fn name_in<'s>(&self, schema: &'s Schema, event: &str) -> &'s str {
        let named = schema.events.get(event).and_then(|event| event.adapter.as_deref());
        named.filter(|name| self.brokers.contains_key(*name)).unwrap_or_default()
    }

    pub(crate) async fn subscribe(
        &self,
        broker: &str,
        subscription: &Subscription,
    ) -> Result<Arc<dyn Consumer>, Error> {
        self.brokers[broker].subscribe(subscription).await
    }

    /// Lets nothing new enter a subscription that the schema no longer declares at that broker.
    pub(crate) async fn retire(&self, broker: &str, subscription: &Subscription) -> Result<(), Error> {
        match self.brokers.get(broker) {
            Some(broker) => broker.retire(subscription).await,
            None => Ok(()),
        }
    }

    /// Publishes what a request emits. What a broker that is not available cannot take waits in the outbox, if there is one.
    pub(crate) async fn publish(&self, publications: Vec<Publication>) -> Result<(), Error> {
        for (name, publications) in self.divide(publications) {
            let kept = match self.outbox_for(name) {
                Some(outbox) => outbox.publish(name, &publications).await,
                None => None,
            };
            match kept {
                Some(outcome) => outcome?,
                None => self.brokers[name].publish(publications).await?,
            }
        }
        Ok(())
    }

    /// Where what is for a broker waits: behind what waits already, if anything does.
    fn outbox_for(&self, broker: &str) -> Option<&Arc<Outbox>> {
        self.outboxes.iter().find(|outbox| outbox.has_waiting(broker)).or(self.outboxes.first())
    }

    /// Starts to relay what waits in the outbox.
    pub(crate) fn relay(&self, tracker: &TaskTracker, stop: &CancellationToken) {
        self.outboxes.iter().for_each(|outbox| outbox.relay(tracker, stop));
    }

    /// What waits in the outbox, by broker. Left out is what lies in a store that cannot be asked now; that is told wherever brokers are asked.
    pub(crate) async fn backlogs(&self) -> Vec<Backlog> {
        let all = join_all(self.outboxes.iter().map(|outbox| patiently(outbox.status()))).await;
        all.into_iter().flatten().flatten().collect()
    }

    /// Says what waits for brokers that are not there.
    pub(crate) async fn warn_of_strays(&self) {
        for Backlog { waiting, .. } in self.backlogs().await.into_iter().filter(|backlog| !backlog.configured) {
            let adapter = section(&waiting.broker);
            tracing::warn!(
                adapter,
                events = waiting.length,
                "events wait in the outbox for an adapter that the settings do not name; put it back and they are relayed"
            );
        }
    }

    /// Lets nothing new enter what the schema ceased to declare while no daemon ran. What an event has left behind at a broker that carries it no
    /// longer stays declared there until it is worked off.
    ///
    /// # Errors
    /// When a broker fails.
    pub(crate) async fn retire_undeclared(&self, schema: &Schema) -> Result<(), Error> {
        let left_behind = self.left_behind(schema).await.found;
        for (name, broker) in self.all() {
            let left = left_behind.iter().find(|(broker, _)| *broker == name).map(|(_, left)| left.as_slice());
            for subscription in broker.declared().await? {
                let has_place = declares(schema, &subscription) && self.name_in(schema, &subscription.event) == name;
                if !has_place && !left.unwrap_or_default().contains(&subscription) {
                    broker.retire(&subscription).await?;
                }
            }
        }
        Ok(())
    }

    /// Subscriptions of the schema that have something to work off at a broker which carries their event no longer.
    pub(crate) async fn left_behind(&self, schema: &Schema) -> Gathered<'_, Vec<Subscription>> {
        // First what is still to be relayed to a broker: it is there before it leaves the outbox. A store that cannot be asked may have something for each.
        let mut relayed = Some(HashSet::new());
        for outbox in &self.outboxes {
            match (patiently(outbox.status()).await, &mut relayed) {
                (Ok(backlogs), Some(relayed)) => {
                    relayed.extend(backlogs.into_iter().map(|backlog| backlog.waiting.broker))
                }
                _ => relayed = None,
            }
        }
        let Gathered { found, unavailable } = self.gather(|broker| patiently(broker.status())).await;
        let left = |(name, statuses): (_, Vec<Status>)| {
            let is_relayed_to = relayed.as_ref().is_none_or(|relayed| relayed.contains(name));
            let is_left = |status: &Status| {
                declares(schema, &status.subscription)
                    && self.name_in(schema, &status.subscription.event) != name
                    && (is_relayed_to || status.waiting + status.delayed + status.in_flight > 0)
            };
            (name, statuses.into_iter().filter(is_left).map(|status| status.subscription).collect())
        };
        Gathered { found: found.into_iter().map(left).collect(), unavailable }
    }

    /// The brokers that cannot be worked with now, and why.
    pub(crate) async fn away(&self) -> Vec<(&str, Error)> {
        self.gather(|broker| patiently(broker.ready())).await.unavailable
    }

    /// Writes what is still to be written, to each of them whatever happens to others. Called once, when nobody consumes or publishes any more.
    ///
    /// # Errors
    /// When something could not be written; the error names every adapter to which that happened.
    pub(crate) async fn close(&self) -> Result<(), CloseError> {
        let closing = self.all().into_iter().map(|(name, broker)| async move { (name, broker.close().await) });
        CloseError::of(join_all(closing).await)
    }

    /// All brokers by their names, in that order.
    pub(crate) fn all(&self) -> Vec<(&str, &Arc<dyn Broker>)> {
        let mut all: Vec<_> = self.brokers.iter().map(|(name, broker)| (name.as_str(), broker)).collect();
        all.sort_unstable_by_key(|(name, _)| *name);
        all
    }

    /// Asks all brokers at once. One that fails does not hide what the others say.
    pub(crate) async fn gather<'a, T, F>(&'a self, ask: impl Fn(&'a dyn Broker) -> F) -> Gathered<'a, T>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let all = self.all();
        let answers = join_all(all.iter().map(|(_, broker)| ask(&***broker))).await;
        let unavailable = self.missing.iter().map(|(name, error)| (name.as_str(), error.clone())).collect();
        let mut gathered = Gathered { found: Vec::with_capacity(answers.len()), unavailable };
        for ((name, _), answer) in all.into_iter().zip(answers) {
            match answer {
                Ok(answer) => gathered.found.push((name, answer)),
                Err(error) => gathered.unavailable.push((name, error)),
            }
        }
        gathered.unavailable.sort_unstable_by_key(|(name, _)| *name);
        gathered
    }

    /// The broker that carries an event, if it is among those that were opened.
    ///
    /// # Errors
    /// When its store did not open.
    pub(crate) fn carrier(&self, event: &str) -> Result<Option<&Arc<dyn Broker>>, Error> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        let name = names.get(event).map_or("", String::as_str);
        self.missing.get(name).map_or_else(|| Ok(self.brokers.get(name)), |error| Err(error.clone()))
    }

    /// The broker of that name, which is one of those that [`Brokers::divide`] tells.
    pub(crate) fn named(&self, name: &str) -> &Arc<dyn Broker> {
        &self.brokers[name]
    }

    /// Which broker gets which of these.
    pub(crate) fn divide(&self, publications: Vec<Publication>) -> Vec<(&str, Vec<Publication>)> {
        if self.brokers.len() == 1 {
            return vec![("", publications)];
        }
        let mut parts: Vec<(&str, Vec<Publication>)> = Vec::new();
        for publication in publications {
            let name = self.name(&publication.envelope.event);
            match parts.iter_mut().find(|(known, _)| *known == name) {
                Some((_, part)) => part.push(publication),
                None => parts.push((name, vec![publication])),
            }
        }
        parts
    }
}

/// Brokers on their way to be open.
#[derive(Default)]
struct Opened {
    brokers: HashMap<String, Arc<dyn Broker>>,
    /// The embedded stores, with the names of those that are brokers themselves and do not stand beside one; the first of the settings first.
    stores: Vec<(Option<String>, Arc<RocksDb>)>,
}

impl Opened {
    async fn add(&mut self, name: String, adapter: &Adapter, place: &Place<'_>) -> Result<(), OpenError> {
        let broker = match adapter {
            Adapter::Memory(settings) => memory(settings),
            Adapter::RocksDb(settings) => {
                let opened = embedded(rocksdb_options(settings, place.root, place.dedupe)).await?;
                self.stores.push((Some(name.clone()), Arc::clone(&opened)));
                opened
            }
            other => self.remote(&name, other, place).await?,
        };
        self.brokers.insert(name, broker);
        Ok(())
    }

    /// An adapter of a broker on a network. Whether the broker is there matters to those only who have said how long to wait for it.
    async fn remote(&mut self, name: &str, adapter: &Adapter, place: &Place<'_>) -> Result<Arc<dyn Broker>, OpenError> {
        let failed = |source| OpenError::Link { section: section(name), source };
        let link = links::open(adapter, place).await.map_err(failed)?;
        let (Some(link), Some(settings)) = (link, adapter.remote()) else {
            return Err(failed(links::Error::Missing(adapter.name())));
        };
        let options =
            rocksdb::Options { dedupe: place.dedupe, ..rocksdb::Options::new(settings.directory(place.root)) };
        let companion = embedded(options).await?;
        self.stores.push((None, Arc::clone(&companion)));
        let broker = Remote::new(link, companion, remote_options(settings)).await?;
        if let Some(limit) = settings.connect_timeout {
            let away = |error| OpenError::Away { section: section(name), limit, error };
            reached(&broker, limit).await.map_err(away)?;
        }
        Ok(Arc::new(broker))
    }

    async fn into_brokers(self, missing: HashMap<String, Error>) -> Result<Brokers, OpenError> {
        let Self { brokers, stores } = self;
        let mut outboxes = Vec::with_capacity(stores.len());
        for store in stores {
            let all = brokers.iter().map(|(name, broker)| (name.clone(), Arc::clone(broker)));
            outboxes.push(Arc::new(Outbox::open(store, all).await?));
        }
        Ok(Brokers { brokers, names: RwLock::default(), outboxes, missing })
    }
}

fn declares(schema: &Schema, subscription: &Subscription) -> bool {
    let Subscription { event, handler } = subscription;
    let handlers = schema.events.get(&**event).map(|event| event.handlers.as_slice()).unwrap_or_default();
    let is_cron = |name: &String| cron::event_name(name) == **event && snake_case(name) == **handler;
    handlers.iter().any(|declared| **declared == **handler) || schema.crons.keys().any(is_cron)
}

/// The answer to somebody who looks, or that there was none in time.
pub(crate) async fn patiently<T>(answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let none = || Err(Error::Unavailable(format!("it did not answer within {} s", PATIENCE.as_secs())));
    timeout(PATIENCE, answer).await.unwrap_or_else(|_elapsed| none())
}

/// An error with its causes in one line.
fn describe(error: &dyn error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Why the brokers of a project do not open.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("[{section}] cannot be used")]
    Link { section: String, source: links::Error },
    #[error(
        "[{section}] was not reached within {limit:?}: {error}; start it, or remove `connect_timeout` to start without it"
    )]
    Away { section: String, limit: Duration, error: Error },
    #[error(transparent)]
    RocksDb(#[from] rocksdb::OpenError),
    #[error("opening the event store failed")]
    Lost(#[from] JoinError),
    #[error("cannot read the outbox of the event store")]
    Outbox(#[from] Error),
}

/// Adapters, by the names of [`Brokers::all`], that could not be closed cleanly, and why.
#[derive(Debug, thiserror::Error)]
pub(crate) struct CloseError(Vec<(String, Error)>);

impl CloseError {
    fn of(outcomes: Vec<(&str, Result<(), Error>)>) -> Result<(), Self> {
        let failed = outcomes.into_iter().filter_map(|(name, outcome)| Some((name.to_owned(), outcome.err()?)));
        let failed: Vec<_> = failed.collect();
        if failed.is_empty() { Ok(()) } else { Err(Self(failed)) }
    }
}

impl fmt::Display for CloseError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, error)) in self.0.iter().enumerate() {
            let separator = if index > 0 { "; " } else { "" };
            let section = if name.is_empty() { "adapter" } else { "adapters." };
            write!(formatter, "{separator}[{section}{name}] was not closed cleanly: {error}")?;
        }
        Ok(())
    }
}

/// All adapters by name; the empty name is `[adapter]`.
fn adapters(settings: &Settings) -> impl Iterator<Item = (String, &Adapter)> {
    let named = settings.adapters.iter().map(|(name, adapter)| (name.clone(), adapter));
    std::iter::once((String::new(), &settings.adapter)).chain(named)
}

fn is_durable(adapter: &Adapter) -> bool {
    !matches!(adapter, Adapter::Memory(_))
}

fn memory(settings: &settings::Memory) -> Arc<dyn Broker> {
    let buffer_size = usize::try_from(settings.buffer_size.get()).unwrap_or(usize::MAX);
    Arc::new(Memory::new(memory::Options { buffer_size, ..memory::Options::default() }))
}

async fn embedded(options: rocksdb::Options) -> Result<Arc<RocksDb>, OpenError> {
    // It reads what is stored, which may take seconds.
    Ok(Arc::new(spawn_blocking(move || RocksDb::open(options)).await??))
}

/// Asks for a broker until it is there, or the time is over.
async fn reached(broker: &Remote, limit: Duration) -> Result<(), Error> {
    let deadline = Instant::now() + limit;
    loop {
        match broker.ready().await {
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(_) => sleep(KNOCK).await,
            Ok(()) => return Ok(()),
        }
    }
}

fn remote_options(settings: &settings::Remote) -> remote::Options {
    let defaults = remote::Options::default();
    let buffer_size = usize::try_from(settings.buffer_size.get()).unwrap_or(usize::MAX);
    // Those that run or could, and as many behind them, as everywhere.
    remote::Options { window: buffer_size.saturating_mul(2).max(defaults.window), ..defaults }
}

fn rocksdb_options(settings: &settings::RocksDb, root: &Path, dedupe: Duration) -> rocksdb::Options {
    rocksdb::Options {
        durability: match settings.durability {
            settings::Durability::Disk => rocksdb::Durability::Disk,
            settings::Durability::Process => rocksdb::Durability::Process,
        },
        max_bytes: settings.max_bytes.as_u64(),
        retention: settings.retention,
        dedupe,
        ..rocksdb::Options::new(settings.directory(root))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::SystemTime;

    use rohas_adapters::{Envelope, TraceContext};
    use rohas_config::settings::Overrides;
    use uuid::Uuid;

    use super::*;
    use crate::control::requests::{List, Redrive, Request as _, Selection, Subscriptions};
    use crate::project::Project;

    async fn of(brokers: [(&str, Arc<dyn Broker>); 2]) -> Brokers {
        let brokers = brokers.map(|(name, broker)| (name.to_owned(), broker)).into();
        Opened { brokers, stores: Vec::new() }.into_brokers(HashMap::new()).await.unwrap()
    }

    #[tokio::test]
    async fn a_broker_that_is_not_available_hides_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let down = RocksDb::open(rocksdb::Options::new(directory.path())).unwrap();
        down.close().await.unwrap();
        let up = Memory::new(memory::Options::default());
        up.subscribe(&Subscription { event: "E".into(), handler: "h".into() }).await.unwrap();
        let brokers = of([("", Arc::new(up)), ("b", Arc::new(down))]).await;

        let overview = Subscriptions {}.answer(&brokers).await.unwrap();
        let handlers: Vec<_> =
            overview.subscriptions.iter().map(|subscription| subscription.handler.as_str()).collect();
        assert_eq!((handlers, overview.unavailable.len()), (vec!["h"], 1));
        assert_eq!(overview.unavailable[0].adapter, "adapters.b");
        assert!(overview.unavailable[0].reason.contains("closed"), "{}", overview.unavailable[0]);
        let letters = List(Selection { limit: 10, ..Selection::default() }).answer(&brokers).await.unwrap();
        assert_eq!(letters.unavailable, overview.unavailable);
        assert_eq!(Redrive(vec![Uuid::nil()]).answer(&brokers).await.unwrap().unavailable, overview.unavailable);
    }

    #[test]
    fn every_adapter_that_was_not_closed_cleanly_is_named() {
        let failed = |cause: &str| Err(Error::Unavailable(cause.to_owned()));
        let outcomes = vec![("", failed("no space")), ("memory", Ok(())), ("other", failed("no disk"))];
        assert_eq!(
            CloseError::of(outcomes).unwrap_err().to_string(),
            "[adapter] was not closed cleanly: the broker is not available: no space; \
             [adapters.other] was not closed cleanly: the broker is not available: no disk"
        );
        assert!(CloseError::of(vec![("", Ok(()))]).is_ok());
    }

    fn schema(root: &Path) -> Arc<Schema> {
        for (file, text) in [
            ("config/rohas.toml", "[project]\nname = \"test\"\n"),
            ("schema/all.ro", "event E { payload: Json handler: [h] }\n"),
        ] {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let project = Project { root: root.to_owned(), schema: root.join("schema"), overrides: Overrides::default() };
        project.read(false).unwrap().schema
    }

    fn publication() -> Publication {
        let envelope = Envelope {
            id: Uuid::now_v7(),
            source: "test".into(),
            event: "E".into(),
            key: None,
            time: SystemTime::now(),
            data: "1".into(),
            trace: TraceContext { trace_id: [1; 16], parent: [0; 8] },
            causation: None,
            version: 1,
            hops: 0,
        };
        Publication { envelope, due: None, dedupe: Duration::ZERO }
    }

    #[tokio::test]
    async fn where_something_waits_or_is_to_be_relayed_to_an_event_has_left_something_behind() {
        let directory = tempfile::tempdir().unwrap();
        let schema = schema(directory.path());
        let open = |name: &str| Arc::new(RocksDb::open(rocksdb::Options::new(directory.path().join(name))).unwrap());
        let (own, before) = (open("own"), open("before"));
        let subscription = Subscription { event: "E".into(), handler: "h".into() };
        let consumer = before.subscribe(&subscription).await.unwrap();
        let mut opened = Opened { stores: vec![(Some(String::new()), Arc::clone(&own))], ..Opened::default() };
        for (name, store) in [("", &own), ("before", &before)] {
            let store: Arc<dyn Broker> = Arc::<RocksDb>::clone(store);
            opened.brokers.insert(name.to_owned(), store);
        }
        let brokers = opened.into_brokers(HashMap::new()).await.unwrap();
        let left = async || {
            let found = brokers.left_behind(&schema).await.found;
            found.into_iter().flat_map(|(name, left)| left.into_iter().map(move |one| (name, one))).collect::<Vec<_>>()
        };
        assert!(left().await.is_empty());

        before.publish(vec![publication()]).await.unwrap();
        assert_eq!(left().await, [("before", subscription.clone())], "it waits");
        let deliveries = consumer.next(1).await.unwrap();
        assert_eq!(left().await.len(), 1, "it is in flight");
        consumer.ack(&deliveries).await.unwrap();
        assert!(left().await.is_empty());

        own.outbox_push(vec![("before".to_owned(), publication())]).await.unwrap();
        assert_eq!(left().await, [("before", subscription.clone())], "it is to be relayed there");
        brokers.retire_undeclared(&schema).await.unwrap();
        assert!(before.status().await.unwrap()[0].declared, "what is relayed would find no subscription");
        own.close().await.unwrap();
        assert_eq!(left().await.len(), 1, "a store that cannot be asked may have something to relay");
    }

    #[tokio::test(start_paused = true)]
    async fn who_looks_does_not_wait_for_ever() {
        let never = patiently(std::future::pending::<Result<(), Error>>());
        assert!(matches!(never.await, Err(Error::Unavailable(_))));
    }
}

//! Which broker carries which event? The settings name them; an event chooses one with `adapter:`.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rohas_adapters::broker::{Broker, Consumer, Error, Publication, Subscription};
use rohas_adapters::memory::{self, Memory};
use rohas_adapters::rocksdb::{self, Backlog, RocksDb};
use rohas_config::schema::Schema;
use rohas_config::settings::{self, Adapter, Settings};
use tokio::task::{JoinError, spawn_blocking};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::outbox::Outbox;

/// All brokers of a daemon. They outlive reloads: what they hold belongs to no version.
pub(crate) struct Brokers {
    /// By name; the empty name is `[adapter]`.
    brokers: HashMap<String, Arc<dyn Broker>>,
    /// The broker's name per event. Replaced at a reload.
    names: RwLock<HashMap<String, String>>,
    /// Where emits of requests wait for a broker that is not available; in the first embedded store, for the other brokers.
    outbox: Option<Arc<Outbox>>,
}

impl Brokers {
    /// Opens all brokers of the project at `root`. Ids are known again as far back as some event of the schema asks for.
    ///
    /// # Errors
    /// When a store does not open; the error names it and the remedy.
    pub(crate) async fn open(root: &Path, settings: &Settings, schema: &Schema) -> Result<Self, OpenError> {
        let windows = schema.events.values().filter_map(|event| event.dedupe);
        let dedupe = windows.fold(settings.events.dedupe, Duration::max);
        Self::of(adapters(settings), root, dedupe).await
    }

    /// Opens those that keep events on disk: what a project has when no daemon runs it.
    ///
    /// # Errors
    /// When a store does not open; the error names it and the remedy.
    pub(crate) async fn open_durable(root: &Path, settings: &Settings) -> Result<Self, OpenError> {
        let durable = adapters(settings).filter(|(_, adapter)| is_durable(adapter));
        Self::of(durable, root, settings.events.dedupe).await
    }

    async fn of(
        adapters: impl Iterator<Item = (String, &Adapter)>,
        root: &Path,
        dedupe: Duration,
    ) -> Result<Self, OpenError> {
        let mut brokers = HashMap::new();
        let mut store = None;
        for (name, adapter) in adapters {
            let broker = match adapter {
                Adapter::Memory(settings) => memory(settings),
                Adapter::RocksDb(settings) => {
                    let opened = embedded(rocksdb_options(settings, root, dedupe)).await?;
                    store.get_or_insert_with(|| (name.clone(), Arc::clone(&opened)));
                    opened
                }
            };
            brokers.insert(name, broker);
        }
        let outbox = match store {
            Some((own, store)) if brokers.len() > 1 => {
                let others = brokers.iter().filter(|(name, _)| **name != own);
                let others = others.map(|(name, broker)| (name.clone(), Arc::clone(broker)));
                Some(Arc::new(Outbox::open(store, others).await?))
            }
            _ => None,
        };
        Ok(Self { brokers, names: RwLock::default(), outbox })
    }

    /// Whether a project keeps any of its events on disk.
    pub(crate) fn has_durable(settings: &Settings) -> bool {
        adapters(settings).any(|(_, adapter)| is_durable(adapter))
    }

    #[cfg(test)]
    pub(crate) fn only(broker: Arc<dyn Broker>) -> Self {
        Self { brokers: [(String::new(), broker)].into(), names: RwLock::default(), outbox: None }
    }

    /// Takes over which event goes where.
    pub(crate) fn assign(&self, schema: &Schema) {
        let names = schema.events.values().map(|event| (event.name.clone(), event.adapter.clone().unwrap_or_default()));
        *self.names.write().unwrap_or_else(PoisonError::into_inner) = names.collect();
    }

    /// The name of the broker that carries an event.
    fn name(&self, event: &str) -> &str {
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
            let kept = match &self.outbox {
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

    /// Starts to relay what waits in the outbox.
    pub(crate) fn relay(&self, tracker: &TaskTracker, stop: &CancellationToken) {
        if let Some(outbox) = &self.outbox {
            outbox.relay(tracker, stop);
        }
    }

    /// What waits in the outbox, by broker.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn backlogs(&self) -> Result<Vec<Backlog>, Error> {
        match &self.outbox {
            Some(outbox) => outbox.status().await,
            None => Ok(Vec::new()),
        }
    }

    /// Lets nothing new enter what the schema ceased to declare while no daemon ran.
    ///
    /// # Errors
    /// When a broker fails.
    pub(crate) async fn retire_undeclared(&self, schema: &Schema) -> Result<(), Error> {
        for (name, broker) in self.all() {
            for status in broker.status().await?.into_iter().filter(|status| status.declared) {
                let Subscription { event, handler } = &status.subscription;
                let handlers = schema.events.get(&**event).map(|event| event.handlers.as_slice()).unwrap_or_default();
                let is_declared = handlers.iter().any(|declared| **declared == **handler);
                if !is_declared || self.name_in(schema, event) != name {
                    broker.retire(&status.subscription).await?;
                }
            }
        }
        Ok(())
    }

    /// Writes what is still to be written. Called once, when nobody consumes or publishes any more.
    ///
    /// # Errors
    /// When something could not be written.
    pub(crate) async fn close(&self) -> Result<(), Error> {
        for (_, broker) in self.all() {
            broker.close().await?;
        }
        Ok(())
    }

    /// All brokers by their names, in that order.
    pub(crate) fn all(&self) -> Vec<(&str, &Arc<dyn Broker>)> {
        let mut all: Vec<_> = self.brokers.iter().map(|(name, broker)| (name.as_str(), broker)).collect();
        all.sort_unstable_by_key(|(name, _)| *name);
        all
    }

    /// The broker that carries an event, if it is among those that were opened.
    pub(crate) fn carrier(&self, event: &str) -> Option<&Arc<dyn Broker>> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        self.brokers.get(names.get(event).map_or("", String::as_str))
    }

    /// The broker of that name, which is one of those that [`Brokers::divide`] tells.
    pub(crate) fn named(&self, name: &str) -> &Arc<dyn Broker> {
        &self.brokers[name]
    }

    /// Which broker gets which of these.
    pub(crate) fn divide(&self, publications: Vec<Publication>) -> Vec<(&str, Vec<Publication>)> {
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

/// Why the brokers of a project do not open.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    RocksDb(#[from] rocksdb::OpenError),
    #[error("opening the event store failed")]
    Lost(#[from] JoinError),
    #[error("cannot read the outbox of the event store")]
    Outbox(#[from] Error),
}

/// All adapters by name; the empty name is `[adapter]`.
fn adapters(settings: &Settings) -> impl Iterator<Item = (String, &Adapter)> {
    let named = settings.adapters.iter().map(|(name, adapter)| (name.clone(), adapter));
    std::iter::once((String::new(), &settings.adapter)).chain(named)
}

fn is_durable(adapter: &Adapter) -> bool {
    match adapter {
        Adapter::Memory(_) => false,
        Adapter::RocksDb(_) => true,
    }
}

fn memory(settings: &settings::Memory) -> Arc<dyn Broker> {
    let buffer_size = usize::try_from(settings.buffer_size.get()).unwrap_or(usize::MAX);
    Arc::new(Memory::new(memory::Options { buffer_size, ..memory::Options::default() }))
}

async fn embedded(options: rocksdb::Options) -> Result<Arc<RocksDb>, OpenError> {
    // It reads what is stored, which may take seconds.
    Ok(Arc::new(spawn_blocking(move || RocksDb::open(options)).await??))
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

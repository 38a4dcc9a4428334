//! Which broker carries which event? The settings name them; an event chooses one with `adapter:`.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use rohas_adapters::broker::{Broker, Consumer, Error, Publication, Subscription};
use rohas_adapters::memory::{self, Memory};
use rohas_config::schema::Schema;
use rohas_config::settings::{Adapter, Settings};

/// All brokers of a daemon. They outlive reloads: what they hold belongs to no version.
pub(crate) struct Brokers {
    /// By name; the empty name is `[adapter]`.
    brokers: HashMap<String, Arc<dyn Broker>>,
    /// The broker's name per event. Replaced at a reload.
    names: RwLock<HashMap<String, String>>,
}

impl Brokers {
    pub(crate) fn new(settings: &Settings) -> Self {
        let named = settings.adapters.iter().map(|(name, adapter)| (name.clone(), adapter));
        let all = std::iter::once((String::new(), &settings.adapter)).chain(named);
        Self { brokers: all.map(|(name, adapter)| (name, open(adapter))).collect(), names: RwLock::default() }
    }

    #[cfg(test)]
    pub(crate) fn only(broker: Arc<dyn Broker>) -> Self {
        Self { brokers: [(String::new(), broker)].into(), names: RwLock::default() }
    }

    /// Takes over which event goes where.
    pub(crate) fn assign(&self, schema: &Schema) {
        let names = schema.events.values().map(|event| (event.name.clone(), event.adapter.clone().unwrap_or_default()));
        *self.names.write().unwrap_or_else(PoisonError::into_inner) = names.collect();
    }

    /// The name of the broker that carries an event.
    pub(crate) fn name(&self, event: &str) -> String {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        // A broker that only the edited configuration names comes with the restart that the screen asks for.
        names.get(event).filter(|name| self.brokers.contains_key(*name)).cloned().unwrap_or_default()
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

    pub(crate) async fn publish(&self, publications: Vec<Publication>) -> Result<(), Error> {
        for (broker, publications) in self.divide(publications) {
            broker.publish(publications).await?;
        }
        Ok(())
    }

    pub(crate) async fn try_publish(&self, publications: Vec<Publication>) -> Result<(), Error> {
        for (broker, publications) in self.divide(publications) {
            broker.try_publish(publications).await?;
        }
        Ok(())
    }

    /// All brokers by their names, in that order.
    pub(crate) fn all(&self) -> Vec<(&str, &Arc<dyn Broker>)> {
        let mut all: Vec<_> = self.brokers.iter().map(|(name, broker)| (name.as_str(), broker)).collect();
        all.sort_unstable_by_key(|(name, _)| *name);
        all
    }

    /// The broker that carries an event.
    pub(crate) fn of(&self, event: &str) -> &Arc<dyn Broker> {
        &self.brokers[&self.name(event)]
    }

    /// Which broker gets which of these.
    pub(crate) fn divide(&self, publications: Vec<Publication>) -> Vec<(&Arc<dyn Broker>, Vec<Publication>)> {
        let mut parts: Vec<(&Arc<dyn Broker>, Vec<Publication>)> = Vec::new();
        for publication in publications {
            let broker = self.of(&publication.envelope.event);
            match parts.iter_mut().find(|(known, _)| Arc::ptr_eq(known, broker)) {
                Some((_, part)) => part.push(publication),
                None => parts.push((broker, vec![publication])),
            }
        }
        parts
    }
}

fn open(adapter: &Adapter) -> Arc<dyn Broker> {
    match adapter {
        Adapter::Memory(settings) => {
            let buffer_size = usize::try_from(settings.buffer_size.get()).unwrap_or(usize::MAX);
            Arc::new(Memory::new(memory::Options { buffer_size, ..memory::Options::default() }))
        }
    }
}

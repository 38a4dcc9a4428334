//! Where do the scenarios get NATS JetStream from? From the server that ROHAS_TEST_NATS_URL names; each place is a project of its own there.

#[path = "../servers/nats.rs"]
mod server;

use std::sync::Arc;

use async_trait::async_trait;
use rohas_adapters::broker::{Broker, Error};
use rohas_adapters::conformance::{Factory, Place, Size};
use rohas_adapters::nats::{Nats, Options};
use rohas_adapters::remote::{self, Remote};
use rohas_adapters::rocksdb::{self, RocksDb};
use tempfile::TempDir;
use uuid::Uuid;

pub(crate) struct NatsFactory;

const WINDOW: &str =
    "The window in which JetStream drops copies is the stream's, 10 minutes unless set, and not the publication's.";
const NOT_ATOMIC: &str = "JetStream takes each message of a call by itself: what is small may still have room.";
const MAX_PAYLOAD: &str = "A server takes 1 MiB together with the headers, unless its max_payload is larger.";
const NO_RESERVE: &str = "JetStream keeps no room for those who consume: a full stream refuses them too until something is finished or expires.";
const KEEPS: &str =
    "JetStream keeps what is published for a consumer until that is pruned, for another daemon may still declare it.";

const ORDER: &str = "What a daemon had fetched and gives back may come behind what the next one fetches.";

#[async_trait]
impl Factory for NatsFactory {
    fn adapter(&self) -> &'static str {
        "nats"
    }

    async fn place(&self, size: Size) -> Result<Box<dyn Place>, Error> {
        let directory = tempfile::tempdir().map_err(|error| Error::Unavailable(error.to_string()))?;
        let project = format!("conformance-{}", Uuid::now_v7().simple());
        let mut options = Options::new(project, vec![server::url().into()]);
        if size == Size::Small {
            options.max_bytes = Some(1 << 20);
        }
        Ok(Box::new(NatsPlace { directory, options }))
    }

    fn exceptions(&self) -> &[(&'static str, &'static str)] {
        &[
            ("after_the_window_an_id_is_new", WINDOW),
            ("a_full_subscription_keeps_the_whole_call_out", NOT_ATOMIC),
            ("a_payload_of_one_mebibyte_arrives", MAX_PAYLOAD),
            ("a_retired_subscription_keeps_what_it_has_and_gets_nothing", KEEPS),
        ]
    }

    fn at_times(&self) -> &[(&'static str, &'static str)] {
        &[
            ("a_handler_that_emits_as_much_as_it_consumes_goes_on", NO_RESERVE),
            ("a_restart_keeps_the_order_of_publication", ORDER),
        ]
    }
}

struct NatsPlace {
    directory: TempDir,
    options: Options,
}

#[async_trait]
impl Place for NatsPlace {
    async fn open(&self) -> Result<Arc<dyn Broker>, Error> {
        let unavailable = |error: &dyn std::error::Error| Error::Unavailable(error.to_string());
        let link = Nats::connect(self.options.clone()).await.map_err(|error| unavailable(&error))?;
        let store = rocksdb::Options::new(self.directory.path().join("events"));
        let store = RocksDb::open(store).map_err(|error| unavailable(&error))?;
        Ok(Arc::new(Remote::new(Arc::new(link), Arc::new(store), remote::Options::default()).await?))
    }
}

impl Drop for NatsPlace {
    fn drop(&mut self) {
        server::remove(&self.options.project);
    }
}

//! Which streams and consumers do we need, and how are they made? What is there is left as it is.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::stream::{
    Config, ConsumerCreateStrictErrorKind, DiscardPolicy, Info, RetentionPolicy, StorageType, Stream,
};
use async_nats::jetstream::{ErrorCode, consumer};
use tokio::sync::Mutex;

use super::connection::{Connection, failed};
use super::names::Names;
use super::options::Options;
use crate::broker::{Error, Subscription};

/// What one project has at the servers.
#[derive(Debug)]
pub(super) struct Topology {
    pub(super) connection: Connection,
    pub(super) names: Names,
    pub(super) options: Options,
    /// Whether the streams are there, as far as we know.
    has_events: AtomicBool,
    has_dead: AtomicBool,
    /// How large the stream of events may become; less than one when that is not said.
    max_bytes: AtomicI64,
    /// Held by the one that makes room.
    pub(super) making_room: Mutex<()>,
}

impl Topology {
    pub(super) fn new(connection: Connection, options: Options) -> Self {
        Self {
            names: Names::new(&options.project),
            connection,
            options,
            has_events: AtomicBool::new(false),
            has_dead: AtomicBool::new(false),
            max_bytes: AtomicI64::new(0),
            making_room: Mutex::new(()),
        }
    }

    /// How the stream of events is made.
    pub(super) fn events(&self) -> Config {
        Config {
            name: self.names.stream.clone(),
            description: Some(format!("Events of the rohas project {}", self.options.project)),
            subjects: vec![self.names.all.clone()],
            // What is full refuses: nothing that was taken in is dropped before its time.
            discard: DiscardPolicy::New,
            max_age: self.options.max_age,
            // Servers refuse a window longer than the messages are kept.
            duplicate_window: match self.options.max_age {
                Duration::ZERO => self.options.duplicate_window,
                max_age => self.options.duplicate_window.min(max_age),
            },
            ..self.stream()
        }
    }

    /// How the stream of dead letters is made. They are copies, so old ones make room for new ones.
    pub(super) fn dead(&self) -> Config {
        Config {
            name: self.names.dead.clone(),
            description: Some(format!("Copies of the dead letters of the rohas project {}", self.options.project)),
            subjects: vec![self.names.all_dead.clone()],
            discard: DiscardPolicy::Old,
            ..self.stream()
        }
    }

    fn stream(&self) -> Config {
        Config {
            retention: RetentionPolicy::Limits,
            storage: StorageType::File,
            num_replicas: self.options.replicas,
            max_bytes: self.options.max_bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
            max_messages: -1,
            max_messages_per_subject: -1,
            max_consumers: -1,
            ..Config::default()
        }
    }

    /// How the consumer of a subscription is made.
    pub(super) fn consumer(&self, subscription: &Subscription) -> pull::Config {
        pull::Config {
            durable_name: Some(Names::consumer(subscription)),
            description: Some(format!("{} of the rohas project {}", subscription.handler, self.options.project)),
            deliver_policy: DeliverPolicy::New,
            ack_policy: AckPolicy::Explicit,
            ack_wait: self.options.ack_wait,
            max_deliver: -1,
            max_ack_pending: self.options.max_ack_pending.into(),
            filter_subject: self.names.subject(&subscription.event),
            ..pull::Config::default()
        }
    }

    /// Makes the stream of events, unless it is known to be there.
    pub(super) async fn need_events(&self) -> Result<(), Error> {
        if self.has_events.load(Ordering::Relaxed) {
            return Ok(());
        }
        let info = self.make(self.events()).await?;
        self.max_bytes.store(info.config.max_bytes, Ordering::Relaxed);
        self.has_events.store(true, Ordering::Relaxed);
        Ok(())
    }

    pub(super) async fn need_dead(&self) -> Result<(), Error> {
        if !self.has_dead.load(Ordering::Relaxed) {
            self.make(self.dead()).await?;
            self.has_dead.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// A stream that was there is not there any more.
    pub(super) fn forget_streams(&self) {
        self.has_events.store(false, Ordering::Relaxed);
        self.has_dead.store(false, Ordering::Relaxed);
    }

    /// How many bytes the stream of events may have, if that is limited.
    pub(super) fn max_bytes(&self) -> Option<u64> {
        u64::try_from(self.max_bytes.load(Ordering::Relaxed)).ok().filter(|bytes| *bytes > 0)
    }

    /// The stream as it is; another daemon may make it at the same time.
    async fn make(&self, config: Config) -> Result<Info, Error> {
        let name = config.name.clone();
        if let Some(stream) = self.find(&name).await? {
            return Ok(stream.cached_info().clone());
        }
        match self.connection.context.create_stream(config).await {
            Ok(stream) => {
                tracing::info!(adapter = "nats", stream = %name, "the stream was made");
                Ok(stream.cached_info().clone())
            }
            Err(error) => match error.kind() {
                CreateStreamErrorKind::JetStream(refusal) if refusal.error_code() == ErrorCode::STREAM_NAME_EXIST => {
                    let made = self.find(&name).await?;
                    made.map(|stream| stream.cached_info().clone())
                        .ok_or_else(|| Error::Unavailable(format!("the stream {name} was made and removed by others")))
                }
                _ => Err(failed(&format!("the stream {name} cannot be made"), error)),
            },
        }
    }

    /// The stream, if there is one.
    pub(super) async fn find(&self, name: &str) -> Result<Option<Stream>, Error> {
        match self.connection.context.get_stream(name).await {
            Ok(stream) => Ok(Some(stream)),
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(refusal) if refusal.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                    Ok(None)
                }
                _ => Err(failed(&format!("the stream {name} cannot be looked at"), error)),
            },
        }
    }

    /// Makes the consumer of a subscription where it is missing.
    pub(super) async fn need_consumer(&self, subscription: &Subscription) -> Result<(), Error> {
        self.need_events().await?;
        if self.consumer_info(subscription).await?.is_some() {
            return Ok(());
        }
        // The stream may have gone with it.
        self.forget_streams();
        self.need_events().await?;
        let config = self.consumer(subscription);
        let made = self.connection.context.create_consumer_strict_on_stream(config, &self.names.stream).await;
        match made.map_err(|error| (error.kind(), error)) {
            Ok(_) => {
                tracing::info!(adapter = "nats", %subscription, "the consumer was made");
                Ok(())
            }
            // Another daemon was faster.
            Err((ConsumerCreateStrictErrorKind::AlreadyExists, _)) => Ok(()),
            Err((_, error)) => Err(failed(&format!("the consumer of {subscription} cannot be made"), error)),
        }
    }

    /// How the consumer of a subscription stands, if there is one.
    pub(super) async fn consumer_info(&self, subscription: &Subscription) -> Result<Option<consumer::Info>, Error> {
        use async_nats::jetstream::context::ConsumerInfoErrorKind as Kind;
        let stream = self.handle().await?;
        match stream.consumer_info(Names::consumer(subscription)).await {
            Ok(info) => Ok(Some(info)),
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::StreamNotFound) => Ok(None),
            Err(error) => Err(failed(&format!("the consumer of {subscription} cannot be looked at"), error)),
        }
    }

    /// The stream of events, without looking whether it is there.
    pub(super) async fn handle(&self) -> Result<Stream<()>, Error> {
        let handle = self.connection.context.get_stream_no_info(&self.names.stream).await;
        handle.map_err(|error| failed("the stream has no usable name", error))
    }
}

//! What do scenarios share? Brokers, messages to publish, and readers that wait for what should come, with a limit.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use uuid::Uuid;

use crate::broker::{Broker, Consumer, Delivery, Error, Failure, History, Obituary, Publication, Status, Subscription};
use crate::conformance::{Factory, Place, Size};
use crate::envelope::{Envelope, TraceContext};

/// So long nothing must come where nothing should.
const QUIET: Duration = Duration::from_millis(60);

/// Why a scenario does not hold.
#[derive(Debug)]
pub(super) struct Failed(pub(super) String);

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self(format!("the broker answered: {error}"))
    }
}

/// What a scenario comes to.
pub(super) type Verdict = Result<(), Failed>;

/// Ends the scenario unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err($crate::conformance::kit::Failed(format!($($text)+)));
        }
    };
}

/// Ends the scenario unless both are equal.
macro_rules! ensure_eq {
    ($left:expr, $right:expr) => {{
        let (left, right) = (&$left, &$right);
        $crate::conformance::kit::ensure!(left == right, "{} is {left:?}, expected {right:?}", stringify!($left));
    }};
}

pub(super) use {ensure, ensure_eq};

/// What a scenario works with.
pub(super) struct Kit<'a> {
    pub(super) factory: &'a dyn Factory,
    /// How long to wait for what should come.
    pub(super) patience: Duration,
}

impl Kit<'_> {
    pub(super) async fn place(&self) -> Result<Box<dyn Place>, Failed> {
        Ok(self.factory.place(Size::Ample).await?)
    }

    /// A new broker. The place must outlive it.
    pub(super) async fn open(&self) -> Result<(Box<dyn Place>, Arc<dyn Broker>), Failed> {
        let place = self.place().await?;
        let broker = place.open().await?;
        Ok((place, broker))
    }

    pub(super) async fn open_small(&self) -> Result<(Box<dyn Place>, Arc<dyn Broker>), Failed> {
        let place = self.factory.place(Size::Small).await?;
        let broker = place.open().await?;
        Ok((place, broker))
    }

    /// Ends a broker and opens what it left. Its readers must have been dropped.
    pub(super) async fn restart(&self, place: &dyn Place, broker: Arc<dyn Broker>) -> Result<Arc<dyn Broker>, Failed> {
        broker.close().await?;
        drop(broker);
        Ok(place.open().await?)
    }

    pub(super) async fn reader(&self, broker: &Arc<dyn Broker>, event: &str, handler: &str) -> Result<Reader, Failed> {
        let subscription = subscription(event, handler);
        let consumer = broker.subscribe(&subscription).await?;
        Ok(Reader { consumer, subscription, patience: self.patience })
    }

    /// The outcome of something that must not take long.
    pub(super) async fn soon<T>(&self, what: &str, future: impl Future<Output = T>) -> Result<T, Failed> {
        soon(self.patience, what, future).await
    }
}

async fn soon<T>(patience: Duration, what: &str, future: impl Future<Output = T>) -> Result<T, Failed> {
    let waited = tokio::time::timeout(patience, future).await;
    waited.map_err(|_elapsed| Failed(format!("waited {patience:?} for {what}")))
}

/// One consumer, impatient.
pub(super) struct Reader {
    pub(super) consumer: Arc<dyn Consumer>,
    pub(super) subscription: Subscription,
    patience: Duration,
}

impl Reader {
    pub(super) async fn next(&self) -> Result<Delivery, Failed> {
        let mut deliveries = soon(self.patience, "a message", self.consumer.next(1)).await??;
        ensure_eq!(deliveries.len(), 1);
        Ok(deliveries.remove(0))
    }

    /// So many messages.
    pub(super) async fn take(&self, count: usize) -> Result<Vec<Delivery>, Failed> {
        let mut taken = Vec::with_capacity(count);
        while taken.len() < count {
            let next = self.consumer.next(count - taken.len());
            taken.extend(soon(self.patience, "more messages", next).await??);
        }
        ensure_eq!(taken.len(), count);
        Ok(taken)
    }

    /// Nothing comes for a while.
    pub(super) async fn quiet(&self) -> Verdict {
        match tokio::time::timeout(QUIET, self.consumer.next(10)).await {
            Err(_elapsed) => Ok(()),
            Ok(deliveries) => Err(Failed(format!("{:?} came where nothing should", data(&deliveries?)))),
        }
    }

    pub(super) async fn ack(&self, delivery: &Delivery) -> Verdict {
        Ok(self.consumer.ack(std::slice::from_ref(delivery)).await?)
    }

    /// Puts a message back at once, with the history it came with.
    pub(super) async fn put_back(&self, delivery: &Delivery) -> Verdict {
        Ok(self.consumer.nack(delivery, delivery.history, Duration::ZERO).await?)
    }

    /// Publishes one message, takes it and gives it up.
    pub(super) async fn bury(&self, broker: &Arc<dyn Broker>, wanted: &str) -> Verdict {
        broker.publish(vec![publication(&self.subscription.event, wanted)]).await?;
        let delivery = self.next().await?;
        ensure_eq!(text(&delivery.envelope), wanted);
        Ok(self.consumer.dead_letter(&delivery, &obituary()).await?)
    }

    /// How the subscription stands.
    pub(super) async fn status(&self, broker: &Arc<dyn Broker>) -> Result<Status, Failed> {
        let mut all = broker.status().await?.into_iter();
        let status = all.find(|status| status.subscription == self.subscription);
        status.ok_or_else(|| Failed(format!("there is no status of {}", self.subscription)))
    }
}

pub(super) fn subscription(event: &str, handler: &str) -> Subscription {
    Subscription { event: event.into(), handler: handler.into() }
}

/// A message to be published at once, with a window of a minute. Its data is JSON: the text if it is a number, otherwise a string of it.
pub(super) fn publication(event: &str, text: impl AsRef<str>) -> Publication {
    let text = text.as_ref();
    let data = if text.parse::<usize>().is_ok() { text.to_owned() } else { format!("\"{text}\"") };
    let envelope = Envelope {
        id: Uuid::now_v7(),
        source: "conformance".into(),
        event: event.into(),
        key: None,
        time: SystemTime::now(),
        data: Bytes::from(data),
        trace: TraceContext { trace_id: [7; 16], parent: [3; 8] },
        causation: None,
        version: 1,
        hops: 0,
    };
    Publication { envelope, due: None, dedupe: Duration::from_mins(1) }
}

/// The same, due later.
pub(super) fn later(event: &str, data: &str, delay: Duration) -> Publication {
    Publication { due: Some(SystemTime::now() + delay), ..publication(event, data) }
}

/// Messages with the numbers of a range as data.
pub(super) fn numbered(event: &str, numbers: std::ops::Range<usize>) -> Vec<Publication> {
    numbers.map(|number| publication(event, number.to_string())).collect()
}

/// A message of 16 KiB.
pub(super) fn heavy(event: &str) -> Publication {
    publication(event, "x".repeat(16 * 1024 - 2))
}

/// The text of a [`publication`].
pub(super) fn text(envelope: &Envelope) -> String {
    String::from_utf8_lossy(&envelope.data).trim_matches('"').to_owned()
}

pub(super) fn data(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(|delivery| text(&delivery.envelope)).collect()
}

pub(super) fn texts(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    numbers.into_iter().map(|number| number.to_string()).collect()
}

/// Why a message is given up, with two different failures.
pub(super) fn obituary() -> Obituary {
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
    let failure = |code: &str, traceback: Option<&str>| Failure {
        at,
        code: code.to_owned(),
        message: format!("größer: {code}"),
        traceback: traceback.map(str::to_owned),
    };
    Obituary { history: HISTORY, first: failure("first", None), last: failure("last", Some("line 1\n  line 2\n")) }
}

/// A history in which no number is like another.
pub(super) const HISTORY: History = History { attempts: 4, deaths: 3, deaths_alone: 2, endings: 1, not_before: None };

/// The same of a message that waits, for a time that has passed.
pub(super) fn waiting() -> History {
    History { not_before: Some(SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789)), ..HISTORY }
}

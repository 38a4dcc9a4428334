//! Does the way to NATS JetStream hold where the server, the connection or other people do not?
#![expect(clippy::panic, reason = "tests")]

#[path = "servers/nats.rs"]
mod server;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::stream::{Config, DiscardPolicy, StorageType};
use bytes::Bytes;
use rohas_adapters::broker::{Error, Subscription};
use rohas_adapters::envelope::{Envelope, TraceContext};
use rohas_adapters::nats::{Nats, Options};
use rohas_adapters::remote::wire::{self, Outgoing};
use rohas_adapters::remote::{Arrival, Intake, Link};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(20);

/// A project of its own, removed at the end.
struct Project {
    options: Options,
}

impl Project {
    fn new() -> Self {
        Self { options: Options::new(format!("test-{}", Uuid::now_v7().simple()), vec![server::url().into()]) }
    }

    async fn link(&self) -> Nats {
        let link = Nats::connect(self.options.clone()).await.expect("the settings work");
        link.ready().await.expect("the server is there");
        link
    }

    fn stream(&self) -> String {
        format!("ROHAS_{}", self.options.project)
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        server::remove(&self.options.project);
    }
}

async fn context() -> async_nats::jetstream::Context {
    async_nats::jetstream::new(async_nats::connect(server::url()).await.expect("the server is there"))
}

fn subscription() -> Subscription {
    Subscription { event: "E".into(), handler: "h".into() }
}

fn outgoing(number: usize) -> Outgoing {
    let envelope = Envelope {
        id: Uuid::now_v7(),
        source: "test".into(),
        event: "E".into(),
        key: Some("köy".into()),
        time: SystemTime::now(),
        data: Bytes::from(number.to_string()),
        trace: TraceContext { trace_id: [7; 16], parent: [3; 8] },
        causation: None,
        version: 1,
        hops: 0,
    };
    Outgoing { envelope, dedupe: Duration::from_mins(1) }
}

fn numbers(range: std::ops::Range<usize>) -> Vec<Outgoing> {
    range.map(outgoing).collect()
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_elapsed| panic!("waited {PATIENCE:?} for {what}"))
}

async fn take(intake: &dyn Intake, count: usize) -> Vec<Arrival> {
    let mut taken = Vec::new();
    while taken.len() < count {
        taken.extend(soon("messages", intake.next(count - taken.len())).await.expect("the intake works"));
    }
    taken
}

fn bodies(arrivals: &[Arrival]) -> Vec<String> {
    arrivals.iter().map(|arrival| String::from_utf8_lossy(&arrival.message.body).into_owned()).collect()
}

fn tokens(arrivals: &[Arrival]) -> Vec<u64> {
    arrivals.iter().map(|arrival| arrival.token).collect()
}

/// Asks until it is so.
async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon(what, waiting).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_is_handed_out_and_acked_for_good() {
    let project = Project::new();
    let link = project.link().await;
    let intake = link.subscribe(&subscription()).await.expect("it can be subscribed to");
    let messages = numbers(0..2_500);
    link.publish(&messages).await.expect("the server confirms");
    link.publish(&messages[..3]).await.expect("copies are a success");
    let taken = take(&*intake, 2_500).await;
    let expected: Vec<String> = (0..2_500).map(|number| number.to_string()).collect();
    assert_eq!(bodies(&taken), expected);
    let (envelope, dedupe) = wire::read(taken[0].message.clone(), SystemTime::now()).expect("it can be read");
    assert_eq!((envelope.id, envelope.key.as_deref()), (messages[0].envelope.id, Some("köy")));
    assert_eq!(dedupe, Some(Duration::from_mins(1)));
    intake.ack(&tokens(&taken)).await.expect("it can be acked");
    intake.close().await.expect("the server knows what was acked");
    let backlog = link.backlog(&subscription()).await.expect("the server tells");
    assert_eq!((backlog.waiting, backlog.in_flight), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_put_back_or_left_unfinished_comes_again_at_once() {
    let project = Project::new();
    let link = project.link().await;
    let intake = link.subscribe(&subscription()).await.expect("it can be subscribed to");
    link.publish(&numbers(0..4)).await.expect("the server confirms");
    let taken = take(&*intake, 4).await;
    intake.ack(&[taken[0].token]).await.expect("it can be acked");
    intake.put_back(&[taken[3].token]).await.expect("it can be put back");
    assert_eq!(bodies(&take(&*intake, 1).await), ["3"]);
    drop(intake);
    let next = link.subscribe(&subscription()).await.expect("it can be subscribed to again");
    assert_eq!(bodies(&take(&*next, 3).await), ["1", "2", "3"], "what a dropped intake had comes at once");
    next.close().await.expect("it can be closed");
    let last = link.subscribe(&subscription()).await.expect("it can be subscribed to again");
    assert_eq!(bodies(&take(&*last, 3).await), ["1", "2", "3"], "what a closed intake had comes at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_are_kept_while_they_are_extended_and_of_what_waits() {
    let mut project = Project::new();
    project.options.ack_wait = Duration::from_millis(600);
    let link = project.link().await;
    let intake = link.subscribe(&subscription()).await.expect("it can be subscribed to");
    link.publish(&numbers(0..3)).await.expect("the server confirms");
    let first = take(&*intake, 1).await;
    let others = project.link().await;
    let other = others.subscribe(&subscription()).await.expect("it can be subscribed to twice");
    let holding = async {
        for _ in 0..10 {
            intake.extend(&tokens(&first)).await.expect("it can be extended");
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
    };
    tokio::select! {
        () = holding => {}
        stolen = other.next(10) => panic!("{stolen:?} was lent twice"),
    }
    assert_eq!(bodies(&take(&*intake, 2).await), ["1", "2"]);
    drop(intake);
    assert_eq!(take(&*other, 3).await.len(), 3, "what nobody extends is lent to others");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_others_are_handed_out() {
    let project = Project::new();
    let link = project.link().await;
    let intake = link.subscribe(&subscription()).await.expect("it can be subscribed to");
    let context = context().await;
    let subject = format!("rohas.{}.E", project.options.project);
    let confirmed = context.publish(subject, r#"{"plain": true}"#.into()).await.expect("it is sent");
    confirmed.await.expect("the stream takes it");
    let taken = take(&*intake, 1).await;
    let (envelope, _) = wire::read(taken[0].message.clone(), SystemTime::now()).expect("it can be read");
    assert_eq!((&*envelope.event, envelope.version), ("E", 0));
    assert_eq!(envelope.data, r#"{"plain": true}"#);
    assert_eq!(taken[0].message.place.as_deref(), Some(&*format!("{}/1", project.stream())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_shows_what_there_was_and_what_comes() {
    let project = Project::new();
    let link = project.link().await;
    let begin = SystemTime::now() - Duration::from_secs(1);
    link.publish(&numbers(0..2)).await.expect("the server confirms");
    let mut all = link.feed(None, Some(begin)).await.expect("it looks back");
    assert!(!all.caught_up());
    let first = soon("a message", all.next()).await.expect("it is there");
    assert_eq!((&*first.event, &*first.body), ("E", &b"0"[..]));
    soon("a message", all.next()).await.expect("it is there");
    assert!(all.caught_up());
    let mut new = link.feed(Some("E"), None).await.expect("it looks on");
    assert!(new.caught_up());
    link.publish(&numbers(2..3)).await.expect("the server confirms");
    assert_eq!(&*soon("a message", new.next()).await.expect("it comes").body, b"2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_reaches_every_daemon() {
    let project = Project::new();
    let (one, two) = (project.link().await, project.link().await);
    let mut ears = [one.listen().await.expect("it listens"), two.listen().await.expect("it listens")];
    one.broadcast("hello".into()).await.expect("it is said");
    for ear in &mut ears {
        assert_eq!(soon("a word", ear.next()).await.expect("it is heard"), "hello");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_weakens_a_promise_is_found_and_left_as_it_is() {
    let mut project = Project::new();
    let context = context().await;
    let name = project.stream();
    let theirs = Config {
        name: name.clone(),
        subjects: vec![format!("rohas.{}.>", project.options.project)],
        storage: StorageType::Memory,
        discard: DiscardPolicy::Old,
        max_bytes: 1 << 20,
        duplicate_window: Duration::from_secs(1),
        ..Config::default()
    };
    context.create_stream(theirs).await.expect("it can be made");
    let consumer = pull::Config {
        durable_name: Some("E--h".to_owned()),
        ack_policy: AckPolicy::All,
        max_deliver: 3,
        filter_subject: format!("rohas.{}.X", project.options.project),
        ..pull::Config::default()
    };
    context.create_consumer_on_stream(consumer, &name).await.expect("it can be made");
    project.options.replicas = 3;
    let link = project.link().await;
    let found = link.verify().await.expect("the server tells");
    let text: Vec<String> =
        found.iter().map(|finding| format!("{}: {} ({})", finding.at, finding.what, finding.remedy)).collect();
    let text = text.join("\n");
    for expected in [
        "in memory",
        "1 replicas, expected 3",
        "drops old",
        "knows copies for 1s",
        "ack policy",
        "3 deliveries",
        "it takes",
    ] {
        assert!(text.contains(expected), "{expected} is missing in:\n{text}");
    }
    let stream = context.get_stream(&name).await.expect("it is there");
    assert_eq!(stream.cached_info().config.storage, StorageType::Memory);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_we_make_has_no_findings_even_when_two_make_it() {
    let project = Project::new();
    let (one, two) = (project.link().await, project.link().await);
    let subscription = subscription();
    let (first, second) = tokio::join!(one.subscribe(&subscription), two.subscribe(&subscription));
    first.expect("it can be subscribed to");
    second.expect("it can be subscribed to at the same time");
    assert_eq!(one.verify().await.expect("the server tells"), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finished_messages_make_room_in_a_full_stream() {
    let mut project = Project::new();
    project.options.max_bytes = Some(64 << 10);
    let link = project.link().await;
    let intake = link.subscribe(&subscription()).await.expect("it can be subscribed to");
    let heavy = || {
        let mut message = outgoing(0);
        message.envelope.data = Bytes::from(format!("\"{}\"", "x".repeat(16 << 10)));
        message
    };
    let mut count = 0;
    let error = loop {
        match link.publish(&[heavy()]).await {
            Ok(()) => count += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Full { .. }) && count == 3, "{count}: {error}");
    let all: Vec<Outgoing> = (0..5).map(|_| heavy()).collect();
    assert!(matches!(link.publish(&all).await, Err(Error::TooLarge { .. })));
    let taken = take(&*intake, count).await;
    intake.ack(&tokens(&taken)).await.expect("it can be acked");
    until("room", || async { link.publish(&[heavy()]).await.is_ok() }).await;
    let mut large = outgoing(0);
    large.envelope.data = Bytes::from(vec![b'1'; 2 << 20]);
    let endless =
        Nats::connect(Options { max_bytes: None, ..project.options.clone() }).await.expect("the settings work");
    endless.ready().await.expect("the server is there");
    assert!(matches!(endless.publish(&[large]).await, Err(Error::TooLarge { .. })));
}

/// What stands between a link and the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Open,
    /// Connections end, and none is made.
    Cut,
}

/// A way to the server that can be cut.
async fn proxy() -> (String, watch::Sender<Way>, JoinSet<()>) {
    let server = server::url().replace("nats://", "");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let url = format!("nats://{}", listener.local_addr().expect("it has an address"));
    let (sender, way) = watch::channel(Way::Open);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut pipes = JoinSet::new();
        loop {
            let (mut client, _) = listener.accept().await.expect("connections come");
            let (server, mut way) = (server.clone(), way.clone());
            pipes.spawn(async move {
                if *way.borrow() == Way::Cut {
                    return;
                }
                let mut server = TcpStream::connect(server).await.expect("the server is there");
                tokio::select! {
                    _ended = copy_bidirectional(&mut client, &mut server) => {}
                    _cut = way.wait_for(|way| *way == Way::Cut) => {}
                }
            });
        }
    });
    (url, sender, tasks)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_connection_is_an_answer_and_comes_back_by_itself() {
    let mut project = Project::new();
    let (url, way, _tasks) = proxy().await;
    project.options.servers = vec![url.into()];
    let link = Arc::new(project.link().await);
    let intake = link.subscribe(&subscription()).await.expect("it can be subscribed to");
    link.publish(&numbers(0..2)).await.expect("the server confirms");
    // What is on its way when the connection is cut comes again when it has been lent long enough; this is about what has come.
    let taken = take(&*intake, 2).await;
    way.send_replace(Way::Cut);
    until("the loss", || async { matches!(link.publish(&numbers(9..10)).await, Err(Error::Unavailable(_))) }).await;
    let error = link.ready().await.expect_err("there is no connection");
    assert!(error.to_string().contains("no connection to nats://127.0.0.1"), "{error}");
    way.send_replace(Way::Open);
    let back = tokio::time::Instant::now();
    soon("the connection", async { while link.ready().await.is_err() {} }).await;
    link.publish(&numbers(2..3)).await.expect("the server confirms");
    // What was published without a confirmation may have been taken.
    while bodies(&take(&*intake, 1).await) != ["2"] {}
    assert!(back.elapsed() < Duration::from_secs(5), "it took {:?}", back.elapsed());
    intake.ack(&tokens(&taken)).await.expect("it can be acked over the new connection");
    intake.close().await.expect("it can be closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_intake_whose_consumer_is_removed_fails_and_another_one_makes_it() {
    let mut project = Project::new();
    project.options.heartbeat = Duration::from_millis(500);
    let link = project.link().await;
    let intake = link.subscribe(&subscription()).await.expect("it can be subscribed to");
    link.publish(&numbers(0..1)).await.expect("the server confirms");
    let taken = take(&*intake, 1).await;
    intake.ack(&tokens(&taken)).await.expect("it can be acked");
    let stream = context().await.get_stream(project.stream()).await.expect("it is there");
    stream.delete_consumer("E--h").await.expect("it can be removed");
    let error = soon("the failure", intake.next(1)).await.expect_err("there is no consumer");
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    let next = link.subscribe(&subscription()).await.expect("it is made again");
    link.publish(&numbers(1..2)).await.expect("the server confirms");
    assert_eq!(bodies(&take(&*next, 1).await), ["1"]);
    assert_eq!(link.prune(&subscription()).await.expect("it can be removed"), 1);
    assert_eq!(link.prune(&subscription()).await.expect("it may be gone"), 0);
}

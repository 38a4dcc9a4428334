//! Does the loop lose nothing and go on, whatever the broker answers? With a broker that fails as told, on paused time.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use rohas_adapters::broker::{History, Obituary};
use rohas_adapters::{Envelope, TraceContext};
use rohas_config::schema::model::Backoff;
use rohas_handlers_host::{HandlerError, HostError};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::*;
use crate::dispatch;
use crate::trigger::broker::attempt::Fault;
use crate::trigger::broker::message::Message;
use crate::version::DeliveryRules;

/// What the loop did and what it is told, in turn.
#[derive(Default)]
struct Script {
    /// What `next` answers; it waits when there is nothing.
    source: VecDeque<Result<Vec<Delivery>, Error>>,
    /// How often each operation is still to fail, by its name.
    failures: Vec<(&'static str, u32)>,
    /// Outcomes of attempts by the names of the messages, in turn; the others succeed.
    outcomes: Vec<(&'static str, Result<(), Fault>)>,
    /// What happened, with the time since the start.
    lines: Vec<(Duration, String)>,
    obituaries: Vec<Obituary>,
    /// What was handed out, by its tag.
    out: HashMap<u64, Delivery>,
    notes: Vec<(String, History)>,
    /// What went back, by name.
    returned: Vec<(String, History)>,
}

struct Stage {
    script: Mutex<Script>,
    begun: Instant,
    lease: Option<Duration>,
    /// Attempts wait for it when there is one.
    gate: Option<Notify>,
    arrived: Notify,
    pauses: watch::Sender<bool>,
}

impl Stage {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    /// Notes an operation and says whether it is to fail.
    fn told(&self, operation: &'static str, what: &str) -> Result<(), Error> {
        let mut script = self.script();
        script.lines.push((self.begun.elapsed(), format!("{operation} {what}")));
        let failure = script.failures.iter_mut().find(|(name, left)| *name == operation && *left > 0);
        match failure {
            Some((_, left)) => {
                *left -= 1;
                Err(Error::Unavailable("as told".to_owned()))
            }
            None => Ok(()),
        }
    }

    fn outcome(&self, name: &str) -> Result<(), Fault> {
        let outcomes = &mut self.script().outcomes;
        let told = outcomes.iter().position(|(message, _)| *message == name);
        told.map_or(Ok(()), |told| outcomes.remove(told).1)
    }

    /// What was done, without the times.
    fn done(&self) -> Vec<String> {
        self.script().lines.iter().map(|(_, line)| line.clone()).collect()
    }

    fn names(&self, tags: &[u64]) -> Vec<String> {
        let out = &self.script().out;
        tags.iter().map(|tag| name(&out[tag])).collect()
    }

    fn times_of(&self, wanted: &str) -> Vec<Duration> {
        self.script().lines.iter().filter(|(_, line)| line.starts_with(wanted)).map(|(at, _)| *at).collect()
    }

    async fn wait_for(&self, line: &str) {
        for _ in 0..100_000 {
            if self.done().iter().any(|done| done == line) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("never saw {line:?} in {:?}", self.done());
    }
}

fn name(delivery: &Delivery) -> String {
    String::from_utf8(delivery.envelope.data.to_vec()).unwrap()
}

struct Fake(Arc<Stage>);

#[async_trait]
impl Consumer for Fake {
    async fn next(&self, limit: usize) -> Result<Vec<Delivery>, Error> {
        loop {
            let answer = self.0.script().source.pop_front();
            match answer {
                Some(Ok(mut deliveries)) => {
                    let rest = deliveries.split_off(limit.min(deliveries.len()));
                    if !rest.is_empty() {
                        self.0.script().source.push_front(Ok(rest));
                    }
                    self.0.script().out.extend(deliveries.iter().map(|delivery| (delivery.tag, delivery.clone())));
                    return Ok(deliveries);
                }
                Some(Err(error)) => {
                    self.0.script().lines.push((self.0.begun.elapsed(), "next failed".to_owned()));
                    return Err(error);
                }
                None => self.0.arrived.notified().await,
            }
        }
    }

    fn pauses(&self) -> watch::Receiver<bool> {
        self.0.pauses.subscribe()
    }

    async fn release(&self, tags: &[u64]) -> Result<(), Error> {
        tokio::task::yield_now().await;
        let mut names = self.0.names(tags);
        names.sort();
        self.0.told("release", &names.join(" "))
    }

    async fn recall(&self, tags: &[u64]) -> Result<Vec<Delivery>, Error> {
        tokio::task::yield_now().await;
        self.0.told("recall", &self.0.names(tags).join(" "))?;
        let out = &self.0.script().out;
        Ok(tags.iter().map(|tag| out[tag].clone()).collect())
    }

    async fn ack(&self, deliveries: &[Delivery]) -> Result<(), Error> {
        let names: Vec<String> = deliveries.iter().map(name).collect();
        tokio::task::yield_now().await;
        self.0.told("ack", &names.join(" "))
    }

    async fn nack(&self, delivery: &Delivery, history: History, delay: Duration) -> Result<(), Error> {
        let what = format!("{} after {} attempts for {}s", name(delivery), history.attempts, delay.as_secs());
        self.0.script().returned.push((name(delivery), history));
        self.0.told("nack", &what)
    }

    fn note(&self, delivery: &Delivery, history: History) {
        self.0.script().notes.push((name(delivery), history));
    }

    async fn dead_letter(&self, delivery: &Delivery, obituary: &Obituary) -> Result<(), Error> {
        self.0.told("dead", &name(delivery))?;
        self.0.script().obituaries.push(obituary.clone());
        Ok(())
    }

    fn lease(&self) -> Option<Duration> {
        self.0.lease
    }

    async fn extend(&self, deliveries: &[Delivery]) -> Result<(), Error> {
        let mut names: Vec<String> = deliveries.iter().map(name).collect();
        names.sort();
        self.0.told("extend", &names.join(" "))
    }
}

struct FakeRunner {
    stage: Arc<Stage>,
    rules: DeliveryRules,
    quarantine: Arc<Semaphore>,
}

impl Runner for FakeRunner {
    type Route = Arc<Stage>;

    fn rules(&mut self) -> Option<&DeliveryRules> {
        Some(&self.rules)
    }

    fn route(&self) -> Option<Arc<Stage>> {
        Some(Arc::clone(&self.stage))
    }

    fn quarantine(&self) -> Arc<Semaphore> {
        Arc::clone(&self.quarantine)
    }

    async fn attempt(stage: Arc<Stage>, message: Message) -> Ended {
        let outcome = stage.outcome(&name(&message.delivery));
        let line = (stage.begun.elapsed(), format!("run {}", name(&message.delivery)));
        stage.script().lines.push(line);
        if let Some(gate) = &stage.gate {
            gate.notified().await;
        }
        Ended { message, outcome }
    }
}

fn delivery(data: &str, key: Option<&str>) -> Delivery {
    let envelope = Envelope {
        id: Uuid::now_v7(),
        source: "test".into(),
        event: "E".into(),
        key: key.map(Into::into),
        time: SystemTime::UNIX_EPOCH,
        data: Bytes::copy_from_slice(data.as_bytes()),
        trace: TraceContext { trace_id: [1; 16], parent: [0; 8] },
        causation: None,
        version: 1,
        hops: 0,
    };
    let tag = data.bytes().fold(0, |tag, byte| tag * 256 + u64::from(byte));
    Delivery { envelope: Arc::new(envelope), history: History::default(), tag }
}

fn deliveries(names: &str, key: Option<&str>) -> Result<Vec<Delivery>, Error> {
    Ok(names.split(' ').map(|name| delivery(name, key)).collect())
}

fn failed(message: &str) -> Result<(), Fault> {
    let error = HandlerError { kind: "ValueError".to_owned(), message: message.to_owned(), ..HandlerError::default() };
    Err(dispatch::Error::Failed(error).into())
}

fn retry(after: Duration) -> Result<(), Fault> {
    Err(dispatch::Error::Retry { after, error: HandlerError::default() }.into())
}

struct Run {
    stage: Arc<Stage>,
    stop: CancellationToken,
    task: JoinHandle<()>,
    quarantine: Arc<Semaphore>,
}

impl Run {
    fn start(script: Script, lease: Option<Duration>, gate: bool) -> Self {
        Self::start_at(script, (lease, gate, false))
    }

    fn start_paused(script: Script) -> Self {
        Self::start_at(script, (None, false, true))
    }

    fn start_at(script: Script, (lease, gate, paused): (Option<Duration>, bool, bool)) -> Self {
        let stage = Arc::new(Stage {
            script: Mutex::new(script),
            begun: Instant::now(),
            lease,
            gate: gate.then(Notify::new),
            arrived: Notify::new(),
            pauses: watch::Sender::new(paused),
        });
        let rules = DeliveryRules {
            attempts: 3,
            backoff: Backoff::Fixed,
            delay: Duration::from_millis(200),
            max_delay: Duration::from_secs(1),
            timeout: Duration::from_secs(30),
            buffer_size: 1000,
            concurrency: 4,
            dedupe: Duration::ZERO,
        };
        let stop = CancellationToken::new();
        let quarantine = Arc::new(Semaphore::new(1));
        let runner = FakeRunner { stage: Arc::clone(&stage), rules, quarantine: Arc::clone(&quarantine) };
        let subscription = Subscription { event: "E".into(), handler: "h".into() };
        let consumer = Arc::new(Fake(Arc::clone(&stage)));
        let task = TaskTracker::new().spawn(run(runner, subscription, consumer, stop.clone()));
        Self { stage, stop, task, quarantine }
    }

    /// Stops the loop and returns all that was done.
    async fn end(self) -> Vec<String> {
        self.stop.cancel();
        self.task.await.unwrap();
        self.stage.done()
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_handled_together_is_acked_together_and_keeps_its_slots_until_then() {
    let script = Script { source: [deliveries("a b c d e f", None)].into(), ..Script::default() };
    let run = Run::start(script, None, false);
    run.stage.wait_for("ack e f").await;
    let expected = ["run a", "run b", "run c", "run d", "ack a b c d", "run e", "run f", "ack e f"];
    assert_eq!(run.end().await, expected);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_acked_is_acked_again_and_again_and_holds_its_lane() {
    let source = [deliveries("a b", Some("k"))].into();
    let run = Run::start(Script { source, failures: vec![("ack", 12)], ..Script::default() }, None, false);
    run.stage.wait_for("ack b").await;
    let acks = run.stage.times_of("ack a");
    let pauses: Vec<Duration> = acks.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.is_sorted() && pauses[0] < pauses[5], "{pauses:?}");
    assert_eq!((acks.len(), pauses[11].as_secs()), (13, 10));
    let mut expected = vec!["run a"];
    expected.extend([&["ack a"; 13][..], &["run b", "ack b"]].concat());
    assert_eq!(run.end().await, expected);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_acked_holds_its_slot() {
    let source = [deliveries("a b c d e", None)].into();
    let run = Run::start(Script { source, failures: vec![("ack", 1)], ..Script::default() }, None, false);
    run.stage.wait_for("ack e").await;
    assert_eq!(run.end().await[4..], ["ack a b c d", "ack a b c d", "run e", "ack e"]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_acked_is_tried_once_more_when_the_loop_is_stopped() {
    let source = [deliveries("a", None)].into();
    let run = Run::start(Script { source, failures: vec![("ack", u32::MAX)], ..Script::default() }, None, false);
    run.stage.wait_for("ack a").await;
    assert_eq!(run.end().await, ["run a", "ack a", "ack a"]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_acked_keeps_no_subscription_from_ending() {
    let closed = Err(Error::Closed(Subscription { event: "E".into(), handler: "h".into() }));
    let source = [deliveries("a", None), closed].into();
    let run = Run::start(Script { source, failures: vec![("ack", u32::MAX)], ..Script::default() }, None, false);
    run.task.await.unwrap();
    assert_eq!(run.stage.done(), ["run a", "next failed", "ack a", "ack a"]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_go_back_is_run_here() {
    let source = [deliveries("a", None)].into();
    let outcomes = vec![("a", Err(dispatch::Error::Host(HostError::Closed).into()))];
    let run = Run::start(Script { source, outcomes, failures: vec![("nack", 1)], ..Script::default() }, None, false);
    run.stage.wait_for("ack a").await;
    assert_eq!(run.end().await, ["run a", "nack a after 0 attempts for 0s", "run a", "ack a"]);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_cannot_be_kept_is_tried_again_and_again_and_holds_its_lane() {
    let outcomes = ["first", "second", "last"].map(|message| ("a", failed(message))).into();
    let failures = vec![("dead", 3)];
    let source = [deliveries("a b", Some("k")), deliveries("c", None)].into();
    let run = Run::start(Script { source, failures, outcomes, ..Script::default() }, None, false);
    run.stage.wait_for("ack b").await;
    let deaths = run.stage.times_of("dead a");
    let pauses: Vec<bool> = deaths.windows(2).map(|pair| pair[1] - pair[0] >= Duration::from_millis(100)).collect();
    assert_eq!(pauses, [true, true, true]);
    let obituary = run.stage.script().obituaries.remove(0);
    assert_eq!(
        (obituary.first.message.as_str(), obituary.last.message.as_str()),
        ("ValueError: first", "ValueError: last")
    );
    assert_eq!((obituary.history.attempts, obituary.last.code.as_str()), (3, "handler_failed"));
    let done = run.end().await;
    let position = |line: &str| done.iter().rposition(|done| done == line).unwrap();
    assert!(position("dead a") < position("run b"), "{done:?}");
    assert!(position("ack c") < position("dead a"), "others go on: {done:?}");
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_hands_out_nothing_is_asked_until_it_does() {
    let down = || Err(Error::Unavailable("as told".to_owned()));
    let source = [down(), down(), down(), deliveries("a", None)].into();
    let run = Run::start(Script { source, ..Script::default() }, None, false);
    run.stage.wait_for("ack a").await;
    let asked = run.stage.times_of("next failed");
    assert!(asked[2] - asked[1] > asked[1] - asked[0], "{asked:?}");
    assert_eq!(run.end().await, ["next failed", "next failed", "next failed", "run a", "ack a"]);
}

#[tokio::test(start_paused = true)]
async fn the_loop_ends_with_its_subscription() {
    let closed = Err(Error::Closed(Subscription { event: "E".into(), handler: "h".into() }));
    let run = Run::start(Script { source: [deliveries("a", None), closed].into(), ..Script::default() }, None, false);
    run.task.await.unwrap();
    assert_eq!(run.stage.done(), ["run a", "next failed", "ack a"]);
}

#[tokio::test(start_paused = true)]
async fn leases_of_what_runs_waits_or_stays_behind_are_extended_at_half_time_until_it_is_finished() {
    let lease = Duration::from_secs(30);
    let source = [deliveries("a b", Some("k"))].into();
    let outcomes = vec![("a", retry(Duration::from_secs(40)))];
    let run = Run::start(Script { source, outcomes, ..Script::default() }, Some(lease), false);
    run.stage.wait_for("ack b").await;
    tokio::time::sleep(lease).await;
    let extended = run.stage.times_of("extend a b");
    assert_eq!(extended.iter().map(Duration::as_secs).collect::<Vec<_>>(), [15, 30]);
    assert_eq!(run.end().await.iter().filter(|line| line.starts_with("extend")).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn long_waits_are_the_brokers_without_a_key_and_the_lanes_with_one() {
    let source = [deliveries("a", None), deliveries("b", Some("k"))].into();
    let outcomes = vec![("a", retry(Duration::from_secs(60))), ("b", retry(Duration::from_secs(60)))];
    let run = Run::start(Script { source, outcomes, ..Script::default() }, None, false);
    run.stage.wait_for("ack b").await;
    assert_eq!(run.stage.times_of("run b")[1].as_secs(), 60);
    let mut done = run.end().await;
    done.sort();
    assert_eq!(done, ["ack b", "nack a after 1 attempts for 60s", "run a", "run b", "run b"]);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_the_broker_cannot_take_is_waited_here() {
    let source = [deliveries("a", None)].into();
    let outcomes = vec![("a", retry(Duration::from_secs(60)))];
    let run = Run::start(Script { source, outcomes, failures: vec![("nack", 1)], ..Script::default() }, None, false);
    run.stage.wait_for("ack a").await;
    assert_eq!(run.end().await, ["run a", "nack a after 1 attempts for 60s", "run a", "ack a"]);
}

#[tokio::test(start_paused = true)]
async fn a_drain_returns_what_waits_with_its_history_and_finishes_what_runs() {
    let source = [deliveries("a b", Some("k"))].into();
    let outcomes = vec![("a", retry(Duration::from_secs(5)))];
    let run = Run::start(Script { source, outcomes, ..Script::default() }, None, true);
    run.stage.wait_for("run a").await;
    run.stage.gate.as_ref().unwrap().notify_one();
    tokio::time::sleep(Duration::from_secs(1)).await;
    run.stage.script().source.push_back(deliveries("c", None));
    run.stage.arrived.notify_one();
    run.stage.wait_for("run c").await;
    run.stop.cancel();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!run.task.is_finished(), "c still runs");
    run.stage.gate.as_ref().unwrap().notify_one();
    let mut done = run.end().await;
    done[2..4].sort();
    let expected = ["run a", "run c", "nack a after 1 attempts for 0s", "nack b after 0 attempts for 0s", "ack c"];
    assert_eq!(done, expected);
}

#[tokio::test(start_paused = true)]
async fn what_a_closing_host_refuses_goes_back_as_it_was() {
    let source = [deliveries("a", None)].into();
    let outcomes = vec![("a", Err(dispatch::Error::Host(HostError::Closed).into()))];
    let run = Run::start(Script { source, outcomes, ..Script::default() }, None, false);
    run.stage.wait_for("nack a after 0 attempts for 0s").await;
    assert_eq!(run.end().await.len(), 2);
}

fn suspects(names: &str) -> Result<Vec<Delivery>, Error> {
    let mut suspects = deliveries(names, None)?;
    suspects.iter_mut().for_each(|suspect| suspect.history.deaths = 1);
    Ok(suspects)
}

#[tokio::test(start_paused = true)]
async fn suspects_wait_for_their_turn_without_slots_and_run_one_at_a_time() {
    let source = [suspects("a b c d e"), deliveries("f", None)].into();
    let run = Run::start(Script { source, ..Script::default() }, None, true);
    let elsewhere = Arc::clone(&run.quarantine).try_acquire_owned().unwrap();
    let next = async |line: &str| {
        run.stage.gate.as_ref().unwrap().notify_one();
        run.stage.wait_for(line).await;
    };
    next("ack f").await;
    assert_eq!(run.stage.done(), ["run f", "ack f"]);
    drop(elsewhere);
    run.stage.wait_for("run a").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(run.stage.times_of("run").len(), 2, "only one of them runs");
    for line in ["ack a", "ack b", "ack c", "ack d", "ack e"] {
        next(line).await;
    }
    assert_eq!((run.quarantine.available_permits(), run.end().await.len()), (1, 12));
}

#[tokio::test(start_paused = true)]
async fn suspects_whose_turn_has_not_come_go_back_at_a_drain() {
    let run = Run::start(Script { source: [suspects("a b")].into(), ..Script::default() }, None, false);
    let elsewhere = Arc::clone(&run.quarantine).try_acquire_owned().unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(run.stage.done(), [] as [&str; 0]);
    let quarantine = Arc::clone(&run.quarantine);
    assert_eq!(run.end().await, ["nack a after 0 attempts for 0s", "nack b after 0 attempts for 0s"]);
    drop(elsewhere);
    assert_eq!(quarantine.available_permits(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_pause_lets_nothing_begin_and_gives_back_what_has_not_run() {
    let source = [deliveries("a b c", Some("k")), deliveries("d e f g h", None)].into();
    let script = Script { source, failures: vec![("release", 2)], ..Script::default() };
    let run = Run::start(script, Some(Duration::from_secs(30)), true);
    run.stage.wait_for("run f").await;
    run.stage.pauses.send_replace(true);
    run.stage.wait_for("release b c g h").await;
    run.stage.gate.as_ref().unwrap().notify_waiters();
    tokio::time::sleep(Duration::from_mins(1)).await;
    let released = "release b c g h";
    assert_eq!(run.stage.done()[..4], ["run a", "run d", "run e", "run f"]);
    assert_eq!(run.stage.done()[4..], [released, "ack a d e f", released, released], "nothing is left to extend");
    run.stage.pauses.send_replace(false);
    run.stage.script().source.push_back(deliveries("b c", Some("k")));
    run.stage.arrived.notify_one();
    run.stage.wait_for("run b").await;
    run.stage.gate.as_ref().unwrap().notify_one();
    run.stage.wait_for("run c").await;
    run.stage.gate.as_ref().unwrap().notify_one();
    run.stage.wait_for("ack c").await;
    run.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_another_attempt_when_a_pause_begins_waits_on_and_keeps_its_lane() {
    let source = [deliveries("a b", Some("k"))].into();
    let outcomes = vec![("a", retry(Duration::from_secs(5)))];
    let run = Run::start(Script { source, outcomes, ..Script::default() }, None, false);
    run.stage.wait_for("run a").await;
    run.stage.pauses.send_replace(true);
    run.stage.wait_for("release b").await;
    run.stage.script().source.push_back(deliveries("b", Some("k")));
    run.stage.arrived.notify_one();
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(run.stage.done(), ["run a", "release b"]);
    run.stage.pauses.send_replace(false);
    run.stage.wait_for("ack b").await;
    assert_eq!(run.end().await[2..], ["run a", "ack a", "run b", "ack b"]);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_begins_paused_takes_nothing() {
    let run = Run::start_paused(Script { source: [deliveries("a", None)].into(), ..Script::default() });
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(run.stage.done(), [] as [&str; 0]);
    run.stage.pauses.send_replace(false);
    run.stage.wait_for("ack a").await;
    run.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_leaves_the_turn_of_suspects_to_other_subscriptions() {
    let run = Run::start(Script { source: [suspects("a b")].into(), ..Script::default() }, None, true);
    run.stage.wait_for("run a").await;
    run.stage.pauses.send_replace(true);
    run.stage.wait_for("release b").await;
    run.stage.gate.as_ref().unwrap().notify_one();
    run.stage.wait_for("ack a").await;
    assert_eq!(run.quarantine.available_permits(), 1);
    run.end().await;
}

/// More of one key than are held behind the one that fails, and then one without a key.
fn many_of_one_key() -> (Vec<String>, VecDeque<Result<Vec<Delivery>, Error>>) {
    let names: Vec<String> = (0..1100).map(|number| format!("k{number:04}")).collect();
    (names.clone(), [deliveries(&names.join(" "), Some("k")), deliveries("a", None)].into())
}

#[tokio::test(start_paused = true)]
async fn what_is_behind_a_failing_message_holds_up_no_other_and_runs_in_order_later() {
    let (names, source) = many_of_one_key();
    let outcomes = vec![("k0000", retry(Duration::from_secs(50)))];
    let script = Script { source, outcomes, failures: vec![("recall", 3)], ..Script::default() };
    let run = Run::start(script, None, false);
    run.stage.wait_for("ack a").await;
    assert!(run.stage.times_of("ack a")[0] < Duration::from_secs(1));
    run.stage.wait_for("ack k1099").await;
    let done = run.end().await;
    let runs: Vec<&str> = done.iter().filter_map(|line| line.strip_prefix("run k")).collect();
    assert_eq!(runs[0], "0000", "it failed");
    assert_eq!(runs[1..], names.iter().map(|name| &name[1..]).collect::<Vec<_>>());
    let recalls: Vec<&String> = done.iter().filter(|line| line.starts_with("recall")).collect();
    assert_eq!(recalls.len(), 7, "three failed, and each is for several: {recalls:?}");
    assert!(recalls[..4].iter().all(|line| line.starts_with("recall k1001 ")), "{recalls:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_parked_goes_back_at_a_pause_and_at_a_drain() {
    for pause in [true, false] {
        let (names, source) = many_of_one_key();
        let outcomes = vec![("k0000", retry(Duration::from_secs(50)))];
        let run = Run::start(Script { source, outcomes, ..Script::default() }, None, false);
        run.stage.wait_for("ack a").await;
        if pause {
            run.stage.pauses.send_replace(true);
        } else {
            run.stop.cancel();
        }
        let first = if pause { 1 } else { 1001 };
        run.stage.wait_for(&format!("release {}", names[first..].join(" "))).await;
        let done = run.end().await;
        assert_eq!(done.iter().filter(|line| line.starts_with("nack")).count(), if pause { 1 } else { 1001 });
        assert_eq!(done.iter().filter(|line| line.starts_with("release")).count(), 1);
    }
}

/// How many minutes are left to wait, about: this clock goes on by itself.
fn left(history: &History) -> Option<u64> {
    let left = history.not_before?.duration_since(SystemTime::now()).unwrap_or_default();
    Some((left.as_secs() + 30) / 60)
}

#[tokio::test(start_paused = true)]
async fn the_broker_is_told_of_every_attempt_that_counts_when_the_wait_after_it_begins() {
    let source = [deliveries("a b", Some("k"))].into();
    let died = || Err(dispatch::Error::Host(HostError::WorkerDied("signal 9".to_owned())).into());
    let full = || Err(dispatch::Error::NoRoom.into());
    let outcomes = vec![("a", retry(Duration::from_mins(10))), ("a", died()), ("a", full())];
    let run = Run::start(Script { source, outcomes, ..Script::default() }, None, false);
    tokio::time::sleep(Duration::from_mins(10)).await;
    run.stage.wait_for("ack b").await;
    let notes: Vec<_> = std::mem::take(&mut run.stage.script().notes);
    let notes: Vec<_> =
        notes.iter().map(|(name, history)| (name.as_str(), history.attempts, history.deaths, left(history))).collect();
    // A queue that is full counts for nothing, and the next process need not wait for it.
    assert_eq!(notes, [("a", 1, 0, Some(10)), ("a", 1, 1, Some(0)), ("a", 1, 1, None)]);
    assert_eq!(run.end().await, ["run a", "run a", "run a", "run a", "ack a", "run b", "ack b"]);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_an_earlier_process_began_is_waited_to_its_end_at_the_head_of_its_lane() {
    let due = SystemTime::now() + Duration::from_mins(60);
    let mut source = deliveries("a b", Some("k")).unwrap();
    source.extend(deliveries("c", None).unwrap());
    source[0].history = History { attempts: 1, not_before: Some(due), ..History::default() };
    let run = Run::start(Script { source: [Ok(source)].into(), ..Script::default() }, None, false);
    tokio::time::sleep(Duration::from_mins(60)).await;
    run.stage.wait_for("ack b").await;
    assert_eq!((run.stage.times_of("run a")[0].as_secs() + 30) / 60, 60);
    assert_eq!(run.end().await, ["run c", "ack c", "run a", "ack a", "run b", "ack b"]);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_has_ended_while_no_process_ran_is_no_wait() {
    let mut source = deliveries("a", Some("k")).unwrap();
    source[0].history = History { not_before: Some(SystemTime::UNIX_EPOCH), ..History::default() };
    let run = Run::start(Script { source: [Ok(source)].into(), ..Script::default() }, None, false);
    run.stage.wait_for("ack a").await;
    assert!(run.stage.times_of("run a")[0] < Duration::from_millis(100));
    run.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_a_wait_goes_back_with_its_message() {
    let due = SystemTime::now() + Duration::from_mins(40);
    let mut source = deliveries("a b c", None).unwrap();
    source[0].history = History { attempts: 1, not_before: Some(due), ..History::default() };
    let outcomes = vec![("b", retry(Duration::from_secs(5))), ("c", retry(Duration::from_secs(50)))];
    let script = Script { source: [Ok(source)].into(), outcomes, ..Script::default() };
    let run = Run::start(script, None, true);
    run.stage.wait_for("run c").await;
    // One fails before the end of intake, one after it.
    run.stage.gate.as_ref().unwrap().notify_one();
    tokio::time::sleep(Duration::from_millis(100)).await;
    run.stop.cancel();
    tokio::time::sleep(Duration::from_millis(100)).await;
    run.stage.gate.as_ref().unwrap().notify_one();
    let stage = Arc::clone(&run.stage);
    let done = run.end().await;
    let waits = |wanted: &str| {
        let script = stage.script();
        let found = script.returned.iter().find(|(name, _)| name == wanted).map(|(_, history)| *history).unwrap();
        (found.attempts, left(&found))
    };
    assert_eq!((waits("a"), waits("b")), ((1, Some(40)), (1, Some(0))));
    assert!(done.contains(&"nack c after 1 attempts for 50s".to_owned()), "without a key its broker waits: {done:?}");
}

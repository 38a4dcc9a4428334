//! Does a subscription get everything until it is finished, whatever is done in whatever order? Random steps of two consumers, with restarts, crashes and
//! writes that fail, checked against plain sets: what consumers get, and after each step what is stored.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::time::Instant;
use std::{fs, io};

use fastrand::Rng;

use super::*;
use crate::broker::DeadLetterFilter;
use crate::rocksdb::database::{DEAD, Database, PROGRESS, RETURNED};
use crate::rocksdb::error::Fault;
use crate::rocksdb::rows::{DeadHead, ReturnedHead, Stored, decode, decode_message};

const STEPS: usize = 150;

/// What must be true of one subscription.
#[derive(Default)]
struct Model {
    published: u32,
    /// Acked for good.
    finished: BTreeSet<u32>,
    dead: BTreeSet<u32>,
    /// What the messages that are not finished have been through.
    histories: BTreeMap<u32, History>,
}

struct World {
    directory: TempDir,
    store: RocksDb,
    /// Of one subscription. Either finishes what the other took.
    consumers: [Arc<dyn Consumer>; 2],
    in_flight: Vec<Delivery>,
    model: Model,
    random: Rng,
}

impl World {
    async fn new(seed: u64) -> Self {
        let directory = directory();
        let store = RocksDb::open(Self::options(directory.path())).unwrap();
        let consumers = two(&store).await;
        let (in_flight, model) = (Vec::new(), Model::default());
        Self { directory, store, consumers, in_flight, model, random: Rng::with_seed(seed) }
    }

    /// Next to nothing stays in memory, so that reading from the disk is tried too.
    fn options(path: &Path) -> Options {
        Options { cache_bytes: 1_000, ..options(path) }
    }

    async fn step(&mut self) {
        match self.random.u8(..100) {
            0..30 => self.publish().await,
            30..60 => self.take().await,
            60..72 => self.ack().await,
            72..80 => self.put_back().await,
            80..83 => self.bury().await,
            83..85 => self.redrive().await,
            85..86 => self.note().await,
            86..93 => self.do_much_at_once().await,
            93..96 => self.fail().await,
            96..98 => self.restart().await,
            _ => self.crash().await,
        }
        self.check_stored();
    }

    fn consumer(&mut self) -> Arc<dyn Consumer> {
        Arc::clone(&self.consumers[self.random.usize(..2)])
    }

    fn new_ones(&mut self) -> Vec<Publication> {
        let numbers = self.model.published..self.model.published + self.random.u32(1..6);
        self.model.published = numbers.end;
        numbers.map(|number| publication("E", &number.to_string())).collect()
    }

    async fn publish(&mut self) {
        let publications = self.new_ones();
        self.store.publish(publications).await.unwrap();
    }

    /// Takes what there is, and checks that it may come.
    async fn take(&mut self) {
        let limit = self.random.usize(1..8);
        let wait = Duration::from_millis(5);
        let consumer = self.consumer();
        if let Ok(deliveries) = tokio::time::timeout(wait, consumer.next(limit)).await {
            self.check_taken(deliveries.unwrap());
        }
    }

    fn check_taken(&mut self, deliveries: Vec<Delivery>) {
        for delivery in deliveries {
            let number = number_of(&delivery);
            assert!(!self.model.finished.contains(&number), "{number} was finished");
            assert!(!self.model.dead.contains(&number), "{number} is dead");
            assert!(self.in_flight.iter().all(|other| number_of(other) != number), "{number} is in flight");
            let history = self.model.histories.get(&number).copied().unwrap_or_default();
            assert_eq!(delivery.history, history, "{number}");
            self.in_flight.push(delivery);
        }
    }

    fn pick(&mut self) -> Option<Delivery> {
        let count = self.in_flight.len();
        (count > 0).then(|| self.in_flight.swap_remove(self.random.usize(..count)))
    }

    async fn ack(&mut self) {
        let some: Vec<Delivery> = (0..4).filter_map(|_| self.pick()).collect();
        self.consumer().ack(&some).await.unwrap();
        self.model.finished.extend(some.iter().map(number_of));
    }

    async fn put_back(&mut self) {
        let Some(delivery) = self.pick() else { return };
        let history = History { attempts: self.random.u32(..5), ..History::default() };
        let delay = Duration::from_millis(self.random.u64(..3) * 4);
        self.consumer().nack(&delivery, history, delay).await.unwrap();
        self.model.histories.insert(number_of(&delivery), history);
    }

    /// What a message that stays with its consumer has been through. It is written with what comes next.
    async fn note(&mut self) {
        let Some(delivery) = self.pick() else { return };
        let not_before = Some(SystemTime::UNIX_EPOCH + Duration::from_millis(self.random.u64(..1 << 40)));
        let history = History { attempts: self.random.u32(1..5), not_before, ..History::default() };
        self.consumer().note(&delivery, history);
        self.publish().await;
        self.model.histories.insert(number_of(&delivery), history);
        self.in_flight.push(delivery);
    }

    async fn bury(&mut self) {
        let Some(delivery) = self.pick() else { return };
        self.consumer().dead_letter(&delivery, &obituary()).await.unwrap();
        self.model.dead.insert(number_of(&delivery));
        self.model.histories.remove(&number_of(&delivery));
    }

    async fn redrive(&mut self) {
        let letters = self.store.dead_letters(&DeadLetterFilter::default(), 2).await.unwrap();
        let ids: Vec<Uuid> = letters.iter().rev().map(|letter| letter.id).collect();
        assert_eq!(self.store.redrive(&ids).await.unwrap(), ids);
        self.model.dead.clear();
        let left = self.store.dead_letters(&DeadLetterFilter::default(), usize::MAX).await.unwrap();
        self.model.dead.extend(left.iter().map(|letter| number(&letter.envelope)));
    }

    async fn restart(&mut self) {
        self.in_flight.clear();
        self.store.close().await.unwrap();
        self.store = RocksDb::open(Self::options(self.directory.path())).unwrap();
        self.consumers = two(&self.store).await;
    }

    /// The store goes on with the files that a killed process would leave.
    async fn crash(&mut self) {
        self.in_flight.clear();
        let left = left_by(self.directory.path());
        self.store = RocksDb::open(Self::options(left.path())).unwrap();
        self.consumers = two(&self.store).await;
        self.directory = left;
    }

    /// A write fails. What it should have finished stays in flight, as all that is.
    async fn fail(&mut self) {
        self.store.shared.slot.set_down("as told".to_owned());
        let some: Vec<Delivery> = (0..2).filter_map(|_| self.pick()).collect();
        assert!(some.is_empty() || self.consumer().ack(&some).await.is_err());
        self.in_flight.extend(some);
        let end = Instant::now() + PATIENCE;
        while self.store.publish(Vec::new()).await.is_err() {
            assert!(Instant::now() < end, "it did not recover");
            tokio::task::yield_now().await;
        }
    }

    /// So that one commit has it all.
    async fn do_much_at_once(&mut self) {
        if self.in_flight.len() < 6 {
            return;
        }
        let mut acked: Vec<Delivery> = (0..6).filter_map(|_| self.pick()).collect();
        let [back, later, dead] = [0; 3].map(|first| acked.remove(first));
        let history = History { attempts: 7, ..History::default() };
        let (publications, reason) = (self.new_ones(), obituary());
        let [one, other] = &self.consumers;
        let (acking, waiting, published, buried, returned, taken) = tokio::join!(
            one.ack(&acked),
            other.nack(&later, history, Duration::from_millis(3)),
            self.store.publish(publications),
            one.dead_letter(&dead, &reason),
            one.nack(&back, history, Duration::ZERO),
            tokio::time::timeout(Duration::from_millis(5), other.next(9)),
        );
        for outcome in [acking, waiting, published, buried, returned] {
            outcome.unwrap();
        }
        self.model.finished.extend(acked.iter().map(number_of));
        self.model.dead.insert(number_of(&dead));
        self.model.histories.remove(&number_of(&dead));
        self.model.histories.extend([&back, &later].map(|delivery| (number_of(delivery), history)));
        if let Ok(deliveries) = taken {
            self.check_taken(deliveries.unwrap());
        }
    }

    /// What is stored as finished was acked, or lies elsewhere; nothing lies in two places. Each message stands in the log at its number.
    fn check_stored(&self) {
        let (stored, returned, dead) = self.store.shared.slot.with(stored).unwrap();
        assert_eq!(dead, self.model.dead);
        assert!(returned.is_disjoint(&dead) && returned.is_disjoint(&self.model.finished));
        for number in 0..self.model.published {
            let elsewhere = returned.contains(&number) || dead.contains(&number);
            let finished = self.model.finished.contains(&number) || elsewhere;
            assert_eq!(stored.progress.is_finished(number.into()), finished, "{number}");
        }
    }

    /// Everything that is not finished and not dead comes, and then nothing.
    async fn drain(mut self) {
        self.ack_all().await;
        let expected = self.model.published as usize - self.model.dead.len();
        let end = Instant::now() + PATIENCE;
        while self.model.finished.len() < expected {
            assert!(Instant::now() < end, "{} of {expected} came", self.model.finished.len());
            self.take().await;
            self.ack_all().await;
        }
        let status = status(&self.store, "E", "a").await;
        assert_eq!((status.waiting, status.delayed, status.in_flight), (0, 0, 0));
        assert_eq!((status.dead, status.oldest), (self.model.dead.len() as u64, None));
    }

    async fn ack_all(&mut self) {
        while !self.in_flight.is_empty() {
            self.ack().await;
        }
    }
}

async fn two(store: &RocksDb) -> [Arc<dyn Consumer>; 2] {
    [subscribe(store, "E", "a").await, subscribe(store, "E", "a").await]
}

/// The subscription's row, and the numbers of what was put back with a delay or redriven, and of what is dead.
fn stored(database: &Database) -> Result<(Stored, BTreeSet<u32>, BTreeSet<u32>), Fault> {
    let row = database.get(PROGRESS, &1_u32.to_be_bytes())?.unwrap();
    let (mut returned, mut dead) = (BTreeSet::new(), BTreeSet::new());
    database.scan(RETURNED, (&[], None), |_, value| {
        assert!(returned.insert(number(&decode_message::<ReturnedHead>(value).unwrap().1)), "it is there twice");
        Ok(ControlFlow::Continue(()))
    })?;
    database.scan(DEAD, (&[], None), |_, value| {
        assert!(dead.insert(number(&decode_message::<DeadHead>(value).unwrap().1)), "it is there twice");
        Ok(ControlFlow::Continue(()))
    })?;
    Ok((decode(&row).unwrap(), returned, dead))
}

/// The files of an open store as they are now, copied while nothing moved.
fn left_by(path: &Path) -> TempDir {
    loop {
        let left = directory();
        let before = files(path);
        let copied = before
            .keys()
            .filter(|name| *name != "LOCK")
            .try_for_each(|name| fs::copy(path.join(name), left.path().join(name)).map(drop));
        match copied {
            Ok(()) if files(path) == before => return left,
            Err(error) if error.kind() != io::ErrorKind::NotFound => panic!("{error}"),
            _ => {}
        }
    }
}

/// Names and sizes.
fn files(path: &Path) -> BTreeMap<String, u64> {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    // One that has gone meanwhile was of no use any more.
    let sizes =
        entries.filter_map(|path| Some((path.file_name()?.to_str()?.to_owned(), fs::metadata(&path).ok()?.len())));
    sizes.collect()
}

fn number(envelope: &Envelope) -> u32 {
    std::str::from_utf8(&envelope.data).unwrap().parse().unwrap()
}

fn number_of(delivery: &Delivery) -> u32 {
    number(&delivery.envelope)
}

#[tokio::test]
async fn nothing_is_lost_and_nothing_finished_comes_again() {
    for seed in 0..6 {
        let mut world = World::new(seed).await;
        for _ in 0..STEPS {
            world.step().await;
        }
        world.drain().await;
    }
}

//! Does a subscription get everything until it is finished, whatever is done in whatever order? Random steps with restarts, checked against plain sets.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;

use super::*;
use crate::broker::DeadLetterFilter;

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
    consumer: Arc<dyn Consumer>,
    in_flight: Vec<Delivery>,
    model: Model,
    random: Rng,
}

impl World {
    async fn new(seed: u64) -> Self {
        let directory = directory();
        let store = RocksDb::open(Self::options(directory.path())).unwrap();
        let consumer = subscribe(&store, "E", "a").await;
        let (in_flight, model) = (Vec::new(), Model::default());
        Self { directory, store, consumer, in_flight, model, random: Rng::with_seed(seed) }
    }

    /// Next to nothing stays in memory, so that reading from the disk is tried too.
    fn options(path: &Path) -> Options {
        Options { cache_bytes: 1_000, ..options(path) }
    }

    async fn step(&mut self) {
        match self.random.u8(..100) {
            0..30 => self.publish().await,
            30..60 => self.take().await,
            60..75 => self.ack().await,
            75..88 => self.put_back().await,
            88..93 => self.bury().await,
            93..96 => self.redrive().await,
            _ => self.restart().await,
        }
    }

    async fn publish(&mut self) {
        let numbers = self.model.published..self.model.published + self.random.u32(1..6);
        self.model.published = numbers.end;
        let publications = numbers.map(|number| publication("E", &number.to_string()));
        self.store.publish(publications.collect()).await.unwrap();
    }

    /// Takes what there is, and checks that it may come.
    async fn take(&mut self) {
        let limit = self.random.usize(1..8);
        let wait = Duration::from_millis(5);
        let Ok(deliveries) = tokio::time::timeout(wait, self.consumer.next(limit)).await else { return };
        for delivery in deliveries.unwrap() {
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
        self.consumer.ack(&some).await.unwrap();
        self.model.finished.extend(some.iter().map(number_of));
    }

    async fn put_back(&mut self) {
        let Some(delivery) = self.pick() else { return };
        let history = History { attempts: self.random.u32(..5), ..History::default() };
        let delay = Duration::from_millis(self.random.u64(..3) * 4);
        self.consumer.nack(&delivery, history, delay).await.unwrap();
        self.model.histories.insert(number_of(&delivery), history);
    }

    async fn bury(&mut self) {
        let Some(delivery) = self.pick() else { return };
        self.consumer.dead_letter(&delivery, &obituary()).await.unwrap();
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
        self.consumer = subscribe(&self.store, "E", "a").await;
    }

    /// Everything that is not finished and not dead comes, and then nothing.
    async fn drain(mut self) {
        self.ack_all().await;
        let expected = self.model.published as usize - self.model.dead.len();
        let end = std::time::Instant::now() + PATIENCE;
        while self.model.finished.len() < expected {
            assert!(std::time::Instant::now() < end, "{} of {expected} came", self.model.finished.len());
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

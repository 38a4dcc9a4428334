//! Does a subscription get everything until it is finished, and nothing after that, whatever the broker and the network do? Random steps of two consumers, with faults and restarts,
//! checked against plain sets.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use fastrand::Rng;

use super::*;
use crate::broker::DeadLetterFilter;

const STEPS: usize = 250;

/// What must be true of one subscription.
#[derive(Default)]
struct Model {
    published: u32,
    finished: BTreeSet<u32>,
    dead: BTreeSet<u32>,
    /// Put back for a while: these have no place among the others.
    loose: BTreeSet<u32>,
    /// As these, for good: the companion hands them out.
    redriven: BTreeSet<u32>,
    /// What the messages that are not finished have been through.
    histories: BTreeMap<u32, History>,
}

struct World {
    site: Site,
    remote: Remote,
    consumers: [Arc<dyn Consumer>; 2],
    in_flight: Vec<Delivery>,
    model: Model,
    random: Rng,
}

impl World {
    async fn new(seed: u64) -> Self {
        let random = Rng::with_seed(seed);
        let lease = seed.is_multiple_of(2).then_some(Duration::from_millis(200));
        let site = Site::new(Nature { lease, ..Nature::default() });
        let remote = site.open().await.unwrap();
        let consumers = two(&remote).await;
        Self { site, remote, consumers, in_flight: Vec::new(), model: Model::default(), random }
    }

    async fn step(&mut self) {
        match self.random.u8(..100) {
            0..28 => self.publish().await,
            28..56 => self.take().await,
            56..72 => self.ack().await,
            72..80 => self.put_back().await,
            80..83 => self.bury().await,
            83..85 => self.redrive().await,
            85..88 => self.site.broker.cut(),
            88..91 => self.site.broker.hand_out_again(),
            91..93 => self.site.broker.suffer(|faults| faults.lost_acks = 1),
            93..95 => self.site.broker.suffer(|faults| faults.lost_confirmations = 2),
            95..96 => self.site.broker.suffer(|faults| faults.copies = !faults.copies),
            96..98 => self.be_away().await,
            98..99 => self.restart().await,
            _ => self.crash().await,
        }
    }

    fn consumer(&mut self) -> Arc<dyn Consumer> {
        Arc::clone(&self.consumers[self.random.usize(..2)])
    }

    /// Publishes until that is confirmed.
    async fn publish(&mut self) {
        let numbers = self.model.published..self.model.published + self.random.u32(1..6);
        self.model.published = numbers.end;
        let publications: Vec<Publication> = numbers.map(publication).collect();
        let end = Instant::now() + PATIENCE;
        while self.remote.publish(publications.clone()).await.is_err() {
            assert!(Instant::now() < end, "it is never confirmed");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Takes what there is, and checks that it may come.
    async fn take(&mut self) {
        let (limit, wait) = (self.random.usize(1..8), Duration::from_millis(5));
        let consumer = self.consumer();
        let Ok(deliveries) = tokio::time::timeout(wait, consumer.next(limit)).await else { return };
        for delivery in deliveries.unwrap() {
            self.check(&delivery);
            self.model.loose.remove(&number_of(&delivery.envelope));
            self.in_flight.push(delivery);
        }
    }

    fn check(&self, delivery: &Delivery) {
        let Self { model, in_flight, .. } = self;
        let number = number_of(&delivery.envelope);
        assert!(!model.finished.contains(&number), "{number} was finished");
        assert!(!model.dead.contains(&number), "{number} is dead");
        assert!(in_flight.iter().all(|other| number_of(&other.envelope) != number), "{number} is in flight");
        let history = model.histories.get(&number).copied().unwrap_or_default();
        assert_eq!(delivery.history, history, "{number}");
        let is_settled = |earlier: &u32| {
            let is_out = in_flight.iter().any(|other| number_of(&other.envelope) == *earlier);
            let is_elsewhere = model.loose.contains(earlier) || model.redriven.contains(earlier);
            is_out || is_elsewhere || model.finished.contains(earlier) || model.dead.contains(earlier)
        };
        if !model.loose.contains(&number) && !model.redriven.contains(&number) {
            let overtaken: Vec<u32> = (0..number).filter(|earlier| !is_settled(earlier)).collect();
            assert_eq!(overtaken, [] as [u32; 0], "{number} comes before these");
        }
    }

    fn pick(&mut self) -> Option<Delivery> {
        let count = self.in_flight.len();
        (count > 0).then(|| self.in_flight.swap_remove(self.random.usize(..count)))
    }

    async fn ack(&mut self) {
        let some: Vec<Delivery> = (0..4).filter_map(|_| self.pick()).collect();
        self.consumer().ack(&some).await.unwrap();
        for delivery in some {
            self.model.finished.insert(number_of(&delivery.envelope));
            self.model.histories.remove(&number_of(&delivery.envelope));
        }
    }

    async fn put_back(&mut self) {
        let Some(delivery) = self.pick() else { return };
        let (number, history) = (number_of(&delivery.envelope), after(self.random.u32(..5)));
        let delay = Duration::from_millis(self.random.u64(..3) * 4);
        self.consumer().nack(&delivery, history, delay).await.unwrap();
        self.model.histories.insert(number, history);
        if !delay.is_zero() {
            self.model.loose.insert(number);
        }
    }

    async fn bury(&mut self) {
        let Some(delivery) = self.pick() else { return };
        self.consumer().dead_letter(&delivery, &obituary()).await.unwrap();
        self.model.dead.insert(number_of(&delivery.envelope));
        self.model.histories.remove(&number_of(&delivery.envelope));
    }

    async fn redrive(&mut self) {
        let letters = self.remote.dead_letters(&DeadLetterFilter::default(), 2).await.unwrap();
        let ids: Vec<Uuid> = letters.iter().rev().map(|letter| letter.id).collect();
        assert_eq!(self.remote.redrive(&ids).await.unwrap(), ids);
        for number in letters.iter().map(|letter| number_of(&letter.envelope)) {
            self.model.dead.remove(&number);
            self.model.redriven.insert(number);
        }
    }

    async fn be_away(&mut self) {
        self.site.broker.suffer(|faults| faults.away = true);
        self.take().await;
        self.ack().await;
        self.site.broker.cut();
        self.site.broker.suffer(|faults| faults.away = false);
    }

    async fn restart(&mut self) {
        self.site.broker.suffer(|faults| faults.lost_acks = 0);
        self.remote.close().await.unwrap();
        self.open_again().await;
    }

    /// The process ends; its connections with it.
    async fn crash(&mut self) {
        self.remote.companion.close().await.unwrap();
        self.open_again().await;
    }

    async fn open_again(&mut self) {
        self.in_flight.clear();
        // Put back for a while, and perhaps not any more: these may have come to a place of their own.
        self.remote = self.site.open().await.unwrap();
        self.site.broker.cut();
        self.consumers = two(&self.remote).await;
    }

    /// Everything that is not finished and not dead comes, and then nothing.
    async fn drain(mut self) {
        self.site.broker.suffer(|faults| *faults = fake::Faults::default());
        let expected = self.model.published as usize - self.model.dead.len();
        let end = Instant::now() + PATIENCE;
        while self.model.finished.len() < expected {
            assert!(Instant::now() < end, "{} of {expected} came", self.model.finished.len());
            self.take().await;
            while !self.in_flight.is_empty() {
                self.ack().await;
            }
        }
        let [consumer, _] = &self.consumers;
        eventually("an empty queue", async || {
            assert!(is_silent(consumer).await, "something finished came again");
            self.site.broker.queued(&subscription()) == (0, 0)
        })
        .await;
        let status = status(&self.remote).await;
        assert_eq!((status.waiting, status.delayed, status.in_flight), (0, 0, 0));
        assert_eq!((status.dead, status.oldest), (self.model.dead.len() as u64, None));
        let shown: BTreeSet<Uuid> = self.site.broker.letters().iter().map(|letter| letter.id).collect();
        let kept = self.remote.dead_letters(&DeadLetterFilter::default(), usize::MAX).await.unwrap();
        assert!(kept.iter().all(|letter| shown.contains(&letter.id)), "a letter has no copy at the broker");
    }
}

async fn two(remote: &Remote) -> [Arc<dyn Consumer>; 2] {
    [subscribe(remote).await, subscribe(remote).await]
}

#[tokio::test]
async fn nothing_is_lost_and_nothing_finished_comes_again() {
    for seed in 0..8 {
        let mut world = World::new(seed).await;
        for _ in 0..STEPS {
            world.step().await;
        }
        world.drain().await;
    }
}

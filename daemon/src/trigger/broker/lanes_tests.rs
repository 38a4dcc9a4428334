//! Do lanes keep their order, share the slots fairly, and hold nobody up? With seeds and a clock that only the test moves.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;

use fastrand::Rng;

use super::{Entry, Lanes, MOST_BYTES, MOST_HELD, WINDOW};

const MILLISECOND: u64 = 1000;
const SECOND: u64 = 1000 * MILLISECOND;

#[derive(Debug, Clone, PartialEq)]
struct Item {
    key: Option<Arc<str>>,
    number: usize,
    size: usize,
}

impl Entry for Item {
    fn key(&self) -> Option<&Arc<str>> {
        self.key.as_ref()
    }

    fn size(&self) -> usize {
        self.size
    }
}

fn of(key: &str, number: usize) -> Item {
    Item { key: Some(key.into()), number, size: 1 }
}

fn keyless(number: usize) -> Item {
    Item { key: None, number, size: 1 }
}

fn numbers(lanes: &mut Lanes<Item, u64>, now: u64) -> Vec<usize> {
    std::iter::from_fn(|| lanes.next(now, 10)).map(|item| item.number).collect()
}

#[test]
fn one_key_runs_one_at_a_time_and_in_order() {
    let mut lanes = Lanes::new();
    for item in [of("a", 1), of("a", 2), of("b", 3), of("a", 4)] {
        lanes.push(item);
    }
    assert_eq!(numbers(&mut lanes, 0), [1, 3]);
    lanes.finish(&of("a", 1));
    assert_eq!(numbers(&mut lanes, 0), [2]);
    lanes.finish(&of("a", 2));
    assert_eq!(numbers(&mut lanes, 0), [4]);
    lanes.finish(&of("a", 4));
    lanes.finish(&of("b", 3));
    assert_eq!((lanes.held, lanes.bytes, lanes.running(), lanes.behind.len()), (0, 0, 0, 0));
}

#[test]
fn lanes_take_turns() {
    let mut lanes: Lanes<Item, u64> = Lanes::new();
    for item in [of("a", 1), of("a", 2), of("a", 3), of("b", 4)] {
        lanes.push(item);
    }
    let mut order = Vec::new();
    while let Some(item) = lanes.next(0, 1) {
        order.push(item.number);
        lanes.finish(&item);
    }
    assert_eq!(order, [1, 4, 2, 3]);
}

#[test]
fn a_failed_delivery_keeps_its_lane_but_no_slot() {
    let mut lanes = Lanes::new();
    for item in [of("a", 1), of("a", 2), of("b", 3)] {
        lanes.push(item);
    }
    assert_eq!(lanes.next(0, 1), Some(of("a", 1)));
    assert_eq!(lanes.next(0, 1), None);
    lanes.wait(7, of("a", 1));
    assert_eq!(lanes.next(0, 1), Some(of("b", 3)));
    lanes.finish(&of("b", 3));
    assert_eq!((lanes.next(6, 1), lanes.next_due()), (None, Some(7)), "2 stays behind 1");
    assert_eq!(lanes.next(7, 1), Some(of("a", 1)));
    lanes.finish(&of("a", 1));
    assert_eq!((lanes.next(7, 1), lanes.next_due()), (Some(of("a", 2)), None));
}

#[test]
fn what_is_due_at_once_resumes_in_the_order_of_its_failures_and_behind_what_is_ready() {
    let mut lanes = Lanes::new();
    (1..=3).map(keyless).for_each(|item| lanes.push(item));
    assert_eq!(numbers(&mut lanes, 0), [1, 2, 3]);
    lanes.wait(5, keyless(2));
    lanes.wait(5, keyless(1));
    lanes.wait(4, keyless(3));
    lanes.push(keyless(4));
    assert_eq!(numbers(&mut lanes, 5), [4, 3, 2, 1]);
}

#[test]
fn what_waits_makes_room_up_to_the_bounds_of_all_that_is_held() {
    let mut lanes = Lanes::new();
    assert_eq!(lanes.room(2), 2 * WINDOW);
    (0..16).map(keyless).for_each(|item| lanes.push(item));
    assert_eq!(lanes.room(2), 0);
    let failed = lanes.next(0, 2).unwrap();
    assert_eq!(lanes.room(2), 0, "what runs is in the window");
    lanes.wait(9, failed);
    for expected in [0, 0, 2 * WINDOW / 4] {
        let failed = lanes.next(0, 2).unwrap();
        lanes.wait(9, failed);
        assert_eq!(lanes.room(2), expected, "a fetch is for several");
    }

    let mut lanes: Lanes<Item, u64> = Lanes::new();
    for number in 0..MOST_HELD {
        assert!(lanes.room(2) > 0, "behind a blocked lane: {number}");
        lanes.push(of("a", number));
    }
    assert_eq!(lanes.room(2), 0);
    assert_eq!(lanes.clear().len(), MOST_HELD);
    assert_eq!((lanes.held, lanes.bytes, lanes.room(2)), (0, 0, 2 * WINDOW));
}

#[test]
fn large_deliveries_leave_room_for_few() {
    let mut lanes: Lanes<Item, u64> = Lanes::new();
    let large = |number| Item { key: Some("a".into()), number, size: MOST_BYTES / 4 };
    lanes.push(large(0));
    assert_eq!(lanes.room(100), 4, "about as many as fit");
    (1..4).map(large).for_each(|item| lanes.push(item));
    assert_eq!(lanes.room(100), 0);
}

#[test]
fn everything_that_does_not_run_can_be_taken_out() {
    let mut lanes = Lanes::new();
    for item in [of("a", 1), of("a", 2), of("b", 3), of("c", 4), keyless(5)] {
        lanes.push(item);
    }
    let running = lanes.next(0, 1).unwrap();
    lanes.finish(&running);
    let failed = lanes.next(0, 1).unwrap();
    lanes.wait(9, failed);
    let running = lanes.next(0, 1).unwrap();
    let mut cleared: Vec<usize> = lanes.clear().iter().map(|item| item.number).collect();
    cleared.sort_unstable();
    assert_eq!((cleared, running.number, lanes.running()), (vec![2, 3, 5], 4, 1));
}

/// A subscription whose handlers take their time and fail, on a clock of microseconds.
struct Simulation {
    rng: Rng,
    /// What the broker has not handed out: when it is published, and what. Numbers count from 0.
    source: VecDeque<(u64, Item)>,
    /// The key whose messages fail four times each, with long waits.
    poisoned: Option<Arc<str>>,
    now: u64,
    lanes: Lanes<Item, u64>,
    running: BinaryHeap<Running>,
    /// By number: since when it could run if there was a slot and its lane was free, and how often it has failed.
    messages: Vec<(u64, u32)>,
    /// Since when each lane is free.
    free: HashMap<Arc<str>, u64>,
    /// Longest time that somebody who could have run did not; the poisoned key apart.
    longest_wait: u64,
    /// The numbers of the messages by key, as they succeeded.
    handled: HashMap<Option<Arc<str>>, Vec<usize>>,
}

/// A message and when its handler ends.
struct Running(u64, Item);

impl Simulation {
    fn new(seed: u64, source: VecDeque<(u64, Item)>, poisoned: Option<Arc<str>>) -> Self {
        Self {
            rng: Rng::with_seed(seed),
            poisoned,
            now: 0,
            lanes: Lanes::new(),
            running: BinaryHeap::new(),
            messages: vec![(0, 0); source.len()],
            source,
            free: HashMap::new(),
            longest_wait: 0,
            handled: HashMap::new(),
        }
    }

    fn run(mut self) -> Self {
        loop {
            self.fetch();
            self.start();
            let published = self.source.front().map(|(at, _)| *at);
            let next = [self.running.peek().map(|running| running.0), self.lanes.next_due(), published];
            let Some(then) = next.into_iter().flatten().filter(|at| *at > self.now).min() else { break };
            self.now = then;
            while self.running.peek().is_some_and(|running| running.0 <= then) {
                let Running(_, item) = self.running.pop().unwrap();
                self.end(item);
            }
        }
        assert_eq!((self.lanes.held, self.lanes.bytes, self.source.len()), (0, 0, 0), "everything is finished");
        self
    }

    fn fetch(&mut self) {
        for _ in 0..self.lanes.room(CONCURRENCY) {
            let Some((published, item)) = self.source.pop_front_if(|(at, _)| *at <= self.now) else { break };
            self.messages[item.number].0 = published;
            self.lanes.push(item);
        }
    }

    fn start(&mut self) {
        while let Some(item) = self.lanes.next(self.now, CONCURRENCY) {
            let free = item.key.as_ref().and_then(|key| self.free.get(key)).copied().unwrap_or_default();
            let since = self.messages[item.number].0.max(free);
            if item.key.is_none() || item.key != self.poisoned {
                self.longest_wait = self.longest_wait.max(self.now - since);
            }
            let takes = self.rng.u64(1..=3) * MILLISECOND;
            self.running.push(Running(self.now + takes, item));
        }
    }

    fn end(&mut self, item: Item) {
        let (since, failures) = &mut self.messages[item.number];
        let backoff = match &self.poisoned {
            Some(poisoned) if item.key.as_ref() == Some(poisoned) => (*failures < 4).then_some(SECOND << *failures),
            _ => (self.rng.u8(0..20) == 0).then(|| self.rng.u64(0..=(200 * MILLISECOND) << (*failures).min(7))),
        };
        if let Some(backoff) = backoff {
            *failures += 1;
            *since = self.now + backoff;
            self.lanes.wait(self.now + backoff, item);
            return;
        }
        self.lanes.finish(&item);
        if let Some(key) = &item.key {
            self.free.insert(Arc::clone(key), self.now);
        }
        self.handled.entry(item.key).or_default().push(item.number);
    }
}

impl Ord for Running {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.0, other.1.number).cmp(&(self.0, self.1.number))
    }
}

impl PartialOrd for Running {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Eq for Running {}

impl PartialEq for Running {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

const KEYS: usize = 1000;
const EVENTS: usize = 100;
const CONCURRENCY: usize = 16;

fn key(number: usize) -> Arc<str> {
    format!("key {}", number % KEYS).into()
}

/// 100 events of each of 1,000 keys, in random order.
fn events(seed: u64) -> Vec<Item> {
    let mut keys: Vec<usize> = (0..KEYS * EVENTS).collect();
    Rng::with_seed(seed).shuffle(&mut keys);
    keys.iter().enumerate().map(|(number, at)| Item { key: Some(key(*at)), number, size: 100 }).collect()
}

#[test]
fn every_key_keeps_its_order_through_random_failures_and_nobody_waits_for_a_poisoned_one() {
    for seed in 0..2 {
        // Two milliseconds on average on sixteen slots make 8,000 a second; 4,000 come.
        let source = (0..).step_by(250).zip(events(seed)).collect();
        let ended = Simulation::new(seed, source, Some(key(7))).run();
        assert_eq!(ended.handled.len(), KEYS);
        for (key, numbers) in &ended.handled {
            assert_eq!(numbers.len(), EVENTS, "{key:?}, seed {seed}");
            assert!(numbers.is_sorted(), "{key:?} was handled out of order, seed {seed}: {numbers:?}");
        }
        assert!(ended.longest_wait <= 50 * MILLISECOND, "{} us, seed {seed}", ended.longest_wait);
    }
}

#[test]
fn order_costs_at_most_a_fifth_of_the_throughput() {
    for seed in 0..2 {
        let duration = |items: Vec<Item>| {
            let at_once = items.into_iter().map(|item| (0, item)).collect();
            Simulation::new(seed, at_once, None).run().now
        };
        let shuffled = events(seed);
        let unordered = duration(shuffled.iter().map(|item| Item { key: None, ..item.clone() }).collect());
        // One key after the other is the worst case: a burst of each.
        let bursts = (0..KEYS * EVENTS).map(|number| Item { key: Some(key(number / EVENTS)), number, size: 100 });
        for (order, items) in [("shuffled", shuffled), ("in bursts", bursts.collect())] {
            let ordered = duration(items);
            assert!(ordered * 4 <= unordered * 5, "{order}: {ordered} us against {unordered} us, seed {seed}");
        }
    }
}

//! Do lanes keep their order, share the slots fairly, and hold nobody up? With seeds and a clock that only the test moves.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;

use fastrand::Rng;

use super::{Entry, Lanes, MOST_BYTES, OF_EACH, Recall, WINDOW};

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

    fn tag(&self) -> u64 {
        self.number as u64
    }
}

/// Most that may be behind others, and most that run or may, or wait.
const MOST: usize = 1000;

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
        lanes.push(item, MOST);
    }
    assert_eq!(numbers(&mut lanes, 0), [1, 3]);
    lanes.finish(&of("a", 1));
    assert_eq!(numbers(&mut lanes, 0), [2]);
    lanes.finish(&of("a", 2));
    assert_eq!(numbers(&mut lanes, 0), [4]);
    lanes.finish(&of("a", 4));
    lanes.finish(&of("b", 3));
    assert_eq!((lanes.held, lanes.bytes, lanes.running(), lanes.lanes.len()), (0, 0, 0, 0));
}

#[test]
fn lanes_take_turns() {
    let mut lanes: Lanes<Item, u64> = Lanes::new();
    for item in [of("a", 1), of("a", 2), of("a", 3), of("b", 4)] {
        lanes.push(item, MOST);
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
        lanes.push(item, MOST);
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
    (1..=3).map(keyless).for_each(|item| lanes.push(item, MOST));
    assert_eq!(numbers(&mut lanes, 0), [1, 2, 3]);
    lanes.wait(5, keyless(2));
    lanes.wait(5, keyless(1));
    lanes.wait(4, keyless(3));
    lanes.push(keyless(4), MOST);
    assert_eq!(numbers(&mut lanes, 5), [4, 3, 2, 1]);
}

#[test]
fn what_waits_makes_room_up_to_the_bounds_of_all_that_is_held() {
    let mut lanes = Lanes::new();
    assert_eq!(lanes.room(2, MOST), 2 * WINDOW);
    (0..16).map(keyless).for_each(|item| lanes.push(item, MOST));
    assert_eq!(lanes.room(2, MOST), 0);
    let failed = lanes.next(0, 2).unwrap();
    assert_eq!(lanes.room(2, MOST), 0, "what runs is in the window");
    lanes.wait(9, failed);
    for expected in [0, 0, 2 * WINDOW / 4] {
        let failed = lanes.next(0, 2).unwrap();
        lanes.wait(9, failed);
        assert_eq!(lanes.room(2, MOST), expected, "a fetch is for several");
    }
}

#[test]
fn no_more_wait_or_may_run_than_the_bound_allows() {
    let mut lanes = Lanes::new();
    for number in 0..5 {
        lanes.push(keyless(number), 5);
        let failed = lanes.next(0, 2).unwrap();
        lanes.wait(9, failed);
    }
    assert_eq!((lanes.room(2, 5), lanes.room(2, 7)), (0, 2));
    let failed = lanes.next(9, 2).unwrap();
    lanes.finish(&failed);
    assert_eq!(lanes.room(2, 5), 1);
}

/// Lanes with 100 of `a` and one of `b`, of which 10 may be held behind others.
fn parked() -> Lanes<Item, u64> {
    let mut lanes = Lanes::new();
    (0..100).for_each(|number| lanes.push(of("a", number), 10));
    lanes.push(of("b", 100), 10);
    assert_eq!((lanes.held, lanes.behind, lanes.parked, lanes.recall(10)), (12, 10, 89, None));
    lanes
}

/// Runs what may run now and finishes it. Returns the numbers.
fn finish_all(lanes: &mut Lanes<Item, u64>) -> Vec<usize> {
    std::iter::from_fn(|| {
        let item = lanes.next(0, 1)?;
        lanes.finish(&item);
        Some(item.number)
    })
    .collect()
}

#[test]
fn what_is_parked_makes_room_and_is_recalled_in_its_turn() {
    let mut lanes = parked();
    assert_eq!(lanes.room(2, 10), 2 * WINDOW - 8, "ten may wait or run and two do");
    let mut order = finish_all(&mut lanes);
    lanes.push(of("a", 101), 10);
    while let Some(recall) = lanes.recall(MOST) {
        assert!(recall.tags.len() <= OF_EACH);
        assert_eq!(lanes.next(0, 1), None, "none overtakes what is recalled");
        let found = recall.tags.iter().map(|tag| of("a", usize::try_from(*tag).unwrap())).collect();
        lanes.recalled(recall, found);
        order.extend(finish_all(&mut lanes));
    }
    order.retain(|number| *number != 100);
    assert_eq!(order, (0..100).chain([101]).collect::<Vec<_>>());
    assert_eq!((lanes.held, lanes.bytes, lanes.behind, lanes.behind_bytes), (0, 0, 0, 0));
    assert_eq!((lanes.parked, lanes.lanes.len()), (0, 0));
}

#[test]
fn few_are_recalled_when_there_is_no_room_for_them() {
    let mut lanes = parked();
    lanes.push(of("c", 200), 10);
    (201..220).for_each(|number| lanes.push(of("c", number), 10));
    assert_eq!(finish_all(&mut lanes).len(), 13);
    assert_eq!(
        lanes.recall(10),
        Some(Recall { lanes: 2, tags: [(201..206), (11..16)].into_iter().flatten().collect() })
    );
    assert_eq!(lanes.recall(0), Some(Recall { lanes: 2, tags: vec![201, 11] }));
}

#[test]
fn large_ones_are_recalled_within_the_bytes_however_small_the_others_are() {
    const LARGE: usize = 2 << 20;
    let mut lanes = Lanes::new();
    (0..100_000).for_each(|number| lanes.push(of("flood", number), 0));
    for number in 100_000..100_064 {
        let key = number.to_string();
        lanes.push(of(&key, number), 0);
        lanes.push(Item { size: LARGE, ..of(&key, number + 100) }, 0);
    }
    let flood = lanes.next(0, 1).unwrap();
    lanes.wait(9, flood);
    finish_all(&mut lanes);
    let recall = lanes.recall(MOST).unwrap();
    assert_eq!(recall.tags.len(), (MOST_BYTES / 2 - 1) / LARGE, "the one that waits has a byte");
}

#[test]
fn what_cannot_be_recalled_is_finished() {
    let mut lanes = parked();
    finish_all(&mut lanes);
    let recall = lanes.recall(10).unwrap();
    assert_eq!(recall.tags, (11..21).collect::<Vec<_>>());
    lanes.recalled(recall, vec![of("a", 15)]);
    assert_eq!(finish_all(&mut lanes), [15]);
    let recall = lanes.recall(MOST).unwrap();
    assert_eq!(recall.tags[0], 21);
    lanes.recalled(recall, Vec::new());
    let recall = lanes.recall(MOST).unwrap();
    lanes.recalled(recall, Vec::new());
    let recall = lanes.recall(MOST).unwrap();
    assert_eq!(recall.tags, (85..100).collect::<Vec<_>>());
    lanes.recalled(recall, Vec::new());
    assert_eq!((lanes.recall(MOST), lanes.lanes.len(), lanes.parked, lanes.held), (None, 0, 0, 0));
}

#[test]
fn what_has_not_run_can_be_taken_out_and_the_rest_keeps_its_lane() {
    let mut lanes = parked();
    let tried = lanes.next(0, 1).unwrap();
    lanes.wait(0, tried);
    let other = lanes.next(0, 1).unwrap();
    assert_eq!(other.number, 100);
    lanes.finish(&other);
    let mut taken = lanes.take_new(|item| item.number > 0);
    taken.sort_unstable();
    assert_eq!(taken, (1..100).collect::<Vec<_>>());
    assert_eq!((lanes.held, lanes.bytes, lanes.behind, lanes.parked), (1, 1, 0, 0));
    lanes.push(of("a", 1), MOST);
    assert_eq!(finish_all(&mut lanes), [0, 1]);
    assert_eq!(lanes.lanes.len(), 0);
}

#[test]
fn large_deliveries_behind_others_are_parked_and_recalled_one_by_one() {
    let mut lanes: Lanes<Item, u64> = Lanes::new();
    let large = |number| Item { key: Some("a".into()), number, size: MOST_BYTES / 3 };
    (0..4).for_each(|number| lanes.push(large(number), MOST));
    assert_eq!((lanes.held, lanes.behind, lanes.parked), (2, 1, 2));
    assert!(lanes.room(100, MOST) > 0, "others go on");
    assert_eq!(finish_all(&mut lanes), [0, 1]);
    assert_eq!(lanes.recall(MOST), Some(Recall { lanes: 1, tags: vec![2] }));
}

#[test]
fn large_deliveries_leave_room_for_few() {
    let mut lanes: Lanes<Item, u64> = Lanes::new();
    let large = |number| Item { key: None, number, size: MOST_BYTES / 4 };
    lanes.push(large(0), MOST);
    assert_eq!(lanes.room(100, MOST), 4, "about as many as fit");
    (1..4).map(large).for_each(|item| lanes.push(item, MOST));
    assert_eq!(lanes.room(100, MOST), 0);
}

#[test]
fn everything_that_does_not_run_can_be_taken_out() {
    let mut lanes = Lanes::new();
    for item in [of("a", 1), of("a", 2), of("b", 3), of("c", 4), keyless(5)] {
        lanes.push(item, MOST);
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
    /// When what was asked for comes: how many more, and those that were parked.
    fetching: Option<(u64, usize)>,
    recalling: Option<(u64, Recall)>,
    /// What was handed out, by number.
    items: HashMap<u64, Item>,
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
            fetching: None,
            recalling: None,
            items: HashMap::new(),
            messages: vec![(0, 0); source.len()],
            source,
            free: HashMap::new(),
            longest_wait: 0,
            handled: HashMap::new(),
        }
    }

    fn run(mut self) -> Self {
        loop {
            self.start();
            self.ask();
            let published = self.source.front().map(|(at, _)| *at).filter(|_| self.fetching.is_none());
            let asked = [self.fetching.map(|fetch| fetch.0), self.recalling.as_ref().map(|recall| recall.0)];
            let next = [self.running.peek().map(|running| running.0), self.lanes.next_due(), published];
            let next = next.into_iter().chain(asked).flatten();
            let Some(then) = next.filter(|at| *at > self.now).min() else { break };
            self.now = then;
            self.arrive();
            while self.running.peek().is_some_and(|running| running.0 <= then) {
                let Running(_, item) = self.running.pop().unwrap();
                self.end(item);
            }
        }
        assert_eq!((self.lanes.held, self.lanes.bytes, self.source.len()), (0, 0, 0), "everything is finished");
        assert_eq!((self.lanes.behind, self.lanes.parked, self.lanes.lanes.len()), (0, 0, 0));
        self
    }

    /// Asks for what there is room for, as the loop of a subscription does.
    fn ask(&mut self) {
        let room = self.lanes.room(CONCURRENCY, MOST);
        let is_there = self.source.front().is_some_and(|(at, _)| *at <= self.now);
        if room > 0 && is_there && self.fetching.is_none() {
            self.fetching = Some((self.now + TRIP, room));
        }
        if self.recalling.is_none() {
            self.recalling = self.lanes.recall(MOST).map(|recall| (self.now + TRIP, recall));
        }
    }

    fn arrive(&mut self) {
        if let Some((_, room)) = self.fetching.take_if(|fetch| fetch.0 <= self.now) {
            for _ in 0..room {
                let Some((published, item)) = self.source.pop_front_if(|(at, _)| *at <= self.now) else { break };
                self.messages[item.number].0 = published;
                self.items.insert(item.tag(), item.clone());
                self.lanes.push(item, MOST);
            }
        }
        if let Some((_, recall)) = self.recalling.take_if(|recall| recall.0 <= self.now) {
            let found = recall.tags.iter().map(|tag| self.items[tag].clone()).collect();
            self.lanes.recalled(recall, found);
        }
        assert!(self.lanes.held <= 2 * MOST, "{} are held", self.lanes.held);
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
/// From asking the broker to its answer.
const TRIP: u64 = 100;

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
fn nobody_waits_for_ten_thousand_of_a_poisoned_key_that_come_before_all_others() {
    const POISONED: usize = 10_000;
    let poison: Arc<str> = "poison".into();
    let first = (0..POISONED).map(|number| (0, Item { key: Some(Arc::clone(&poison)), number, size: 5000 }));
    let others = events(0).into_iter().take(4000).map(|item| Item { number: item.number + POISONED, ..item });
    let source = first.chain((0..).step_by(250).zip(others)).collect();
    let ended = Simulation::new(0, source, Some(Arc::clone(&poison))).run();
    assert_eq!(ended.handled[&Some(poison)], (0..POISONED).collect::<Vec<_>>());
    assert_eq!(ended.handled.values().map(Vec::len).sum::<usize>(), POISONED + 4000);
    assert!(ended.longest_wait <= 50 * MILLISECOND, "{} us", ended.longest_wait);
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

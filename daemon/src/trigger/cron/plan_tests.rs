//! An hour of virtual time, overlaps, downtimes.

use std::collections::HashSet;

use super::*;

const SCHEDULES: [&str; 3] = ["* * * * *", "*/10 * * * * *", "*/5 * * * *"];

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn slots(times: &[i64]) -> Vec<Timestamp> {
    times.iter().copied().map(at).collect()
}

fn timing(schedule: &str) -> Timing {
    Timing::parse(schedule, None).unwrap()
}

fn job(timing: &Timing, overlap: Overlap, catch_up: CatchUp) -> Job<'_> {
    Job { project: "test", name: "Job", timing, jitter: Duration::ZERO, overlap, catch_up }
}

/// A process that looks at the clock from `since` on, and what has been decided before.
fn moment(since: i64, decided: i64, now: i64) -> Moment {
    Moment { now: at(now), since: at(since), decided: at(decided), unfinished: 0 }
}

/// A job on a clock that only moves when it is told to.
struct World<'a> {
    job: Job<'a>,
    since: Timestamp,
    decided: Timestamp,
    /// When the runs end that wait or go on, in order.
    ends: VecDeque<Timestamp>,
    fired: Vec<Timestamp>,
    left_out: Vec<Timestamp>,
    /// How many were missed and not caught up.
    missed: usize,
    /// What the broker has seen, and would take for a copy.
    ids: HashSet<Uuid>,
}

impl<'a> World<'a> {
    fn new(job: Job<'a>) -> Self {
        let (since, decided) = (at(0), at(0));
        Self {
            job,
            since,
            decided,
            ends: VecDeque::new(),
            fired: Vec::new(),
            left_out: Vec::new(),
            missed: 0,
            ids: HashSet::new(),
        }
    }

    /// Looks at the clock whenever something is due, as the service does, until `end`. Each run takes so long.
    fn go_on(&mut self, end: Timestamp, run: Duration) {
        while let Some(due) = self.job.next_due(self.decided).map(|due| due.max(self.since)).filter(|due| *due <= end) {
            self.look(due, run);
        }
    }

    /// Something keeps it from looking at the clock until then.
    fn stall(&mut self, end: Timestamp, run: Duration) {
        if self.job.next_due(self.decided).is_some_and(|due| due <= end) {
            self.look(end, run);
        }
    }

    fn look(&mut self, now: Timestamp, run: Duration) {
        while self.ends.front().is_some_and(|end| *end <= now) {
            self.ends.pop_front();
        }
        let moment = Moment { now, since: self.since, decided: self.decided, unfinished: self.ends.len() };
        let plan = self.job.plan(&moment);
        for slot in plan.fire {
            if !self.ids.insert(self.job.firing_id(slot)) {
                continue;
            }
            self.fired.push(slot);
            let begin = match self.job.overlap {
                Overlap::Allow => now,
                Overlap::Skip | Overlap::Queue => self.ends.back().copied().unwrap_or(now),
            };
            self.ends.push_back(begin.checked_add(run).unwrap());
        }
        self.left_out.extend(plan.left_out);
        self.missed += plan.missed.map_or(0, |missed| missed.count);
        self.decided = plan.decided.unwrap();
    }

    /// The process ends and another one begins.
    fn restart(&mut self, at: Timestamp) {
        self.since = at;
    }

    /// It is killed between the publication of the last firing and the note of it; another one begins.
    fn restart_without_note(&mut self, at: Timestamp, before: Timestamp) {
        self.decided = before;
        self.restart(at);
    }
}

/// What is to be fired in an hour, said second by second instead of by looking ahead and back.
struct Expectation {
    fired: Vec<i64>,
    left_out: Vec<i64>,
    /// How many were missed and not caught up.
    missed: usize,
    /// When the runs end that wait or go on.
    ends: VecDeque<i64>,
}

/// Why nobody looks at the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Away {
    /// The process is stopped, or its machine sleeps.
    Stalled,
    /// It ends, and another one begins.
    Down,
}

impl Expectation {
    /// A job that is due each `period`, whose runs take `run`, while nobody looks from each first to each second of `times`.
    fn of_an_hour(policy: (Overlap, CatchUp), (period, run): (i64, i64), times: &[(i64, i64)], away: Away) -> Self {
        let mut expected = Self { fired: Vec::new(), left_out: Vec::new(), missed: 0, ends: VecDeque::new() };
        let mut passed = Vec::new();
        for second in 1..=3600 {
            let is_due = second % period == 0;
            if times.iter().any(|(from, to)| (*from + 1..=*to).contains(&second)) {
                passed.extend(is_due.then_some(second));
            } else if is_due {
                expected.ends.retain(|end| *end > second);
                expected.due(policy.0, (second, second), run);
            }
            if times.iter().any(|(_, to)| *to == second) {
                expected.back(policy, (std::mem::take(&mut passed), second), (run, away));
            }
        }
        expected
    }

    /// Somebody looks at the clock again, for the first time since these slots.
    fn back(
        &mut self,
        (overlap, catch_up): (Overlap, CatchUp),
        (mut missed, now): (Vec<i64>, i64),
        (run, away): (i64, Away),
    ) {
        let late = missed.split_off(match away {
            Away::Down => missed.len(),
            Away::Stalled => missed.iter().filter(|slot| now - **slot > 60).count(),
        });
        let keep = match catch_up {
            CatchUp::None => 0,
            CatchUp::Latest => 1,
            CatchUp::All => MOST_CAUGHT_UP - late.len(),
        };
        let kept = missed.split_off(missed.len().saturating_sub(keep));
        self.missed += missed.len().min(MOST_COUNTED);
        self.ends.retain(|end| *end > now);
        for slot in kept {
            self.fire(overlap, (slot, now), run);
        }
        for slot in late {
            self.due(overlap, (slot, now), run);
        }
    }

    fn due(&mut self, overlap: Overlap, (slot, now): (i64, i64), run: i64) {
        if overlap == Overlap::Skip && !self.ends.is_empty() {
            self.left_out.push(slot);
        } else {
            self.fire(overlap, (slot, now), run);
        }
    }

    fn fire(&mut self, overlap: Overlap, (slot, now): (i64, i64), run: i64) {
        if self.ends.len() >= MOST_UNFINISHED {
            self.left_out.push(slot);
            return;
        }
        self.fired.push(slot);
        let begin = if overlap == Overlap::Allow { now } else { self.ends.back().copied().unwrap_or(now) };
        self.ends.push_back(begin + run);
    }
}

/// Times of an hour at which nobody looks: of less than a second's schedule, of some slots, of more than are caught up, and from a slot to a slot.
const TIMES: [(i64, i64); 6] = [(61, 61), (125, 187), (250, 256), (600, 600), (900, 1020), (1500, 3001)];

#[test]
fn an_hour_of_restarts_and_reloads_fires_what_each_policy_says_none_twice_and_none_lost() {
    an_hour_with(Away::Down);
}

#[test]
fn an_hour_of_stalls_fires_what_is_a_minute_late_at_most_and_of_the_rest_what_each_policy_says() {
    an_hour_with(Away::Stalled);
}

fn an_hour_with(away: Away) {
    let overlaps = [Overlap::Skip, Overlap::Queue, Overlap::Allow];
    let catch_ups = [CatchUp::None, CatchUp::Latest, CatchUp::All];
    let schedules = [("* * * * * *", 1), ("*/10 * * * * *", 10), ("* * * * *", 60), ("*/5 * * * *", 300)];
    for ((overlap, catch_up), (schedule, period)) in overlaps
        .into_iter()
        .flat_map(|overlap| catch_ups.map(|catch_up| (overlap, catch_up)))
        .flat_map(|policy| schedules.map(|schedule| (policy, schedule)))
    {
        let timing = timing(schedule);
        for run in [0, 1, 7, 45, 90, 400] {
            let mut world = World::new(job(&timing, overlap, catch_up));
            let span = Duration::from_secs(run);
            for (from, to) in TIMES {
                // A reload looks at the clock wherever it comes.
                for reload in [from / 3, from / 2, from - 1, from] {
                    world.go_on(at(reload), span);
                }
                match away {
                    Away::Down => world.restart(at(to)),
                    Away::Stalled => world.stall(at(to), span),
                }
            }
            world.go_on(at(3600), span);
            let what = format!("`{schedule}`, {overlap:?}, {catch_up:?}, runs of {run} s, {away:?}");
            let expected = Expectation::of_an_hour((overlap, catch_up), (period, run.cast_signed()), &TIMES, away);
            assert_eq!(world.fired, slots(&expected.fired), "{what}");
            assert_eq!(world.left_out, slots(&expected.left_out), "{what}");
            assert_eq!(world.missed, expected.missed, "{what}");
            assert!(world.fired.is_sorted_by(|first, second| first < second), "{what}");
        }
    }
}

#[test]
fn a_firing_that_was_published_but_not_noted_is_known_by_its_id() {
    let timing = timing("*/10 * * * * *");
    for catch_up in [CatchUp::None, CatchUp::Latest, CatchUp::All] {
        let mut world = World::new(job(&timing, Overlap::Queue, catch_up));
        for kill in (30..3600).step_by(30) {
            world.go_on(at(kill - 1), Duration::ZERO);
            let before = world.decided;
            world.go_on(at(kill), Duration::ZERO);
            world.restart_without_note(at(kill + 1), before);
        }
        world.go_on(at(3600), Duration::ZERO);
        assert_eq!(world.fired, slots(&(1..=360).map(|n| n * 10).collect::<Vec<_>>()), "{catch_up:?}");
    }
}

#[test]
fn the_id_of_a_firing_is_of_its_project_job_and_slot() {
    let timing = timing("* * * * *");
    let job = job(&timing, Overlap::Skip, CatchUp::None);
    let ids = [
        job.firing_id(at(60)),
        job.firing_id(at(120)),
        Job { name: "Other", ..job }.firing_id(at(60)),
        Job { project: "other", ..job }.firing_id(at(60)),
    ];
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len(), "{ids:?}");
    assert_eq!(ids[0], job.firing_id(at(60)));
}

#[test]
fn jitter_never_reaches_the_next_slot_where_slots_are_nearer_than_the_schedule_says() {
    // On the day of the change, what is left out is due at 03:00:00, a second before 03:00:01.
    let timing = Timing::parse("1,30 0,59 2,3 * * *", Some("Europe/Berlin")).unwrap();
    let before: Timestamp = "2027-03-27T23:00:00Z".parse().unwrap();
    let near: Vec<Timestamp> = timing.times_after(before).take(2).collect();
    assert_eq!(near, ["2027-03-28T01:00:00Z", "2027-03-28T01:00:01Z"].map(|slot| slot.parse().unwrap()));
    for name in ["A", "B", "C", "D", "E", "F"] {
        let job = Job { name, jitter: Duration::from_secs(29), ..job(&timing, Overlap::Queue, CatchUp::None) };
        let due = job.next_due(before).unwrap();
        assert!(near[0] <= due && due < near[1], "{name} is due at {due}");
        assert_eq!(job.plan(&Moment { now: due, since: before, decided: before, unfinished: 0 }).fire, near[..1]);
    }
}

#[test]
fn an_hour_fires_each_slot_once_however_often_it_is_looked_at() {
    for schedule in SCHEDULES {
        let timing = timing(schedule);
        let mut world = World::new(job(&timing, Overlap::Queue, CatchUp::None));
        // A reload looks at the clock between slots, and at one.
        for pause in [1, 59, 60, 61, 600, 601, 1800, 3600] {
            world.go_on(at(pause), Duration::ZERO);
            let again = world.job.plan(&Moment { now: at(pause), since: at(0), decided: world.decided, unfinished: 0 });
            assert_eq!(again, Plan::default(), "{schedule}");
        }
        let expected: Vec<_> = timing.times_after(at(0)).take_while(|slot| *slot <= at(3600)).collect();
        assert_eq!(world.fired, expected, "{schedule}");
    }
}

#[test]
fn what_falls_into_a_downtime_is_for_the_catch_up_to_say() {
    let timing = timing("* * * * *");
    let fired_by = |catch_up| {
        let mut world = World::new(job(&timing, Overlap::Skip, catch_up));
        world.go_on(at(130), Duration::from_secs(1));
        world.restart(at(330));
        world.go_on(at(400), Duration::from_secs(1));
        world.fired
    };
    assert_eq!(fired_by(CatchUp::None), slots(&[60, 120, 360]));
    assert_eq!(fired_by(CatchUp::Latest), slots(&[60, 120, 300, 360]));
    assert_eq!(fired_by(CatchUp::All), slots(&[60, 120, 180, 240, 300, 360]));
}

#[test]
fn catching_up_is_bounded_however_long_the_downtime_was() {
    let timing = timing("* * * * * *");
    let year = 365 * 24 * 3600;
    let plan = job(&timing, Overlap::Allow, CatchUp::All).plan(&moment(year, 0, year));
    assert_eq!(plan.fire.len(), MOST_CAUGHT_UP);
    assert_eq!((plan.fire.last(), plan.decided), (Some(&at(year)), Some(at(year))));
    let plan = job(&timing, Overlap::Allow, CatchUp::None).plan(&moment(year, 0, year));
    assert_eq!((plan.fire, plan.decided), (Vec::new(), Some(at(year))));
    assert_eq!(plan.missed.unwrap().counted(), "1000 or more");
}

#[test]
fn a_rare_job_that_was_missed_long_ago_is_found() {
    let timing = timing("0 0 1 1 *");
    let year = 365 * 24 * 3600;
    let plan = job(&timing, Overlap::Skip, CatchUp::Latest).plan(&moment(year, 0, year));
    assert_eq!(plan.fire, ["2028-01-01T00:00:00Z".parse().unwrap()]);
}

#[test]
fn a_run_that_is_longer_than_its_period_is_left_alone_or_queued_or_joined() {
    let timing = timing("* * * * *");
    let world_of = |overlap| {
        let mut world = World::new(job(&timing, overlap, CatchUp::None));
        world.go_on(at(360), Duration::from_secs(90));
        (world.fired, world.left_out)
    };
    assert_eq!(world_of(Overlap::Skip), (slots(&[60, 180, 300]), slots(&[120, 240, 360])));
    assert_eq!(world_of(Overlap::Queue), (slots(&[60, 120, 180, 240, 300, 360]), Vec::new()));
    assert_eq!(world_of(Overlap::Allow), (slots(&[60, 120, 180, 240, 300, 360]), Vec::new()));
}

#[test]
fn a_queue_that_never_gets_shorter_is_bounded() {
    let timing = timing("* * * * * *");
    let job = job(&timing, Overlap::Queue, CatchUp::None);
    let full = Moment { unfinished: MOST_UNFINISHED, ..moment(0, 9, 10) };
    assert_eq!(job.plan(&full).left_out, slots(&[10]));
    assert_eq!(job.plan(&Moment { unfinished: MOST_UNFINISHED - 1, ..full }).fire, slots(&[10]));
}

#[test]
fn a_firing_that_a_stall_made_late_is_still_fired_and_one_from_before_a_long_sleep_is_not() {
    let timing = timing("* * * * *");
    let job = job(&timing, Overlap::Skip, CatchUp::None);
    assert_eq!(job.plan(&moment(0, 0, 89)).fire, slots(&[60]));
    // Of several those that are not a minute late; the others are counted.
    let plan = job.plan(&moment(0, 0, 200));
    assert_eq!((plan.fire, plan.left_out), (slots(&[180]), Vec::new()));
    assert_eq!(plan.missed, Some(Missed { count: 2, first: at(60), until: at(179) }));
    assert_eq!(plan.missed.unwrap().counted(), "2");
    let plan = Job { overlap: Overlap::Queue, ..job }.plan(&moment(0, 0, 180));
    assert_eq!((plan.fire, plan.missed.unwrap().count), (slots(&[120, 180]), 1));
    let hourly = Timing::parse("0 * * * *", None).unwrap();
    let hourly = Job { timing: &hourly, ..job };
    assert_eq!(hourly.plan(&moment(0, 0, 3660)).fire, slots(&[3600]));
    assert_eq!(hourly.plan(&moment(0, 0, 3661)).fire, []);
}

#[test]
fn jitter_delays_by_a_part_of_itself_that_every_process_agrees_on() {
    let timing = timing("* * * * *");
    let job = Job { jitter: Duration::from_secs(30), ..job(&timing, Overlap::Skip, CatchUp::None) };
    let delays: Vec<_> = (0..50)
        .map(|minute| {
            let due = job.next_due(at(minute * 60)).unwrap();
            assert_eq!(
                job.plan(&moment(0, minute * 60, minute * 60 + 60)).fire.len(),
                usize::from(due == at(minute * 60 + 60))
            );
            let plan = job.plan(&Moment { now: due, ..moment(0, minute * 60, 0) });
            assert_eq!(plan.fire, slots(&[minute * 60 + 60]));
            due.duration_since(at(minute * 60 + 60)).as_millis()
        })
        .collect();
    assert!(delays.iter().all(|delay| (0..30_000).contains(delay)), "{delays:?}");
    assert!(delays.iter().any(|delay| *delay > 15_000) && delays.iter().any(|delay| *delay < 15_000), "{delays:?}");
}

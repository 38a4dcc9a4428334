//! An hour of virtual time, overlaps, downtimes.

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
    Job { name: "Job", timing, jitter: Duration::ZERO, overlap, catch_up }
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
}

impl<'a> World<'a> {
    fn new(job: Job<'a>) -> Self {
        let (since, decided) = (at(0), at(0));
        Self { job, since, decided, ends: VecDeque::new(), fired: Vec::new(), left_out: Vec::new() }
    }

    /// Looks at the clock whenever something is due, as the service does, until `end`. Each run takes so long.
    fn go_on(&mut self, end: Timestamp, run: Duration) {
        while let Some(due) = self.job.next_due(self.decided).map(|due| due.max(self.since)).filter(|due| *due <= end) {
            while self.ends.front().is_some_and(|end| *end <= due) {
                self.ends.pop_front();
            }
            let moment = Moment { now: due, since: self.since, decided: self.decided, unfinished: self.ends.len() };
            let plan = self.job.plan(&moment);
            for _firing in &plan.fire {
                let begin = match self.job.overlap {
                    Overlap::Allow => due,
                    Overlap::Skip | Overlap::Queue => self.ends.back().copied().unwrap_or(due),
                };
                self.ends.push_back(begin.checked_add(run).unwrap());
            }
            self.fired.extend(plan.fire);
            self.left_out.extend(plan.left_out);
            self.decided = plan.decided.unwrap();
        }
    }

    /// The process ends and another one begins.
    fn restart(&mut self, at: Timestamp) {
        self.since = at;
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
    // Of several only the last.
    assert_eq!(job.plan(&moment(0, 0, 200)).fire, slots(&[180]));
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

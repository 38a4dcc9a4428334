//! Does any schedule make the calendar panic, hang or go backwards? For `ROHAS_FUZZ_SECONDS` (2 without it).
#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests")]

use std::time::{Duration, Instant};

use jiff::Timestamp;
use rohas_config::schema::timing::Timing;

const ZONES: [&str; 6] =
    ["UTC", "Europe/Berlin", "Australia/Lord_Howe", "Africa/Casablanca", "America/Santiago", "Antarctica/Troll"];

/// Pieces that schedules are made of.
const PIECES: [&str; 32] = [
    "*", "?", "-", "/", ",", " ", "0", "1", "2", "3", "5", "7", "12", "23", "29", "30", "31", "59", "60", "99", "L",
    "W", "#", "MON", "sun", "JAN", "dec", "@daily", "@", "*/", "\t", "é",
];

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }

    /// A field that is often right.
    fn field(&mut self, most: usize) -> String {
        let number = |random: &mut Self| random.below(most + 1).to_string();
        match self.below(8) {
            0..3 => "*".to_owned(),
            3 => format!("*/{}", number(self)),
            4 => format!("{}-{}", number(self), number(self)),
            5 => format!("{},{}", number(self), number(self)),
            _ => number(self),
        }
    }

    fn schedule(&mut self) -> String {
        let most: &[usize] = if self.below(2) == 0 { &[59, 23, 31, 12, 7] } else { &[59, 59, 23, 31, 12, 7] };
        let mut schedule = most.iter().map(|most| self.field(*most)).collect::<Vec<_>>().join(" ");
        for _ in 0..self.below(4) {
            let places: Vec<usize> = schedule.char_indices().map(|(at, _)| at).chain([schedule.len()]).collect();
            let (at, piece) = (places[self.below(places.len())], PIECES[self.below(PIECES.len())]);
            match self.below(3) {
                0 => schedule.insert_str(at, piece),
                1 if at < schedule.len() => drop(schedule.remove(at)),
                _ => schedule = format!("{}{piece}", &schedule[..at]),
            }
        }
        schedule
    }
}

#[test]
fn fuzz_any_schedule_is_refused_or_has_times_that_go_forward() {
    let seconds = std::env::var("ROHAS_FUZZ_SECONDS").map_or(2, |seconds| seconds.parse().unwrap());
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut executions, mut read, mut slowest) = (0_u64, 0_u64, (Duration::ZERO, String::new()));
    while Instant::now() < until {
        let (schedule, zone) = (random.schedule(), ZONES[random.below(ZONES.len())]);
        executions += 1;
        let Ok(timing) = Timing::parse(&schedule, Some(zone)) else { continue };
        read += 1;
        let start = Timestamp::from_second(i64::try_from(random.below(4_000_000_000)).unwrap()).unwrap();
        let began = Instant::now();
        let mut last = start;
        for time in timing.times_after(start).take(5) {
            assert!(time > last, "`{schedule}` in {zone} after {start}: {time} after {last}");
            assert_eq!(time.subsec_nanosecond(), 0);
            last = time;
        }
        let took = began.elapsed();
        assert!(took < Duration::from_secs(10), "`{schedule}` in {zone} after {start} takes too long");
        if took > slowest.0 {
            slowest = (took, format!("`{schedule}` in {zone} after {start}"));
        }
    }
    assert!(read > executions / 20, "only {read} of {executions} schedules were right");
    let (took, slowest) = slowest;
    eprintln!(
        "cron fuzzing: {executions} executions, {read} of them right, in {seconds} s; the slowest, {slowest}, took {took:?}"
    );
}

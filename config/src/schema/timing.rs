//! When is a cron job due? The times of a schedule on the clock of a time zone, daylight saving included.
//!
//! The rules are those of Vixie cron. A job with a wildcard among its seconds, minutes and hours goes by the clock on the wall: what the clock
//! leaves out in spring does not run, what it shows twice in autumn runs twice. A job at fixed times runs once for each of them: at
//! the end of the gap in spring, and the first time in autumn.

use std::time::Duration;

use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::{DateTime, date};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

/// The times at which a job is due.
#[derive(Debug, Clone)]
pub struct Timing {
    /// Which times on the wall it means.
    cron: Cron,
    zone: TimeZone,
    /// Whether seconds, minutes or hours are a wildcard.
    wild: bool,
}

/// Why there is no such timing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The schedule is wrong.
    #[error(transparent)]
    Schedule(#[from] CronError),
    /// The time zone does not exist.
    #[error(transparent)]
    Zone(#[from] jiff::Error),
}

impl Timing {
    /// Reads a schedule of five or six fields, or a nickname such as `@daily`. Without a zone it means UTC.
    ///
    /// # Errors
    ///
    /// When the schedule is wrong or there is no such time zone.
    pub fn parse(schedule: &str, zone: Option<&str>) -> Result<Self, Error> {
        let cron = parse(schedule)?;
        let zone = zone.map_or(Ok(TimeZone::UTC), TimeZone::get)?;
        Ok(Self { cron, zone, wild: is_wild(schedule) })
    }

    /// The first time after `after` at which it is due, on a whole second. `None` when there is none within what calendars can say.
    #[must_use]
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let after = whole_second(after)?;
        if self.wild { self.next_by_wall(after) } else { self.next_fixed(after) }
    }

    /// The times at which it is due, beginning after `after`.
    pub fn times_after(&self, after: Timestamp) -> impl Iterator<Item = Timestamp> + '_ {
        std::iter::successors(self.next_after(after), |last| self.next_after(*last))
    }

    /// The shortest time from one time to the next, on a clock that is never changed. `None` when it is due but once in nine years.
    #[must_use]
    pub fn shortest_period(&self) -> Option<Duration> {
        // Among so many times of a schedule is each way in which one follows another: fields say nothing of each other but the days.
        const SOME: usize = 1000;
        let start = TimeZone::UTC.to_timestamp(date(2024, 1, 1).at(0, 0, 0, 0)).ok()?;
        let end = start.checked_add(SignedDuration::from_hours(9 * 366 * 24)).ok()?;
        let times: Vec<Timestamp> = self.times_after(start).take_while(|time| *time < end).take(SOME).collect();
        times.windows(2).map(|pair| pair[1].duration_since(pair[0]).unsigned_abs()).min()
    }

    /// Between two changes of the clock the wall and the world go alike; a change is where the search begins anew.
    fn next_by_wall(&self, after: Timestamp) -> Option<Timestamp> {
        let mut offset = self.zone.to_offset(after);
        let mut wall = self.next_on_wall(offset.to_datetime(after), false)?;
        let mut changes = self.zone.following(after);
        loop {
            let due = instant(offset, wall);
            let Some(change) = changes.next() else { return due };
            match due {
                Some(due) if due < change.timestamp() => return Some(due),
                _ => {}
            }
            offset = change.offset();
            wall = self.next_on_wall(offset.to_datetime(change.timestamp()), true)?;
        }
    }

    /// Later times on the wall never come to be due before earlier ones, so the first that lies ahead is the next.
    fn next_fixed(&self, after: Timestamp) -> Option<Timestamp> {
        let mut wall = self.zone.to_datetime(after);
        loop {
            wall = self.next_on_wall(wall, false)?;
            match self.due_at(wall)? {
                due if due > after => return Some(due),
                _ => {}
            }
        }
    }

    /// When a fixed time on the wall is due.
    fn due_at(&self, wall: DateTime) -> Option<Timestamp> {
        match self.zone.to_ambiguous_timestamp(wall).offset() {
            AmbiguousOffset::Unambiguous { offset } => instant(offset, wall),
            AmbiguousOffset::Fold { before, .. } => instant(before, wall),
            // With the offset of after the gap it lies before the change, which is then the next one.
            AmbiguousOffset::Gap { after, .. } => {
                let before = instant(after, wall)?;
                Some(self.zone.following(before).next()?.timestamp())
            }
        }
    }

    fn next_on_wall(&self, wall: DateTime, inclusive: bool) -> Option<DateTime> {
        self.cron.find_next_occurrence(&wall, inclusive).ok()
    }
}

/// Reads the fields of a schedule.
pub(super) fn parse(schedule: &str) -> Result<Cron, CronError> {
    // The library passes over them; a field of nothing else would never match, which takes long to find out.
    if schedule.split_whitespace().any(|field| field.split(',').any(str::is_empty)) {
        return Err(CronError::ComponentError("nothing stands before or behind a comma".to_owned()));
    }
    read(schedule.trim())
}

fn read(schedule: &str) -> Result<Cron, CronError> {
    CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build().parse(schedule)
}

/// What has a step that leads nowhere: `*/90` as minutes looks as if it were every 90 minutes and is minute 0 of each hour.
pub(super) fn idle_step(schedule: &str) -> Option<&str> {
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    let items = fields.iter().enumerate().flat_map(|(place, field)| field.split(',').map(move |item| (place, item)));
    let mut steps = items.filter(|(_, item)| item.contains('/'));
    steps.find(|(place, item)| is_one_value(item, *place, fields.len())).map(|(_, item)| item)
}

/// Whether an item at this place of so many fields stands for one value only.
fn is_one_value(item: &str, place: usize, count: usize) -> bool {
    let mut fields = vec!["*"; count];
    fields[place] = item;
    let Ok(Cron { pattern, .. }) = read(&fields.join(" ")) else { return false };
    let [seconds, minutes, hours] = [&pattern.seconds, &pattern.minutes, &pattern.hours];
    let all = [seconds, minutes, hours, &pattern.days, &pattern.months, &pattern.days_of_week];
    all.into_iter().rev().nth(count - 1 - place).is_some_and(|field| field.values().len() == 1)
}

/// Whether seconds, minutes or hours begin with a wildcard, as Vixie cron tells the two kinds apart.
fn is_wild(schedule: &str) -> bool {
    let schedule = schedule.trim();
    if schedule.starts_with('@') {
        return schedule.eq_ignore_ascii_case("@hourly");
    }
    let clock = schedule.split_whitespace().count().saturating_sub(3);
    schedule.split_whitespace().take(clock).any(|field| field.starts_with(['*', '?']))
}

fn whole_second(time: Timestamp) -> Option<Timestamp> {
    Timestamp::from_second(time.as_nanosecond().div_euclid(1_000_000_000).try_into().ok()?).ok()
}

fn instant(offset: Offset, wall: DateTime) -> Option<Timestamp> {
    offset.to_timestamp(wall).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(schedule: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
        let timing = Timing::parse(schedule, Some(zone)).unwrap();
        timing.times_after(after.parse().unwrap()).take(count).map(|time| time.to_string()).collect()
    }

    #[test]
    fn weekdays_are_those_of_common_cron() {
        for sunday in ["0", "7", "SUN", "sun"] {
            let times = due(&format!("30 4 * * {sunday}"), "UTC", "2026-11-20T00:00:00Z", 2);
            assert_eq!(times, ["2026-11-22T04:30:00Z", "2026-11-29T04:30:00Z"], "{sunday}");
        }
        assert_eq!(due("0 0 * * 1-5", "UTC", "2026-11-20T12:00:00Z", 1), ["2026-11-23T00:00:00Z"]);
    }

    #[test]
    fn five_fields_are_due_at_second_0_and_six_begin_with_seconds() {
        assert_eq!(due("5 * * * *", "UTC", "2026-01-01T00:05:00Z", 1), ["2026-01-01T01:05:00Z"]);
        let seconds = due("*/20 * * * * *", "UTC", "2026-01-01T00:00:00.999Z", 3);
        assert_eq!(seconds, ["2026-01-01T00:00:20Z", "2026-01-01T00:00:40Z", "2026-01-01T00:01:00Z"]);
    }

    #[test]
    fn a_fixed_time_in_the_gap_is_due_at_its_end_and_a_wildcard_not_at_all() {
        let end = "2026-03-29T01:00:00Z";
        assert_eq!(due("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 2), [end, "2026-03-30T00:30:00Z"]);
        assert_eq!(due("0,30 2,3 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 2), [end, "2026-03-29T01:30:00Z"]);
        assert_eq!(due("*/30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 1), ["2026-03-30T00:00:00Z"]);
    }

    #[test]
    fn a_fixed_time_that_comes_twice_is_due_the_first_time_and_a_wildcard_each_time() {
        let twice = ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"];
        assert_eq!(due("30 2 * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", 2), [twice[0], "2026-10-26T01:30:00Z"]);
        assert_eq!(due("30 2 * * *", "Europe/Berlin", "2026-10-25T01:00:00Z", 1), ["2026-10-26T01:30:00Z"]);
        assert_eq!(due("30 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", 2), twice);
    }

    #[test]
    fn the_shortest_period_is_that_of_the_two_times_that_are_nearest() {
        for (schedule, seconds) in [
            ("* * * * * *", Some(1)),
            ("*/20 * * * * *", Some(20)),
            ("0,59 * * * *", Some(60)),
            ("0 0,1,12 * * *", Some(3600)),
            ("0 0 * * 1", Some(7 * 86_400)),
            ("@yearly", Some(365 * 86_400)),
            ("0 0 29 2 *", Some((4 * 365 + 1) * 86_400)),
        ] {
            let period = Timing::parse(schedule, None).unwrap().shortest_period();
            assert_eq!(period, seconds.map(Duration::from_secs), "{schedule}");
        }
    }

    #[test]
    fn lists_have_no_empty_items() {
        for schedule in ["57 , * 28-28 * */3", "0,,5 * * * *", "5, * * * *", ",5 * * * *"] {
            assert!(Timing::parse(schedule, None).is_err(), "{schedule}");
        }
    }

    #[test]
    fn a_step_that_leaves_one_value_is_found_and_one_that_leaves_two_is_not() {
        for (schedule, item) in [
            ("*/90 * * * *", "*/90"),
            ("*/60 * * * * *", "*/60"),
            ("5 */24 * * *", "*/24"),
            ("0 0 */31 * *", "*/31"),
            ("0 0 * JAN-MAR/3 *", "JAN-MAR/3"),
            ("0 0 * * */7", "*/7"),
        ] {
            assert_eq!(idle_step(schedule), Some(item), "{schedule}");
        }
        for schedule in
            ["*/59 * * * *", "*/59 * * * * *", "5 */23 * * *", "0 0 */30 * *", "0 0 * JAN-MAR/2 *", "0,1-9/4 * * * *"]
        {
            assert_eq!(idle_step(schedule), None, "{schedule}");
        }
    }

    #[test]
    fn last_days_nearest_weekdays_and_nth_weekdays_are_known() {
        for (schedule, days) in [
            ("0 0 L * *", ["2026-01-31", "2026-02-28"]),
            ("0 0 LW * *", ["2026-01-30", "2026-02-27"]),
            ("0 0 15W * *", ["2026-01-15", "2026-02-16"]),
            ("0 0 * * FRI#2", ["2026-01-09", "2026-02-13"]),
            ("0 0 * * FRIL", ["2026-01-30", "2026-02-27"]),
            ("0 0 13 * +FRI", ["2026-02-13", "2026-03-13"]),
        ] {
            let expected = days.map(|day| format!("{day}T00:00:00Z"));
            assert_eq!(due(schedule, "UTC", "2026-01-01T12:00:00Z", 2), expected, "{schedule}");
        }
    }

    #[test]
    fn nicknames_are_schedules() {
        assert_eq!(due("@daily", "UTC", "2026-01-01T00:00:00Z", 1), ["2026-01-02T00:00:00Z"]);
        assert_eq!(due("@hourly", "UTC", "2026-01-01T00:00:00Z", 1), ["2026-01-01T01:00:00Z"]);
    }
}

//! Are cron jobs due when the clock is changed as they should be? Against a table made with another language's time zones.

use jiff::Timestamp;
use rohas_config::schema::timing::Timing;

const TABLE: &str = include_str!("timing/daylight_saving.txt");

/// The window of each line begins so many seconds before the change, and is so many long.
const BEFORE: i64 = 3 * 3600;
const LENGTH: i64 = 7 * 3600;

#[test]
fn changes_of_the_clock_of_20_zones_in_10_years() {
    let mut lines = TABLE.lines().skip(1);
    let schedules: Vec<&str> = lines.next().unwrap().split('|').collect();
    let (mut checked, mut wrong) = (0, Vec::new());
    for line in lines {
        let mut cells = line.split('|');
        let (zone, change) = (cells.next().unwrap(), cells.next().unwrap().parse::<i64>().unwrap());
        let begin = change - BEFORE;
        for (schedule, expected) in schedules.iter().zip(cells) {
            let timing = Timing::parse(schedule, Some(zone)).unwrap();
            let times = timing.times_after(Timestamp::from_second(begin - 1).unwrap()).map(Timestamp::as_second);
            let minutes = times.take_while(|time| *time < begin + LENGTH).map(|time| ((time - begin) / 60).to_string());
            let found = minutes.collect::<Vec<_>>().join(" ");
            checked += 1;
            if found != expected {
                wrong.push(format!("{zone} {change} `{schedule}`: {found}, expected {expected}"));
            }
        }
    }
    assert!(checked > 2000, "the table has only {checked} entries");
    assert!(wrong.is_empty(), "{} of {checked}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_search_that_begins_anywhere_finds_the_same_times() {
    for zone in ["Europe/Berlin", "Australia/Lord_Howe", "Antarctica/Troll"] {
        for schedule in ["*/7 * * * *", "30 0-3 * * *", "* 2 * * *", "15,20 1,2 * * *"] {
            let timing = Timing::parse(schedule, Some(zone)).unwrap();
            // From March to April and from October to November.
            for begin in [1_774_500_000_i64, 1_792_600_000] {
                let at = |second| Timestamp::from_second(second).unwrap();
                let times: Vec<_> =
                    timing.times_after(at(begin)).take_while(|time| *time < at(begin + 1_500_000)).collect();
                for second in (begin..begin + 1_400_000).step_by(1801) {
                    let next = times.iter().find(|time| **time > at(second));
                    assert_eq!(timing.next_after(at(second)).as_ref(), next, "{schedule} in {zone} after {second}");
                }
            }
        }
    }
}

//! Which job does a `cron` declare, and when is it due?

use std::time::Duration;

use jiff::{
    civil::{self, date},
    tz::{TimeZone, db},
};

use super::{Checker, Decl, handlers::Mention};
use crate::{
    project::HandlerKind,
    schema::{
        diagnostic::{Code, Fault},
        model::{CatchUp, Cron, Overlap},
        source::Place,
        suggest::did_you_mean,
        syntax::Entry,
        timing::{self, Timing},
    },
};

const KNOWN: [&str; 7] = ["schedule", "timezone", "jitter", "overlap", "catchUp", "timeout", "triggers"];

const OVERLAP: [(&str, Overlap); 3] = [("skip", Overlap::Skip), ("queue", Overlap::Queue), ("allow", Overlap::Allow)];

const CATCH_UP: [(&str, CatchUp); 3] = [("none", CatchUp::None), ("latest", CatchUp::Latest), ("all", CatchUp::All)];

const FIELDS: &str = "write minute, hour, day, month and weekday, with seconds before them if needed: \"0 2 * * *\"";

/// A schedule that is ever due is due after this; the year does not matter otherwise.
const BEFORE_A_LEAP_DAY: civil::DateTime = date(2024, 1, 1).at(0, 0, 0, 0);

const NICKNAMES: [&str; 6] = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@hourly"];

impl Checker<'_> {
    pub(super) fn cron(&mut self, decl: Decl<'_>) {
        let given = self.properties(decl, &decl.node.entries, &KNOWN);
        let schedule = self.required(decl, given.get("schedule"), ("schedule", "\"0 2 * * *\""));
        let schedule = schedule.and_then(|entry| self.schedule(decl, entry));
        let timezone = given.get("timezone").and_then(|entry| self.timezone(decl, entry));
        let jitter = given.get("jitter").and_then(|entry| self.jitter(decl, entry, schedule.as_deref()));
        let overlap = given.get("overlap").and_then(|entry| self.choice(decl, entry, &OVERLAP));
        let catch_up = given.get("catchUp").and_then(|entry| self.choice(decl, entry, &CATCH_UP));
        let timeout = given.get("timeout").and_then(|entry| self.duration(decl, entry));
        let triggers = self.events(decl, given.get("triggers"));
        self.mention(Mention::own(HandlerKind::Cron, decl));
        let location = self.location(decl.name_place());
        let name = decl.name().to_owned();
        let cron = Cron {
            name: name.clone(),
            doc: decl.node.doc.clone(),
            schedule: schedule.unwrap_or_default(),
            timezone,
            jitter,
            overlap: overlap.unwrap_or_default(),
            catch_up: catch_up.unwrap_or_default(),
            timeout,
            triggers,
            location,
        };
        self.schema.crons.insert(name, cron);
    }

    fn schedule(&mut self, decl: Decl<'_>, entry: &Entry) -> Option<String> {
        let text = self.text(decl, entry)?;
        let place = decl.place(entry.value.as_ref()?.span);
        let Some((reason, help)) = misread(text) else {
            self.idle_step(decl, place, text);
            return Some(text.to_owned());
        };
        let message = format!("the schedule of {} is wrong: {reason}", decl.describe());
        self.report(Fault::new(Code::BadSchedule, place, message).label("not a schedule").help(help));
        None
    }

    /// `*/90` as minutes looks as if it were every 90 minutes.
    fn idle_step(&mut self, decl: Decl<'_>, place: Place, schedule: &str) {
        let Some(item) = timing::idle_step(schedule) else { return };
        let message = format!("the step of `{item}` in the schedule of {} leaves one value only", decl.describe());
        let help =
            "a step counts within its field and begins anew with each turn of it; write the value, or a shorter step";
        self.report(Fault::new(Code::IdleStep, place, message).label("a step that leads nowhere").help(help));
    }

    /// A firing that could be later than the next one would trade places with it.
    fn jitter(&mut self, decl: Decl<'_>, entry: &Entry, schedule: Option<&str>) -> Option<Duration> {
        let jitter = self.duration(decl, entry)?;
        let timing = schedule.and_then(|schedule| Timing::parse(schedule, None).ok());
        let Some(period) = timing.and_then(|timing| timing.shortest_period()).filter(|period| jitter > *period) else {
            return Some(jitter);
        };
        let period = in_one_unit(period);
        let message = format!("`jitter` of {} is longer than the {period} between two of its runs", decl.describe());
        let span = entry.value.as_ref().map_or(entry.span, |value| value.span);
        self.bad_value_because(decl.place(span), message, &format!("write {period} or less"));
        None
    }

    fn timezone(&mut self, decl: Decl<'_>, entry: &Entry) -> Option<String> {
        let name = self.word_or_text(decl, entry)?;
        if TimeZone::get(name).is_ok() {
            return Some(name.to_owned());
        }
        let place = decl.place(entry.value.as_ref()?.span);
        let known: Vec<String> = db().available().map(|name| name.as_str().to_owned()).collect();
        let help = did_you_mean(name, known.iter().map(String::as_str))
            .unwrap_or_else(|| "write an IANA name such as \"Europe/Berlin\" or \"UTC\"".to_owned());
        let message = format!("the time zone \"{name}\" of {} does not exist", decl.describe());
        self.report(Fault::new(Code::BadTimezone, place, message).label("unknown time zone").help(help));
        None
    }
}

/// Whole seconds as a schema writes them, in the largest unit that does.
fn in_one_unit(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (unit, letter) = [(86_400, 'd'), (3_600, 'h'), (60, 'm')]
        .into_iter()
        .find(|(unit, _)| seconds.is_multiple_of(*unit))
        .unwrap_or((1, 's'));
    format!("{}{letter}", seconds / unit)
}

/// Why a schedule can't be read, and what to write.
fn misread(text: &str) -> Option<(String, String)> {
    let trimmed = text.trim();
    if trimmed.starts_with('@') {
        if NICKNAMES.contains(&trimmed.to_ascii_lowercase().as_str()) {
            return None;
        }
        let help = did_you_mean(trimmed, NICKNAMES).unwrap_or_else(|| format!("write one of {}", NICKNAMES.join(", ")));
        return Some((format!("there is no `{trimmed}`"), help));
    }
    let fields = trimmed.split_whitespace().count();
    if !matches!(fields, 5 | 6) {
        let fields = if fields == 1 { "1 field".to_owned() } else { format!("{fields} fields") };
        return Some((format!("it has {fields}"), FIELDS.to_owned()));
    }
    let reason = match timing::parse(trimmed) {
        Ok(schedule) if schedule.find_next_occurrence(&BEFORE_A_LEAP_DAY, false).is_err() => {
            let help = "no month has such a day; change the day or the month";
            return Some(("it is never due".to_owned(), help.to_owned()));
        }
        Ok(_) => return None,
        Err(error) => error.to_string(),
    };
    // The library begins with the kind of its error, which says nothing about the schedule.
    let reason = reason.rsplit(": ").next().unwrap_or(&reason).trim_end_matches('.');
    let reason = reason.replace("CronPattern contains", "it has the");
    let mut letters = reason.chars();
    let first = letters.next().map(|first| first.to_lowercase().to_string()).unwrap_or_default();
    Some((format!("{first}{}", letters.as_str()), FIELDS.to_owned()))
}

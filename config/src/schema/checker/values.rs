//! What do the values of properties mean: durations, counts, lists of names, choices?

use std::{ops::RangeInclusive, time::Duration};

use indexmap::IndexMap;

use super::{Checker, Decl};
use crate::schema::{
    diagnostic::{Code, Fault},
    source::Place,
    suggest::did_you_mean,
    syntax::{Entry, Keyword, Value, ValueKind},
};

/// Longest duration that may be written: ten years.
const MAX_DURATION: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

const DURATION: &str = "a duration such as 200ms, 10s, 5m, 1h or 7d";

impl Checker<'_> {
    /// A text.
    pub(super) fn text<'e>(&mut self, decl: Decl<'_>, entry: &'e Entry) -> Option<&'e str> {
        match entry.value.as_ref().map(|value| &value.kind) {
            Some(ValueKind::Text(text)) => Some(text),
            _ => {
                self.bad_value(decl, entry, "a text in quotes");
                None
            }
        }
    }

    /// A name, with or without quotes.
    pub(super) fn word_or_text<'e>(&mut self, decl: Decl<'_>, entry: &'e Entry) -> Option<&'e str> {
        let text = entry.value.as_ref().and_then(word_or_text);
        if text.is_none() {
            self.bad_value(decl, entry, "a name");
        }
        text
    }

    pub(super) fn boolean(&mut self, decl: Decl<'_>, entry: &Entry) -> Option<bool> {
        let word = entry.value.as_ref().and_then(Value::as_word);
        match word.map(|name| name.text.as_str()) {
            Some("true") => Some(true),
            Some("false") => Some(false),
            _ => {
                self.bad_value(decl, entry, "true or false");
                None
            }
        }
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&mut self, decl: Decl<'_>, entry: &Entry, choices: &[(&str, T)]) -> Option<T> {
        let value = entry.value.as_ref()?;
        let words = || choices.iter().map(|(word, _)| *word);
        let wanted = || words().collect::<Vec<_>>().join(", ");
        let Some(word) = word_or_text(value) else {
            self.bad_value(decl, entry, &format!("one of {}", wanted()));
            return None;
        };
        let found = choices.iter().find(|(choice, _)| *choice == word).map(|(_, meaning)| *meaning);
        if found.is_none() {
            let message = format!("`{}` of {} can't be `{word}`", entry.name.text, decl.describe());
            let help = did_you_mean(word, words()).unwrap_or_else(|| format!("write one of {}", wanted()));
            self.bad_value_because(decl.place(value.span), message, &help);
        }
        found
    }

    /// A whole number within bounds.
    pub(super) fn count(&mut self, decl: Decl<'_>, entry: &Entry, range: RangeInclusive<u32>) -> Option<u32> {
        let value = entry.value.as_ref()?;
        let ValueKind::Number(text) = &value.kind else {
            self.bad_value(decl, entry, "a whole number");
            return None;
        };
        let number = text.parse().ok().filter(|number| range.contains(number));
        if number.is_none() {
            let message = format!("`{}` of {} can't be {text}", entry.name.text, decl.describe());
            let help = format!("write a whole number from {} to {}", range.start(), range.end());
            self.bad_value_because(decl.place(value.span), message, &help);
        }
        number
    }

    /// A duration that is longer than nothing.
    pub(super) fn duration(&mut self, decl: Decl<'_>, entry: &Entry) -> Option<Duration> {
        let duration = self.duration_or_zero(decl, entry)?;
        if duration.is_zero() {
            let message = format!("`{}` of {} can't be zero", entry.name.text, decl.describe());
            let span = entry.value.as_ref().map_or(entry.span, |value| value.span);
            self.bad_value_because(decl.place(span), message, "write a longer duration, or remove it for the default");
            return None;
        }
        Some(duration)
    }

    pub(super) fn duration_or_zero(&mut self, decl: Decl<'_>, entry: &Entry) -> Option<Duration> {
        let value = entry.value.as_ref()?;
        let text = match &value.kind {
            ValueKind::Quantity(text) | ValueKind::Text(text) => text,
            ValueKind::Number(number) => {
                let message = format!("`{}` of {} needs a unit", entry.name.text, decl.describe());
                let help = format!("write {number}s for seconds or {number}ms for milliseconds");
                self.bad_value_because(decl.place(value.span), message, &help);
                return None;
            }
            _ => {
                self.bad_value(decl, entry, DURATION);
                return None;
            }
        };
        let duration = parse_duration(text).filter(|duration| *duration <= MAX_DURATION);
        if duration.is_none() {
            let message = format!("`{}` of {} can't be `{text}`", entry.name.text, decl.describe());
            let help = format!("write {DURATION}, at most ten years");
            self.bad_value_because(decl.place(value.span), message, &help);
        }
        duration
    }

    /// A list of names, with or without quotes; one name may stand without brackets. Repeated names count once.
    pub(super) fn names(&mut self, decl: Decl<'_>, entry: &Entry) -> Vec<(String, Place)> {
        let Some(value) = &entry.value else { return Vec::new() };
        let items = match &value.kind {
            ValueKind::List(items) => items.as_slice(),
            _ => std::slice::from_ref(value),
        };
        let mut names: IndexMap<String, Place> = IndexMap::new();
        for item in items {
            let place = decl.place(item.span);
            let Some(name) = word_or_text(item) else {
                let message = format!("`{}` of {} must be a list of names", entry.name.text, decl.describe());
                let fault =
                    Fault::new(Code::BadValue, place, message).label(format!("{} is not a name", item.describe()));
                self.report(fault.help(format!("write `{}: [first, second]`", entry.name.text)));
                continue;
            };
            if let Some(first) = names.get(name) {
                let fault =
                    Fault::new(Code::RepeatedItem, place, format!("`{}` names `{name}` twice", entry.name.text));
                self.report(fault.label("counts once").related(*first, "first here").help("remove one of them"));
                continue;
            }
            self.file_name(name, place);
            names.insert(name.to_owned(), place);
        }
        names.into_iter().collect()
    }

    /// Names of handlers become names of files and functions.
    fn file_name(&mut self, name: &str, place: Place) {
        let good = name.starts_with(|first: char| first.is_ascii_alphabetic())
            && name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_');
        // Outside of quotes, other characters were reported when parsing.
        let quoted = name.len() != place.span.end - place.span.start;
        if !good && (quoted || name.starts_with('_')) {
            let fault = Fault::new(Code::BadName, place, format!("`{name}` is not a name"));
            self.report(fault.help("names are made of ASCII letters, digits and underscores, and start with a letter"));
        }
    }

    /// `triggers:`
    pub(super) fn events(&mut self, decl: Decl<'_>, entry: Option<&Entry>) -> Vec<String> {
        let Some(entry) = entry else { return Vec::new() };
        let mut events = Vec::new();
        for (name, place) in self.names(decl, entry) {
            match self.names.get(name.as_str()).copied() {
                Some(event) if event.node.keyword == Keyword::Event => {}
                Some(other) => {
                    let fault = Fault::new(Code::UnknownEvent, place, format!("{} is not an event", other.describe()));
                    self.report(
                        fault.related(other.name_place(), "declared here").help("only events can be triggered"),
                    );
                }
                None => {
                    let declared = self.names.iter().filter(|(_, decl)| decl.node.keyword == Keyword::Event);
                    let help = did_you_mean(&name, declared.map(|(name, _)| *name))
                        .unwrap_or_else(|| format!("declare it: `event {name} {{ payload: Json }}`"));
                    let fault = Fault::new(Code::UnknownEvent, place, format!("there is no event `{name}`"));
                    self.report(fault.label("unknown event").help(help));
                }
            }
            events.push(name);
        }
        events
    }
}

fn word_or_text(value: &Value) -> Option<&str> {
    match &value.kind {
        ValueKind::Text(text) => Some(text),
        _ => value.as_word().map(|name| name.text.as_str()),
    }
}

/// `10s`, `1h30m`
fn parse_duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit())?;
        let (number, behind) = rest.split_at(digits);
        let letters = behind.find(|character: char| character.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(letters);
        let number: u64 = number.parse().ok()?;
        let millis = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        total = total.checked_add(Duration::from_millis(number.checked_mul(millis)?))?;
        rest = behind;
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_and_may_be_sums() {
        assert_eq!(parse_duration("200ms"), Some(Duration::from_millis(200)));
        assert_eq!(parse_duration("1h30m"), Some(Duration::from_secs(5400)));
        assert_eq!(parse_duration("7d"), Some(Duration::from_secs(604_800)));
        for wrong in ["", "10", "s", "10x", "10s5", "99999999999999999999s", "18446744073709551615d"] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
    }
}

//! What came of a run, for tests and for the table in the documentation.

use std::fmt::Write as _;

use crate::conformance::scenarios::names;

/// What came of all scenarios at one adapter.
#[derive(Debug, Clone)]
pub struct Report {
    /// The adapter's type.
    pub adapter: &'static str,
    /// Every scenario by name, in the order of the suite.
    pub outcomes: Vec<(&'static str, Outcome)>,
}

/// What came of one scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It holds.
    Passed,
    /// It does not, as declared, for this reason.
    Declared(&'static str),
    /// It may or may not, as declared, for this reason.
    AtTimes(&'static str),
    /// It does not.
    Failed(String),
}

impl Report {
    /// A line per scenario that failed.
    #[must_use]
    pub fn failures(&self) -> Vec<String> {
        let failed = self.outcomes.iter().filter_map(|(name, outcome)| match outcome {
            Outcome::Failed(reason) => Some(format!("{}: {name}: {reason}", self.adapter)),
            Outcome::Passed | Outcome::Declared(_) | Outcome::AtTimes(_) => None,
        });
        failed.collect()
    }

    fn outcome(&self, name: &str) -> Option<&Outcome> {
        self.outcomes.iter().find(|(known, _)| *known == name).map(|(_, outcome)| outcome)
    }
}

/// A table in Markdown, a row per scenario and a column per adapter, with the reasons below it.
#[must_use]
pub fn table(reports: &[Report]) -> String {
    let mut text = String::from("| scenario |");
    let mut reasons: Vec<&str> = Vec::new();
    for report in reports {
        write_to(&mut text, format_args!(" {} |", report.adapter));
    }
    text.push_str("\n|---|");
    text.push_str(&"---|".repeat(reports.len()));
    text.push('\n');
    for name in names() {
        write_to(&mut text, format_args!("| {} |", name.replace('_', " ")));
        for report in reports {
            let cell = cell(report.outcome(name), &mut reasons);
            write_to(&mut text, format_args!(" {cell} |"));
        }
        text.push('\n');
    }
    text.push('\n');
    for (index, reason) in reasons.iter().enumerate() {
        write_to(&mut text, format_args!("{}. {reason}\n", index + 1));
    }
    text
}

fn cell<'a>(outcome: Option<&'a Outcome>, reasons: &mut Vec<&'a str>) -> String {
    match outcome {
        Some(Outcome::Passed) => "yes".to_owned(),
        Some(Outcome::Declared(reason)) => format!("no ({})", numbered(reason, reasons)),
        Some(Outcome::AtTimes(reason)) => format!("not always ({})", numbered(reason, reasons)),
        Some(Outcome::Failed(_)) => "FAILED".to_owned(),
        None => "not run".to_owned(),
    }
}

/// The number of a reason in the list below the table.
fn numbered<'a>(reason: &'a str, reasons: &mut Vec<&'a str>) -> usize {
    let known = reasons.iter().position(|known| *known == reason).unwrap_or_else(|| {
        reasons.push(reason);
        reasons.len() - 1
    });
    known + 1
}

fn write_to(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("writing to a string cannot fail");
}

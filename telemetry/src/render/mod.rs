//! How do traces look to a person? As a table and as a tree, in local time, safe to print on a terminal.

mod duration;
mod list;
mod text;
mod tree;

pub use duration::human;
pub use list::list;
pub use text::{line, lines};
pub use tree::tree;

use std::fmt::Display;
use std::fmt::Write;

use jiff::tz::TimeZone;
use owo_colors::Style as Paint;

use crate::{Damage, Status, Timestamp};

/// Where the text is shown.
#[derive(Debug, Clone)]
pub struct Style {
    /// Whose time is shown.
    pub zone: TimeZone,
    /// Whether to mark with colours.
    pub color: bool,
}

impl Style {
    /// The time zone of this machine.
    #[must_use]
    pub fn local(color: bool) -> Self {
        Self { zone: TimeZone::system(), color }
    }

    fn paint(&self, paint: Paint, text: impl Display) -> String {
        if self.color { paint.style(text).to_string() } else { text.to_string() }
    }

    fn bold(&self, text: impl Display) -> String {
        self.paint(Paint::new().bold(), text)
    }

    fn dim(&self, text: impl Display) -> String {
        self.paint(Paint::new().dimmed(), text)
    }

    fn status(&self, status: Status, text: impl Display) -> String {
        let paint = match status {
            Status::Ok => Paint::new().green(),
            Status::Rejected | Status::Cancelled | Status::Retrying | Status::Busy => Paint::new().yellow(),
            Status::Failed | Status::TimedOut | Status::Crashed => Paint::new().red(),
        };
        self.paint(paint, text)
    }

    /// Date and time to the millisecond.
    fn time(&self, time: Timestamp) -> String {
        match jiff::Timestamp::from_nanosecond(i128::from(time.as_nanos())) {
            Ok(time) => time.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S%.3f").to_string(),
            Err(_) => format!("{} ns since 1970", time.as_nanos()),
        }
    }
}

/// `text` and blanks up to a width, which colours would confuse if they were counted.
fn pad(text: &str, painted: &str, width: usize) -> String {
    let blanks = width.saturating_sub(text.chars().count());
    format!("{painted}{:blanks$}", "")
}

/// One line for each block that could not be read.
fn damaged(out: &mut String, damaged: &[Damage], style: &Style) {
    for damage in damaged {
        let line = format!(
            "block {} of {} is damaged and its records are missing: {}",
            damage.key,
            style.time(damage.written_at),
            line(&damage.reason)
        );
        push(out, &style.paint(Paint::new().red(), line));
    }
}

fn push(out: &mut String, line: &str) {
    writeln!(out, "{}", line.trim_end()).expect("a string takes everything");
}

#[cfg(test)]
mod tests;

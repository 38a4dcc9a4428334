//! What does not fit, and where in the value?

use std::fmt;

use serde::Serialize;

/// One thing in a value that its type does not allow.
///
/// Serialises as `{"path": ["items", 0, "quantity"], "code": "min", "message": "must be at least 1"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// From the root of the value to the place; empty for the root itself.
    pub path: Vec<PathItem>,
    /// The rule that was broken, stable: `required`, `type`, `enum`, `min`, `max`, `min_length`, `max_length`,
    /// `pattern`, `email`, `url`, `uuid`, `datetime`, `base64`, `min_items`, `max_items`, `unique`, and `more` for the
    /// faults that are not listed.
    pub code: &'static str,
    /// What would be right, in a sentence without its subject.
    pub message: String,
}

/// The place and the sentence: `items[0].quantity must be at least 1`.
impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, item) in self.path.iter().enumerate() {
            match item {
                PathItem::Key(key) if position == 0 => formatter.write_str(key)?,
                PathItem::Key(key) => write!(formatter, ".{key}")?,
                PathItem::Index(index) => write!(formatter, "[{index}]")?,
            }
        }
        let gap = if self.path.is_empty() { "" } else { " " };
        write!(formatter, "{gap}{}", self.message)
    }
}

/// One step of the way into a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum PathItem {
    /// Into an object.
    Key(String),
    /// Into an array.
    Index(usize),
}

/// The way to the value that is being looked at; it lies on the stack and becomes a path only for a fault.
#[derive(Clone, Copy)]
pub(super) enum Trail<'t> {
    Root,
    Key(&'t Trail<'t>, &'t str),
    Index(&'t Trail<'t>, usize),
}

impl Trail<'_> {
    pub(super) fn to_path(self) -> Vec<PathItem> {
        let mut path = Vec::new();
        let mut trail = self;
        loop {
            trail = match trail {
                Trail::Root => break,
                Trail::Key(outer, key) => {
                    path.push(PathItem::Key(key.to_owned()));
                    *outer
                }
                Trail::Index(outer, index) => {
                    path.push(PathItem::Index(index));
                    *outer
                }
            };
        }
        path.reverse();
        path
    }
}

/// Collects faults up to a limit and counts the rest.
#[derive(Default)]
pub(super) struct Faults {
    faults: Vec<Fault>,
    left_out: usize,
}

impl Faults {
    /// Nobody repairs more than this at a time, and an answer should not be larger than the request.
    const LIMIT: usize = 100;

    pub(super) fn report(&mut self, trail: Trail<'_>, code: &'static str, message: impl FnOnce() -> String) {
        if self.faults.len() == Self::LIMIT {
            self.left_out += 1;
            return;
        }
        self.faults.push(Fault { path: trail.to_path(), code, message: message() });
    }

    pub(super) fn finish(mut self) -> Result<(), Vec<Fault>> {
        if self.faults.is_empty() {
            return Ok(());
        }
        if self.left_out > 0 {
            let message = format!("{} more faults are not listed", self.left_out);
            self.faults.push(Fault { path: Vec::new(), code: "more", message });
        }
        Err(self.faults)
    }
}

//! Which requests does a path match?

use super::{Checker, Decl};
use crate::schema::{
    diagnostic::{Code, Fault},
    model::{PathPattern, Segment},
    source::Place,
    syntax::{Entry, Span},
};

/// Paths that the daemon answers itself.
const RESERVED: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// Longer paths than this do not fit into a request line everywhere.
const MAX_LENGTH: usize = 1_024;

/// Everything below this path is the daemon's.
const RESERVED_BELOW: &str = "/api/workbench";

impl Checker<'_> {
    /// `path:`, with `{id}` and `:id` for parameters.
    pub(super) fn path(&mut self, decl: Decl<'_>, entry: &Entry) -> Option<PathPattern> {
        let source = self.text(decl, entry)?;
        let place = decl.place(entry.value.as_ref()?.span);
        // The quote is the first character.
        let at = |offset: usize, length: usize| {
            let start = place.span.start + 1 + offset;
            Place { span: Span { start, end: start + length }, ..place }
        };
        let Some(path) = source.strip_prefix('/') else {
            let fault =
                Fault::new(Code::BadPath, place, format!("the path of {} must start with `/`", decl.describe()));
            self.report(fault.help(format!("write \"/{source}\"")));
            return None;
        };
        if source.len() > MAX_LENGTH {
            let message = format!("the path of {} is longer than {MAX_LENGTH} bytes", decl.describe());
            self.report(Fault::new(Code::BadPath, place, message).help("shorten it"));
            return None;
        }
        self.reserved(source, place);
        let before = self.faults.len();
        let count = path.split('/').count();
        let mut offset = 1;
        let mut segments: Vec<Segment> = Vec::new();
        for (index, text) in path.split('/').enumerate() {
            let here = at(offset, text.len());
            offset += text.len() + 1;
            match segment(text, index + 1 == count) {
                Ok(Segment::Param(name)) if segments.contains(&Segment::Param(name.clone())) => {
                    let fault = Fault::new(Code::BadPath, here, format!("the path has the parameter `{name}` twice"));
                    self.report(fault.help("rename one of them"));
                }
                Ok(segment) => segments.push(segment),
                Err((problem, help)) => {
                    self.report(
                        Fault::new(Code::BadPath, here, format!("{problem} in the path of {}", decl.describe()))
                            .help(help),
                    );
                }
            }
        }
        if self.faults.len() != before {
            return None;
        }
        Some(PathPattern { source: source.to_owned(), segments })
    }

    fn reserved(&mut self, source: &str, place: Place) {
        let path = source.trim_end_matches('/');
        let below = path.strip_prefix(RESERVED_BELOW).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if RESERVED.contains(&path) || below {
            let fault = Fault::new(Code::ReservedPath, place, format!("the daemon answers \"{source}\" itself"));
            self.report(fault.label("reserved").help("choose another path"));
        }
    }
}

/// One part of a path, or what is wrong with it and what to do.
fn segment(text: &str, last: bool) -> Result<Segment, (String, &'static str)> {
    if text.contains(|character: char| character.is_whitespace() || character.is_control() || character == '\\') {
        return Err(("there is a blank or control character".to_owned(), "remove it"));
    }
    let param = text.strip_prefix(':').or_else(|| text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')));
    if let Some(name) = param {
        let good = name.starts_with(|first: char| first.is_ascii_alphabetic())
            && name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_');
        if good {
            return Ok(Segment::Param(name.to_owned()));
        }
        let help = "parameters are named with ASCII letters, digits and underscores: `{id}` or `:id`";
        return Err((format!("`{text}` is not a parameter"), help));
    }
    if text.contains(['{', '}', ':', '*']) {
        return Err((
            format!("`{text}` is neither text nor a parameter"),
            "a parameter is a whole segment: `/users/{id}`",
        ));
    }
    if text.contains(['?', '#']) {
        return Err((format!("`{text}` can't be a segment"), "query parameters are declared with `query:`"));
    }
    if text.contains('%') {
        return Err((format!("`{text}` is percent-encoded"), "write the characters themselves"));
    }
    match text {
        "" if !last => Err(("there is an empty segment".to_owned(), "write one `/` between segments")),
        "." | ".." => Err((format!("`{text}` can't be a segment"), "clients remove it before they send the request")),
        _ => Ok(Segment::Literal(text.to_owned())),
    }
}

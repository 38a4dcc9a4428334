//! How do the parser and the checker note what they find? As faults, which become diagnostics at the end.

use super::{Code, Diagnostic, Related, Severity};
use crate::schema::source::{Place, Sources};

/// More findings than this in one check are only counted.
const MAX_DIAGNOSTICS: usize = 500;

/// A finding before its file's name, line and text are looked up.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    code: Code,
    severity: Severity,
    place: Place,
    message: String,
    label: Option<String>,
    help: Option<String>,
    related: Vec<(Place, String)>,
}

impl Fault {
    pub(crate) fn new(code: Code, place: Place, message: impl Into<String>) -> Self {
        let severity = code.severity();
        Self { code, severity, place, message: message.into(), label: None, help: None, related: Vec::new() }
    }

    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// What to write beside the caret.
    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// What to do about it.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// What to do about it, when something is known.
    pub(crate) fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }

    /// Another place that explains it.
    pub(crate) fn related(mut self, place: Place, message: impl Into<String>) -> Self {
        self.related.push((place, message.into()));
        self
    }

    /// An error although this code is usually a warning.
    pub(crate) fn into_error(mut self) -> Self {
        self.severity = Severity::Error;
        self
    }

    fn into_diagnostic(self, sources: &Sources) -> Diagnostic {
        let file = sources.file(self.place.file);
        let location = sources.location(self.place);
        let related = self.related.into_iter().map(|(place, message)| related(sources, place, message)).collect();
        Diagnostic {
            code: self.code,
            severity: self.severity,
            message: self.message,
            file: location.file,
            line: location.line,
            column: location.column,
            span: self.place.span,
            label: self.label,
            help: self.help,
            related,
            source: Some(file.text.clone()),
        }
    }
}

fn related(sources: &Sources, place: Place, message: String) -> Related {
    let location = sources.location(place);
    let source = sources.file(place.file).text.clone();
    Related { message, file: location.file, line: location.line, column: location.column, span: place.span, source }
}

/// All faults found so far.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    list: Vec<Fault>,
}

impl Faults {
    pub(crate) fn push(&mut self, fault: Fault) {
        self.list.push(fault);
    }

    pub(crate) fn append(&mut self, mut other: Self) {
        self.list.append(&mut other.list);
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.list.iter().any(|fault| fault.severity == Severity::Error)
    }

    /// Diagnostics in the order of files and lines, without those about files in the background.
    pub(crate) fn into_diagnostics(mut self, sources: &Sources) -> Vec<Diagnostic> {
        self.list.sort_by_key(|fault| fault.place);
        self.list.retain(|fault| !sources.file(fault.place.file).background);
        let more = self.list.len().saturating_sub(MAX_DIAGNOSTICS);
        if more > 0 {
            // Errors rather than warnings, then in the order of lines again.
            self.list.sort_by_key(|fault| fault.severity);
            self.list.truncate(MAX_DIAGNOSTICS);
            let last = self.list.iter().map(|fault| fault.place).max();
            self.list.sort_by_key(|fault| fault.place);
            self.list.extend(
                last.map(|place| Fault::new(Code::TooManyErrors, place, format!("{more} more findings are not shown"))),
            );
        }
        self.list.into_iter().map(|fault| fault.into_diagnostic(sources)).collect()
    }
}

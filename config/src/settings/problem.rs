//! What is wrong with the settings? Every problem at once, for people and for programs.

use std::error::Error as StdError;
use std::fmt::{self, Display, Formatter};
use std::ops::Range;
use std::sync::Arc;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, Severity, SourceCode};
use serde::{Serialize, Serializer};
use serde_json::json;

use super::layers::{Layers, position};

/// One thing that is wrong, and where. Its JSON form is that of a schema's diagnostics.
#[derive(Debug, Clone)]
pub struct Problem {
    /// The kind of problem; stable.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// `config/rohas.toml`, `environment` or `command line`.
    pub file: String,
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    source: Arc<NamedSource<String>>,
    span: Range<usize>,
    related: Option<(Range<usize>, String)>,
}

/// Everything that is wrong with the settings; at least one problem.
#[derive(Debug, Clone)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// The problems that the layers have collected, in the order of the file; `None` when there is none.
    pub(super) fn collect(layers: Layers) -> Option<Self> {
        let sources: Vec<Arc<NamedSource<String>>> =
            layers.sources.into_iter().map(|source| Arc::new(NamedSource::new(source.name, source.text))).collect();
        let mut drafts = layers.drafts;
        drafts.sort_by_key(|draft| (draft.source, draft.span.start));
        let problems: Vec<Problem> = drafts
            .into_iter()
            .map(|draft| {
                let source = Arc::clone(&sources[draft.source]);
                let (line, column) = position(source.inner(), draft.span.start);
                Problem {
                    code: draft.code,
                    message: draft.fault.message,
                    help: draft.fault.help,
                    file: source.name().to_owned(),
                    line,
                    column,
                    source,
                    span: draft.span,
                    related: draft.related,
                }
            })
            .collect();
        (!problems.is_empty()).then_some(Self(problems))
    }

    /// The problems.
    #[must_use]
    pub fn as_slice(&self) -> &[Problem] {
        &self.0
    }

    /// The problems for a terminal of `width` columns: source lines with carets, and remedies. Without `color` there are
    /// no escape sequences.
    #[must_use]
    pub fn render(&self, color: bool, width: usize) -> String {
        let theme = if color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
        let handler =
            GraphicalReportHandler::new_themed(theme).with_width(width).with_links(false).with_context_lines(1);
        let mut text = String::new();
        for problem in &self.0 {
            if handler.render_report(&mut text, problem).is_err() {
                // Rendering fails only for spans outside of the source; the message must not get lost with it.
                text.push_str(&format!("{problem}\n"));
            }
        }
        text
    }
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let span = |span: &Range<usize>| json!({ "start": span.start, "end": span.end });
        let related = self.related.as_ref().map(|(place, message)| {
            let (line, column) = position(self.source.inner(), place.start);
            json!({ "message": message, "file": self.file, "line": line, "column": column, "span": span(place) })
        });
        json!({
            "code": self.code,
            "severity": "error",
            "message": self.message,
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "span": span(&self.span),
            "label": null,
            "help": self.help,
            "related": related.as_slice(),
        })
        .serialize(serializer)
    }
}

impl Serialize for Problems {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl Display for Problems {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(formatter, "{separator}{}:{}:{}: {problem}", problem.file, problem.line, problem.column)?;
            if let Some(help) = &problem.help {
                write!(formatter, " ({help})")?;
            }
        }
        Ok(())
    }
}

impl StdError for Problems {}

impl Display for Problem {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl StdError for Problem {}

impl Diagnostic for Problem {
    fn code<'a>(&'a self) -> Option<Box<dyn Display + 'a>> {
        Some(Box::new(self.code))
    }

    fn severity(&self) -> Option<Severity> {
        Some(Severity::Error)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(self.source.as_ref())
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let main = LabeledSpan::new_primary_with_span(None, self.span.clone());
        let related =
            self.related.iter().map(|(span, text)| LabeledSpan::new_with_span(Some(text.clone()), span.clone()));
        Some(Box::new(std::iter::once(main).chain(related)))
    }
}

//! How does a diagnostic look on a terminal?

use std::{fmt, ops::Range, sync::Arc};

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode};

use super::{Diagnostic, Related, Severity};
use crate::schema::syntax::Span;

const WIDTH: usize = 110;

/// The diagnostics as text, each with the lines of its file and a caret. Without `color` there are no escape sequences.
#[must_use]
pub fn render(diagnostics: &[Diagnostic], color: bool) -> String {
    let theme = if color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme).with_width(WIDTH).with_links(false).with_context_lines(1);
    let mut text = String::new();
    for (index, diagnostic) in diagnostics.iter().enumerate() {
        if index > 0 {
            text.push('\n');
        }
        let report = Report::new(diagnostic);
        // Writing to a `String` can't fail; should miette fail for another reason, the plain line says it all too.
        if handler.render_report(&mut text, &report).is_err() {
            text.push_str(&diagnostic.to_string());
            text.push('\n');
        }
    }
    text
}

/// A diagnostic in the shape that miette draws.
#[derive(Debug)]
struct Report {
    message: String,
    code: Option<String>,
    severity: miette::Severity,
    help: Option<String>,
    source: Option<NamedSource<Arc<str>>>,
    labels: Vec<LabeledSpan>,
    related: Vec<Report>,
}

impl Report {
    fn new(diagnostic: &Diagnostic) -> Self {
        let message = match &diagnostic.source {
            Some(_) => diagnostic.message.clone(),
            None => format!("{}: {}", diagnostic.file, diagnostic.message),
        };
        let (here, elsewhere): (Vec<_>, Vec<_>) =
            diagnostic.related.iter().partition(|related| related.file == diagnostic.file);
        let primary = LabeledSpan::new_primary_with_span(diagnostic.label.clone(), range(diagnostic.span));
        let others = here.into_iter().map(|related| underline(Some(related.message.clone()), related.span));
        let labels = std::iter::once(primary).chain(others).collect();
        Self {
            message,
            code: Some(diagnostic.code.as_str().to_owned()),
            severity: match diagnostic.severity {
                Severity::Error => miette::Severity::Error,
                Severity::Warning => miette::Severity::Warning,
            },
            help: diagnostic.help.clone(),
            source: diagnostic.source.clone().map(|source| NamedSource::new(&diagnostic.file, source)),
            labels,
            related: elsewhere.into_iter().map(Self::of_related).collect(),
        }
    }

    fn of_related(related: &Related) -> Self {
        Self {
            message: related.message.clone(),
            code: None,
            severity: miette::Severity::Advice,
            help: None,
            source: Some(NamedSource::new(&related.file, related.source.clone())),
            labels: vec![underline(None, related.span)],
            related: Vec::new(),
        }
    }
}

fn underline(label: Option<String>, span: Span) -> LabeledSpan {
    LabeledSpan::new_with_span(label, range(span))
}

fn range(span: Span) -> Range<usize> {
    span.start..span.end.max(span.start)
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Report {}

impl miette::Diagnostic for Report {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.code.as_ref().map(|code| Box::new(code) as Box<dyn fmt::Display>)
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(self.severity)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.source.as_ref()?;
        Some(Box::new(self.labels.iter().cloned()))
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn miette::Diagnostic> + 'a>> {
        if self.related.is_empty() {
            return None;
        }
        Some(Box::new(self.related.iter().map(|related| related as &dyn miette::Diagnostic)))
    }
}

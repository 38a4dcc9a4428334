//! Does what the files say make sense? Syntax becomes a [`Schema`] that cannot be wrong, or diagnostics.
//!
//! Nothing stops at the first fault: what can't be resolved is replaced by something harmless and the check goes on, so
//! that all faults of all files are reported at once.

mod api;
mod attributes;
mod cron;
mod defaults;
mod event;
mod handlers;
mod imports;
mod names;
mod paths;
mod properties;
mod records;
mod recursion;
mod routes;
mod types;
mod values;
mod websocket;

use std::{collections::HashMap, path::PathBuf};

use indexmap::IndexMap;

use super::{
    diagnostic::{Code, Diagnostic, Fault, Faults},
    model::{Location, Schema},
    parser,
    source::{FileId, Place, Sources},
    syntax::{Declaration, File, Keyword, Span},
};
use crate::project::Language;

/// What the schema is checked against. Everything is optional: what is `None` is not checked.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// The project's directory: handler files are looked for in it.
    pub root: Option<PathBuf>,
    /// The language of the handlers.
    pub language: Option<Language>,
    /// Names of the adapters in the settings.
    pub adapters: Option<Vec<String>>,
    /// Missing handler files are errors, as `run` wants it.
    pub strict: bool,
}

/// What came out.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The schema; `None` when there are errors.
    pub schema: Option<Schema>,
    /// All findings in the order of files and lines.
    pub diagnostics: Vec<Diagnostic>,
}

/// Checks all files together.
#[must_use]
pub fn check(sources: &Sources, context: &Context) -> Checked {
    let mut faults = Faults::default();
    let mut files = Vec::new();
    for (id, file) in sources.iter() {
        let parsed = parser::parse(&file.text, id);
        faults.append(parsed.faults);
        if let Some(offset) = file.invalid_utf8 {
            let span = Span { start: offset, end: offset + char::REPLACEMENT_CHARACTER.len_utf8() };
            let fault = Fault::new(Code::InvalidUtf8, Place { file: id, span }, "the file is not UTF-8");
            faults.push(fault.label("the first wrong byte").help("save the file as UTF-8"));
        }
        files.push((id, parsed.file));
    }
    let mut checker = Checker {
        sources,
        context,
        faults,
        names: IndexMap::new(),
        schema: Schema::default(),
        fields: HashMap::new(),
        mentions: Vec::new(),
        routes: Vec::new(),
    };
    checker.files(&files);
    let strays = checker.handlers();
    let schema = (!checker.faults.has_errors()).then_some(checker.schema);
    let mut diagnostics = checker.faults.into_diagnostics(sources);
    diagnostics.extend(strays);
    Checked { schema, diagnostics }
}

/// A declaration and the file it is in.
#[derive(Debug, Clone, Copy)]
struct Decl<'a> {
    file: FileId,
    node: &'a Declaration,
}

impl<'a> Decl<'a> {
    fn name(self) -> &'a str {
        &self.node.name.text
    }

    fn place(self, span: Span) -> Place {
        Place { file: self.file, span }
    }

    /// Where its name stands.
    fn name_place(self) -> Place {
        self.place(self.node.name.span)
    }

    /// For messages: `api `CreateUser``.
    fn describe(self) -> String {
        format!("{} `{}`", self.node.keyword.as_str(), self.name())
    }
}

/// The check of one set of files.
struct Checker<'a> {
    sources: &'a Sources,
    context: &'a Context,
    faults: Faults,
    /// All declarations by name; of several with one name the first.
    names: IndexMap<&'a str, Decl<'a>>,
    /// What has been built so far.
    schema: Schema,
    /// Where the fields of the records are: by record and field.
    fields: HashMap<(String, String), Place>,
    /// Where handlers are named.
    mentions: Vec<handlers::Mention>,
    /// All endpoints that take part in routing.
    routes: Vec<routes::Route>,
}

impl<'a> Checker<'a> {
    /// Names come first, so that everything may refer to everything; then what others build on.
    fn files(&mut self, files: &'a [(FileId, File)]) {
        self.imports(files);
        self.collect_names(files);
        let declarations: Vec<Decl<'a>> = self.names.values().copied().collect();
        for keywords in [
            &[Keyword::Enum][..],
            &[Keyword::Model, Keyword::Type, Keyword::Input],
            &[Keyword::Api, Keyword::Event, Keyword::Cron, Keyword::Ws],
        ] {
            for declaration in declarations.iter().filter(|declaration| keywords.contains(&declaration.node.keyword)) {
                self.declaration(*declaration);
            }
        }
        self.recursion();
        self.route_conflicts();
    }

    fn declaration(&mut self, decl: Decl<'a>) {
        if decl.node.without_block {
            return;
        }
        match decl.node.keyword {
            Keyword::Enum => self.enumeration(decl),
            Keyword::Model | Keyword::Type | Keyword::Input => self.record(decl),
            Keyword::Api => self.api(decl),
            Keyword::Event => self.event(decl),
            Keyword::Cron => self.cron(decl),
            Keyword::Ws => self.websocket(decl),
        }
    }

    fn report(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    fn location(&self, place: Place) -> Location {
        self.sources.location(place)
    }
}

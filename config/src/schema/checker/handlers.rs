//! Does every handler have a file, and every file something that calls it?

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
};

use super::{Checker, Decl};
use crate::{
    project::{self, HandlerDecl, HandlerKind, Language},
    schema::{
        diagnostic::{Code, Diagnostic, Fault},
        source::Place,
        suggest::closest,
        syntax::Span,
    },
};

/// Where the schema names a handler.
pub(super) struct Mention {
    pub(super) kind: HandlerKind,
    /// The declaration; of a middleware, its name.
    pub(super) owner: String,
    /// As written.
    pub(super) name: String,
    pub(super) place: Place,
}

impl Mention {
    /// The handler that a declaration has by itself.
    pub(super) fn own(kind: HandlerKind, decl: Decl<'_>) -> Self {
        Self { kind, owner: decl.name().to_owned(), name: decl.name().to_owned(), place: decl.name_place() }
    }
}

impl Checker<'_> {
    pub(super) fn mention(&mut self, mention: Mention) {
        self.mentions.push(mention);
    }

    /// Reports handlers without a file, and gives findings about files that nothing names.
    pub(super) fn handlers(&mut self) -> Vec<Diagnostic> {
        let (Some(root), Some(language)) = (&self.context.root, self.context.language) else { return Vec::new() };
        let handlers = project::handlers(&self.schema, language);
        let mut used: BTreeSet<PathBuf> = BTreeSet::new();
        let mut lost: Vec<&HandlerDecl> = Vec::new();
        for handler in &handlers {
            match project::resolve(root, handler) {
                Some(file) => {
                    used.insert(file);
                }
                None => lost.push(handler),
            }
        }
        let strays = strays(root, language, &used);
        self.missing_handlers(language, &lost, &strays);
        // A declaration with errors may be the one that names a file; and who asks about one file wants no more.
        let partial = self.sources.files().iter().any(|file| file.background);
        if partial || self.faults.has_errors() {
            Vec::new()
        } else {
            strays.iter().map(|stray| unreachable(stray)).collect()
        }
    }

    fn missing_handlers(&mut self, language: Language, lost: &[&HandlerDecl], strays: &[PathBuf]) {
        let mentions = std::mem::take(&mut self.mentions);
        let mut places: HashMap<(HandlerKind, &str, String), Place> = HashMap::new();
        for mention in &mentions {
            let key = (mention.kind, mention.owner.as_str(), project::file_name(language, mention.kind, &mention.name));
            places.entry(key).or_insert(mention.place);
        }
        for handler in lost {
            let key = (handler.kind, handler.owner.as_str(), handler.name.clone());
            let Some(place) = places.get(&key).copied() else { continue };
            let message = match handler.kind {
                HandlerKind::Middleware | HandlerKind::After => {
                    format!("the middleware `{}` has no file", handler.owner)
                }
                HandlerKind::Api | HandlerKind::Cron => {
                    format!("the {} `{}` has no handler file", handler.kind.as_str(), handler.owner)
                }
                HandlerKind::Event | HandlerKind::WebSocket => {
                    format!(
                        "the handler `{}` of {} `{}` has no file",
                        handler.name,
                        handler.kind.as_str(),
                        handler.owner
                    )
                }
            };
            let mut fault = Fault::new(Code::MissingHandler, place, message).help(remedy(handler, strays));
            if self.context.strict {
                fault = fault.into_error();
            }
            self.report(fault);
        }
    }
}

fn remedy(handler: &HandlerDecl, strays: &[PathBuf]) -> String {
    let wanted = handler.candidates.first().map(PathBuf::as_path).unwrap_or(Path::new(""));
    let beside = strays.iter().filter(|stray| stray.parent() == wanted.parent());
    let stems = beside.filter_map(|stray| stray.file_stem()?.to_str());
    let function = handler.functions.last().map(String::as_str).unwrap_or_default();
    match closest(&handler.name, stems) {
        Some(stem) => format!(
            "rename {} to {}",
            wanted.with_file_name(stem).with_extension(extension(wanted)).display(),
            wanted.display()
        ),
        None => format!("`rohas codegen` writes {} with the function `{function}`", wanted.display()),
    }
}

fn extension(path: &Path) -> &str {
    path.extension().and_then(|extension| extension.to_str()).unwrap_or_default()
}

/// Files in the directories of handlers that no handler resolved to, relative to the root.
fn strays(root: &Path, language: Language, used: &BTreeSet<PathBuf>) -> Vec<PathBuf> {
    let directories = [
        HandlerKind::Api.directory(),
        HandlerKind::Event.directory(),
        HandlerKind::Cron.directory(),
        HandlerKind::WebSocket.directory(),
        HandlerKind::Middleware.directory(),
    ];
    let mut strays = BTreeSet::new();
    for directory in directories {
        // A project need not have every directory.
        let Ok(entries) = fs::read_dir(root.join(directory)) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let relative = Path::new(directory).join(&name);
            let is_file = entry.path().is_file() && extension(&relative) == language.extension();
            if is_file && !is_support(&name.to_string_lossy()) && !used.contains(&relative) {
                strays.insert(relative);
            }
        }
    }
    strays.into_iter().collect()
}

/// Files that are there for others: package markers, tests, private modules.
fn is_support(name: &str) -> bool {
    let marker = matches!(name, "mod.rs" | "index.ts" | "conftest.py");
    let test = name.starts_with("test_") || name.contains(".test.") || name.contains(".spec.");
    marker || test || name.starts_with('_') || name.starts_with('.') || name.ends_with(".d.ts")
}

fn unreachable(file: &Path) -> Diagnostic {
    Diagnostic {
        code: Code::UnreachableHandler,
        severity: Code::UnreachableHandler.severity(),
        message: "nothing in the schema names this handler file, so it is never called".to_owned(),
        file: file.to_string_lossy().into_owned(),
        line: 1,
        column: 1,
        span: Span::default(),
        label: None,
        help: Some(
            "name it in the schema, delete it, or move it out of the handlers' directories if it is a helper"
                .to_owned(),
        ),
        related: Vec::new(),
        source: None,
    }
}

//! What was written where? The file, the environment and the flags, laid over each other, each value with its place.

use std::collections::BTreeMap;
use std::ops::Range;

use indexmap::IndexMap;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::origin::Origin;
use super::redact;
use super::reference;
use super::value::Fault;

/// Prefix of the environment variables that are settings.
const PREFIX: &str = "ROHAS_";

/// Variables of the original that are settings although they lack the double underscore.
const ORIGINAL_VARIABLES: [(&str, [&str; 2]); 2] = [
    ("ROHAS_WORKBENCH_API_KEY", ["workbench", "api_key"]),
    ("ROHAS_WORKBENCH_ALLOWED_ORIGINS", ["workbench", "allowed_origins"]),
];

/// The sections and keys that lead to a setting: `["server", "port"]`.
pub(super) type KeyPath = Vec<String>;

/// A text that problems point into.
pub(super) struct Source {
    pub(super) name: String,
    pub(super) text: String,
}

/// Where a setting stands.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// Index into [`Layers::sources`].
    pub(super) source: usize,
    pub(super) key: Range<usize>,
    pub(super) value: Range<usize>,
}

/// One value that was written. Without `Debug`, because it may be a secret.
pub(super) struct Leaf {
    pub(super) value: LeafValue,
    pub(super) origin: Origin,
    pub(super) place: Place,
}

/// What was written.
pub(super) enum LeafValue {
    /// With its TOML type.
    Toml(toml::Value),
    /// As text, which the setting's type converts.
    Text(String),
}

/// A fault and what it points at.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) code: &'static str,
    pub(super) fault: Fault,
    pub(super) source: usize,
    pub(super) span: Range<usize>,
    pub(super) related: Option<(Range<usize>, String)>,
}

/// All layers as one; later ones have replaced what earlier ones said.
#[derive(Default)]
pub(super) struct Layers {
    pub(super) sources: Vec<Source>,
    pub(super) leaves: IndexMap<KeyPath, Leaf>,
    /// Tables of the file, also those without keys.
    pub(super) tables: IndexMap<KeyPath, Place>,
    /// Variables that begin as settings do but name no section: slips if they come near a setting's name.
    pub(super) strays: Vec<(String, Place)>,
    pub(super) drafts: Vec<Draft>,
}

/// The file being laid down.
struct File<'a> {
    source: usize,
    name: &'a str,
    text: &'a str,
    environment: &'a BTreeMap<String, String>,
}

impl Layers {
    /// Lays the file down. After a syntax error nothing else is known of it.
    pub(super) fn file(&mut self, name: &str, text: &str, environment: &BTreeMap<String, String>) {
        let source = self.source(name, text);
        let (table, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            let file = File { source, name, text, environment };
            self.table(&file, &mut Vec::new(), table.into_inner());
            return;
        }
        self.sources[source].text = redact::mask_lines(text);
        for error in errors {
            let span = error.span().unwrap_or(text.len()..text.len());
            let fault = syntax_fault(error.message(), text.get(span.clone()).unwrap_or_default());
            self.drafts.push(Draft { code: "settings::syntax", fault, source, span, related: None });
        }
    }

    /// Lays the environment over the file.
    pub(super) fn environment(&mut self, environment: &BTreeMap<String, String>) {
        for (variable, value) in environment {
            let Some(rest) = variable.strip_prefix(PREFIX) else { continue };
            let original = ORIGINAL_VARIABLES.iter().find(|(name, _)| name == variable);
            let path: KeyPath = match original {
                Some((_, path)) => path.iter().map(|&part| part.to_owned()).collect(),
                None => rest.split("__").map(str::to_lowercase).collect(),
            };
            let text = format!("{variable}={value}");
            let source = self.source("environment", &text);
            let place = Place { source, key: 0..variable.len(), value: variable.len() + 1..text.len() };
            if path.len() < 2 {
                self.strays.push((variable.clone(), place));
                continue;
            }
            let path = self.as_written(path);
            let origin = Origin::Environment { variable: variable.clone() };
            self.leaves.insert(path, Leaf { value: LeafValue::Text(value.clone()), origin, place });
        }
    }

    /// Lays a flag over everything else.
    pub(super) fn flag(&mut self, flag: &str, key: &str, value: &str) {
        let text = format!("{flag}={value}");
        let source = self.source("command line", &text);
        let place = Place { source, key: 0..flag.len(), value: flag.len() + 1..text.len() };
        let path = key.split('.').map(str::to_owned).collect();
        let origin = Origin::Flag { flag: flag.to_owned() };
        self.leaves.insert(path, Leaf { value: LeafValue::Text(value.to_owned()), origin, place });
    }

    /// Names below `path`, in the order in which they were written.
    pub(super) fn names_below(&self, section: &str) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        let tables = self.tables.keys().filter(|path| path.len() == 2);
        let leaves = self.leaves.keys().filter(|path| path.len() > 2);
        for path in tables.chain(leaves).filter(|path| path[0] == section) {
            if !names.contains(&path[1]) {
                names.push(path[1].clone());
            }
        }
        names
    }

    fn source(&mut self, name: &str, text: &str) -> usize {
        self.sources.push(Source { name: name.to_owned(), text: text.to_owned() });
        self.sources.len() - 1
    }

    /// Variables are upper case: the spelling of the file is taken where only the case differs.
    fn as_written(&self, path: KeyPath) -> KeyPath {
        let same = |written: &&KeyPath| {
            written.len() >= 2 && path.len() >= 2 && written[0] == path[0] && written[1].to_lowercase() == path[1]
        };
        let written = self.leaves.keys().chain(self.tables.keys()).find(same).map(|written| written[1].clone());
        match written {
            Some(name) if path.len() > 2 => {
                let mut path = path;
                path[1] = name;
                path
            }
            _ => path,
        }
    }

    fn table(&mut self, file: &File<'_>, path: &mut KeyPath, table: DeTable<'_>) {
        for (key, value) in table {
            let (key_span, value_span) = (key.span(), value.span());
            path.push(key.into_inner().into_owned());
            let place = Place { source: file.source, key: key_span, value: value_span.clone() };
            if matches!(value.get_ref(), DeValue::Table(_)) {
                self.tables.insert(path.clone(), place);
                if let DeValue::Table(inner) = value.into_inner() {
                    self.table(file, path, inner);
                }
            } else {
                self.leaf(file, path.clone(), place, value);
            }
            path.pop();
        }
    }

    fn leaf(&mut self, file: &File<'_>, path: KeyPath, place: Place, value: Spanned<DeValue<'_>>) {
        // Of all values only integers can be well written and yet not be read.
        let value = toml::Value::deserialize(value.into_deserializer())
            .map_err(|_too_large| ("settings::value", Fault::new("the integer is beyond 64 bits")))
            .and_then(|value| {
                reference::resolve(value, file.environment).map_err(|fault| ("settings::reference", fault))
            });
        match value {
            Ok(value) => {
                let (line, column) = position(file.text, place.key.start);
                let origin = Origin::File { file: file.name.to_owned(), line, column };
                self.leaves.insert(path, Leaf { value, origin, place });
            }
            Err((code, fault)) => {
                let Place { source, value: span, .. } = place;
                self.drafts.push(Draft { code, fault, source, span, related: None });
            }
        }
    }
}

/// Line and column, counted from 1, of a byte offset; columns count characters.
pub(super) fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// A path as it would be written in the file.
pub(super) fn dotted(path: &[String]) -> String {
    let bare = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
    };
    let parts: Vec<String> =
        path.iter().map(|part| if bare(part) { part.clone() } else { format!("{part:?}") }).collect();
    parts.join(".")
}

fn syntax_fault(message: &str, found: &str) -> Fault {
    if message == "duplicate key" {
        return Fault::new(format!("`{found}` is there twice")).help("keep one of the two");
    }
    let mut characters = message.chars();
    let lower: String = characters.next().into_iter().flat_map(char::to_lowercase).chain(characters).collect();
    Fault::new(lower).help("write for example `key = \"text\"`, `key = 5`, `key = true`; https://toml.io has it all")
}

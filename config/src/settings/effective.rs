//! Which settings hold, and why? What `rohas config show` prints.

use serde::Serialize;
use serde_json::Value as Json;

use super::Settings;
use super::layers::{KeyPath, dotted};
use super::origin::Origin;

/// Every setting with its value and origin, in the order of the reference.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Effective {
    settings: Vec<Setting>,
}

/// One setting that holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Setting {
    /// Section and key: `server.port`.
    pub key: String,
    /// Value as it would be written in the file; secrets are redacted; `null` where nothing is set.
    pub value: Json,
    /// Where it comes from.
    pub origin: Origin,
    #[serde(skip)]
    section: String,
    #[serde(skip)]
    name: String,
}

impl Effective {
    pub(super) fn new(settings: &Settings, read: Vec<(KeyPath, Origin)>) -> Self {
        // Serialisation of these plain structs with string keys cannot fail; nothing would be shown if it did.
        let json = serde_json::to_value(settings).unwrap_or_default();
        let settings = read
            .into_iter()
            .map(|(path, origin)| {
                let value = path.iter().try_fold(&json, |value, part| value.get(part)).cloned().unwrap_or_default();
                let (section, name) = path.split_at(path.len() - 1);
                Setting { key: dotted(&path), value, origin, section: dotted(section), name: dotted(name) }
            })
            .collect();
        Self { settings }
    }

    /// The settings.
    #[must_use]
    pub fn as_slice(&self) -> &[Setting] {
        &self.settings
    }

    /// The settings as a configuration file, each with its origin as a comment.
    #[must_use]
    pub fn to_text(&self) -> String {
        let lines: Vec<(String, &Setting)> = self.settings.iter().map(|setting| (setting.line(), setting)).collect();
        let width = lines.iter().map(|(line, _)| line.chars().count()).max().unwrap_or_default().min(60);
        let mut text = String::new();
        let mut section = "";
        for (line, setting) in &lines {
            if setting.section != section {
                let gap = if section.is_empty() { "" } else { "\n" };
                text.push_str(&format!("{gap}[{}]\n", setting.section));
                section = &setting.section;
            }
            text.push_str(&format!("{line:width$}  # {}\n", setting.origin));
        }
        text
    }
}

impl Setting {
    fn line(&self) -> String {
        match &self.value {
            Json::Null => format!("# {} is not set", self.name),
            // JSON's strings, numbers, booleans and arrays of them are TOML's.
            value => format!("{} = {value}", self.name),
        }
    }
}

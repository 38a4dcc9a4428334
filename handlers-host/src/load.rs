//! What does a worker need to know to load a project's handlers, and what does it answer?

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The body of the protocol's `load` message. The types in it are JSON as `docs/worker-protocol.md` describes them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Load {
    /// Absolute path of the project.
    pub root: String,
    /// Source directory relative to `root`.
    pub source: String,
    /// How many threads run handlers that block.
    pub threads: u32,
    /// `rohas dev`
    pub development: bool,
    /// Names of all events of the project.
    pub events: Vec<String>,
    /// Names of all WebSockets of the project.
    pub websockets: Vec<String>,
    /// The handlers; an invocation names one by its index here.
    pub handlers: Vec<HandlerSpec>,
}

/// One handler to load.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HandlerSpec {
    /// What starts it.
    pub kind: Kind,
    /// Name of the handler.
    pub name: String,
    /// File relative to the project's root.
    pub file: String,
    /// Functions to look for, the first found is taken.
    pub functions: Vec<String>,
    /// The generated class that the handler is given: request, event or connection.
    #[serde(flatten)]
    pub class: Option<ClassSpec>,
    /// Name of the class of messages, in the module of the connection's (websocket).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_class: Option<String>,
    /// Names of the path parameters (api).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub path_params: Vec<String>,
    /// Type of the body (api).
    pub body: Option<serde_json::Value>,
    /// Type of the query (api).
    pub query: Option<serde_json::Value>,
    /// Type of the payload (event) or of a message's data (websocket).
    pub payload: Option<serde_json::Value>,
}

/// A generated class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassSpec {
    /// Its module.
    pub module: String,
    /// Its name.
    pub class: String,
}

/// What starts a handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An HTTP request.
    Api,
    /// A delivery of an event.
    Event,
    /// A run of a cron job.
    Cron,
    /// A client of a WebSocket.
    #[serde(rename = "websocket")]
    WebSocket,
    /// A request or connection, before its handler.
    Middleware,
    /// A request, after its handler. The function is optional.
    After,
}

/// The body of the protocol's `loaded` message.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Report {
    /// One entry per handler of [`Load::handlers`], in its order.
    pub handlers: Vec<Loaded>,
}

impl Report {
    /// Which handlers loaded here but not in `other`, by index, with the reason.
    #[must_use]
    pub fn lacking_in(&self, other: &Self) -> BTreeMap<u32, String> {
        let here = (0..).zip(&self.handlers).filter(|(_, loaded)| loaded.ok);
        let reasons = here.filter_map(|(index, _)| {
            let there = usize::try_from(index).ok().and_then(|index| other.handlers.get(index));
            let reason = there.map_or_else(|| Some(UNKNOWN.to_owned()), Loaded::failure);
            Some((index, reason?))
        });
        reasons.collect()
    }
}

/// Why a handler could not be loaded, when its worker doesn't say.
const UNKNOWN: &str = "the handler could not be loaded";
const ABSENT: &str = "the file does not have this optional function";

impl Loaded {
    /// Why it can't be called; `None` when it can.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        match &self.error {
            Some(error) => Some(error.to_string()),
            None if self.absent => Some(ABSENT.to_owned()),
            None => (!self.ok).then(|| UNKNOWN.to_owned()),
        }
    }

    /// Whether it should be callable and isn't.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        !self.ok && !self.absent
    }
}

/// How one handler loaded.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Loaded {
    /// Whether it can be called.
    pub ok: bool,
    /// Whether it can't be called because it is optional and the file has none: no fault.
    #[serde(default)]
    pub absent: bool,
    /// Whether it runs on the worker's event loop (otherwise: in a thread).
    #[serde(default)]
    pub asynchronous: bool,
    /// Why it can't be called.
    #[serde(default)]
    pub error: Option<Failure>,
    /// What is odd about its file.
    #[serde(default)]
    pub warning: Option<Failure>,
}

/// Why a handler could not be loaded, and what to do about it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Failure {
    /// Name of the exception's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// What went wrong.
    pub message: String,
    /// Where.
    pub file: Option<String>,
    /// Line in `file`.
    pub line: Option<u32>,
    /// What to do.
    pub remedy: Option<String>,
    /// Traceback in the language's own form.
    pub traceback: Option<String>,
}

/// The body of the protocol's `hello` message.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hello {
    /// Language of the worker.
    pub language: String,
    /// Version of its interpreter.
    pub version: String,
    /// Path of its interpreter.
    pub executable: String,
    /// Versions of the libraries that matter; null for one that is missing.
    pub libraries: BTreeMap<String, Option<String>>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(file) = &self.file {
            write!(formatter, "{file}:")?;
            if let Some(line) = self.line {
                write!(formatter, "{line}:")?;
            }
            formatter.write_str(" ")?;
        }
        write!(formatter, "{}: {}", self.kind, self.message)?;
        match &self.remedy {
            Some(remedy) => write!(formatter, "; {remedy}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_lacks_what_loaded_only_in_the_other() {
        let good = Loaded { ok: true, asynchronous: true, ..Loaded::default() };
        let bad = |message: &str| {
            let failure = Failure { kind: "ImportError".to_owned(), message: message.to_owned(), ..Failure::default() };
            Loaded { error: Some(failure), ..Loaded::default() }
        };
        let first = Report { handlers: vec![good.clone(), bad("old"), good.clone(), good.clone()] };
        let second = Report { handlers: vec![good.clone(), bad("old"), bad("new")] };
        let expected = [(2, "ImportError: new".to_owned()), (3, UNKNOWN.to_owned())];
        assert_eq!(first.lacking_in(&second), expected.into());
        assert!(second.lacking_in(&first).is_empty() && first.lacking_in(&first).is_empty());
    }
    #[test]
    fn an_absent_function_is_no_fault_unless_it_was_there() {
        let absent: Loaded = serde_json::from_str(r#"{"ok": false, "absent": true}"#).unwrap();
        let present: Loaded = serde_json::from_str(r#"{"ok": true}"#).unwrap();
        assert!(!absent.is_broken() && absent.failure().is_some() && !present.is_broken());
        let report = |loaded: &Loaded| Report { handlers: vec![loaded.clone()] };
        assert!(report(&absent).lacking_in(&report(&absent)).is_empty());
        assert_eq!(report(&present).lacking_in(&report(&absent)), [(0, ABSENT.to_owned())].into());
    }
}

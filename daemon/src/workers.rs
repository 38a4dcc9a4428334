//! How is a project's code loaded? From a sound project to a pool of workers that has its handlers ready.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rohas_codegen::python::{ClassPath, connection_class, event_class, message_class, request_class};
use rohas_config::project::{HandlerDecl, HandlerKind, resolve};
use rohas_config::schema::Schema;
use rohas_config::schema::model::Type;
use rohas_config::settings::Settings;
use rohas_handlers_host::PushSink;
use rohas_handlers_host::load::{ClassSpec, HandlerSpec, Kind, Load};
use rohas_handlers_host::python::{self, Candidates, Interpreter};
use rohas_handlers_host::worker::{Options, Pool, StartError};
use tokio_util::task::TaskTracker;

use crate::project::Sound;
use crate::trigger::websocket::Registry;

/// How long a call may go on after its deadline before it counts as stuck.
const GRACE: Duration = Duration::from_millis(250);
/// A worker is replaced when one in so many of its threads is stuck: enough are left to serve while its replacement starts.
const STUCK_SHARE: usize = 4;

/// What of the daemon's surroundings bears on the workers.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    /// The daemon's own executable; the extension lies beside it.
    pub(crate) executable: PathBuf,
    /// `VIRTUAL_ENV`
    pub(crate) virtual_env: Option<PathBuf>,
    /// `PATH`
    pub(crate) path: Option<std::ffi::OsString>,
    /// The daemon's WebSocket connections, to which handlers do what they want.
    pub(crate) websockets: Arc<Registry>,
}

/// Why the handlers could not be brought up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Python(#[from] python::Error),
    #[error(transparent)]
    Start(#[from] StartError),
}

impl Error {
    /// Whether an edit of the project may help.
    pub(crate) fn is_mendable(&self) -> bool {
        matches!(self, Self::Start(StartError::Load(_)))
    }

    /// What to change in the project; `None` when the project is not to blame.
    pub(crate) fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Python(error) => error.remedy(),
            Self::Start(StartError::Spawn { .. }) => Some("let [python] interpreter name one that runs"),
            Self::Start(StartError::Load(_)) => None,
        }
    }
}

impl Surroundings {
    pub(crate) fn interpreter(&self, root: &Path, settings: &Settings) -> Result<Interpreter, python::Error> {
        let candidates = Candidates {
            configured: settings.python.interpreter.clone(),
            virtual_env: self.virtual_env.clone(),
            path: self.path.clone(),
        };
        Interpreter::find(root, &candidates)
    }
}

/// Starts workers and has them load the project's handlers.
pub(crate) async fn start(
    root: &Path,
    sound: &Sound,
    surroundings: &Surroundings,
    development: bool,
    tracker: &TaskTracker,
) -> Result<(Arc<Pool>, Vec<HandlerDecl>), Error> {
    let settings = &sound.settings;
    let interpreter = surroundings.interpreter(root, settings)?;
    let specified = sound.handlers().into_iter().filter_map(|handler| {
        let spec = spec(root, &sound.schema, &handler)?;
        Some((handler, spec))
    });
    let (handlers, specs): (Vec<_>, Vec<_>) = specified.unzip();
    let load = Load {
        root: root.display().to_string(),
        source: "src".to_owned(),
        threads: u32::from(settings.python.threads.get()),
        development,
        events: sound.schema.events.keys().cloned().collect(),
        websockets: sound.schema.websockets.keys().cloned().collect(),
        handlers: specs,
    };
    let options = Options {
        program: python::program(&interpreter, root, &surroundings.executable, development)?,
        workers: settings.python.workers.count(),
        grace: GRACE,
        stuck_limit: (usize::from(settings.python.threads.get()) / STUCK_SHARE).max(1),
        drain: settings.server.drain_grace,
        memory_limit: settings.python.memory_limit.map(|limit| limit.as_u64()),
        recycle_after: settings.python.recycle_after.map(std::num::NonZero::get),
        pushes: Arc::clone(&surroundings.websockets) as Arc<dyn PushSink>,
    };
    let pool = Pool::start(options, &load, tracker).await?;
    Ok((Arc::new(pool), handlers))
}

/// What a worker is told of a handler; `None` for one whose declaration is not in the schema.
fn spec(root: &Path, schema: &Schema, handler: &HandlerDecl) -> Option<HandlerSpec> {
    let common = common_spec(root, handler);
    Some(match handler.kind {
        HandlerKind::Api => {
            let api = schema.apis.get(&handler.owner)?;
            HandlerSpec {
                class: Some(class_spec(request_class(api))),
                path_params: api.path.params().map(str::to_owned).collect(),
                body: api.body.as_ref().map(type_json),
                query: api.query.as_ref().map(|record| type_json(&Type::Record(record.clone()))),
                ..common
            }
        }
        HandlerKind::Event => {
            let event = schema.events.get(&handler.owner)?;
            HandlerSpec {
                class: Some(class_spec(event_class(event))),
                payload: Some(type_json(&event.payload)),
                ..common
            }
        }
        HandlerKind::WebSocket => {
            let websocket = schema.websockets.get(&handler.owner)?;
            HandlerSpec {
                class: Some(class_spec(connection_class(websocket))),
                message_class: Some(message_class(websocket).class),
                payload: Some(type_json(websocket.message.as_ref().unwrap_or(&Type::Json))),
                ..common
            }
        }
        HandlerKind::Cron | HandlerKind::Middleware | HandlerKind::After => common,
    })
}

fn common_spec(root: &Path, handler: &HandlerDecl) -> HandlerSpec {
    let file = resolve(root, handler).or_else(|| handler.candidates.first().cloned()).unwrap_or_default();
    HandlerSpec {
        kind: match handler.kind {
            HandlerKind::Api => Kind::Api,
            HandlerKind::Event => Kind::Event,
            HandlerKind::Cron => Kind::Cron,
            HandlerKind::WebSocket => Kind::WebSocket,
            HandlerKind::Middleware => Kind::Middleware,
            HandlerKind::After => Kind::After,
        },
        name: handler.name.clone(),
        file: file.display().to_string(),
        functions: handler.functions.clone(),
        class: None,
        message_class: None,
        path_params: Vec::new(),
        body: None,
        query: None,
        payload: None,
    }
}

fn class_spec(path: ClassPath) -> ClassSpec {
    ClassSpec { module: path.module, class: path.class }
}

fn type_json(ty: &Type) -> serde_json::Value {
    serde_json::to_value(ty).expect("types consist of names and serialise without fail")
}

#[cfg(test)]
mod tests {
    use rohas_config::project::{Language, afters, handlers};
    use rohas_config::schema::{Context, Sources, check};
    use serde_json::{Value, json};

    use super::*;

    const SCHEMA: &str = r#"
        input Line { text: String }
        api PutLine { method: PUT path: "/lines/{id}" body: Line response: Line middlewares: [auth] }
        event Said { payload: Line handler: [tell] }
        ws Chat { path: "/chat" message: Line onMessage: [chatSaid] }
        ws Raw { path: "/raw" onMessage: [raw_said] }
        cron Nightly { schedule: "0 2 * * *" }
    "#;

    /// What is said of each kind of handler that has no type.
    fn untyped(kind: &str, name: &str, file: &str, functions: &[&str]) -> Value {
        json!({"kind": kind, "name": name, "file": file, "functions": functions, "body": null, "query": null, "payload": null})
    }

    #[test]
    fn workers_are_told_of_each_kind_of_handler_what_the_protocol_says() {
        let schema = check(&Sources::from_texts([("a.ro", SCHEMA)]), &Context::default()).schema.unwrap();
        let declared = handlers(&schema, Language::Python).into_iter().chain(afters(&schema, Language::Python));
        let specs: Vec<Value> = declared
            .map(|handler| serde_json::to_value(spec(Path::new("/nowhere"), &schema, &handler).unwrap()).unwrap())
            .collect();
        let typed = |untyped: Value, members: Value| {
            let mut object = untyped.as_object().unwrap().clone();
            object.extend(members.as_object().unwrap().clone());
            Value::Object(object)
        };
        let websocket = |name: &str, functions: &[&str], module: &str, class: &str, payload: Value| {
            typed(
                untyped("websocket", name, &format!("src/handlers/websockets/{name}.py"), functions),
                json!({"module": module, "class": format!("{class}Connection"), "message_class": format!("{class}Message"), "payload": payload}),
            )
        };
        let line = json!({"record": "Line"});
        let expected = [
            typed(
                untyped("api", "put_line", "src/handlers/api/put_line.py", &["handle_put_line"]),
                json!({"module": "generated.api.put_line", "class": "PutLineRequest", "path_params": ["id"], "body": line}),
            ),
            typed(
                untyped("event", "tell", "src/handlers/events/tell.py", &["handle_tell", "tell"]),
                json!({"module": "generated.events.said", "class": "Said", "payload": line}),
            ),
            untyped("cron", "nightly", "src/handlers/cron/nightly.py", &["handle_nightly"]),
            websocket(
                "chat_said",
                &["handle_chat_said", "handle_chatSaid", "chatSaid", "chat_said"],
                "generated.websockets.chat",
                "Chat",
                line.clone(),
            ),
            websocket("raw_said", &["handle_raw_said", "raw_said"], "generated.websockets.raw", "Raw", json!("json")),
            untyped("middleware", "auth", "src/middlewares/auth.py", &["auth_middleware"]),
            untyped("after", "auth", "src/middlewares/auth.py", &["auth_after"]),
        ];
        assert_eq!(specs, expected);
    }
}

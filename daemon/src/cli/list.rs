//! `rohas list-handlers` and `rohas list-events`: what does the schema declare?

use std::path::{Path, PathBuf};

use clap::Args;
use rohas_config::schema::Schema;
use serde_json::json;

use crate::cli::{Common, Failure, Outcome, print_json};
use crate::environment;
use crate::project::Unsound;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Schema file or directory; `schema` in the project by default
    path: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn schema(common: &Common, arguments: &Arguments) -> Result<Schema, Failure> {
    schema_at(common, arguments.path.as_deref())
}

/// What the project declares.
pub(super) fn declared(common: &Common) -> Result<Schema, Failure> {
    schema_at(common, None)
}

fn schema_at(common: &Common, path: Option<&Path>) -> Result<Schema, Failure> {
    let project = common.project(path, environment::overrides())?;
    let sources = rohas_config::schema::load(&project.root, &project.schema)?;
    let checked = rohas_config::schema::check(&sources, &rohas_config::schema::Context::default());
    checked.schema.ok_or_else(|| {
        let color = environment::color(&std::io::stderr());
        Failure::Invalid(Unsound::Schema(checked.diagnostics).render(color))
    })
}

pub(super) fn handlers(common: &Common, arguments: &Arguments) -> Outcome {
    let schema = schema(common, arguments)?;
    if arguments.json {
        return print_json(&json!({
            "apis": schema.apis.values().map(|api| json!({"name": api.name, "method": api.method.as_str(), "path": api.path.source})).collect::<Vec<_>>(),
            "events": schema.events.values().map(|event| json!({"name": event.name, "handlers": event.handlers})).collect::<Vec<_>>(),
            "crons": schema.crons.values().map(|cron| json!({"name": cron.name, "schedule": cron.schedule})).collect::<Vec<_>>(),
            "websockets": schema.websockets.values().map(|ws| json!({"name": ws.name, "path": ws.path.source})).collect::<Vec<_>>(),
        }));
    }
    outln!("API Handlers:");
    for api in schema.apis.values() {
        outln!("  - {} ({} {})", api.name, api.method.as_str(), api.path.source);
    }
    outln!("\nEvent Handlers:");
    for event in schema.events.values() {
        outln!("  - {} (handlers: {:?})", event.name, event.handlers);
    }
    outln!("\nCron Jobs:");
    for cron in schema.crons.values() {
        outln!("  - {} ({})", cron.name, cron.schedule);
    }
    outln!("\nWebSockets:");
    for ws in schema.websockets.values() {
        outln!("  - {} ({})", ws.name, ws.path.source);
    }
    Ok(())
}

pub(super) fn events(common: &Common, arguments: &Arguments) -> Outcome {
    let schema = schema(common, arguments)?;
    if arguments.json {
        let events = schema.events.values().map(|event| {
            json!({"name": event.name, "payload": event.payload.to_string(), "handlers": event.handlers, "triggers": event.triggers})
        });
        return print_json(&events.collect::<Vec<_>>());
    }
    outln!("Events:");
    for event in schema.events.values() {
        outln!("\n  {}", event.name);
        outln!("    Payload: {}", event.payload);
        outln!("    Handlers: {:?}", event.handlers);
        if !event.triggers.is_empty() {
            outln!("    Triggers: {:?}", event.triggers);
        }
    }
    Ok(())
}

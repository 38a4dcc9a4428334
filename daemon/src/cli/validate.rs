//! `rohas validate`: is the schema right?

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use rohas_config::schema::{self, Context, Diagnostic, diagnostic};
use rohas_config::settings;

use crate::cli::{Common, Failure, Outcome, print_json};
use crate::environment;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Schema file or directory; `schema` in the project by default
    path: Option<PathBuf>,
    /// How findings are printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Print findings as JSON
    #[arg(long)]
    json: bool,
    /// Take as errors what `rohas run` refuses
    #[arg(long)]
    strict: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Source lines with carets
    Text,
    /// An array of findings
    Json,
}

pub(super) fn run(common: &Common, arguments: &Arguments) -> Outcome {
    let project = common.project(arguments.path.as_deref(), environment::overrides())?;
    let sources = schema::load(&project.root, &project.schema)?;
    let context = match project.settings() {
        Ok(loaded) => Context {
            root: Some(project.root.clone()),
            language: Some(loaded.settings.project.language),
            adapters: Some(loaded.settings.adapters.keys().cloned().collect()),
            strict: arguments.strict,
        },
        // A schema can be checked without a project around it; then only what the settings bear on is left out.
        Err(settings::Error::Missing { .. }) => Context { strict: arguments.strict, ..Context::default() },
        Err(error) => {
            let color = environment::color(&std::io::stderr());
            return Err(Failure::Invalid(crate::project::Unsound::Settings(error).render(color)));
        }
    };
    let checked = schema::check(&sources, &context);
    let errors = checked.diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).count();
    if arguments.json || arguments.format == Format::Json {
        print_json(&checked.diagnostics)?;
    } else {
        report(&checked.diagnostics);
    }
    if errors > 0 {
        return Err(Failure::Failed(anyhow::anyhow!("Schema validation failed: {errors} {}", plural(errors, "error"))));
    }
    if let Some(schema) = checked.schema
        && !arguments.json
        && arguments.format == Format::Text
    {
        let counted = |count: usize, word: &str| format!("{count} {}", plural(count, word));
        outln!(
            "Schema validation passed! {}, {}, {}, {}, {}, {}",
            counted(schema.records.len(), "record"),
            counted(schema.enums.len(), "enum"),
            counted(schema.apis.len(), "api"),
            counted(schema.events.len(), "event"),
            counted(schema.crons.len(), "cron job"),
            counted(schema.websockets.len(), "websocket")
        );
    }
    Ok(())
}

fn report(diagnostics: &[Diagnostic]) {
    eprint!("{}", diagnostic::render(diagnostics, environment::color(&std::io::stderr())));
}

fn plural(count: usize, word: &str) -> String {
    if count == 1 { word.to_owned() } else { format!("{word}s") }
}

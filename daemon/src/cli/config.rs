//! `rohas config`: which settings hold, and which exist?

use clap::Subcommand;
use rohas_config::settings;

use crate::cli::{Common, Failure, Outcome, print_json};
use crate::environment;
use crate::project::Unsound;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Every setting with its value and where it comes from; secrets are redacted
    Show {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// The JSON Schema of config/rohas.toml
    Schema,
}

pub(super) fn run(common: &Common, command: &Command) -> Outcome {
    match command {
        Command::Show { json } => {
            let project = common.project(None, environment::overrides())?;
            let loaded = project.settings().map_err(|error| {
                Failure::Invalid(Unsound::Settings(error).render(environment::color(&std::io::stderr())))
            })?;
            if *json {
                return print_json(&loaded.effective);
            }
            out!("{}", loaded.effective.to_text());
            Ok(())
        }
        Command::Schema => print_json(&settings::json_schema()),
    }
}

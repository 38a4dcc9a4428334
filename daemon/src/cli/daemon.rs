//! `rohas dev` and `rohas run`: a daemon in the foreground.

use std::path::PathBuf;

use clap::Args;
use rohas_config::settings::Overrides;

use crate::cli::{Common, Failure, Outcome, block_on};
use crate::lifecycle::{self, Plan};
use crate::project::Unsound;
use crate::screen::Screen;
use crate::{environment, virtualenv};

#[derive(Debug, Args)]
pub(super) struct Dev {
    #[command(flatten)]
    listen: Listen,
    /// Schema file or directory
    #[arg(short, long, value_name = "PATH")]
    schema: Option<PathBuf>,
    /// Do not make a .venv or install packages; say what is missing instead
    #[arg(long)]
    no_install: bool,
}

#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    listen: Listen,
}

#[derive(Debug, Args)]
struct Listen {
    /// Address to listen on, instead of server.host
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Port to listen on, instead of server.port; 0 takes a free one
    #[arg(short, long, value_name = "PORT")]
    port: Option<u16>,
}

impl Listen {
    fn overrides(&self) -> Overrides {
        let mut overrides = environment::overrides();
        if let Some(host) = &self.host {
            overrides = overrides.flag("--host", "server.host", host);
        }
        if let Some(port) = self.port {
            overrides = overrides.flag("--port", "server.port", port.to_string());
        }
        overrides
    }
}

pub(super) fn dev(common: &Common, arguments: &Dev) -> Outcome {
    let project = common.project(arguments.schema.as_deref(), arguments.listen.overrides())?;
    let surroundings = environment::surroundings()?;
    let screen = Screen { development: true, color: environment::color(&std::io::stdout()) };
    let settings = project.settings().map_err(|error| invalid(&Unsound::Settings(error), screen.color))?.settings;
    virtualenv::prepare(&project.root, &settings, &surroundings, !arguments.no_install).map_err(unprepared)?;
    serve(Plan { project, surroundings, development: true, screen })
}

pub(super) fn run(common: &Common, arguments: &Run) -> Outcome {
    let project = common.project(None, arguments.listen.overrides())?;
    let surroundings = environment::surroundings()?;
    let screen = Screen { development: false, color: environment::color(&std::io::stderr()) };
    serve(Plan { project, surroundings, development: false, screen })
}

fn serve(plan: Plan) -> Outcome {
    let color = plan.screen.color;
    match block_on(lifecycle::run(plan))? {
        Ok(()) => Ok(()),
        Err(lifecycle::Error::Unsound(unsound)) => Err(invalid(&unsound, color)),
        Err(error @ lifecycle::Error::Handlers) => Err(Failure::Invalid(format!("error: {error}\n"))),
        Err(lifecycle::Error::Workers(error)) => match error.remedy() {
            Some(remedy) => Err(misconfigured(&error, remedy)),
            None => Err(error.into()),
        },
        Err(error) => Err(error.into()),
    }
}

fn unprepared(error: virtualenv::Error) -> Failure {
    let virtualenv::Error::Python(python) = &error else { return error.into() };
    match python.remedy() {
        Some(remedy) => misconfigured(python, remedy),
        None => error.into(),
    }
}

/// The project, or what surrounds it, names something that can't be used.
fn misconfigured(error: &dyn std::error::Error, remedy: &str) -> Failure {
    Failure::Invalid(format!("error: {error}\n  help: {remedy}\n"))
}

fn invalid(unsound: &Unsound, color: bool) -> Failure {
    Failure::Invalid(unsound.render(color))
}

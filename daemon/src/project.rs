//! What does the project directory hold right now, and is it fit to run? Settings and schema, read and checked together.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rohas_codegen::{File, Stale};
use rohas_config::project::{self, HandlerDecl, Language};
use rohas_config::schema::{self, Checked, Context, Diagnostic, Schema};
use rohas_config::settings::{self, Loaded, Overrides, Settings};
use tokio::task::JoinError;

/// A project directory and what stands above its configuration file.
#[derive(Debug, Clone)]
pub(crate) struct Project {
    /// Absolute path.
    pub(crate) root: PathBuf,
    /// Schema file or directory.
    pub(crate) schema: PathBuf,
    pub(crate) overrides: Overrides,
}

/// A project as it was read, without faults that would keep it from running.
pub(crate) struct Sound {
    pub(crate) settings: Arc<Settings>,
    pub(crate) schema: Arc<Schema>,
    pub(crate) warnings: Vec<Diagnostic>,
}

/// Why a project cannot run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unsound {
    #[error(transparent)]
    Settings(#[from] settings::Error),
    #[error(transparent)]
    Source(#[from] schema::source::Error),
    #[error("the schema has faults")]
    Schema(Vec<Diagnostic>),
    #[error("project.language is {0}; this version of rohas runs Python handlers only")]
    Language(Language),
    #[error("generated code is missing or stale; run `rohas codegen`:{}", list(.0))]
    Stale(Vec<Stale>),
    #[error(transparent)]
    Generated(#[from] rohas_codegen::Error),
    #[error("the project could not be read")]
    Lost(#[from] JoinError),
}

fn list(stale: &[Stale]) -> String {
    stale.iter().fold(String::new(), |mut text, file| {
        text += &format!("\n  {} ({})", file.path.display(), file.reason.as_str());
        text
    })
}

impl Unsound {
    /// The text for a terminal.
    pub(crate) fn render(&self, color: bool) -> String {
        const WIDTH: usize = 110;
        match self {
            Self::Settings(settings::Error::Invalid(problems)) => problems.render(color, WIDTH),
            Self::Schema(diagnostics) => schema::diagnostic::render(diagnostics, color),
            other => {
                let mut text = format!("error: {other}");
                let mut cause = std::error::Error::source(other);
                while let Some(error) = cause {
                    text += &format!(": {error}");
                    cause = error.source();
                }
                text.push('\n');
                text
            }
        }
    }
}

impl Project {
    pub(crate) fn settings(&self) -> Result<Loaded, settings::Error> {
        Settings::load(&self.root, &self.overrides)
    }

    /// The settings of a project that this version of the daemon can run.
    pub(crate) fn runnable_settings(&self) -> Result<Settings, Unsound> {
        let settings = self.settings()?.settings;
        match settings.project.language {
            Language::Python => Ok(settings),
            other => Err(Unsound::Language(other)),
        }
    }

    /// Checks the schema as far as the settings bear on it. `strict` is what `run` asks for.
    pub(crate) fn check(&self, settings: &Settings, strict: bool) -> Result<Checked, schema::source::Error> {
        let sources = schema::load(&self.root, &self.schema)?;
        Ok(schema::check(&sources, &self.context(settings, strict)))
    }

    fn context(&self, settings: &Settings, strict: bool) -> Context {
        Context {
            root: Some(self.root.clone()),
            language: Some(settings.project.language),
            adapters: Some(settings.adapters.keys().cloned().collect()),
            strict,
        }
    }

    /// Reads everything and says whether it can run.
    pub(crate) fn read(&self, strict: bool) -> Result<Sound, Unsound> {
        let settings = self.runnable_settings()?;
        let checked = self.check(&settings, strict)?;
        match checked.schema {
            Some(schema) if !checked.diagnostics.iter().any(Diagnostic::is_error) => {
                Ok(Sound { settings: Arc::new(settings), schema: Arc::new(schema), warnings: checked.diagnostics })
            }
            _ => Err(Unsound::Schema(checked.diagnostics)),
        }
    }
}

impl Sound {
    /// The source files that follow from the schema.
    pub(crate) fn generated(&self) -> Vec<File> {
        let project = rohas_codegen::Project { name: self.settings.project.name.clone() };
        rohas_codegen::python::generate(&self.schema, &project)
    }

    /// Refuses generated code that does not belong to this schema.
    pub(crate) fn check_generated(&self, root: &Path) -> Result<(), Unsound> {
        let stale = rohas_codegen::check(root, &self.generated())?;
        if stale.is_empty() { Ok(()) } else { Err(Unsound::Stale(stale)) }
    }

    /// Everything that is loaded: handlers, middlewares, and what may run after those.
    pub(crate) fn handlers(&self) -> Vec<HandlerDecl> {
        let language = self.settings.project.language;
        let handlers = project::handlers(&self.schema, language);
        handlers.into_iter().chain(project::afters(&self.schema, language)).collect()
    }
}

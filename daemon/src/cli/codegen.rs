//! `rohas codegen`: write the code that follows from the schema.

use std::path::PathBuf;

use clap::Args;
use rohas_config::project::Language;
use rohas_config::settings::Overrides;

use crate::cli::{Common, Failure, Outcome};
use crate::environment;
use crate::project::Unsound;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Schema file or directory
    #[arg(short, long, value_name = "PATH")]
    schema: Option<PathBuf>,
    /// Language, instead of project.language
    #[arg(short, long)]
    lang: Option<String>,
    /// Write nothing; fail if generated code is missing or stale
    #[arg(long)]
    check: bool,
}

pub(super) fn run(common: &Common, arguments: &Arguments) -> Outcome {
    let project = common.project(arguments.schema.as_deref(), overrides(arguments)?)?;
    let color = environment::color(&std::io::stderr());
    let invalid = |unsound: Unsound| Failure::Invalid(unsound.render(color));
    let sound = project.read(false).map_err(invalid)?;
    if arguments.check {
        sound.check_generated(&project.root).map_err(invalid)?;
        outln!("Generated code is current.");
        return Ok(());
    }
    let changes = rohas_codegen::sync(&project.root, &sound.generated())?;
    for path in &changes.written {
        outln!("wrote {}", path.display());
    }
    for path in &changes.removed {
        outln!("removed {}", path.display());
    }
    for path in &changes.foreign {
        eprintln!("warning: {} is not rohas's; src/generated is for generated files only", path.display());
    }
    outln!("{} written, {} removed, {} unchanged", changes.written.len(), changes.removed.len(), changes.unchanged);
    Ok(())
}

fn overrides(arguments: &Arguments) -> Result<Overrides, Failure> {
    let overrides = environment::overrides();
    let Some(lang) = &arguments.lang else { return Ok(overrides) };
    let language: Language = lang.parse()?;
    Ok(overrides.flag("--lang", "project.language", language.as_str()))
}

//! `rohas fmt`: print schema files the one canonical way.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use rohas_codegen::replace;
use rohas_config::schema::{diagnostic, format, source};

use crate::cli::{Common, Failure, Outcome};
use crate::environment;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Schema file or directory; `schema` in the project by default
    path: Option<PathBuf>,
    /// Change nothing; fail if a file is not formatted
    #[arg(long)]
    check: bool,
}

pub(super) fn run(common: &Common, arguments: &Arguments) -> Outcome {
    let project = common.project(arguments.path.as_deref(), environment::overrides())?;
    if !project.schema.exists() {
        return Err(source::Error::NotFound(project.schema).into());
    }
    let mut changed = Vec::new();
    let mut broken = String::new();
    for path in source::find(&project.schema)? {
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let name = path.strip_prefix(&project.root).unwrap_or(&path).display().to_string();
        match format::format(&name, &text) {
            Ok(formatted) if formatted == text => {}
            Ok(formatted) => {
                if !arguments.check {
                    write(&path, &formatted).with_context(|| format!("cannot write {}", path.display()))?;
                }
                changed.push(name);
            }
            Err(diagnostics) => {
                broken.push_str(&diagnostic::render(&diagnostics, environment::color(&io::stderr())));
            }
        }
    }
    for name in &changed {
        outln!("{} {name}", if arguments.check { "would format" } else { "formatted" });
    }
    if !broken.is_empty() {
        return Err(Failure::Invalid(broken));
    }
    if arguments.check && !changed.is_empty() {
        return Err(anyhow::anyhow!("{} files are not formatted; run `rohas fmt`", changed.len()).into());
    }
    Ok(())
}

/// A link stays one: what it leads to is written.
fn write(path: &Path, text: &str) -> io::Result<()> {
    replace(&path.canonicalize()?, text)
}

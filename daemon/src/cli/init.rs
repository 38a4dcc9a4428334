//! `rohas init`: a new project that `rohas dev` runs as it is.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use clap::Args;
use rohas_config::project::Language;
use uuid::Uuid;

use crate::cli::Outcome;
use crate::environment;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Name of the project and of the directory to make
    name: PathBuf,
    /// Language of the handlers
    #[arg(short, long, default_value = "python")]
    lang: String,
}

const DIRECTORIES: [&str; 2] = ["schema/cron", "src/handlers/cron"];

const FILES: [(&str, &str); 9] = [
    ("schema/models/user.ro", include_str!("template/user.ro")),
    ("schema/api/user_api.ro", include_str!("template/user_api.ro")),
    ("schema/events/user_events.ro", include_str!("template/user_events.ro")),
    ("src/handlers/api/create_user.py", include_str!("template/create_user.py")),
    ("src/handlers/events/send_welcome_email.py", include_str!("template/send_welcome_email.py")),
    ("config/rohas.toml", include_str!("template/rohas.toml")),
    ("requirements.txt", "pydantic>=2,<3\n"),
    ("README.md", include_str!("template/README.md")),
    (".gitignore", include_str!("template/gitignore")),
];

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let language: Language = arguments.lang.parse()?;
    if language != Language::Python {
        return Err(anyhow::anyhow!("this version of rohas makes Python projects only; use --lang python").into());
    }
    let directory = environment::absolute(&arguments.name)?;
    let name = directory.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
    make(&directory, &name)?;
    outln!("Made {name}. Next:\n\n  cd {}\n  rohas dev\n", arguments.name.display());
    Ok(())
}

fn make(directory: &Path, name: &str) -> anyhow::Result<()> {
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    if name.is_empty() || !name.chars().all(plain) || name.starts_with(['.', '-']) {
        bail!("{name:?} is no name for a project; use letters, digits, `-`, `_` and `.`");
    }
    if directory.exists() {
        bail!("Directory '{name}' already exists");
    }
    let api_key = BASE64_STANDARD.encode(Uuid::new_v4().as_bytes());
    for path in DIRECTORIES {
        fs::create_dir_all(directory.join(path)).with_context(|| format!("cannot make {path}"))?;
    }
    for (path, template) in FILES {
        let path = directory.join(path);
        let text = template.replace("{name}", name).replace("{api_key}", &api_key);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        }
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_existing_directory_is_left_alone() {
        let parent = tempfile::tempdir().unwrap();
        assert!(make(parent.path(), "taken").unwrap_err().to_string().contains("already exists"));
    }

    #[test]
    fn the_api_key_differs_each_time() {
        let parent = tempfile::tempdir().unwrap();
        let config = |name: &str| {
            let directory = parent.path().join(name);
            make(&directory, "app").unwrap();
            fs::read_to_string(directory.join("config/rohas.toml")).unwrap()
        };
        assert_ne!(config("a"), config("b"));
    }
}

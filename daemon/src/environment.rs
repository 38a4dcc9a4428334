//! What does the daemon take from its surroundings? The one place that reads the process's environment.
#![expect(clippy::disallowed_methods, reason = "this module is where the environment is read")]

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rohas_config::settings::Overrides;

use crate::trigger::websocket::Registry;
use crate::workers::Surroundings;

/// What the workers need to know of the surroundings.
pub(crate) fn surroundings() -> io::Result<Surroundings> {
    Ok(Surroundings {
        executable: std::env::current_exe()?.canonicalize()?,
        virtual_env: std::env::var_os("VIRTUAL_ENV").filter(|path| !path.is_empty()).map(PathBuf::from),
        path: std::env::var_os("PATH"),
        websockets: Arc::new(Registry::new()),
    })
}

/// The environment as a layer of the settings. Variables that are not UTF-8 are no settings.
pub(crate) fn overrides() -> Overrides {
    let readable =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Overrides::default().environment(readable)
}

/// A path that a user gave, made absolute.
pub(crate) fn absolute(path: &Path) -> io::Result<PathBuf> {
    Ok(std::env::current_dir()?.join(path))
}

/// What `RUST_LOG` asks for.
pub(crate) fn log_filter() -> Option<String> {
    std::env::var("RUST_LOG").ok().filter(|filter| !filter.is_empty())
}

/// Whether colours are welcome there: on a terminal, unless `NO_COLOR` is set.
pub(crate) fn color(stream: &impl io::IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

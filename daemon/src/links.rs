//! How do the settings of an adapter become a link to its broker?

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rohas_adapters::nats::{self, Nats};
use rohas_adapters::remote::Link;
use rohas_config::settings::{self, Adapter};

/// What a link needs to know beside its settings.
pub(crate) struct Place<'a> {
    /// The project's name.
    pub(crate) project: &'a str,
    /// Where relative paths of the settings count from.
    pub(crate) root: &'a Path,
    /// The longest dedupe window.
    pub(crate) dedupe: Duration,
}

/// Why a link cannot be made, whether its broker is there or not.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("this version has no link to brokers of the type \"{0}\" yet; use \"nats\", \"rocksdb\" or \"memory\"")]
    Missing(&'static str),
    #[error(transparent)]
    Nats(#[from] nats::ConnectError),
}

/// Makes the link of an adapter, which begins to look for its broker. `None` for an adapter inside the daemon.
pub(crate) async fn open(adapter: &Adapter, place: &Place<'_>) -> Result<Option<Arc<dyn Link>>, Error> {
    Ok(match adapter {
        Adapter::Memory(_) | Adapter::RocksDb(_) => None,
        Adapter::Nats(settings) => Some(Arc::new(Nats::connect(nats_options(settings, place)).await?)),
        other => return Err(Error::Missing(other.name())),
    })
}

fn nats_options(settings: &settings::Nats, place: &Place<'_>) -> nats::Options {
    let servers = settings.url.expose().map(nats::Server::from).collect();
    let secret = |secret: &settings::Secret| nats::Secret::from(secret.expose().to_owned());
    let auth = match (&settings.user, &settings.password, &settings.token, &settings.creds_file) {
        (Some(user), Some(password), _, _) => nats::Auth::Password { user: user.clone(), password: secret(password) },
        (_, _, Some(token), _) => nats::Auth::Token(secret(token)),
        (_, _, _, Some(file)) => nats::Auth::Credentials(place.root.join(file)),
        _ => nats::Auth::None,
    };
    let tls = nats::Tls {
        required: settings.url.expose().any(|url| url.starts_with("tls://")),
        ca: place.path(settings.tls.ca_file.as_ref()),
        identity: place.path(settings.tls.cert_file.as_ref()).zip(place.path(settings.tls.key_file.as_ref())),
        ..nats::Tls::default()
    };
    let defaults = nats::Options::new(place.project, servers);
    nats::Options {
        auth,
        tls,
        replicas: settings.replicas.get().into(),
        max_bytes: Some(settings.max_bytes.as_u64()),
        max_age: settings.retention,
        duplicate_window: place.dedupe.max(defaults.duplicate_window),
        fetch: usize::try_from(settings.fetch.get()).unwrap_or(usize::MAX),
        ..defaults
    }
}

impl Place<'_> {
    fn path(&self, path: Option<&PathBuf>) -> Option<PathBuf> {
        path.map(|path| self.root.join(path))
    }
}

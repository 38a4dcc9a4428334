//! Which settings have all brokers on a network?

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::BUFFER_SIZE;
use crate::settings::duration::{self, DurationText};
use crate::settings::reader::Section;
use crate::settings::value::Fault;

/// What every broker on a network needs on this side.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(default)]
pub struct Remote {
    /// Most messages of a subscription that the daemon holds in memory at a time
    ///
    /// Nothing is dropped beyond it: a publisher to `memory` waits, others keep the rest. Of those that stay behind others of their key it holds as many again. Unit: messages, at least 1. Default: 1000.
    pub buffer_size: NonZeroU32,

    /// Directory of the store beside the broker
    ///
    /// It has what brokers do not remember: dead letters, attempts, long waits, what was handled, and what cannot be published while the broker is away. It belongs to
    /// one daemon: replicas have directories of their own. Relative paths count from the project's root. That of `[adapters.NAME]` is `.rohas/adapters/NAME`
    /// unless it is said. Default: `.rohas/events`.
    pub path: PathBuf,

    /// How long the daemon tries to reach the broker at its start before it gives up
    ///
    /// Without it the daemon starts without the broker, answers `/readyz` with 503 and keeps trying. Default: none.
    #[serde(serialize_with = "duration::serialize_optional")]
    #[schemars(with = "Option<DurationText>")]
    pub connect_timeout: Option<Duration>,
}

impl Default for Remote {
    fn default() -> Self {
        Self { buffer_size: BUFFER_SIZE, path: PathBuf::from(".rohas/events"), connect_timeout: None }
    }
}

impl Remote {
    pub(super) const KEYS: [&str; 3] = ["buffer_size", "path", "connect_timeout"];

    /// The directory of the store of the project at `root`.
    #[must_use]
    pub fn directory(&self, root: &Path) -> PathBuf {
        root.join(&self.path)
    }

    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        let named = section.subsection().map(|name| Path::new(".rohas/adapters").join(name));
        Self {
            buffer_size: section.get("buffer_size", default.buffer_size),
            path: section.get("path", named.unwrap_or(default.path)),
            connect_timeout: section.optional_positive("connect_timeout"),
        }
    }
}

/// How a broker proves who it is, and we to it. It is always verified.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[schemars(default)]
pub struct Tls {
    /// Certificates of the authorities that the broker's certificate may come from
    ///
    /// A file in PEM form, trusted besides those of the system. The broker is verified with or without it. Relative paths count from the project's root. Default: none.
    pub ca_file: Option<PathBuf>,

    /// The certificate by which the broker knows us
    ///
    /// A file in PEM form; it needs `key_file`. Default: none.
    pub cert_file: Option<PathBuf>,

    /// The private key of `cert_file`
    ///
    /// A file in PEM form. Default: none.
    pub key_file: Option<PathBuf>,
}

impl Tls {
    pub(super) const KEYS: [&str; 3] = ["ca_file", "cert_file", "key_file"];

    /// Whether anything is said, so that a connection without TLS is a mistake.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.ca_file.is_some() || self.cert_file.is_some() || self.key_file.is_some()
    }

    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let tls = Self {
            ca_file: section.optional("ca_file"),
            cert_file: section.optional("cert_file"),
            key_file: section.optional("key_file"),
        };
        section.together("cert_file", "key_file");
        tls
    }

    /// Reports files of TLS beside a connection without it.
    pub(super) fn needs(&self, encrypted: bool, section: &mut Section<'_>, remedy: &str) {
        if self.is_set() && !encrypted {
            let fault = Fault::new("there are certificates, but the connection is not encrypted").help(remedy);
            section.refuse(&Self::KEYS, fault);
        }
    }
}

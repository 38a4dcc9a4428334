//! How does the daemon listen, and what does it refuse? `[server]`.

use std::num::NonZeroU32;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::address::{CorsOrigin, Host};
use super::duration::{self, DurationText};
use super::network::Network;
use super::reader::Section;
use super::size::ByteSize;

/// Most that `server.max_body` can be: what a worker can be given with one call. The daemon's build fails when the worker
/// protocol allows less.
pub const MOST_BODY: ByteSize = ByteSize::mib(63);

/// The HTTP listener and its limits.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(default, deny_unknown_fields)]
pub struct Server {
    /// Address to listen on
    ///
    /// An IP address such as `127.0.0.1`, `0.0.0.0` or `::1`, or a name such as `localhost`. Default: `127.0.0.1`,
    /// which only this machine can reach. On such an address `rohas dev` answers only requests that call it by `localhost`,
    /// a name below that, this setting or an IP address, and others with 421: so no web page can reach it under a name of
    /// its own. `rohas run` answers to every name.
    pub host: Host,

    /// Port to listen on
    ///
    /// 0 lets the system choose a free one. Default: 3000.
    pub port: u16,

    /// Whether browsers of other origins may call
    ///
    /// Adds CORS headers to every answer and answers preflight requests. Every origin is allowed unless `cors_origins`
    /// names some; credentials are never combined with "every origin". Default: false.
    pub enable_cors: bool,

    /// Origins that browsers may call from
    ///
    /// Narrows `enable_cors` to these origins, each written as `scheme://host` or `scheme://host:port`. Empty means
    /// every origin. Default: empty.
    pub cors_origins: Vec<CorsOrigin>,

    /// Proxies that are trusted to say for whom they ask
    ///
    /// Addresses or networks, such as `10.0.0.0/8` or `::1`. The address of a client, as middlewares see it, is that of the
    /// connection; when that is one of these, it is the last one of `X-Forwarded-For`, read from the right, that is none of
    /// these. Empty means that the header is not looked at. Default: empty.
    pub trusted_proxies: Vec<Network>,

    /// Largest request body
    ///
    /// A larger one is refused with 413. Unit: bytes, or text such as `512KiB`, at most `63MiB`, which is what a worker can
    /// be given at a time. Default: `2MiB`.
    pub max_body: ByteSize,

    /// Time limit for the head of a request
    ///
    /// Counted from the first byte of the request line to the end of the headers; a slower request is answered with 408
    /// and its connection closed. Default: `10s`.
    #[serde(serialize_with = "duration::serialize")]
    #[schemars(with = "DurationText")]
    pub header_timeout: Duration,

    /// Time limit for the body of a request
    ///
    /// Counted from the end of the headers to the last byte of the body; a slower request is answered with 408.
    /// Default: `30s`.
    #[serde(serialize_with = "duration::serialize")]
    #[schemars(with = "DurationText")]
    pub body_timeout: Duration,

    /// How long a connection may stay open without a request
    ///
    /// Default: `75s`.
    #[serde(serialize_with = "duration::serialize")]
    #[schemars(with = "DurationText")]
    pub idle_timeout: Duration,

    /// How long a stopping daemon waits for work in flight
    ///
    /// Begins at SIGTERM or Ctrl-C. What has not finished by then is stopped; messages go back to their source.
    /// Default: `10s`.
    #[serde(serialize_with = "duration::serialize")]
    #[schemars(with = "DurationText")]
    pub drain_grace: Duration,

    /// Most connections open at a time
    ///
    /// Further ones wait in the system's queue until one closes. At least 1. Default: 4096.
    pub max_connections: NonZeroU32,

    /// Time limit of an api handler
    ///
    /// Holds for every `api` that declares no `timeout:`; a slower handler is answered for with 504. Default: `30s`.
    #[serde(serialize_with = "duration::serialize")]
    #[schemars(with = "DurationText")]
    pub request_timeout: Duration,

    /// Most requests in their handlers at a time
    ///
    /// Further ones are refused with 503 and Retry-After. At least 1. Default: 1024.
    pub max_in_flight: NonZeroU32,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            host: Host::default(),
            port: 3000,
            enable_cors: false,
            cors_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            max_body: ByteSize::mib(2),
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            drain_grace: Duration::from_secs(10),
            max_connections: const { NonZeroU32::new(4096).expect("not zero") },
            request_timeout: Duration::from_secs(30),
            max_in_flight: const { NonZeroU32::new(1024).expect("not zero") },
        }
    }
}

impl Server {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        Self {
            host: section.get("host", default.host),
            port: section.get("port", default.port),
            enable_cors: section.get("enable_cors", default.enable_cors),
            cors_origins: section.get("cors_origins", default.cors_origins),
            trusted_proxies: section.get("trusted_proxies", default.trusted_proxies),
            max_body: section.at_most("max_body", default.max_body, MOST_BODY),
            header_timeout: section.positive("header_timeout", default.header_timeout),
            body_timeout: section.positive("body_timeout", default.body_timeout),
            idle_timeout: section.positive("idle_timeout", default.idle_timeout),
            drain_grace: section.get("drain_grace", default.drain_grace),
            max_connections: section.get("max_connections", default.max_connections),
            request_timeout: section.positive("request_timeout", default.request_timeout),
            max_in_flight: section.get("max_in_flight", default.max_in_flight),
        }
    }
}

//! Which names may a request give a daemon in development? A web page whose own name was made to lead here must not reach it.
//!
//! A browser lets a page talk to the host that the page came from. Whoever owns that name can let it mean 127.0.0.1 a moment
//! later (DNS rebinding) and so read what only this machine should. Its requests still carry the name.

use std::net::IpAddr;

use axum::http::{HeaderMap, StatusCode, header};

use crate::trigger::http::reply::ErrorBody;

/// The names of a listener that only this machine can reach.
#[derive(Debug)]
pub(super) struct LocalNames {
    /// `server.host`.
    configured: Box<str>,
}

impl LocalNames {
    pub(super) fn new(configured: &str) -> Self {
        Self { configured: configured.into() }
    }

    /// Refuses a request that is meant for another host. One without a host is HTTP/1.0, which no browser speaks.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), ErrorBody> {
        let Some(host) = headers.get(header::HOST) else { return Ok(()) };
        if host.to_str().is_ok_and(|host| self.is_ours(host)) {
            return Ok(());
        }
        let text = format!(
            "the host {host:?} is none of this daemon's: in development, on an address that only this machine can reach, it \
             answers to localhost, to names below it, to server.host ({}) and to IP addresses; use one of them, or set \
             server.host to an address that others can reach",
            self.configured
        );
        Err(ErrorBody::new(StatusCode::MISDIRECTED_REQUEST, "unknown_host", text))
    }

    fn is_ours(&self, host: &str) -> bool {
        let name = without_port(host);
        let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
        if address.parse::<IpAddr>().is_ok() {
            return true;
        }
        let name = name.strip_suffix('.').unwrap_or(name);
        let top = name.rsplit('.').next().unwrap_or(name);
        top.eq_ignore_ascii_case("localhost") || name.eq_ignore_ascii_case(&self.configured)
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_nobody_else_can_own_are_ours() {
        let names = LocalNames::new("my-machine");
        let ours = [
            "localhost",
            "LocalHost:3000",
            "localhost.",
            "app.localhost:80",
            "127.0.0.1",
            "127.0.0.1:3000",
            "192.0.2.7",
            "[::1]",
            "[::1]:3000",
            "My-Machine:3000",
        ];
        for host in ours {
            assert!(names.is_ours(host), "{host}");
        }
        let others = [
            "",
            ":3000",
            "evil.example",
            "evil.example:3000",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evillocalhost",
            "my-machine.evil.example",
            "user@localhost:x",
        ];
        for host in others {
            assert!(!names.is_ours(host), "{host}");
        }
    }
}

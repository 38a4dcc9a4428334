//! May this web page open a WebSocket? A browser lets any page connect anywhere, with the cookies of whoever looks at it.

use std::net::IpAddr;

use axum::http::{HeaderMap, StatusCode, header};
use rohas_config::settings::CorsOrigin;

use crate::trigger::http::ErrorBody;

/// Refuses a page of another origin that nobody has allowed. Clients that are no browsers send no origin.
pub(super) fn check(headers: &HeaderMap, allowed: &[CorsOrigin], development: bool) -> Result<(), ErrorBody> {
    let mut origins = headers.get_all(header::ORIGIN).into_iter();
    let Some(value) = origins.next() else { return Ok(()) };
    if origins.next().is_some() {
        let text = "a request comes from one origin, and this one has several origin headers";
        return Err(ErrorBody::new(StatusCode::FORBIDDEN, "origin_not_allowed", text));
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let permitted = value.to_str().is_ok_and(|origin| {
        allowed.iter().any(|allowed| allowed.as_str().eq_ignore_ascii_case(origin))
            || Origin::parse(origin).is_some_and(|origin| origin.is_of(host) || development && origin.is_local())
    });
    if permitted {
        return Ok(());
    }
    let text = format!(
        "pages of the origin {value:?} may not open this WebSocket: it is not that of the host {host:?}, and server.cors_origins \
         does not name it"
    );
    Err(ErrorBody::new(StatusCode::FORBIDDEN, "origin_not_allowed", text))
}

/// Where a page came from.
struct Origin<'a> {
    host: &'a str,
    port: Option<&'a str>,
    default_port: &'static str,
}

impl<'a> Origin<'a> {
    fn parse(origin: &'a str) -> Option<Self> {
        let (scheme, authority) = origin.split_once("://")?;
        let default_port = if scheme.eq_ignore_ascii_case("https") { "443" } else { "80" };
        let (host, port) = split_port(authority);
        Some(Self { host, port, default_port })
    }

    /// Whether the page came from the host that it connects to. A proxy may have ended its TLS: the schemes may differ.
    fn is_of(&self, host: &str) -> bool {
        let (host, port) = split_port(host);
        !host.is_empty()
            && self.host.eq_ignore_ascii_case(host)
            && self.port.unwrap_or(self.default_port) == port.unwrap_or(self.default_port)
    }

    /// Whether the page came from this machine.
    fn is_local(&self) -> bool {
        let name = self.host.strip_suffix('.').unwrap_or(self.host);
        let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
        match address.parse::<IpAddr>() {
            Ok(address) => address.is_loopback(),
            Err(_) => name.rsplit('.').next().is_some_and(|top| top.eq_ignore_ascii_case("localhost")),
        }
    }
}

fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(origin: &str, host: &str, development: bool) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::ORIGIN, origin.parse().unwrap());
        headers.insert(header::HOST, host.parse().unwrap());
        check(&headers, &[], development).is_ok()
    }

    #[test]
    fn pages_reach_the_host_that_they_came_from() {
        for (origin, host) in [
            ("http://a.example", "a.example"),
            ("http://A.example", "a.EXAMPLE:80"),
            ("https://a.example", "a.example"),
            ("https://a.example", "a.example:443"),
            ("http://a.example:3000", "a.example:3000"),
            ("http://[::1]:3000", "[::1]:3000"),
        ] {
            assert!(allowed(origin, host, false), "{origin} {host}");
        }
        for (origin, host) in [
            ("http://b.example", "a.example"),
            ("http://a.example:81", "a.example"),
            ("http://a.example", "a.example:3000"),
            ("https://a.example", "a.example:80"),
            ("http://a.example.evil", "a.example"),
            ("null", "a.example"),
            ("", ""),
            ("://", ""),
            ("http://", "a.example"),
            ("http://localhost:5173", "a.example"),
        ] {
            assert!(!allowed(origin, host, false), "{origin} {host}");
        }
    }

    #[test]
    fn in_development_pages_of_this_machine_are_welcome() {
        for origin in ["http://localhost:5173", "http://127.0.0.1:1", "http://[::1]:1", "https://app.localhost"] {
            assert!(allowed(origin, "localhost:3000", true), "{origin}");
        }
        for origin in ["http://192.0.2.1", "http://localhost.evil", "http://127.0.0.1.evil", "null"] {
            assert!(!allowed(origin, "localhost:3000", true), "{origin}");
        }
    }

    #[test]
    fn several_origins_are_none_that_is_allowed() {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "a.example".parse().unwrap());
        for origin in ["http://a.example", "http://b.example"] {
            headers.append(header::ORIGIN, origin.parse().unwrap());
        }
        assert_eq!(check(&headers, &[], false).unwrap_err().code, "origin_not_allowed");
    }

    #[test]
    fn clients_without_an_origin_are_no_browsers() {
        assert!(check(&HeaderMap::new(), &[], false).is_ok());
    }
}

//! Which addresses and origins can be written? Host names, IP addresses and the origins of web pages.

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};
use std::net::{IpAddr, Ipv6Addr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

use super::value::{Fault, Value};

/// An IP address or a host name, without a port; IPv6 without brackets.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Host(String);

impl Host {
    /// The address or name, as the system's resolver takes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host with a port, as it stands in a URL.
    #[must_use]
    pub fn with_port(&self, port: u16) -> String {
        if self.0.contains(':') { format!("[{}]:{port}", self.0) } else { format!("{}:{port}", self.0) }
    }
}

impl Default for Host {
    fn default() -> Self {
        Self("127.0.0.1".to_owned())
    }
}

impl Display for Host {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Value for Host {
    const EXPECTED: &'static str = "an IP address or host name as a string";

    fn from_text(text: &str) -> Result<Self, Fault> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        if bare.parse::<IpAddr>().is_ok() && (bare == text || bare.parse::<Ipv6Addr>().is_ok()) || is_name(text) {
            return Ok(Self(bare.to_owned()));
        }
        let fault = Fault::new(format!("{text:?} is neither an IP address nor a host name"));
        Err(match text.rsplit_once(':') {
            Some((_, port)) if port.parse::<u16>().is_ok() => {
                fault.help(format!("write the host alone; the port has a key of its own: port = {port}"))
            }
            _ => fault.help("write for example \"127.0.0.1\", \"0.0.0.0\", \"::1\" or \"localhost\""),
        })
    }
}

/// Letters, digits and inner hyphens between dots; and not all digits and dots, which would be a wrong IP address.
fn is_name(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label) && text.bytes().any(|byte| byte.is_ascii_alphabetic())
}

impl JsonSchema for Host {
    fn schema_name() -> Cow<'static, str> {
        "Host".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": "An IP address or host name, without a port." })
    }
}

/// The origin of a web page: scheme, host and port, as browsers send it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct CorsOrigin(String);

impl CorsOrigin {
    /// The origin as browsers send it: lower case, without the scheme's own port.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Display for CorsOrigin {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Value for CorsOrigin {
    const EXPECTED: &'static str = "an origin such as \"https://example.com\"";

    fn from_text(text: &str) -> Result<Self, Fault> {
        let fault = || Fault::new(format!("{text:?} is not the origin of a web page"));
        if text == "*" {
            return Err(fault().help("an empty list means every origin"));
        }
        let Some((scheme, authority)) = text.split_once("://") else {
            return Err(fault().help(format!("write the scheme too: \"https://{text}\"")));
        };
        let (host, port) = split_port(authority);
        let scheme = scheme.to_ascii_lowercase();
        let known = |port: &str| port.parse::<u16>().is_ok_and(|port| port != 0);
        if authority.contains(['/', '?', '#', '@']) {
            return Err(fault().help("write scheme, host and port only, without a path or a trailing slash"));
        }
        if scheme.is_empty() || Host::from_text(host).is_err() || !port.is_none_or(known) {
            return Err(fault().help("write for example \"https://example.com\" or \"http://localhost:5173\""));
        }
        let host = host.to_ascii_lowercase();
        Ok(Self(match port {
            Some(port) if !is_default_port(&scheme, port) => format!("{scheme}://{host}:{port}"),
            _ => format!("{scheme}://{host}"),
        }))
    }
}

fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

fn is_default_port(scheme: &str, port: &str) -> bool {
    matches!((scheme, port), ("http", "80") | ("https", "443"))
}

impl JsonSchema for CorsOrigin {
    fn schema_name() -> Cow<'static, str> {
        "Origin".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "The origin of a web page: `scheme://host` or `scheme://host:port`.",
            "pattern": "^[A-Za-z][A-Za-z0-9+.-]*://[^/?#@]+$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_addresses_or_names() {
        for (text, host) in [
            ("127.0.0.1", "127.0.0.1"),
            ("::1", "::1"),
            ("[::1]", "::1"),
            ("localhost", "localhost"),
            ("my-host.example.com", "my-host.example.com"),
        ] {
            assert_eq!(Host::from_text(text).unwrap().as_str(), host);
        }
        for text in ["", "1.2.3", "300.0.0.1", "a b", "localhost:3000", "[127.0.0.1]", "http://localhost", "-a"] {
            assert!(Host::from_text(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_port_in_the_host_names_the_other_key() {
        let fault = Host::from_text("localhost:3000").unwrap_err();
        assert!(fault.help.unwrap().contains("port = 3000"));
    }

    #[test]
    fn a_url_has_ipv6_in_brackets() {
        assert_eq!(Host::from_text("::1").unwrap().with_port(80), "[::1]:80");
        assert_eq!(Host::default().with_port(80), "127.0.0.1:80");
    }

    #[test]
    fn origins_are_as_browsers_send_them() {
        for (text, origin) in [
            ("http://a", "http://a"),
            ("HTTPS://Example.com:443", "https://example.com"),
            ("http://localhost:5173", "http://localhost:5173"),
            ("http://[::1]:80", "http://[::1]"),
        ] {
            assert_eq!(CorsOrigin::from_text(text).unwrap().as_str(), origin);
        }
        for text in ["*", "a.example", "http://", "http://a/", "http://a:x", "http://user@a", "http://a:0"] {
            assert!(CorsOrigin::from_text(text).is_err(), "{text}");
        }
    }
}

//! Where does a broker listen? URLs that may have a password in them.

use std::borrow::Cow;
use std::fmt::{self, Debug, Display, Formatter};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use super::secret::REDACTED;
use super::value::{Fault, Value};

/// One URL or several between commas, such as `tls://name:password@broker:4222`. `Debug`, `Display` and `Serialize` hide what stands before the `@`.
#[derive(Clone, PartialEq, Eq)]
pub struct BrokerUrl(String);

impl BrokerUrl {
    pub(super) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The URLs with the secrets in them, for those who connect.
    pub fn expose(&self) -> impl Iterator<Item = &str> {
        self.0.split(',').map(str::trim)
    }

    /// What is wrong with it, unless each URL has one of these schemes and a host.
    pub(super) fn fault(&self, schemes: &[&str]) -> Option<Fault> {
        let right = |url: &str| {
            let (scheme, rest) = url.split_once("://")?;
            (schemes.contains(&scheme) && has_host(rest)).then_some(())
        };
        if self.expose().all(|url| right(url).is_some()) {
            return None;
        }
        let forms: Vec<String> = schemes.iter().map(|scheme| format!("{scheme}://host")).collect();
        // What was written is not repeated: there may be a password in it.
        Some(
            Fault::new("this is not the URL of a broker")
                .help(format!("write {}, with a port behind it if need be", forms.join(" or "))),
        )
    }
}

/// Whether `[user[:password]@]host[:port][/path]` has a host, and a port that is one.
fn has_host(rest: &str) -> bool {
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let address = authority.rsplit_once('@').map_or(authority, |(_, address)| address);
    let (host, port) = match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, port)) => (host, Some(port.strip_prefix(':').unwrap_or("none"))),
        None => address.split_once(':').map_or((address, None), |(host, port)| (host, Some(port))),
    };
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
    !host.is_empty() && host.bytes().all(is_host) && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

/// The text with what stands between `//` and `@` in each URL redacted.
impl Display for BrokerUrl {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        for (index, url) in self.expose().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            match url.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?.1))) {
                Some((scheme, address)) => write!(formatter, "{separator}{scheme}://{REDACTED}@{address}")?,
                None => write!(formatter, "{separator}{url}")?,
            }
        }
        Ok(())
    }
}

impl Debug for BrokerUrl {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(self, formatter)
    }
}

impl Serialize for BrokerUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Value for BrokerUrl {
    const EXPECTED: &'static str = "a URL as a string";

    fn from_text(text: &str) -> Result<Self, Fault> {
        Ok(Self::new(text))
    }
}

impl JsonSchema for BrokerUrl {
    fn schema_name() -> Cow<'static, str> {
        "BrokerUrl".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "One or more URLs, separated by commas. What stands before the `@` is a secret.",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_url_is_shown_nowhere() {
        for (text, shown) in [
            ("amqp://u:p@ss@h/v", "amqp://[redacted]@h/v"),
            ("nats://tok3n@a:4222, tls://b", "nats://[redacted]@a:4222,tls://b"),
            ("amqp://h", "amqp://h"),
        ] {
            let url = BrokerUrl::new(text);
            assert_eq!((url.to_string(), format!("{url:?}")), (shown.to_owned(), shown.to_owned()));
            assert_eq!(serde_json::to_value(&url).unwrap(), shown);
        }
        assert_eq!(BrokerUrl::new("nats://t@a, tls://b").expose().collect::<Vec<_>>(), ["nats://t@a", "tls://b"]);
    }

    #[test]
    fn what_is_no_url_of_a_broker_is_refused() {
        let schemes = ["nats", "tls"];
        for text in [
            "nats://h",
            "tls://h:4222",
            "nats://u:p@h:1/x",
            "nats://[::1]:4222",
            "nats://[::1]",
            "nats://a,tls://b_c.d-e",
        ] {
            assert_eq!(BrokerUrl::new(text).fault(&schemes), None, "{text}");
        }
        for text in [
            "",
            "h:4222",
            "http://h",
            "nats://",
            "nats://u:p@",
            "nats://h:99999",
            "nats://h:",
            "nats://a,",
            "nats://a b",
            "nats://[::1]x",
        ] {
            let fault = BrokerUrl::new(text).fault(&schemes).unwrap();
            assert_eq!(
                fault.help.as_deref(),
                Some("write nats://host or tls://host, with a port behind it if need be"),
                "{text}"
            );
        }
    }
}

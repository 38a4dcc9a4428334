//! Where does a request come from? From its peer, unless that is a proxy that is trusted to say for whom it asks.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName};
use rohas_config::settings::Network;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client's address: the last one of `X-Forwarded-For`, read from the right, that no trusted proxy has. What stands left
/// of that may have been made up by the client.
pub(crate) fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut client = peer.to_canonical();
    let lines = headers.get_all(FORWARDED_FOR).into_iter().rev();
    for line in lines {
        // A line that is no text says nothing, nor do those left of it.
        let Ok(line) = line.to_str() else { return client };
        for hop in line.rsplit(',') {
            if !is_trusted(client) {
                return client;
            }
            let Some(address) = parse(hop.trim()) else { return client };
            client = address;
        }
    }
    client
}

/// An address as proxies write it: some add the port, and brackets where IPv6 needs them.
fn parse(hop: &str) -> Option<IpAddr> {
    let bare = hop.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(hop);
    let address = bare.parse().ok().or_else(|| Some(hop.parse::<SocketAddr>().ok()?.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn client(peer: &str, lines: &[&str]) -> String {
        let trusted = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap());
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        client_address(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn only_trusted_proxies_say_for_whom_they_ask() {
        for (peer, lines, expected) in [
            ("192.0.2.1", &["203.0.113.9"][..], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9"], "203.0.113.9"),
            ("::ffff:10.0.0.1", &["::ffff:203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &["1.1.1.1, 203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &["1.1.1.1", "203.0.113.9, 10.2.3.4"], "203.0.113.9"),
            ("10.0.0.1", &["10.9.9.9, 10.2.3.4"], "10.9.9.9"),
            ("fd00::1", &["[2001:db8::7]:4711"], "2001:db8::7"),
            ("fd00::1", &["203.0.113.9:80"], "203.0.113.9"),
        ] {
            assert_eq!(client(peer, lines), expected, "{peer} {lines:?}");
        }
    }

    #[test]
    fn hostile_lists_lead_to_the_last_hop_that_is_known() {
        for (lines, expected) in [
            (&["203.0.113.9, unknown"][..], "10.0.0.1"),
            (&["203.0.113.9,,10.0.0.2"], "10.0.0.2"),
            (&["203.0.113.9, 10.0.0.2, "], "10.0.0.1"),
            (&["203.0.113.9", "\u{e9}"], "10.0.0.1"),
            (&["203.0.113.9, 999.1.1.1"], "10.0.0.1"),
            (&["203.0.113.9, 10.0.0.2\t"], "203.0.113.9"),
        ] {
            assert_eq!(client("10.0.0.1", lines), expected, "{lines:?}");
        }
    }
}

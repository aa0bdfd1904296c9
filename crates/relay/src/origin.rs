//! Which origins are this relay's own. A browser page of another origin is refused, and so is a
//! host name that was pointed at this machine to get around that.

use std::{collections::BTreeSet, net::IpAddr};

/// The origins that this relay answers as.
#[derive(Debug, Clone, Default)]
pub(crate) struct Origins(BTreeSet<String>);

/// `scheme://host[:port]`, lower case, without the scheme's own port; `None` if the text is not an
/// origin (RFC 6454, section 6.2).
pub(crate) fn normalise(text: &str) -> Option<String> {
    let text = text.trim_end_matches('/').to_ascii_lowercase();
    let (scheme, authority) = text.split_once("://")?;
    let own_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return None,
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    if authority.is_empty() || !authority.chars().all(allowed) {
        return None;
    }
    let authority = authority.strip_suffix(own_port).unwrap_or(authority);
    Some(format!("{scheme}://{authority}"))
}

impl Origins {
    /// The origins of a listener: its loopback names, the machine's addresses if it listens on
    /// them, and the configured ones.
    pub(crate) fn of_listener(
        host: IpAddr,
        port: u16,
        machine: &[IpAddr],
        public: &[String],
    ) -> Self {
        let mut hosts = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "[::1]".to_owned()];
        let listens_on = |ip: &IpAddr| host.is_unspecified() || *ip == host;
        hosts.extend(machine.iter().filter(|ip| listens_on(ip)).map(bracketed));
        hosts.push(bracketed(&host));
        let own = hosts.into_iter().filter_map(|h| normalise(&format!("http://{h}:{port}")));
        Self(own.chain(public.iter().filter_map(|url| normalise(url))).collect())
    }

    /// The origin that a request came to or from, if it is one of ours: the browser's `Origin`, or
    /// for a program without one what its `Host` header says.
    pub(crate) fn of_request(&self, origin: Option<&str>, host: Option<&str>) -> Option<String> {
        let host = host?;
        let mut by_host = ["http", "https"].iter().filter_map(|scheme| {
            normalise(&format!("{scheme}://{host}")).filter(|o| self.0.contains(o))
        });
        let by_host = by_host.next()?;
        match origin {
            None => Some(by_host),
            Some(origin) => normalise(origin).filter(|o| self.0.contains(o)),
        }
    }
}

fn bracketed(ip: &IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins() -> Origins {
        let public = vec!["https://Relay.Example.org:443/".to_owned()];
        Origins::of_listener("127.0.0.1".parse().expect("an address"), 8787, &[], &public)
    }

    #[test]
    fn own_origins_are_known_and_similar_ones_are_not() {
        let (origins, host) = (origins(), Some("127.0.0.1:8787"));
        for own in ["http://127.0.0.1:8787", "HTTP://LOCALHOST:8787", "https://relay.example.org"] {
            assert!(origins.of_request(Some(own), host).is_some(), "{own}");
        }
        for other in [
            "null",
            "",
            "http://127.0.0.1",
            "http://127.0.0.1:87870",
            "https://127.0.0.1:8787",
            "https://relay.example.org.evil.net",
            "https://evil-relay.example.org",
            "https://relay.example.org@evil.net",
            "https://r\u{435}lay.example.org",
            "file://",
        ] {
            assert!(origins.of_request(Some(other), host).is_none(), "{other}");
        }
    }

    #[test]
    fn a_foreign_host_name_is_refused_even_without_an_origin() {
        let origins = origins();
        assert!(origins.of_request(None, Some("127.0.0.1:8787")).is_some());
        assert!(origins.of_request(None, Some("relay.example.org")).is_some());
        assert!(origins.of_request(None, Some("rebind.evil.net:8787")).is_none());
        assert!(origins.of_request(None, None).is_none());
    }
}

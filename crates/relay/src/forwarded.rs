//! Who really sent a request: the peer, or what trusted proxies say about it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hyper::{HeaderMap, header::HeaderName};
use ipnet::IpNet;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Proxies whose `X-Forwarded-For` is believed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies(Vec<IpNet>);

impl Proxies {
    /// A proxy on this machine.
    pub fn loopback() -> Self {
        let v4 = IpNet::new_assert(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8);
        Self(vec![v4, IpNet::from(IpAddr::V6(Ipv6Addr::LOCALHOST))])
    }

    /// Proxies on this machine and in private networks (RFC 1918, RFC 4193).
    pub fn private() -> Self {
        let own = "127.0.0.0/8,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,::1,fc00::/7";
        Self::read(own).unwrap_or_else(|_| Self::loopback())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let one = |part: &str| {
            let address = part.parse::<IpAddr>().map(IpNet::from);
            address.or_else(|_| part.parse::<IpNet>()).map_err(|_| {
                format!("expected addresses or networks such as 10.0.0.0/8, found \"{part}\"")
            })
        };
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(one).collect::<Result<_, _>>().map(Self)
    }

    pub(crate) fn show(&self) -> String {
        self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|net| net.contains(&address.to_canonical()))
    }

    /// The address that limits count by: from the right, the first one that no trusted proxy has. What
    /// stands further left was written by whoever sent the request.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer;
        let values: Vec<_> = headers.get_all(FORWARDED_FOR).iter().collect();
        let entries = values.iter().rev().filter_map(|v| v.to_str().ok());
        for entry in entries.flat_map(|v| v.rsplit(',')) {
            if !self.trusts(client) {
                break;
            }
            let Ok(address) = entry.trim().parse() else { break };
            client = address;
        }
        client
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(proxies: &str, peer: &str, forwarded: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, value.parse().expect("a header"));
        }
        let proxies = Proxies::read(proxies).expect("a list");
        proxies.client(peer.parse().expect("an address"), &headers).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed_and_only_about_their_peers() {
        let table: &[(&str, &str, &[&str], &str)] = &[
            ("", "9.9.9.9", &["1.1.1.1"], "9.9.9.9"),
            ("10.0.0.0/8", "9.9.9.9", &["1.1.1.1"], "9.9.9.9"),
            ("10.0.0.0/8", "10.0.0.1", &["6.6.6.6, 1.1.1.1"], "1.1.1.1"),
            ("10.0.0.0/8", "10.0.0.1", &["6.6.6.6, 1.1.1.1, 10.2.2.2"], "1.1.1.1"),
            ("10.0.0.0/8", "10.0.0.1", &["6.6.6.6", "1.1.1.1"], "1.1.1.1"),
            ("10.0.0.0/8", "10.0.0.1", &["nonsense"], "10.0.0.1"),
            ("10.0.0.0/8", "10.0.0.1", &[], "10.0.0.1"),
            ("::1", "::1", &["2001:db8::7"], "2001:db8::7"),
        ];
        for (proxies, peer, forwarded, expected) in table {
            assert_eq!(client(proxies, peer, forwarded), *expected, "{proxies} {forwarded:?}");
        }
    }

    #[test]
    fn what_is_no_network_is_named() {
        let fault = Proxies::read("10.0.0.0/8,proxy").expect_err("a name");
        assert!(fault.contains("\"proxy\""), "{fault}");
        assert_eq!(Proxies::read("10.0.0.0/8, ::1").expect("fine").show(), "10.0.0.0/8,::1/128");
    }
}

//! Ports that nobody else takes.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    net::{Ipv4Addr, TcpListener, UdpSocket},
    ops::Range,
};

use anyhow::Context;
use parking_lot::Mutex;

/// Ports of servers. Not of those that the system gives to connections: who waits for a server there could be
/// connected with itself, and keep the server from its port.
const PORTS: Range<u16> = 10_000..32_000;

/// UDP sockets at the ports that this process gave away: a server takes its port later, and may leave it for
/// a while, and until this process ends nobody else is to take it for free. The servers speak TCP only.
static CLAIMS: Mutex<Vec<UdpSocket>> = Mutex::new(Vec::new());

/// A TCP port of this machine that is free, and that is given to nobody else while this process lives.
///
/// # Errors
/// When there is none.
pub fn free_port() -> anyhow::Result<u16> {
    let drawn = || {
        let drawn = RandomState::new().build_hasher().finish() % PORTS.len() as u64;
        PORTS.start + u16::try_from(drawn).unwrap_or_default()
    };
    let claim = |port: u16| {
        let claim = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok().then_some((port, claim))
    };
    let mut drawn = std::iter::repeat_with(drawn).take(PORTS.len());
    let (port, claim) = drawn.find_map(claim).context("no port of this machine is free")?;
    CLAIMS.lock().push(claim);
    Ok(port)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_port_is_given_twice_and_each_can_be_listened_at() {
        let ports: BTreeSet<_> = (0..600).map(|_| free_port().expect("a port")).collect();
        assert_eq!(ports.len(), 600);
        for port in ports {
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("free");
            UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).expect_err("claimed");
        }
    }
}

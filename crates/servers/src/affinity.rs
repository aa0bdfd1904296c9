//! How a balancer finds out which connections belong together: by a key in the head of their first request.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    net::SocketAddr,
    time::Duration,
};

use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};

/// Header and cookie with the key, as relays name them.
const HEADER: &str = "x-affinity-key";
const COOKIE: &str = "belay_affinity=";
/// Bytes that a head may have to be looked through.
const HEAD_BYTES: usize = 8 * 1024;
/// How long a client may take to send its head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause until more of a head is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Bytes of a key.
const KEY_BYTES: usize = 64;

/// The key that a connection begins with; nothing of it is taken out. `None`: it brings none, or is no HTTP.
pub async fn affinity_of(client: &TcpStream) -> Option<String> {
    let mut head = vec![0; HEAD_BYTES];
    let whole = async {
        loop {
            let seen = client.peek(&mut head).await.ok()?;
            let text = head.get(..seen)?;
            if seen == 0 || seen == HEAD_BYTES || text.windows(4).any(|end| end == b"\r\n\r\n") {
                return key_in(&String::from_utf8_lossy(text));
            }
            sleep(LOOK_EVERY).await;
        }
    };
    timeout(HEAD_TIMEOUT, whole).await.ok().flatten()
}

fn key_in(head: &str) -> Option<String> {
    let head = head.split("\r\n\r\n").next()?;
    let fields: Vec<_> = head.lines().filter_map(|line| line.split_once(':')).collect();
    let named = |name: &'static str| {
        let fields = fields.iter().filter(move |field| field.0.eq_ignore_ascii_case(name));
        fields.map(|field| field.1.trim())
    };
    let kept = named("cookie").flat_map(|all| all.split(';'));
    let kept = kept.filter_map(|pair| pair.trim().strip_prefix(COOKIE));
    let mut keys = named(HEADER).chain(kept).filter(|key| (1..=KEY_BYTES).contains(&key.len()));
    keys.next().map(str::to_owned)
}

/// Places in the order in which a key prefers them: one that comes or goes moves no key of the others
/// (rendezvous hashing).
pub fn by_affinity(key: &str, places: &[SocketAddr]) -> Vec<SocketAddr> {
    let weight = |place: &SocketAddr| {
        let mut hasher = DefaultHasher::new();
        (key, place).hash(&mut hasher);
        hasher.finish()
    };
    let mut order = places.to_vec();
    order.sort_by_key(weight);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_in_header_or_cookie_and_nowhere_else() {
        for (head, found) in [
            ("GET / HTTP/1.1\r\nX-Affinity-Key: ab\r\n\r\n", Some("ab")),
            ("GET / HTTP/1.1\r\ncookie: a=1; belay_affinity=cd; b=2\r\n\r\n", Some("cd")),
            ("GET / HTTP/1.1\r\nHost: x\r\n\r\nX-Affinity-Key: body\r\n", None),
            ("GET / HTTP/1.1\r\nX-Affinity-Key:\r\n\r\n", None),
            ("\u{0}\u{1}", None),
        ] {
            assert_eq!(key_in(head).as_deref(), found, "{head}");
        }
    }

    #[test]
    fn a_place_that_goes_moves_only_the_keys_that_it_had() {
        let places: Vec<SocketAddr> =
            (1..=4).map(|n| SocketAddr::from(([127, 0, 0, 1], n))).collect();
        let mut moved = 0;
        for n in 0..1_000 {
            let key = n.to_string();
            let (before, after) =
                (by_affinity(&key, &places)[0], by_affinity(&key, &places[..3])[0]);
            if before == places[3] {
                moved += 1;
            } else {
                assert_eq!(before, after);
            }
        }
        assert!((150..350).contains(&moved), "{moved} of 1,000 keys were at one of four places");
    }
}

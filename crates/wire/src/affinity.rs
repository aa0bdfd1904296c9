//! The hint by which a balancer may send what is of one session to one relay. It opens nothing, and nothing
//! depends on it.

use sha2::{Digest, Sha256};

use crate::SessionId;

/// Header that carries the key, in requests and answers.
pub const AFFINITY_HEADER: &str = "x-affinity-key";

/// Digits of a key.
const DIGITS: usize = 16;

/// The key of a session: the first 8 bytes of a hash in hexadecimal digits, so that it does not name the
/// session.
pub fn affinity_key(session: SessionId) -> String {
    let mut hash = Sha256::new_with_prefix(b"belay affinity 1");
    hash.update(session.as_bytes());
    let hash = hash.finalize();
    let first = hash.first_chunk().copied().unwrap_or_default();
    format!("{:0DIGITS$x}", u64::from_be_bytes(first))
}

/// Tells whether this could be a key.
pub fn is_affinity_key(text: &str) -> bool {
    text.len() == DIGITS && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_and_do_not_name_the_session() {
        let [one, other] = [1, 2].map(|n| SessionId::from_bytes([n; 16]));
        assert!(is_affinity_key(&affinity_key(one)));
        assert_ne!(affinity_key(one), affinity_key(other));
        assert!(!one.to_string().contains(&affinity_key(one)));
    }

    #[test]
    fn what_is_no_key_is_not_taken_for_one() {
        for text in
            ["", "0123456789abcde", "0123456789abcdefg", "0123456789ABCDEF", "0123456789abcd\r\n"]
        {
            assert!(!is_affinity_key(text), "{text:?}");
        }
        assert!(is_affinity_key("0123456789abcdef"));
    }
}

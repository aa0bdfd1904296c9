//! Short words by which nodes find out that they were not given the same keys. They tell nothing of a key
//! but whether it is the same.

use crate::{HashKey, crypto::hmac, token::TokenKeys};

const LABEL: &[u8] = b"belay/fingerprint/1";

/// The fingerprints of the keys of a node: that of the store key, then `id:fingerprint` of the token keys, the
/// signing one first.
pub fn of_keys(tokens: &TokenKeys, store: &HashKey) -> Vec<String> {
    let of_tokens = tokens.signing_first().map(|(id, key)| format!("{id}:{}", short(key)));
    std::iter::once(short(store.as_bytes())).chain(of_tokens).collect()
}

fn short(key: &[u8; 32]) -> String {
    let mac = hmac(key, &[LABEL]);
    format!("{:016x}", u64::from_be_bytes(std::array::from_fn(|at| mac[at])))
}

/// The setting by which another node's keys differ from ours so that what it stores or signs is refused here.
/// Who says nothing differs in nothing: it is of an earlier version.
pub fn differs(ours: &[String], theirs: &[String]) -> Option<&'static str> {
    let (Some((our_store, our_tokens)), Some((store, tokens))) =
        (ours.split_first(), theirs.split_first())
    else {
        return None;
    };
    if our_store != store {
        return Some("store-key");
    }
    let id = |key: &String| key.split(':').next().map(str::to_owned);
    let is_other = |key: &String| our_tokens.iter().any(|own| id(own) == id(key) && own != key);
    // Who is given a new key before anybody signs with it is never caught by this.
    let lacks = |keys: &[String], of: &[String]| of.first().is_some_and(|key| !keys.contains(key));
    let refuses = lacks(our_tokens, tokens) || lacks(tokens, our_tokens);
    (refuses || tokens.iter().any(is_other)).then_some("token-keys")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(tokens: &[(u32, u8)], store: u8) -> Vec<String> {
        let tokens = tokens.iter().map(|(id, key)| (*id, [*key; 32]));
        of_keys(&TokenKeys::new(tokens).expect("there are some"), &HashKey::new([store; 32]))
    }

    #[test]
    fn a_node_with_other_keys_is_found_and_a_rotation_is_not_taken_for_one() {
        let ours = keys(&[(2, 20), (1, 10)], 9);

        for (theirs, differ) in [
            (keys(&[(2, 20), (1, 10)], 9), None),
            (keys(&[(1, 10), (2, 20)], 9), None),
            (keys(&[(2, 20), (3, 30)], 9), None),
            (keys(&[(1, 10)], 9), Some("token-keys")),
            (Vec::new(), None),
            (keys(&[(2, 20), (1, 10)], 8), Some("store-key")),
            (keys(&[(3, 30), (2, 20)], 9), Some("token-keys")),
            (keys(&[(2, 21)], 9), Some("token-keys")),
            (keys(&[(2, 20), (1, 11)], 9), Some("token-keys")),
        ] {
            assert_eq!(differs(&ours, &theirs), differ, "{theirs:?}");
        }
    }
}

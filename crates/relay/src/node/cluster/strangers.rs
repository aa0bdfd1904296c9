//! Nodes that were set up so that they cannot work together.

use std::collections::BTreeMap;

use belay_core::fingerprint;

use crate::serve::plain_name;

/// Lives that are remembered; beyond it all are forgotten, and told of again.
const LIVES_MAX: usize = 1_024;

/// What a node tells others of itself.
#[derive(Debug)]
pub(in crate::node) struct Own {
    pub(in crate::node) instance: String,
    /// [`fingerprint::of_keys`].
    pub(in crate::node) keys: Vec<String>,
}

/// What is wrong with the other nodes, by life.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    met: BTreeMap<String, Vec<String>>,
}

impl Strangers {
    /// What an operator should know of another node that says it lives; each is told of once.
    pub(super) fn meet(&mut self, own: &Own, life: &str, keys: &[String]) -> Vec<String> {
        if self.met.contains_key(life) {
            return Vec::new();
        }
        if self.met.len() >= LIVES_MAX {
            self.met.clear();
        }
        let name = life.rsplit_once('-').map_or(life, |(name, _)| name);
        let instance = &own.instance;
        let twin = (name == plain_name(instance)).then(|| {
            format!(
                "another relay runs under the name \"{instance}\", too: give each a name of its own \
                 (--instance), or `belay drain --node` and the lists of nodes mean both"
            )
        });
        let other = fingerprint::differs(&own.keys, keys).map(|setting| {
            let variable = setting.to_uppercase().replace('-', "_");
            format!(
                "the relay \"{name}\" has another --{setting}: what one of the two made the other \
                 refuses; give both the same (BELAY_{variable})"
            )
        });
        let faults: Vec<_> = twin.into_iter().chain(other).collect();
        self.met.insert(life.to_owned(), faults.clone());
        faults
    }

    /// What is wrong with those that may live.
    pub(super) fn faults(&self, may_live: impl Fn(&String) -> bool) -> Vec<String> {
        let living = self.met.iter().filter(|(life, _)| may_live(life));
        living.flat_map(|(_, faults)| faults.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_of_the_same_name_or_with_other_keys_is_told_of_once() {
        let keys = |store: &str, token: &str| vec![store.to_owned(), token.to_owned()];
        let own = Own { instance: "a.b".to_owned(), keys: keys("s", "1:t") };
        let mut strangers = Strangers::default();
        let mut meet = |life: &str, keys: &[String]| strangers.meet(&own, life, keys);

        assert!(meet("c-2", &keys("s", "1:t")).is_empty(), "a good neighbour");
        assert!(meet("d-3", &[]).is_empty(), "an earlier version");
        let told = meet("a-b-4", &keys("s", "1:t"));
        assert!(told.len() == 1 && told[0].contains("name \"a.b\", too"), "{told:?}");
        let told = meet("e-5", &keys("s", "1:u"));
        assert!(told.len() == 1 && told[0].contains("BELAY_TOKEN_KEYS"), "{told:?}");
        let told = meet("a-b-6", &keys("z", "1:t"));
        assert!(told.len() == 2 && told[1].contains("BELAY_STORE_KEY"), "{told:?}");
        assert!(meet("a-b-6", &keys("z", "1:t")).is_empty(), "once");
        assert_eq!(strangers.faults(|life| life == "e-5").len(), 1);
        assert_eq!(strangers.faults(|_| true).len(), 4);
    }
}

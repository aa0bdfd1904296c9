//! Nodes that were set up so that they cannot work together.

use std::{collections::BTreeMap, time::Duration};

use belay_core::fingerprint;
use tokio::time::Instant;

use super::alive::name_of;

/// Lives that are remembered; beyond it all are forgotten, and told of again.
const LIVES_MAX: usize = 1_024;

/// Who was heard within this lives: nodes say so each second.
pub(super) const HEARD: Duration = Duration::from_secs(5);

/// A life that is known to the store for so long would have been heard.
const UNHEARD: Duration = Duration::from_secs(10);

/// What is wrong with the other nodes, by life.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    met: BTreeMap<String, Met>,
    /// Since when lives are known to the store.
    alive: BTreeMap<String, Instant>,
}

#[derive(Debug)]
struct Met {
    faults: Vec<String>,
    heard: Instant,
}

impl Strangers {
    /// What an operator should know of another node that says it lives, as seen by the one of the first life
    /// and keys; each is told of once.
    pub(super) fn meet(
        &mut self,
        (own, own_keys): (&str, &[String]),
        life: &str,
        keys: &[String],
        now: Instant,
    ) -> Vec<String> {
        if let Some(met) = self.met.get_mut(life) {
            met.heard = now;
            return Vec::new();
        }
        if self.met.len() >= LIVES_MAX {
            self.met.clear();
        }
        let name = name_of(life);
        let twin = (name == name_of(own)).then(|| {
            format!(
                "another relay runs under the name \"{name}\", too: give each a name of its own \
                 (--instance), or `belay drain --node` and the lists of nodes mean both"
            )
        });
        let other = fingerprint::differs(own_keys, keys).map(|setting| {
            let variable = setting.to_uppercase().replace('-', "_");
            format!(
                "the relay \"{name}\" has another --{setting}: what one of the two makes the other may \
                 refuse; give both the same (BELAY_{variable})"
            )
        });
        let faults: Vec<_> = twin.into_iter().chain(other).collect();
        self.met.insert(life.to_owned(), Met { faults: faults.clone(), heard: now });
        faults
    }

    /// What is wrong with those that live.
    pub(super) fn faults(&self, now: Instant) -> Vec<String> {
        let living = self.met.values().filter(|met| now - met.heard < HEARD);
        living.flat_map(|met| met.faults.clone()).collect()
    }

    /// Takes which other lives the store knows.
    pub(super) fn learn<'a>(&mut self, lives: impl Iterator<Item = &'a String>, now: Instant) {
        let before = std::mem::take(&mut self.alive);
        let since = |life| before.get(life).copied().unwrap_or(now);
        self.alive = lives.map(|life| (life.clone(), since(life))).collect();
    }

    /// Those that live, as the store knows, and say nothing on the bus.
    pub(super) fn unheard(&self, now: Instant) -> Vec<String> {
        let silent = self.alive.iter().filter(|(life, since)| {
            let heard = self.met.get(*life).map_or(**since, |met| met.heard.max(**since));
            now - heard > UNHEARD
        });
        let told = silent.map(|(life, _)| {
            format!(
                "the relay \"{life}\" lives and is not heard: it has another --bus-secret or \
                 --subject-prefix, or no connection with these brokers; what happens there is known here \
                 later only"
            )
        });
        told.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_of_the_same_name_or_with_other_keys_is_told_of_once() {
        let keys = |store: &str, token: &str| vec![store.to_owned(), token.to_owned()];
        let own_keys = keys("s", "1:t");
        let own = ("a-b-1", &*own_keys);
        let mut strangers = Strangers::default();
        let (early, late) = (Instant::now(), Instant::now() + 2 * HEARD);
        let mut meet = |life: &str, keys: &[String]| strangers.meet(own, life, keys, early);

        assert!(meet("c-2", &keys("s", "1:t")).is_empty(), "a good neighbour");
        assert!(meet("d-3", &[]).is_empty(), "an earlier version");
        let told = meet("a-b-4", &keys("s", "1:t"));
        assert!(told.len() == 1 && told[0].contains("name \"a-b\", too"), "{told:?}");
        let told = meet("e-5", &keys("s", "1:u"));
        assert!(told.len() == 1 && told[0].contains("BELAY_TOKEN_KEYS"), "{told:?}");
        let told = meet("a-b-6", &keys("z", "1:t"));
        assert!(told.len() == 2 && told[1].contains("BELAY_STORE_KEY"), "{told:?}");
        assert!(meet("a-b-6", &keys("z", "1:t")).is_empty(), "once");
        assert_eq!(strangers.faults(early).len(), 4);
        strangers.meet(own, "e-5", &[], late);
        assert_eq!(strangers.faults(late).len(), 1, "of those that are heard still");
    }

    #[test]
    fn who_lives_and_says_nothing_is_told_of_after_a_while() {
        let own = ("a-1", &[][..]);
        let mut strangers = Strangers::default();
        let (start, late) = (Instant::now(), Instant::now() + 2 * UNHEARD);
        let lives = ["b-1".to_owned(), "c-2".to_owned()];

        strangers.learn(lives.iter(), start);
        assert!(strangers.unheard(start + UNHEARD).is_empty(), "they may have started just now");
        strangers.meet(own, "b-1", &[], late);
        let told = strangers.unheard(late);
        assert!(told.len() == 1 && told[0].contains("\"c-2\" lives"), "{told:?}");
        strangers.learn(lives[..1].iter(), late);
        assert!(strangers.unheard(late).is_empty(), "it does not live any more");
    }
}

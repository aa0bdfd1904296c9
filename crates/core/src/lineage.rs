//! Which versions of a record led to one. Numbers alone do not tell that a store lost some and others took
//! their place: a failover of Redis may lose writes that it acknowledged.

use serde::{Deserialize, Serialize};

/// Versions of which a record knows that they came before it.
const LINEAGE_MAX: usize = 32;

/// The versions that led to one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage {
    /// Whose lineage it is. A record that was saved by an older version of the relay brings that of another
    /// version, which says nothing.
    of: u64,
    /// The newest first.
    before: Vec<u64>,
}

impl Lineage {
    pub(crate) fn is_empty(&self) -> bool {
        self.before.is_empty()
    }

    /// Goes on to the version after `version`.
    pub(crate) fn follow(&mut self, version: u64) -> u64 {
        if self.of != version {
            self.before.clear();
        }
        self.before.insert(0, version);
        self.before.truncate(LINEAGE_MAX);
        self.of = version + 1;
        self.of
    }

    /// Another number for the newest version, if this is its lineage.
    pub(crate) fn stride(&mut self, version: u64, step: u64) -> u64 {
        if self.of != version {
            return version;
        }
        self.of = version + step;
        self.of
    }

    /// Nothing is stored any more: `version` is to be the first one.
    pub(crate) fn begin_again(&mut self, version: u64) {
        (self.of, self.before) = (version, vec![0]);
    }

    /// What was stored just before `version`.
    pub(crate) fn replaced_by(&self, version: u64) -> Option<u64> {
        let before = self.before.first().filter(|_| self.of == version);
        before.copied().or_else(|| version.checked_sub(1))
    }

    /// Tells whether `known`, which was stored, is not among what led to `version`: the store lost it.
    pub(crate) fn has_lost(&self, version: u64, known: u64) -> bool {
        if self.of != version || self.before.is_empty() {
            return version < known;
        }
        let is_among = known == version || self.before.contains(&known);
        // Versions only grow, so a lineage says nothing of what is below its last one.
        !is_among && self.before.last() < Some(&known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A lineage from version 1 on, with these steps.
    fn line(steps: &[u64]) -> (Lineage, u64) {
        steps.iter().fold((Lineage::default(), 1), |(mut lineage, version), step| {
            let next = lineage.follow(version);
            let next = lineage.stride(next, *step);
            (lineage, next)
        })
    }

    #[test]
    fn what_led_to_a_version_is_not_lost() {
        let (lineage, version) = line(&[3, 0, 9]);
        assert_eq!((version, lineage.replaced_by(version)), (16, Some(6)));
        for known in [1, 5, 6, 16] {
            assert!(!lineage.has_lost(version, known), "{known}");
        }
    }

    #[test]
    fn another_version_is_lost_whether_its_number_is_smaller_or_greater() {
        let (lineage, version) = line(&[3, 0, 9]);
        for known in [2, 7, 15, 17] {
            assert!(lineage.has_lost(version, known), "{known}");
        }
    }

    #[test]
    fn what_is_older_than_a_lineage_counts_as_known() {
        let (lineage, version) = line(&[2; 2 * LINEAGE_MAX]);
        assert!(!lineage.has_lost(version, 2));
        assert!(lineage.has_lost(version, version - 1));
    }

    #[test]
    fn a_lineage_of_another_version_says_nothing() {
        let (lineage, version) = line(&[3, 0, 9]);
        // An older relay counted on and gave the lineage back as it was.
        let next = version + 1;
        assert_eq!(lineage.replaced_by(next), Some(version));
        assert!(!lineage.has_lost(next, 2));
        assert!(lineage.has_lost(next, next + 1));
        let mut lineage = lineage;
        assert_eq!(lineage.follow(next), next + 1);
        assert_eq!(lineage.replaced_by(next + 1), Some(next));
        assert!(!lineage.has_lost(next + 1, version), "it was before the other relay counted on");
        assert!(lineage.has_lost(next + 1, next + 2));
    }
}

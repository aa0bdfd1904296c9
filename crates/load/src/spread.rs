//! A distribution of times in little memory, which processes can add up.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Steps between a power of two and the next: a time is known to 1.6 %.
const STEPS: u64 = 64;

/// How often each time was seen, in microseconds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Spread(BTreeMap<u64, u64>);

impl Spread {
    pub(crate) fn note(&mut self, micros: u64) {
        // Rounded down to a multiple of a power of two, which is 1 for small times.
        let unit = (micros / STEPS).checked_ilog2().map_or(1, |log| 1 << log);
        *self.0.entry(micros / unit * unit).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (micros, count) in &other.0 {
            *self.0.entry(*micros).or_default() += count;
        }
    }

    /// The time that so many thousandths do not exceed, in milliseconds; 0 if there are none.
    pub(crate) fn ms_at(&self, thousandths: u64) -> f64 {
        let all: u64 = self.0.values().sum();
        let rank = (all * thousandths).div_ceil(1_000);
        let mut seen = 0;
        for (micros, count) in &self.0 {
            seen += count;
            if seen >= rank {
                return crate::report::ratio(*micros, 1_000);
            }
        }
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_times_is_below_what_is_told() {
        let (mut low, mut high) = (Spread::default(), Spread::default());
        (1..=500).for_each(|n| low.note(n * 1_000));
        (501..=1_000).for_each(|n| high.note(n * 1_000));
        low.add(&high);

        for (thousandths, told) in [(500, 500.0), (990, 990.0), (1_000, 1_000.0)] {
            let found = low.ms_at(thousandths);
            assert!((told * 0.98..=told).contains(&found), "{thousandths}: {found}");
        }
        assert!(Spread::default().ms_at(500) < f64::EPSILON);
    }
}

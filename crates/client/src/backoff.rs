//! Decorrelated jitter: each pause is drawn between the shortest and three times the last one, so
//! clients that lost the same relay do not come back together.

use std::time::Duration;

const SHORTEST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(15);

/// The pauses between attempts.
#[derive(Debug, Clone)]
pub struct Backoff {
    last: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { last: SHORTEST }
    }
}

impl Backoff {
    /// The next pause; `random` is any random number.
    pub fn next(&mut self, random: u64) -> Duration {
        let low = SHORTEST.as_millis();
        let high = (self.last.as_millis() * 3).max(low + 1);
        let drawn = low + u128::from(random) % (high - low);
        self.last = Duration::from_millis(u64::try_from(drawn).unwrap_or(u64::MAX)).min(LONGEST);
        self.last
    }

    /// A connection worked: start over.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_stay_within_their_bounds() {
        let mut backoff = Backoff::default();
        for random in (0..1_000).map(|n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) {
            let pause = backoff.next(random);
            assert!((SHORTEST..=LONGEST).contains(&pause), "{pause:?}");
        }
    }
}

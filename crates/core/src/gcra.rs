//! Rate limiting by the generic cell rate algorithm (ITU-T I.371): never more than
//! `burst + rate · t` cells in any span `t`.

use std::time::{Duration, Instant};

/// One bucket.
#[derive(Debug, Clone, Copy)]
pub struct Gcra {
    interval: Duration,
    burst: u32,
    /// Theoretical arrival time of the next cell.
    next: Option<Instant>,
}

impl Gcra {
    /// A bucket of `per_second` cells a second with `burst` at once; both at least 1.
    pub fn new(per_second: u32, burst: u32) -> Self {
        Self::every(Duration::from_secs(1) / per_second.max(1), burst)
    }

    /// A bucket of one cell per `interval` with `burst` at once.
    pub fn every(interval: Duration, burst: u32) -> Self {
        Self { interval, burst: burst.max(1), next: None }
    }

    /// Takes one cell.
    ///
    /// # Errors
    /// The time until one is free; nothing was taken.
    pub fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let next = self.next.map_or(now, |t| t.max(now));
        let tolerance = self.interval * (self.burst - 1);
        let ahead = next.duration_since(now);
        if ahead > tolerance {
            return Err(ahead.saturating_sub(tolerance));
        }
        self.next = Some(next + self.interval);
        Ok(())
    }

    /// The next cell is due at `at` at the earliest: others took some.
    pub(crate) fn advance(&mut self, at: Instant) {
        self.next = Some(self.next.map_or(at, |next| next.max(at)));
    }

    /// Tells whether the bucket is full again, so that it can be forgotten.
    pub fn is_idle(&self, now: Instant) -> bool {
        self.next.is_none_or(|t| t <= now)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
    fn start() -> Instant {
        Instant::now()
    }

    proptest! {
        #[test]
        fn never_more_than_burst_plus_rate_times_time(
            steps in proptest::collection::vec(0_u64..50, 1..300),
            burst in 1_u32..20,
        ) {
            let start = start();
            let mut bucket = Gcra::new(100, burst);
            let (mut at, mut taken) = (start, 0_u128);
            for step in steps {
                at += Duration::from_millis(step);
                taken += u128::from(bucket.take(at).is_ok());
                let allowed = u128::from(burst) + (at - start).as_millis() / 10;
                prop_assert!(taken <= allowed, "{taken} > {allowed}");
            }
        }
    }

    #[test]
    fn a_refusal_tells_when_to_come_back() {
        let now = start();
        let mut bucket = Gcra::new(10, 1);
        bucket.take(now).expect("the first cell is free");

        let wait = bucket.take(now).expect_err("the second is not");

        assert_eq!(wait, Duration::from_millis(100));
        assert!(bucket.take(now + wait).is_ok());
    }
}

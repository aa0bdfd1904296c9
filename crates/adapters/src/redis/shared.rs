//! The ports of leases and limits.

use std::time::Duration;

use belay_core::ports::{Answer, Leases, Limits};

use super::{
    RedisStore,
    answer::only,
    presence::whole_ms,
    script::{Step, scripts},
};

impl Leases for RedisStore {
    fn hold(&self, name: &'static str, node: String, ttl: Duration) -> Answer<Option<u64>> {
        self.answer(move |inner| async move {
            let step = Step::script(&scripts().hold, inner.keys.lease(name))
                .arg(node)
                .arg(whole_ms(ttl).to_string());
            only(inner.link.run(&[step]).await?)
        })
    }

    fn stick(
        &self,
        key: String,
        node: String,
        instead_of: Option<String>,
        ttl: Duration,
    ) -> Answer<String> {
        self.answer(move |inner| async move {
            let step = Step::script(&scripts().stick, vec![inner.keys.sticky(&key)])
                .arg(node)
                .arg(whole_ms(ttl).to_string())
                .arg(instead_of.unwrap_or_default());
            only(inner.link.run(&[step]).await?)
        })
    }
}

impl Limits for RedisStore {
    /// Counts in microseconds of store time. An answer that was lost may have taken twice, never too little.
    fn take(
        &self,
        key: String,
        cost: u32,
        every: Duration,
        burst: u32,
    ) -> Answer<Result<(), Duration>> {
        self.answer(move |inner| async move {
            let step = Step::script(&scripts().take, vec![inner.keys.limit(&key)]);
            let step = counted(step, every, burst, cost);
            let wait: u64 = only(inner.link.run(&[step]).await?)?;
            Ok(if wait == 0 { Ok(()) } else { Err(Duration::from_micros(wait)) })
        })
    }

    /// An answer that was lost may have noted it twice.
    fn spend(&self, key: String, cost: u32, every: Duration, burst: u32) -> Answer<Duration> {
        self.answer(move |inner| async move {
            let step = Step::script(&scripts().spend, vec![inner.keys.limit(&key)]);
            let step = counted(step, every, burst, cost);
            Ok(Duration::from_micros(only(inner.link.run(&[step]).await?)?))
        })
    }
}

/// The arguments of scripts about limits.
fn counted(step: Step, every: Duration, burst: u32, cost: u32) -> Step {
    step.arg(whole_us(every).to_string()).arg(burst.max(1).to_string()).arg(cost.to_string())
}

/// Rounded up, so that a limit is never wider than was asked for.
fn whole_us(time: Duration) -> u64 {
    /// A day between two cells: scripts count in numbers of 53 bits.
    const LONGEST_US: u128 = 24 * 3_600 * 1_000_000;
    u64::try_from(time.as_nanos().div_ceil(1_000).min(LONGEST_US)).unwrap_or(u64::MAX)
}

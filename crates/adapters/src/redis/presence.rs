//! The port of presence.

use std::{collections::BTreeMap, time::Duration};

use belay_core::{
    ports::{Alive, Answer, Presence, Seat, StoreError},
    token::Principal,
};
use belay_wire::{ConnectionId, SessionId};
use serde::{Deserialize, Serialize};

use super::{
    RedisStore,
    answer::only,
    save::INDEX_MS,
    script::{Step, scripts},
};

/// How long the life of a node that ended stays in the list, in milliseconds. Nobody counts it; whoever
/// looks at the list sees it a while longer.
const ENDED_STAYS_MS: u64 = 60_000;

/// A seat as it stands in Redis, after its generation, which the script writes.
#[derive(Serialize, Deserialize)]
struct Kept<'a> {
    connection: ConnectionId,
    node: std::borrow::Cow<'a, str>,
    instance: std::borrow::Cow<'a, str>,
    attempt: u64,
}

#[derive(Deserialize)]
struct Read<'a> {
    generation: u64,
    #[serde(flatten, borrow)]
    kept: Kept<'a>,
}

impl Presence for RedisStore {
    fn sit(&self, session: SessionId, seat: Seat) -> Answer<u64> {
        self.answer(|inner| async move {
            let kept = Kept {
                connection: seat.connection,
                node: seat.node.into(),
                instance: seat.instance.into(),
                attempt: seat.attempt,
            };
            let json = serde_json::to_string(&kept)
                .map_err(|e| StoreError::Unavailable(format!("the seat cannot be written: {e}")))?;
            let step = Step::script(&scripts().sit, inner.keys.session(session))
                .arg(field(seat.principal))
                .arg(json.trim_start_matches('{'))
                // A session that is gone leaves nothing behind.
                .arg(INDEX_MS.to_string());
            only(inner.link.run(&[step]).await?)
        })
    }

    fn leave(&self, session: SessionId, principal: Principal, generation: u64) -> Answer<()> {
        self.answer(|inner| async move {
            let keys = vec![inner.keys.version(session), inner.keys.seats(session)];
            let step = Step::script(&scripts().leave, keys)
                .arg(field(principal))
                .arg(generation.to_string());
            only::<u8>(inner.link.run(&[step]).await?).map(drop)
        })
    }

    fn seats(&self, session: SessionId) -> Answer<Vec<Seat>> {
        self.answer(|inner| async move {
            let step = Step::plain("HGETALL", &[&inner.keys.seats(session)]);
            let fields: BTreeMap<String, String> = only(inner.link.run(&[step]).await?)?;
            let seats = fields.iter().map(|(field, value)| {
                seat(field, value).ok_or_else(|| {
                    StoreError::Damaged(format!("a seat of session {session} cannot be read"))
                })
            });
            seats.collect()
        })
    }

    fn renew(&self, node: String, ttl: Duration) -> Answer<Alive> {
        self.answer(|inner| async move {
            let step = Step::script(&scripts().renew, vec![inner.keys.nodes()])
                .arg(node)
                .arg(whole_ms(ttl).to_string())
                .arg(ENDED_STAYS_MS.to_string());
            let mut nodes: Vec<String> = only(inner.link.run(&[step]).await?)?;
            let now = nodes.first().and_then(|now| now.parse().ok());
            let now_ms = now
                .ok_or_else(|| StoreError::Damaged("Redis answered without its time".to_owned()))?;
            nodes.remove(0);
            Ok(Alive { now_ms, nodes })
        })
    }

    fn retire(&self, node: String) -> Answer<()> {
        self.answer(|inner| async move {
            let step = Step::plain("ZREM", &[&inner.keys.nodes()]).arg(node);
            only::<i64>(inner.link.run(&[step]).await?).map(drop)
        })
    }
}

/// Milliseconds that Redis takes as a time to live.
pub(super) fn whole_ms(time: Duration) -> u64 {
    /// A year: whatever is longer is as good as for ever, and no sum of times overflows.
    const LONGEST_MS: u64 = 365 * 24 * 3_600 * 1_000;
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).clamp(1, LONGEST_MS)
}

fn field(principal: Principal) -> String {
    match principal {
        Principal::Host => "host".to_owned(),
        Principal::Member(member) => member.to_string(),
    }
}

fn seat(field: &str, value: &str) -> Option<Seat> {
    let principal = match field {
        "host" => Principal::Host,
        member => Principal::Member(member.parse().ok()?),
    };
    let Read { generation, kept } = serde_json::from_str(value).ok()?;
    Some(Seat {
        principal,
        connection: kept.connection,
        node: kept.node.into_owned(),
        generation,
        instance: kept.instance.into_owned(),
        attempt: kept.attempt,
    })
}

//! Writing and removing records, with what leads to them.

use std::sync::atomic::Ordering;

use belay_core::{SessionRecord, ports::StoreError, session::LeaseKey};
use belay_wire::SessionId;

use super::{
    Inner,
    answer::{all_well, only},
    record::{self, FORMAT},
    script::{Step, scripts},
};

/// How long a way to a lease or pair request stays after the last save of its session, in milliseconds.
/// Both last minutes; a lease that outlives this is not found any more.
pub(super) const INDEX_MS: u64 = 24 * 3_600 * 1_000;

/// How long it is known that a session was removed, in milliseconds. A node that could not ask for longer
/// takes it for lost and stores it again.
const REMOVED_MS: u64 = 24 * 3_600 * 1_000;

/// Answer of the script: another version is stored.
const REFUSED: u8 = 0;
/// Answer of the script: an earlier attempt of the same save did it. Its change of devices is not known.
const DONE_BEFORE: u8 = 2;

impl Inner {
    /// Stores the next version of a record. Ways to it come first, in the same round trip: one that leads
    /// nowhere is harmless, a record without its ways is not.
    pub(super) async fn save(&self, record: &SessionRecord) -> Result<(), StoreError> {
        let Some(before) = record.replaces() else { return Err(StoreError::Conflict) };
        let bytes = record::encode(record, &draw()?)?;
        let mut steps = self.ways(record);
        let way_count = steps.len();
        steps.push(
            Step::script(&scripts().save, self.keys.session(record.id))
                .arg(FORMAT.to_string())
                .arg(before.to_string())
                .arg(record.version.to_string())
                .arg(bytes)
                .arg(record.active_devices().count().to_string()),
        );
        if before == 0 {
            // Whoever lists just before the record is there takes its entry out.
            steps.push(self.listing(record));
        }
        let mut answers = self.link.run(&steps).await?;
        let after = answers.split_off(way_count.saturating_add(1).min(answers.len()));
        let (done, change): (u8, i64) = only(answers.split_off(way_count.min(answers.len())))?;
        if done == REFUSED {
            return Err(StoreError::Conflict);
        }
        if done == DONE_BEFORE {
            self.drifted.store(true, Ordering::Relaxed);
        }
        self.count_devices_by(change).await;
        all_well(&answers)?;
        if matches!(answers.first(), Some(redis::Value::Nil)) {
            // The list was lost, or its entry: it is there again with the next save of each session.
            all_well(&self.link.run(&[self.listing(record)]).await?)?;
        }
        all_well(&after)
    }

    /// All that leads to a record.
    fn ways(&self, record: &SessionRecord) -> Vec<Step> {
        let id = record.id.to_string();
        let lasting = |key| Step::plain("SET", &[&self.keys.index(&key), &id]);
        let passing = |key| lasting(key).arg("PX").arg(INDEX_MS.to_string());
        // A save that comes too late for a session that was removed must not list it again.
        let listed = Step::plain("ZSCORE", &[&self.keys.sessions(), &id]);
        let mut steps =
            vec![if record.replaces() == Some(0) { self.listing(record) } else { listed }];
        if let Some(lease) = &record.lease {
            steps.push(passing(LeaseKey::Rendezvous(lease.rendezvous)));
            let key = LeaseKey::Code { prefix: lease.code_prefix, hash: lease.code };
            let noted = Step::script(&scripts().note_code, vec![self.keys.index(&key)]);
            steps.push(noted.arg(id.clone()).arg(INDEX_MS.to_string()));
        }
        if let Some(compat) = &record.compat {
            steps.push(lasting(LeaseKey::Desktop(compat.desktop_token)));
        }
        steps.extend(record.pairing.ids().map(|id| passing(LeaseKey::Request(id))));
        steps
    }

    fn listing(&self, record: &SessionRecord) -> Step {
        let (created_at, id) = (record.created_at.to_string(), record.id.to_string());
        Step::plain("ZADD", &[&self.keys.sessions(), &created_at, &id])
    }

    /// Forgets a session and all that leads to it; one that cannot be read is forgotten, too.
    pub(super) async fn remove(&self, id: SessionId) -> Result<(), StoreError> {
        let record = match self.load(id).await {
            Ok(record) => record,
            Err(StoreError::Damaged(_)) => None,
            Err(error) => return Err(error),
        };
        let removal = Step::script(&scripts().remove, self.keys.session(id))
            .arg(FORMAT.to_string())
            .arg(REMOVED_MS.to_string());
        let text = id.to_string();
        let mut steps = vec![removal, Step::plain("ZREM", &[&self.keys.sessions(), &text])];
        let drop = |key| Step::plain("DEL", &[&self.keys.index(&key)]);
        if let Some(record) = &record {
            if let Some(lease) = &record.lease {
                steps.push(drop(LeaseKey::Rendezvous(lease.rendezvous)));
                let key = LeaseKey::Code { prefix: lease.code_prefix, hash: lease.code };
                steps.push(Step::plain("ZREM", &[&self.keys.index(&key), &text]));
            }
            if let Some(compat) = &record.compat {
                steps.push(drop(LeaseKey::Desktop(compat.desktop_token)));
            }
            steps.extend(record.pairing.ids().map(|id| drop(LeaseKey::Request(id))));
        }
        let mut answers = self.link.run(&steps).await?;
        let rest = answers.split_off(1.min(answers.len()));
        let devices: i64 = only(answers)?;
        self.count_devices_by(-devices).await;
        all_well(&rest)
    }

    /// Corrects the count of devices after what changed it was done. A failure is no failure of that.
    async fn count_devices_by(&self, change: i64) {
        if change == 0 {
            return;
        }
        let step = Step::plain("INCRBY", &[&self.keys.devices(), &change.to_string()]);
        let counted = self.link.run(&[step]).await.and_then(only::<i64>);
        if counted.is_err() {
            self.drifted.store(true, Ordering::Relaxed);
        }
    }

    /// A real write, and its reading.
    pub(super) async fn check(&self) -> Result<(), StoreError> {
        /// How long what was written stays, in milliseconds.
        const STAYS_MS: &str = "60000";
        let value = draw()?;
        let step = Step::script(&scripts().check, vec![self.keys.check()]);
        let found: Option<String> =
            only(self.link.run(&[step.arg(value.clone()).arg(STAYS_MS)]).await?)?;
        if found.as_ref() != Some(&value) {
            return Err(StoreError::Unavailable("Redis did not keep what was written".to_owned()));
        }
        Ok(())
    }

    /// A number that Redis counts.
    pub(super) async fn number(&self, step: Step) -> Result<usize, StoreError> {
        let number: Option<i64> = only(self.link.run(&[step]).await?)?;
        Ok(usize::try_from(number.unwrap_or(0)).unwrap_or(0))
    }
}

/// A name that nobody else draws.
fn draw() -> Result<String, StoreError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|e| StoreError::Unavailable(format!("no randomness: {e}")))?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

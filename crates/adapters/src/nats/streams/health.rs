//! Whether streams can be written.

use std::time::Duration;

use belay_wire::SessionId;
use futures_util::{StreamExt, stream};

use super::{AT_ONCE, Cluster, Info, Replica, Streams};
use crate::nats::names::{Place, Way};

/// A copy of a stream that the leader did not hear of for so long is away: they say a word each second.
const FOLLOWS: Duration = Duration::from_secs(4);

impl Info {
    /// Why nobody can write it: a leader believes for ten seconds that others follow it, so it is asked
    /// when it heard of them.
    fn fault(&self) -> Option<String> {
        let Cluster { leader, replicas } = self.cluster.as_ref()?;
        let follows = |r: &&Replica| !r.offline && Duration::from_nanos(r.active) < FOLLOWS;
        let (copies, there) = (1 + replicas.len(), 1 + replicas.iter().filter(follows).count());
        if leader.is_empty() {
            Some("it has no leader".to_owned())
        } else if 2 * there <= copies {
            Some(format!("only {there} of {copies} copies can be reached"))
        } else {
            None
        }
    }
}

impl Streams {
    /// Asks all streams whether they can be written; fails when none can.
    pub(in crate::nats) async fn check_all(&self) -> Result<(), String> {
        let check = |place| async move {
            let fault = self.check_one(place).await.err();
            self.slot(place).fault.lock().clone_from(&fault);
            fault
        };
        let checks: Vec<_> = self.names.places().map(check).collect();
        let faults: Vec<_> = stream::iter(checks).buffer_unordered(AT_ONCE).collect().await;
        match faults.into_iter().collect::<Option<Vec<_>>>() {
            Some(all) => Err(all.into_iter().next().unwrap_or_default()),
            None => Ok(()),
        }
    }

    async fn check_one(&self, place: Place) -> Result<(), String> {
        let stream = self.current(place).await.map_err(|e| e.to_string())?;
        let info = match self.info(&stream).await {
            Err(error) if error.is_gone() => {
                let stream = self.look_again(place, stream.incarnation).await;
                let stream = stream.map_err(|e| e.to_string())?;
                self.info(&stream).await
            }
            other => other,
        };
        let info = info.map_err(|e| format!("{}: {e}", stream.name))?;
        info.fault().map_or(Ok(()), |fault| Err(format!("{}: {fault}", stream.name)))
    }

    /// Why streams could not be written when they were checked last.
    pub(in crate::nats) fn faults(&self) -> Vec<String> {
        self.slots.iter().filter_map(|slot| slot.fault.lock().clone()).collect()
    }

    /// Tells whether the streams of this session could be written then.
    pub(in crate::nats) fn takes(&self, session: SessionId) -> bool {
        let shard = self.names.shard(session);
        let places = [Way::Down, Way::Up].map(|way| Place { way, shard });
        places.into_iter().all(|place| self.slot(place).fault.lock().is_none())
    }
}

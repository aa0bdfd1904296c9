//! Drains of other nodes: they are asked for here, and each node says how its own stands.

use std::{collections::BTreeMap, sync::atomic::Ordering, time::Duration};

use belay_core::ports::{ALL_NODES, BusFrame};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{Cluster, Node, alive::name_of, strangers::HEARD};
use crate::serve::plain_name;

/// How long a node may take to confirm what it was asked for: it says so at once.
const CONFIRM: Duration = Duration::from_secs(3);
/// Time between two looks for that.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long the store may take to say who lives.
const RENEWS: Duration = Duration::from_secs(1);

/// Why nothing is known of the drain of another node.
#[derive(Debug)]
pub(crate) enum NoDrain {
    /// No node has this name; these live.
    Unknown(Vec<String>),
    /// It does not say; whether it lives is not known either while the store is away.
    Silent { lives: bool },
    /// Nobody is heard here, for this reason.
    Deaf(String),
}

/// How the drains of other nodes stand, by the names of these.
#[derive(Debug, Default)]
pub(super) struct Drains(BTreeMap<String, (Instant, Value)>);

impl Drains {
    /// The node of a life said how its own stands.
    pub(super) fn told(&mut self, life: &str, status: Value, now: Instant) {
        self.0.retain(|_, (at, _)| now.duration_since(*at) < HEARD);
        self.0.insert(name_of(life).to_owned(), (now, status));
    }

    /// What the node of this name said last, and when, as far as it still counts.
    fn heard(&self, name: &str) -> Option<&(Instant, Value)> {
        self.0.get(name).filter(|(at, _)| at.elapsed() < HEARD)
    }

    /// The same, if it was said after `since`, with its age.
    fn since(&self, name: &str, since: Option<Instant>) -> Option<Value> {
        let (at, status) = self.heard(name)?;
        if since.is_some_and(|since| *at < since) {
            return None;
        }
        let mut status = status.clone();
        let age = u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX);
        status["told_ms_ago"] = age.into();
        Some(status)
    }
}

impl Cluster {
    /// How many other nodes take clients, as far as is known here: none while the store is away.
    pub(crate) fn elsewhere(&self) -> usize {
        if self.store_away.load(Ordering::Acquire) {
            return 0;
        }
        let (own, names) = (name_of(&self.shared.life), self.names());
        let drains = self.drains.lock();
        let takes = |name: &&String| {
            *name != own && drains.heard(name).is_none_or(|(_, told)| told["state"] == "active")
        };
        names.iter().filter(takes).count()
    }

    async fn until_told(
        &self,
        instance: &str,
        since: Option<Instant>,
        is_done: fn(&Value) -> bool,
    ) -> Result<Value, NoDrain> {
        let (name, began) = (plain_name(instance), Instant::now());
        while began.elapsed() < CONFIRM {
            let told = self.drains.lock().since(&name, since);
            if let Some(status) = told.filter(is_done) {
                return Ok(status);
            }
            sleep(LOOK_EVERY).await;
        }
        let (names, known) = (self.names(), self.alive.read().is_some());
        Err(match self.broker.fault() {
            Some(why) => NoDrain::Deaf(why),
            // It ended just now.
            None if known && !names.contains(&name) => NoDrain::Unknown(names),
            None => NoDrain::Silent { lives: known },
        })
    }
}

impl Node {
    /// Tells whether this node is meant by a name.
    pub(crate) fn is_called(&self, instance: &str) -> bool {
        plain_name(instance) == plain_name(&self.config.instance)
    }

    /// How the drain of the node of this name stands.
    pub(crate) async fn drain_of(&self, instance: &str) -> Result<Value, NoDrain> {
        // One that started a moment ago says so within a second.
        self.with_member(instance).await?.until_told(instance, None, |_| true).await
    }

    /// Asks the node of this name to send its clients away, and waits until it does.
    pub(crate) async fn ask_to_drain(
        &self,
        instance: &str,
        reason: String,
        seconds: u64,
        endpoint: Option<String>,
    ) -> Result<Value, NoDrain> {
        let name = instance.to_owned();
        let frame = BusFrame::Drain { instance: name, reason, seconds, endpoint };
        self.order(instance, frame, |status| status["state"] != "active").await
    }

    /// Asks the node of this name to take clients again, and waits until it does.
    pub(crate) async fn ask_to_resume(&self, instance: &str) -> Result<Value, NoDrain> {
        let frame = BusFrame::DrainCancelled { instance: instance.to_owned() };
        self.order(instance, frame, |status| status["state"] == "active").await
    }

    async fn order(
        &self,
        instance: &str,
        frame: BusFrame,
        is_done: fn(&Value) -> bool,
    ) -> Result<Value, NoDrain> {
        let cluster = self.with_member(instance).await?;
        let asked = Instant::now();
        tracing::warn!(target: "audit", instance, order = ?frame, "drain ordered at another node");
        self.tell(ALL_NODES, frame);
        let told = cluster.until_told(instance, Some(asked), is_done).await;
        let confirmed = told.is_ok();
        tracing::info!(target: "audit", instance, confirmed, "drain ordered at another node");
        told
    }

    /// The cluster, if a node of this name lives in it or nobody can know.
    async fn with_member(&self, instance: &str) -> Result<&Cluster, NoDrain> {
        let alone = || NoDrain::Unknown(vec![self.config.instance.clone()]);
        let cluster = self.cluster.as_ref().ok_or_else(alone)?;
        let name = plain_name(instance);
        // One that is cut off from the store is heard still.
        let is_known =
            || cluster.names().contains(&name) || cluster.drains.lock().heard(&name).is_some();
        if !is_known() {
            // It may have started a moment ago.
            let _ = tokio::time::timeout(RENEWS, self.renew_lease(cluster)).await;
        }
        if is_known() || cluster.alive.read().is_none() {
            Ok(cluster)
        } else {
            Err(NoDrain::Unknown(cluster.names()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_says_counts_for_as_long_as_it_is_heard() {
        let status = |state: &str| serde_json::json!({ "state": state });
        let (mut drains, start) = (Drains::default(), Instant::now());
        drains.told("a-b-1", status("active"), start);
        drains.told("a-b-1", status("draining"), start + LOOK_EVERY);
        for since in [None, Some(start + LOOK_EVERY)] {
            let told = drains.since("a-b", since).expect("it said so");
            assert_eq!(told["state"], "draining");
            assert!(told["told_ms_ago"].as_u64() < Some(4_000), "{told}");
        }
        assert_eq!(drains.since("a-b", Some(start + HEARD)), None, "it did not say since then");
        assert_eq!(drains.since("a", None), None, "another one");
        drains.told("c-2", status("active"), start + 2 * HEARD);
        assert_eq!(drains.since("a-b", None), None, "it is not heard any more");
    }
}

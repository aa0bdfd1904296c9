//! What happens to brokers and to Redis.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::Value;

use super::World;

/// How long servers may take until they agree again.
const AGREED: Duration = Duration::from_secs(20);
/// How long a broker may take to tell something.
const ANSWER: Duration = Duration::from_secs(2);

impl World {
    /// The server of Redis that the Sentinels call master.
    pub(super) fn master(&self) -> anyhow::Result<usize> {
        let told = self.redis.sentinel_cli(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "belay"])?;
        let port: u16 = told.lines().nth(1).context("a port")?.trim().parse()?;
        let place = self.redis.servers.iter().position(|server| server.port == port);
        place.with_context(|| format!("no server on port {port}"))
    }

    /// Waits until the Sentinels have another master than `old`.
    pub(super) async fn until_other_master(&self, old: usize) -> anyhow::Result<()> {
        let deadline = Instant::now() + AGREED;
        while self.master()? == old {
            ensure!(Instant::now() < deadline, "the Sentinels chose no other master");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// Waits until the replica follows the master and each Sentinel knows it: one that does not could not
    /// take over.
    pub(super) async fn until_redis_is_well(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + AGREED;
        loop {
            let fault = match self.redis_fault() {
                Ok(None) => return Ok(()),
                Ok(Some(fault)) => fault,
                Err(error) => format!("{error:#}"),
            };
            ensure!(Instant::now() < deadline, "Redis does not come back: {fault}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    fn redis_fault(&self) -> anyhow::Result<Option<String>> {
        let master = self.master()?;
        for (n, server) in self.redis.servers.iter().enumerate() {
            let told = server.cli(&["INFO", "replication"])?;
            let wanted = if n == master { "role:master" } else { "master_link_status:up" };
            if !told.contains(wanted) {
                return Ok(Some(format!("redis{} is not {wanted}", n + 1)));
            }
        }
        // "slave" alone: neither down nor disconnected.
        let told = self.redis.sentinel_cli(&["SENTINEL", "REPLICAS", "belay"])?;
        let flags = told.lines().skip_while(|line| line.trim() != "flags").nth(1);
        Ok((flags.map(str::trim) != Some("slave")).then(|| format!("the replica is {flags:?}")))
    }

    /// The broker that leads most of the streams.
    pub(super) async fn leader(&self) -> anyhow::Result<usize> {
        let deadline = Instant::now() + AGREED;
        loop {
            let mut told = Vec::new();
            for server in &self.nats.servers {
                let led = led(server.monitor, self.nats.servers.len()).await;
                let most = led.iter().flatten().enumerate().max_by_key(|(_, count)| **count);
                if let Some((n, 1..)) = most {
                    return Ok(n);
                }
                told.push(led);
            }
            ensure!(Instant::now() < deadline, "no broker knows a leader: {told:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// How many streams each of `count` brokers leads, by what one of them tells.
async fn led(monitor: u16, count: usize) -> anyhow::Result<Vec<usize>> {
    let url = format!("http://127.0.0.1:{monitor}/jsz?accounts=true&streams=true");
    let http = reqwest::Client::builder().timeout(ANSWER).no_proxy().build()?;
    let answer = http.get(url).send().await?;
    let told: Value = serde_json::from_str(&answer.text().await?)?;
    let mut led = vec![0; count];
    let accounts = told["account_details"].as_array().into_iter().flatten();
    for stream in accounts.filter_map(|account| account["stream_detail"].as_array()).flatten() {
        let leader = stream["cluster"]["leader"].as_str().unwrap_or_default();
        let n = leader.strip_prefix('n').and_then(|n| n.parse::<usize>().ok());
        if let Some(count) = n.and_then(|n| led.get_mut(n.saturating_sub(1))) {
            *count += 1;
        }
    }
    Ok(led)
}

//! The admin API of one relay, as an operator uses it.

use std::time::Duration;

use anyhow::{Context, bail};
use belay_wire::{MemberId, SessionId};
use serde_json::Value;

use super::build::Told;

/// How long one answer may take: longer than a relay waits for its store.
const ANSWER: Duration = Duration::from_secs(6);

/// One relay's admin API. Its `Debug` shows no token.
pub struct Admin {
    url: String,
    token: String,
    http: reqwest::Client,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Admin {
    /// The API at an address, for who has this token.
    ///
    /// # Errors
    /// When no client for it can be made.
    pub fn new(url: String, token: String) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().timeout(ANSWER).no_proxy().build()?;
        Ok(Self { url, token, http })
    }

    /// The ids of all sessions.
    pub(super) async fn sessions(&self) -> anyhow::Result<Vec<String>> {
        let listed = self.get("/admin/sessions").await?;
        let rows = listed["sessions"].as_array().context("a list")?;
        Ok(rows.iter().filter_map(|row| row["session"].as_str().map(str::to_owned)).collect())
    }

    /// The devices of a session: who, and whether connected.
    pub(super) async fn devices(&self, session: SessionId) -> anyhow::Result<Vec<(String, bool)>> {
        let listed = self.get(&format!("/admin/sessions/{session}/devices")).await?;
        let rows = listed["devices"].as_array().context("a list")?;
        let row =
            |row: &Value| Some((row["member"].as_str()?.to_owned(), row["connected"].as_bool()?));
        let mut devices: Vec<_> = rows.iter().filter_map(row).collect();
        devices.sort();
        Ok(devices)
    }

    /// What it counted since its start. One that is not ready tells that, too.
    pub(super) async fn told(&self) -> anyhow::Result<Told> {
        let call = self.http.get(format!("{}/healthz", self.url)).bearer_auth(&self.token);
        Told::read(&serde_json::from_str(&call.send().await?.text().await?)?)
    }

    /// Revokes a device; one that is not there any more is revoked.
    ///
    /// # Errors
    /// When the relay does not answer that it is stored.
    pub async fn revoke(&self, session: SessionId, device: MemberId) -> anyhow::Result<()> {
        let url = format!("{}/admin/sessions/{session}/devices/{device}", self.url);
        let answer = self.http.delete(url).bearer_auth(&self.token).send().await?;
        let status = answer.status();
        if status.is_success() || (status == 404 && answer.text().await?.contains("device")) {
            return Ok(());
        }
        bail!("revoking was answered {status}")
    }

    async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let call = self.http.get(format!("{}{path}", self.url)).bearer_auth(&self.token);
        let answer = call.send().await?.error_for_status()?;
        Ok(serde_json::from_str(&answer.text().await?)?)
    }
}

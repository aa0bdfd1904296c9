//! Devices by way of the relay's admin listener.

use std::{path::Path, time::Duration};

use anyhow::Context as _;
use belay_client::{CredentialStore, FileCredentials};
use belay_wire::{DeviceListed, DeviceView, SessionId};
use clap::{Arg, ArgMatches, parser::ValueSource};
use reqwest::StatusCode;
use serde_json::Value;

use crate::settings;

/// The session that is kept in the data folder, if there is one.
pub(crate) fn own_session(args: &ArgMatches) -> anyhow::Result<Option<SessionId>> {
    let path = settings::data_dir_of(args).join("host/session.json");
    let stored = FileCredentials::new(&path).load().with_context(|| path.display().to_string())?;
    Ok(stored.map(|credentials| credentials.session))
}

/// What the relay answers instead of doing it.
#[derive(Debug, thiserror::Error)]
#[error("the relay answered {status}: {said}")]
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    said: String,
}

/// Where the admin listener is.
pub(crate) fn address() -> Arg {
    Arg::new("admin")
        .long("admin")
        .value_name("URL")
        .env("BELAY_ADMIN")
        .default_value("http://127.0.0.1:8788")
        .help("Address of the relay's admin listener; found by --data-dir on its machine")
}

/// How long a relay may take to answer: one that hangs does not.
const ANSWERS: Duration = Duration::from_secs(30);

/// The admin listener.
#[derive(Clone)]
pub(crate) struct Admin {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Admin {
    pub(crate) fn open(args: &ArgMatches) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().timeout(ANSWERS).build()?;
        let folder = settings::data_dir_of(args);
        let url = args.get_one::<String>("admin").cloned().unwrap_or_default();
        let is_named = args.value_source("admin") != Some(ValueSource::DefaultValue);
        let told = std::fs::read_to_string(folder.join(belay_relay::ADMIN_ADDRESS)).ok();
        let told = told.map(|told| told.trim().to_owned());
        let url = told.filter(|told| !is_named && !told.is_empty()).unwrap_or(url);
        let url = if url.contains("://") { url } else { format!("http://{url}") };
        Ok(Self { http, url, token: admin_token(&folder)? })
    }

    /// Sessions of the compat protocol, with the names that their desktops gave them.
    pub(crate) async fn compat_sessions(&self) -> anyhow::Result<Vec<(SessionId, String)>> {
        let call = self.http.get(format!("{}/admin/sessions", self.url)).bearer_auth(&self.token);
        let list: Value = serde_json::from_str(&self.send(call).await?)?;
        let rows = list["sessions"].as_array().into_iter().flatten();
        let named = rows.filter(|row| row["protocol"] == "compat").filter_map(|row| {
            let session = row["session"].as_str()?.parse().ok()?;
            Some((session, row["sessionID"].as_str()?.to_owned()))
        });
        Ok(named.collect())
    }

    pub(crate) async fn devices(&self, session: SessionId) -> anyhow::Result<DeviceListed> {
        let url = format!("{}/admin/sessions/{session}/devices", self.url);
        let call = self.http.get(url).bearer_auth(&self.token);
        Ok(serde_json::from_str(&self.send(call).await?)?)
    }

    pub(crate) async fn revoke(
        &self,
        session: SessionId,
        device: &DeviceView,
    ) -> anyhow::Result<()> {
        let url = format!("{}/admin/sessions/{session}/devices/{}", self.url, device.member);
        self.send(self.http.delete(url).bearer_auth(&self.token)).await.map(|_| ())
    }

    /// What a path of the admin API says.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let call = self.http.get(format!("{}{path}", self.url)).bearer_auth(&self.token);
        Ok(serde_json::from_str(&self.send(call).await?)?)
    }

    /// What a call of the admin API answers.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let call = self.http.post(format!("{}{path}", self.url)).bearer_auth(&self.token);
        Ok(serde_json::from_str(&self.send(call.json(body)).await?)?)
    }

    async fn send(&self, call: reqwest::RequestBuilder) -> anyhow::Result<String> {
        let answer = call.send().await.with_context(|| {
            format!(
                "the relay's admin listener does not answer at {}; if it runs at another address, \
                 name that with --admin",
                self.url
            )
        })?;
        let status = answer.status();
        let text = answer.text().await?;
        if !status.is_success() {
            let said: Value = serde_json::from_str(&text).unwrap_or_default();
            let said = said["message"].as_str().unwrap_or(&text);
            return Err(Refused { status, said: said.to_owned() }.into());
        }
        Ok(text)
    }
}

#[expect(clippy::disallowed_methods, reason = "the command line reads the environment")]
fn admin_token(folder: &Path) -> anyhow::Result<String> {
    let mut named = ["BELAY_ADMIN_TOKEN", "ADMIN_TOKEN"].into_iter();
    if let Some(token) = named.find_map(|name| std::env::var(name).ok()) {
        return Ok(token);
    }
    let path = folder.join("admin-token");
    let token = std::fs::read_to_string(&path).with_context(|| {
        format!(
            "{} cannot be read; --data-dir names the folder of the relay, or BELAY_ADMIN_TOKEN its token",
            path.display()
        )
    })?;
    Ok(token.trim().to_owned())
}

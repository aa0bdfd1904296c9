//! The HTTP calls of hosts and phones.

use std::time::Duration;

use belay_wire::{
    RequestId, Secret, SessionId,
    pair::{
        ApiErrorBody, CodeMade, CreateSession, HostInfo, PairStarted, Paired, RevealPair,
        SessionCreated, StartPair,
    },
    proof::http_transcript,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{Identity, origin_of};

/// Longer than a phone waits for approval.
const CALL_TIMEOUT: Duration = Duration::from_mins(1);

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The relay said why.
    #[error("{}", .0.message)]
    Relay(ApiErrorBody),
    /// The relay was not reached, or answered something else.
    #[error("{relay} cannot be reached: {cause}")]
    Network { relay: String, cause: String },
}

impl ApiError {
    /// The relay's stable name of the error.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Relay(body) => Some(&body.error),
            Self::Network { .. } => None,
        }
    }
}

/// Chooses the one crypto provider of the process for TLS; repeats do nothing.
pub fn install_crypto() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The HTTP side of a relay.
#[derive(Debug, Clone)]
pub struct Api {
    http: reqwest::Client,
    relay: String,
}

impl Api {
    /// Calls this relay.
    ///
    /// # Errors
    /// When the address is not one.
    pub fn new(relay: &str) -> Result<Self, ApiError> {
        let failed = |cause: String| ApiError::Network { relay: relay.to_owned(), cause };
        let origin = origin_of(relay).ok_or_else(|| failed("not an http address".to_owned()))?;
        install_crypto();
        let http = reqwest::Client::builder()
            .timeout(CALL_TIMEOUT)
            .no_proxy()
            .tcp_nodelay(true)
            .build()
            .map_err(|e| failed(e.to_string()))?;
        Ok(Self { http, relay: origin })
    }

    /// Makes a session.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn create_session(&self, host: HostInfo) -> Result<SessionCreated, ApiError> {
        self.post("/v1/sessions", &CreateSession { host }, &[]).await
    }

    /// Makes a new pairing code; the former one ends.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn new_code(
        &self,
        session: SessionId,
        token: &Secret,
        identity: &Identity,
        unix_ms: u64,
    ) -> Result<CodeMade, ApiError> {
        let path = format!("/v1/sessions/{session}/code");
        let call = format!("POST {path}");
        let transcript = http_transcript(&self.relay, session, &call, unix_ms, token.expose());
        let proof = format!("{unix_ms}.{}", identity.sign(&transcript));
        let bearer = format!("Bearer {}", token.expose());
        self.post(&path, &(), &[("authorization", &bearer), ("belay-proof", &proof)]).await
    }

    /// Redeems a link or code.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn start_pair(&self, start: &StartPair) -> Result<PairStarted, ApiError> {
        self.post("/v1/pair", start, &[]).await
    }

    /// Opens the commitment and waits for the desktop.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn reveal_pair(
        &self,
        request: RequestId,
        reveal: &RevealPair,
    ) -> Result<Paired, ApiError> {
        self.post(&format!("/v1/pair/{request}"), reveal, &[]).await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        headers: &[(&str, &str)],
    ) -> Result<T, ApiError> {
        let failed = |cause: String| ApiError::Network { relay: self.relay.clone(), cause };
        let mut call = self.http.post(format!("{}{path}", self.relay)).json(body);
        for (name, value) in headers {
            call = call.header(*name, *value);
        }
        let response = call.send().await.map_err(|e| failed(root_cause(&e)))?;
        let status = response.status();
        let text = response.text().await.map_err(|e| failed(root_cause(&e)))?;
        if !status.is_success() {
            return Err(match serde_json::from_str(&text) {
                Ok(body) => ApiError::Relay(body),
                Err(_) if matches!(status.as_u16(), 502..=504) => {
                    failed(format!("no relay takes calls there now ({status})"))
                }
                Err(_) => failed(format!("it answered {status}")),
            });
        }
        serde_json::from_str(&text).map_err(|e| failed(format!("it answered nonsense: {e}")))
    }
}

fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

//! Which pages may call, and the headers that let their browsers do it (Fetch standard, CORS).

use std::collections::BTreeSet;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::{config::Config, origin::normalise};

/// Web clients that are served where nothing is configured: those of a developer.
const DEVELOPERS: [&str; 2] = ["http://localhost:4173", "http://127.0.0.1:4173"];

/// The allowed origins.
#[derive(Debug, Clone, Default)]
pub(crate) struct Allowed {
    all: bool,
    origins: BTreeSet<String>,
}

impl Allowed {
    pub(crate) fn of(config: &Config) -> Self {
        let listed = &config.allowed_origins;
        let given = listed.iter().chain(&config.public_urls).map(String::as_str);
        let origins = if listed.is_empty() {
            given.chain(DEVELOPERS).collect()
        } else {
            listed.iter().map(String::as_str).collect::<Vec<_>>()
        };
        Self {
            all: listed.iter().any(|o| o == "*"),
            origins: origins.into_iter().filter_map(normalise).collect(),
        }
    }

    /// Tells whether pages of this origin may call.
    pub(crate) fn has(&self, origin: &str) -> bool {
        self.all || normalise(origin).is_some_and(|o| self.origins.contains(&o))
    }

    /// Tells whether a client without an origin may connect as a phone.
    pub(crate) fn has_none(&self) -> bool {
        self.all
    }

    /// Adds the headers to an answer.
    pub(super) fn mark(&self, origin: Option<&str>, headers: &mut HeaderMap) {
        const VARY: &str = "origin, access-control-request-method, access-control-request-headers";
        headers.insert(header::VARY, HeaderValue::from_static(VARY));
        let allowed = if self.all { Some("*") } else { origin.filter(|o| self.has(o)) };
        let Some(value) = allowed.and_then(|o| HeaderValue::from_str(o).ok()) else { return };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, value);
        let methods = HeaderValue::from_static("POST,OPTIONS");
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        let allowed_headers = HeaderValue::from_static("content-type");
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed_headers);
    }
}

/// `OPTIONS`: 200, and what is allowed stands in the headers, which a refused page does not get.
pub(crate) async fn preflight() -> StatusCode {
    StatusCode::OK
}

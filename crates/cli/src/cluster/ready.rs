//! Which relays take connections.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::balancer::Backend;

/// How often each relay is asked.
const CHECK_EVERY: Duration = Duration::from_millis(500);
/// A relay that answers later is not ready.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// How long relays may take to be ready after their start, before it is told that they are not.
const FIRST_TIMEOUT: Duration = Duration::from_secs(20);
/// How often it is looked whether they are.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Waits until all are ready, or tells which are not.
pub(super) async fn all(backends: &[Backend]) {
    let deadline = Instant::now() + FIRST_TIMEOUT;
    while backends.iter().any(|b| !b.is_ready()) && Instant::now() < deadline {
        sleep(LOOK_EVERY).await;
    }
    for backend in backends.iter().filter(|b| !b.is_ready()) {
        super::say(&format!(
            "the relay at {} is not ready; GET /readyz there says why",
            backend.at
        ));
    }
}

/// Asks a relay whether it is ready, and tells the balancer, until told to stop.
pub(super) async fn watch(backend: Backend, stop: CancellationToken) {
    // A connection that is kept would hide that no new one is taken.
    let http = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build();
    let Ok(http) = http else { return super::say("no HTTP client: the balancer has no relays") };
    let url = format!("http://{}/readyz", backend.at);
    loop {
        let answer = http.get(&url).timeout(CHECK_TIMEOUT).send().await;
        backend.set_ready(answer.is_ok_and(|answer| answer.status().as_u16() == 200));
        tokio::select! {
            () = sleep(CHECK_EVERY) => {}
            () = stop.cancelled() => return,
        }
    }
}

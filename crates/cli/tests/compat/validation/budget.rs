//! 4.6, points 3 and 10: what a phone is told when it says too much.

use serde_json::json;

use super::frame::{Pair, told};
use crate::scenario::Scenario;

pub(crate) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new("4.6.10 the device's and the session's texts differ", |w| async move {
            let w = w.with(&[
                ("MAX_REMOTE_COMMANDS_PER_MINUTE", "2"),
                ("MAX_REMOTE_SESSION_COMMANDS_PER_MINUTE", "3"),
            ]);
            let mut pair = Pair::of(&w).await;
            assert_eq!(pair.desk.refresh().await.status, 200);
            let mut other = pair.desk.pair().await;
            let mut wire = pair.desk.connect(&mut other).await;
            for seq in [1, 2] {
                pair.passes(&pair.good(seq)).await;
            }
            let of_device = pair.refused(&pair.good(3), "command_rate_limited").await;
            wire.send(&pair.good(1)).await;
            assert_eq!(pair.desk.wire.message().await["relayDeviceID"], json!(other.device));
            wire.send(&pair.good(2)).await;
            let of_session = told(&mut wire, "command_rate_limited", Some("cmd-2"), Some(2)).await;
            assert_ne!(of_device, of_session);
            assert_eq!(pair.refused(&pair.good(3), "command_rate_limited").await, of_device);
        }),
        Scenario::new("4.6.10 a command over the budget takes no number", |w| async move {
            let w = w.with(&[("MAX_REMOTE_COMMANDS_PER_MINUTE", "1")]);
            let mut pair = Pair::of(&w).await;
            pair.passes(&pair.good(1)).await;
            pair.refused(&pair.good(9), "command_rate_limited").await;
            // With its number taken this would be a replay, which comes before budgets.
            pair.refused(&pair.good(2), "command_rate_limited").await;
        }),
        Scenario::new("4.6.10 a command that is malformed takes no budget", |w| async move {
            let w = w.with(&[("MAX_REMOTE_COMMANDS_PER_MINUTE", "1")]);
            let mut pair = Pair::of(&w).await;
            let mut bad = pair.good(1);
            bad["colour"] = json!("red");
            for _ in 0..3 {
                pair.refused(&bad, "invalid_command").await;
            }
            pair.refused(&pair.good(0), "replayed_command").await;
            pair.passes(&pair.good(1)).await;
        }),
        Scenario::new("4.6.3 snapshot_rate_limited", |w| async move {
            let w = w.with(&[("MAX_SNAPSHOT_REQUESTS_PER_MINUTE", "2")]);
            let mut pair = Pair::of(&w).await;
            let request = pair.snapshot(&json!({ "reason": "manual_request" }));
            pair.refused(&pair.snapshot(&json!({ "reason": 7 })), "invalid_snapshot_request").await;
            for _ in 0..2 {
                pair.passes(&request).await;
            }
            pair.refused(&request, "snapshot_rate_limited").await;
            pair.refused(&pair.snapshot(&json!({ "reason": 7 })), "invalid_snapshot_request").await;
            pair.passes(&pair.good(1)).await;
        }),
        Scenario::new("4.6.3 the snapshot budget is the device's", |w| async move {
            let w = w.with(&[("MAX_SNAPSHOT_REQUESTS_PER_MINUTE", "1")]);
            let mut pair = Pair::of(&w).await;
            let request = pair.snapshot(&json!({}));
            pair.passes(&request).await;
            pair.refused(&request, "snapshot_rate_limited").await;
            pair.reconnects().await;
            pair.refused(&request, "snapshot_rate_limited").await;
            assert_eq!(pair.desk.refresh().await.status, 200);
            let mut other = pair.desk.pair().await;
            let mut wire = pair.desk.connect(&mut other).await;
            wire.send(&request).await;
            assert_eq!(pair.desk.wire.message().await["relayDeviceID"], json!(other.device));
        }),
    ]
}

//! 4.6, point 9: numbers and ids of commands.

use belay_testkit::compat::Party as _;
use serde_json::json;

use super::frame::{Pair, told};
use crate::scenario::Scenario;

const TEXT: &str = "Command sequence was replayed or out of order.";
/// One more than what a JavaScript number holds exactly.
const BEYOND: u64 = (1 << 53) + 1;

pub(crate) fn all() -> Vec<Scenario> {
    let after = [("0", vec![], 0), ("the same", vec![5], 5), ("a lower", vec![5], 4)];
    let far = [("0 after some", vec![1, 2], 0), ("2^53+1 twice", vec![BEYOND], BEYOND)];
    let most =
        [("one after 2^64-1", vec![u64::MAX], 1), ("2^64-1 twice", vec![u64::MAX], u64::MAX)];
    let replayed = after.into_iter().chain(far).chain(most).map(|(what, before, seq)| {
        Scenario::new(format!("4.6.9 replayed_command: {what}"), move |w| async move {
            let mut pair = Pair::of(&w).await;
            for earlier in before {
                pair.passes(&pair.good(earlier)).await;
            }
            let mut frame = pair.good(seq);
            frame["payload"]["payload"]["commandID"] = json!("other");
            assert_eq!(pair.refused(&frame, "replayed_command").await, TEXT);
            pair.passes(&pair.snapshot(&json!({}))).await;
        })
    });
    let passing = [
        ("numbers one after another", vec![1, 2, 3]),
        ("gaps", vec![1, 5, 100]),
        ("any first number", vec![77, 78]),
        ("2^53-1, 2^53, 2^53+1", vec![BEYOND - 2, BEYOND - 1, BEYOND]),
        ("2^64-1", vec![u64::MAX - 1, u64::MAX]),
    ];
    let passing = passing.into_iter().map(|(what, numbers)| {
        Scenario::new(format!("4.6.9 passes: {what}"), move |w| async move {
            let mut pair = Pair::of(&w).await;
            for seq in numbers {
                pair.passes(&pair.good(seq)).await;
            }
        })
    });
    replayed.chain(passing).chain(connections()).chain(refusals()).chain(ids()).collect()
}

fn connections() -> Vec<Scenario> {
    vec![
        Scenario::new("4.6.9 numbers are those of one connection", |w| async move {
            let mut pair = Pair::of(&w).await;
            pair.passes(&pair.good(9)).await;
            pair.reconnects().await;
            pair.passes(&pair.good(1)).await;
        }),
        Scenario::new("4.6.9 phones have their own numbers", |w| async move {
            let mut pair = Pair::of(&w).await;
            pair.passes(&pair.good(9)).await;
            assert_eq!(pair.desk.refresh().await.status, 200);
            let mut other = pair.desk.pair().await;
            let mut wire = pair.desk.connect(&mut other).await;
            wire.send(&pair.good(1)).await;
            assert_eq!(pair.desk.wire.message().await["seq"], 1);
            pair.passes(&pair.good(10)).await;
        }),
        Scenario::new("4.6.9 a desktop that comes back changes no number", |w| async move {
            let mut pair = Pair::of(&w).await;
            pair.passes(&pair.good(9)).await;
            pair.desktop_leaves().await;
            pair.desktop_returns().await;
            assert_eq!(pair.refused(&pair.good(9), "replayed_command").await, TEXT);
            pair.passes(&pair.good(10)).await;
        }),
    ]
}

fn refusals() -> Vec<Scenario> {
    vec![
        Scenario::new("4.6.9 a refused command takes no number, however high", |w| async move {
            let mut pair = Pair::of(&w).await;
            let bad = pair.command(1_000_000, &json!({ "name": "thread.delete" }));
            pair.refused(&bad, "invalid_command").await;
            pair.passes(&pair.good(1)).await;
        }),
        Scenario::new("4.6.9 a replayed command takes no number", |w| async move {
            let mut pair = Pair::of(&w).await;
            pair.passes(&pair.good(5)).await;
            pair.refused(&pair.good(3), "replayed_command").await;
            pair.refused(&pair.good(5), "replayed_command").await;
            pair.passes(&pair.good(6)).await;
        }),
        Scenario::new("4.6.9 a refused command frees its commandID", |w| async move {
            let mut pair = Pair::of(&w).await;
            let bad = pair.command(1, &json!({ "name": "thread.delete", "commandID": "once" }));
            pair.refused(&bad, "invalid_command").await;
            let good = json!({ "name": "project.select", "projectID": "p", "commandID": "once" });
            pair.passes(&pair.command(1, &good)).await;
        }),
    ]
}

fn ids() -> Vec<Scenario> {
    let select = json!({ "name": "thread.select", "threadID": "t-1", "commandID": "once" });
    vec![
        Scenario::new("4.6.9 a commandID that comes twice is answered once", |w| async move {
            let mut pair = Pair::of(&w).await;
            let inner = select;
            pair.phone.send(&pair.command(1, &inner)).await;
            let first = pair.arrived().await;
            for answer in pair.desk.desktop.hears(&first.into()) {
                pair.desk.wire.send(&answer).await;
            }
            let ack = pair.phone.envelope().await;
            assert_eq!(ack["payload"]["type"], "command_ack");
            assert_eq!(ack["payload"]["payload"]["commandID"], "once");
            assert_eq!(pair.phone.envelope().await["payload"]["type"], "snapshot");
            pair.refused(&pair.command(2, &inner), "replayed_command").await;
            pair.passes(&pair.good(2)).await;
        }),
        Scenario::new("4.6.9 a commandID that comes twice in one breath", |w| async move {
            let mut pair = Pair::of(&w).await;
            let named = |p: &Pair, seq| {
                let inner = json!({ "name": "thread.select", "threadID": "t", "commandID": "c" });
                p.command(seq, &inner)
            };
            for seq in 1..=3 {
                pair.phone.send(&named(&pair, seq)).await;
            }
            assert_eq!(pair.arrived().await["seq"], 1);
            for seq in [2, 3] {
                pair.told("replayed_command", Some("c"), Some(seq)).await;
            }
            pair.passes(&pair.good(4)).await;
        }),
        Scenario::new("4.6.9 a commandID counts for one connection", |w| async move {
            // The desktop keeps the acknowledgement of a command that comes again later.
            let mut pair = Pair::of(&w).await;
            pair.passes(&pair.good(1)).await;
            pair.reconnects().await;
            pair.passes(&pair.good(1)).await;
        }),
        Scenario::new("4.6.9 phones have their own commandIDs", |w| async move {
            let mut pair = Pair::of(&w).await;
            pair.passes(&pair.good(1)).await;
            assert_eq!(pair.desk.refresh().await.status, 200);
            let mut other = pair.desk.pair().await;
            let mut wire = pair.desk.connect(&mut other).await;
            wire.send(&pair.good(1)).await;
            let got = pair.desk.wire.message().await;
            assert_eq!(got["payload"]["payload"]["commandID"], "cmd-1");
            assert_eq!(got["relayDeviceID"], json!(other.device));
            wire.send(&pair.good(1)).await;
            told(&mut wire, "replayed_command", Some("cmd-1"), Some(1)).await;
        }),
    ]
}

//! 4.6: the order of the checks, with frames that have every fault which was not mended yet.

use serde_json::json;

use super::frame::{Pair, spoil};
use crate::scenario::Scenario;

pub(crate) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new("4.6 order of the checks of a command", |w| async move {
            let w = w.with(&[("MAX_REMOTE_COMMANDS_PER_MINUTE", "1")]);
            let mut pair = Pair::of(&w).await;
            pair.passes(&pair.good(5)).await;
            let mut frame = json!({
                "colour": "red", "sessionID": 7, "schemaVersion": "3", "seq": "x",
                "payload": {
                    "type": "event", "hue": 1, "payload": { "shade": 1, "commandID": 7, "name": 7 },
                },
            });
            let steps = [
                ("colour", "/colour", None),
                ("sessionID", "/sessionID", Some(json!(pair.desk.session()))),
                ("schemaVersion", "/schemaVersion", Some(json!(2))),
                ("type", "/payload/type", Some(json!("command"))),
                ("hue", "/payload/hue", None),
                ("shade", "/payload/payload/shade", None),
                ("name", "/payload/payload/name", Some(json!("thread.delete"))),
                ("commandID", "/payload/payload/commandID", Some(json!("c-1"))),
                ("seq", "/seq", Some(json!(5))),
            ];
            for (named, path, mended) in steps {
                let message = pair.refused(&frame, "invalid_command").await;
                assert!(message.contains(named), "{named}: {message}");
                spoil(&mut frame, path, mended);
            }
            pair.refused(&frame, "replayed_command").await;
            frame["seq"] = json!(6);
            pair.refused(&frame, "command_rate_limited").await;
        }),
        Scenario::new("4.6 the schema is judged before the payload", |w| async move {
            let mut pair = Pair::of(&w).await;
            let mut frame = pair.good(1);
            frame["schemaVersion"] = json!(3);
            frame["payload"] = json!(null);
            pair.refused(&frame, "unsupported_schema").await;
        }),
        Scenario::new("4.6 what is asked is judged last", |w| async move {
            let mut pair = Pair::of(&w).await;
            pair.passes(&pair.good(5)).await;
            let frame = pair.command(5, &json!({ "name": "thread.delete", "commandID": "other" }));
            pair.refused(&frame, "replayed_command").await;
        }),
        Scenario::new("4.6 the first of many good frames passes after bad ones", |w| async move {
            let mut pair = Pair::of(&w).await;
            pair.send_text("{").await;
            pair.phone.send(&json!({ "type": "ping" })).await;
            pair.phone.send(&pair.command(1, &json!({ "name": "thread.delete" }))).await;
            pair.phone.send(&pair.good(1)).await;
            pair.told("invalid_payload", None, None).await;
            pair.told("invalid_command", None, None).await;
            pair.told("invalid_command", Some("cmd-1"), Some(1)).await;
            assert_eq!(pair.arrived().await["seq"], 1);
        }),
    ]
}

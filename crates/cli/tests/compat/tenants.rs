//! Two sessions on one relay: nothing of one opens, changes or reaches the other.

use serde_json::json;

use crate::{scenario::Scenario, world::World};

/// A second session on the same relay.
fn other(w: &World) -> World {
    World { relay: w.relay.clone(), session: format!("other-of-{}", w.session) }
}

pub(crate) fn all() -> Vec<Scenario> {
    let mut all = Vec::new();
    for path in ["/pair/refresh", "/pair/stop", "/devices/list", "/devices/revoke", "/pair/start"] {
        all.push(Scenario::new(
            format!("tenants: {path} with the token of another"),
            move |w| async move {
                let (mut desk, mut phone) = w.paired().await;
                let mut wire = desk.connect(&mut phone).await;
                let stranger = other(&w).started().await;
                let mut body = match path {
                    "/pair/refresh" => desk.desktop.refresh(),
                    "/pair/start" => desk.desktop.start(),
                    _ => desk.desktop.own(),
                };
                body["desktopSessionToken"] = json!(stranger.token);
                if path == "/devices/revoke" {
                    body["deviceID"] = json!(phone.device);
                }
                let answer = w.native().post(path, &body).await;
                match path {
                    "/pair/start" => {
                        assert_eq!(
                            (answer.status, answer.error()),
                            (409, "session_already_active")
                        );
                    }
                    _ => {
                        assert_eq!(
                            (answer.status, answer.error()),
                            (403, "invalid_desktop_session_token")
                        );
                    }
                }
                // Everything is as it was.
                let hello = desk.desktop.hello();
                desk.wire.send(&hello).await;
                assert_eq!(wire.envelope().await, hello);
            },
        ));
    }
    all.push(Scenario::new(
        "tenants: a device of another session cannot be revoked",
        |w| async move {
            let (_desk, phone) = w.paired().await;
            let stranger = other(&w).started().await;
            let mut body = stranger.own();
            body["deviceID"] = json!(phone.device);
            let answer = w.native().post("/devices/revoke", &body).await;
            assert_eq!((answer.status, answer.error()), (404, "device_not_found"));
            w.page().open().await.auth(&phone.token).await;
        },
    ));
    all.push(Scenario::new("tenants: a join token of another session", |w| async move {
        let desk = w.open().await;
        let stranger = other(&w).open().await;
        let body = json!({
            "sessionID": desk.session(), "joinToken": stranger.desktop.join_token,
        });
        let answer = w.page().post("/pair/join", &body).await;
        assert_eq!((answer.status, answer.error()), (403, "invalid_join_token"));
    }));
    all.push(Scenario::new(
        "tenants: frames that name another session reach nobody",
        |w| async move {
            let (mut desk, mut phone, _) = w.connected().await;
            let (mut their_desk, mut their_phone, _) = other(&w).connected().await;
            let theirs = their_desk.session();
            let mut command = json!({
                "schemaVersion": 2, "sessionID": theirs, "seq": 1, "payload": { "type": "command",
                "payload": { "name": "thread.select", "commandID": "c-1", "threadID": "t-1" } },
            });
            phone.send(&command).await;
            assert_eq!(phone.until("relay.error").await["error"], "invalid_session");
            let mut hello = desk.desktop.hello();
            hello["sessionID"] = json!(theirs);
            desk.wire.send(&hello).await;
            // What is sent after it arrives first, and alone.
            command["sessionID"] = json!(desk.session());
            phone.send(&command).await;
            assert_eq!(desk.wire.envelope().await["seq"], 1);
            let own = desk.desktop.hello();
            desk.wire.send(&own).await;
            assert_eq!(phone.envelope().await, own);
            let silence = std::time::Duration::from_millis(100);
            their_phone.stays_silent(silence).await;
            their_desk.wire.stays_silent(silence).await;
        },
    ));
    all
}

//! `belay devices` on the machine of a relay that serves desktops in the field.

use std::process::{Command, Output};

use serde_json::json;

use crate::{scenario::Scenario, world::World};

pub(crate) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "epic B: belay devices lists and revokes phones of desktops",
            |w| async move {
                let admin = crate::relay::free_address();
                let w = w.with(&[("BELAY_ADMIN_LISTEN", &admin)]);
                let (mut desk, mut phone) = w.paired().await;
                let mut wire = desk.connect(&mut phone).await;

                let listed = devices(&w, &admin, &["list"]);
                let text = String::from_utf8_lossy(&listed.stdout).into_owned();
                assert!(
                    text.contains(&format!("1 of 2 devices, session {}", w.session)),
                    "{listed:?}"
                );
                assert!(text.contains(&phone.device) && text.contains("connected"), "{text}");
                let revoked = devices(&w, &admin, &["revoke", "Ana's phone", "--yes"]);
                assert!(revoked.status.success(), "{revoked:?}");

                assert_eq!(wire.ended().await, ("device_revoked".to_owned(), 1008));
                let text = devices(&w, &admin, &["list"]).stdout;
                let text = String::from_utf8_lossy(&text).into_owned();
                assert!(text.contains("0 of 2 devices"), "{text}");
            },
        ),
        Scenario::new(
            "epic B: a phone that calls itself by another's id hides nobody",
            |w| async move {
                let admin = crate::relay::free_address();
                let w = w.with(&[("BELAY_ADMIN_LISTEN", &admin)]);
                let (mut desk, phone) = w.paired().await;
                desk.refresh().await;
                let body = json!({
                    "sessionID": w.session, "joinToken": desk.desktop.join_token,
                    "deviceName": phone.device,
                });
                let page = w.page();
                let joining = tokio::spawn(async move { page.post("/pair/join", &body).await });
                desk.decide(true).await;
                assert_eq!(joining.await.expect("ran").status, 200);

                let revoked = devices(&w, &admin, &["revoke", &phone.device, "--yes"]);
                assert!(revoked.status.success(), "{revoked:?}");
                let list = desk.net.post("/devices/list", &desk.desktop.own()).await;
                assert_eq!(list.body["devices"].as_array().map(Vec::len), Some(1));
                assert_ne!(list.body["devices"][0]["deviceID"], json!(phone.device));
            },
        ),
        Scenario::new("epic B: belay devices without the admin token is refused", |w| async move {
            let admin = crate::relay::free_address();
            let w = w.with(&[("BELAY_ADMIN_LISTEN", &admin)]);
            w.paired().await;
            let folder = tempfile::tempdir().expect("a folder");
            let listed = run(folder.path(), &admin, &["list"]);
            assert!(!listed.status.success(), "{listed:?}");
        }),
    ]
}

fn devices(w: &World, admin: &str, args: &[&str]) -> Output {
    run(w.relay.folder(), admin, args)
}

fn run(folder: &std::path::Path, admin: &str, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_belay"));
    command.arg("devices").args(args).arg("--data-dir").arg(folder);
    command.args(["--admin", &format!("http://{admin}")]).env_clear();
    command.output().expect("it runs")
}

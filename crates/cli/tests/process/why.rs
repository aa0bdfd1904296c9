//! Why connections ended, with the command of an operator.

use std::path::Path;

use belay_testkit::{Desk, Relay as Url};

use crate::relay::{Relay, operate, start_with};

fn why(relay: &Relay, folder: &Path, id: &[&str]) -> (bool, String) {
    operate(relay, folder, &[&["why"], id].concat())
}

async fn small_metrics(relay: &Relay, folder: &Path) -> serde_json::Value {
    let token = std::fs::read_to_string(folder.join("admin-token")).expect("a token");
    let call = reqwest::Client::new().get(format!("{}/api/v1/esp32/metrics", relay.url));
    let answer = call.bearer_auth(token.trim()).send().await.expect("an answer");
    serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON")
}

#[tokio::test]
async fn the_end_of_a_connection_is_told_in_words_and_counted() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let relay = start_with(folder.path(), ":0", &["--admin-on-public"]);
    let there = Url::at(&relay.url);
    let mut desk = Desk::start(&there).await;
    assert!(why(&relay, folder.path(), &[]).1.contains("no connection has ended since"));
    let phone = desk.pair(&there).await;
    let member = phone.id.to_string();
    drop(phone);
    there.until_number("sessionsWithMobile", 0).await;

    let (good, list) = why(&relay, folder.path(), &[]);
    assert!(good && list.contains(&format!("device {member}")), "{list}");
    let id = list.split_whitespace().nth(1).expect("an id").to_owned();
    let (good, text) = why(&relay, folder.path(), &[&id]);
    assert!(good, "{text}");
    for part in [&member, "test 0", "without a goodbye"] {
        assert!(text.contains(part), "{part} in {text}");
    }

    desk.client.reconnect();
    desk.until(|e| matches!(e, belay_client::Event::Connected(_))).await;
    let metrics = small_metrics(&relay, folder.path()).await;
    assert_eq!(metrics["ws_metrics"]["ws_reconnects"], 1, "{metrics}");
    assert_eq!(metrics["ws_metrics"]["dropped_messages"], 0, "{metrics}");
    assert_eq!(metrics["resume_store_metrics"]["damaged_entries"], 0, "{metrics}");
    assert!(metrics["ws_metrics"]["ws_active"].is_number(), "{metrics}");
    let store = &metrics["resume_store_metrics"];
    assert_eq!((&store["state"], &store["sessions"]), (&"ok".into(), &1.into()), "{metrics}");
    assert_eq!((&store["limit_messages"], &store["ttl_seconds"]), (&200.into(), &900.into()));
    assert!(store["messages"].is_number() && store["evictions"].is_number(), "{metrics}");

    let (good, text) = why(&relay, folder.path(), &["nonsense"]);
    assert!(!good && text.contains("expected the id of a connection"), "{text}");
    let (good, text) = why(&relay, folder.path(), &["AAAAAAAAAAAAAAAAAAAAAA"]);
    assert!(!good && text.contains("no such connection"), "{text}");
}

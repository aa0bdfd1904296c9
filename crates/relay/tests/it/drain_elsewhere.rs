//! A node of a cluster is drained through any other one.

use std::time::Instant;

use belay_testkit::{SOON, cluster::Cluster};
use serde_json::{Value, json};

use crate::drain::call;

fn word(told: &Value, member: &str) -> String {
    told[member].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn any_node_tells_how_another_one_drains_and_ends_that() {
    let cluster = Cluster::start(2).await;
    let [one, other] = [0, 1].map(|n| &cluster.relays[n]);
    let named = json!({ "node": "relay1" });

    let (status, told) = call(one, "cancel", Some(named.clone())).await;
    assert_eq!(
        (status, word(&told, "state")),
        (200, "active".to_owned()),
        "no drain, no error: {told}"
    );
    let mut start = named.clone();
    start["reason"] = "deploy".into();
    let (status, told) = call(one, "start", Some(start)).await;
    assert_eq!((status, word(&told, "state")), (202, "drained".to_owned()), "{told}");
    assert_eq!(word(&told, "by"), "admin of another node");

    // Each gives the same answer of it; and its own, where nobody is named.
    for (relay, query) in
        [(one, "status?node=relay1"), (other, "status?node=relay1"), (other, "status")]
    {
        let (status, told) = call(relay, query, None).await;
        assert_eq!((status, word(&told, "reason")), (200, "deploy".to_owned()), "{query}: {told}");
        assert_eq!(word(&told, "node"), "relay1");
        assert_eq!(told["elsewhere"], 1, "the other one takes clients: {told}");
    }
    let (_, told) = call(one, "status", None).await;
    assert_eq!(word(&told, "state"), "active");
    assert_eq!(told["elsewhere"], 0, "nobody else takes clients: {told}");

    let (status, told) = call(one, "cancel", Some(named)).await;
    assert_eq!((status, word(&told, "state")), (200, "active".to_owned()), "{told}");
    assert_eq!(word(&told["last"], "reason"), "deploy", "as its own operator sees it: {told}");
    let (status, told) = call(other, "cancel", Some(json!({ "node": "relay1" }))).await;
    assert_eq!(
        (status, word(&told, "state")),
        (200, "active".to_owned()),
        "by itself, too: {told}"
    );
    assert_eq!(word(&call(other, "status", None).await.1, "state"), "active");
}

#[tokio::test]
async fn a_node_that_nobody_knows_or_hears_is_told_apart_and_nothing_is_guessed() {
    let mut cluster = Cluster::start(2).await;
    let one = &cluster.relays[0];
    let start = |node: &str| json!({ "reason": "deploy", "node": node });

    for (what, body) in [
        ("start", Some(start("relay9"))),
        ("cancel", Some(json!({ "node": "relay9" }))),
        ("status?node=relay9", None),
    ] {
        let (status, told) = call(one, what, body).await;
        assert_eq!(status, 404, "{what}: {told}");
        assert!(word(&told, "message").contains("there are relay0, relay1"), "{what}: {told}");
    }
    let (status, told) = call(one, &format!("status?node={}", "x".repeat(64)), None).await;
    assert!(status == 400 && word(&told, "message").contains("63"), "{told}");
    let (status, told) = call(one, "status?nod=relay1", None).await;
    assert!(status == 400 && word(&told, "message").contains("nod"), "{told}");
    let (status, told) = call(one, "cancel", Some(json!({ "nod": "relay1" }))).await;
    assert!(status == 400 && word(&told, "message").contains("nod"), "{told}");

    cluster.nats.process().kill();
    let (status, told) = call(one, "start", Some(start("relay1"))).await;
    assert_eq!((status, word(&told, "error")), (504, "no_answer".to_owned()), "{told}");
    assert!(word(&told, "message").contains("no other node is heard here"), "{told}");
    cluster.nats.restart().expect("nats");
}

#[tokio::test]
async fn while_the_store_is_away_who_is_heard_is_told_of_and_nobody_is_made_up() {
    let mut cluster = Cluster::start(2).await;
    let one = &cluster.relays[0];
    assert_eq!(call(one, "status?node=relay1", None).await.0, 200);

    cluster.redis.process().kill();
    // Who lives is known until the leases end.
    let deadline = Instant::now() + SOON;
    while call(one, "status?node=relay9", None).await.0 == 404 {
        assert!(Instant::now() < deadline, "it still knows who lives");
    }
    let (status, told) = call(one, "status?node=relay1", None).await;
    assert_eq!((status, word(&told, "state")), (200, "active".to_owned()), "{told}");
    let (status, told) = call(one, "status?node=relay9", None).await;
    assert_eq!(status, 504, "{told}");
    assert!(
        word(&told, "message").contains("nobody knows who lives while the store is away"),
        "{told}"
    );
    cluster.redis.restart().expect("redis");
}

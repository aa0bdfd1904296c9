//! Relays that were set up so that they cannot work together are told of.

use std::time::{Duration, Instant};

use belay_relay::Config;
use belay_testkit::{Relay, cluster::Cluster};
use serde_json::Value;

/// Until a node has heard of another one.
const SOON: Duration = Duration::from_secs(30);

/// What the admin listener says of the cluster, once it is so.
async fn told_of(relay: &Relay, is_so: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + SOON;
    loop {
        let call = reqwest::Client::new().get(format!("http://{}/healthz", relay.admin()));
        let answer = call.bearer_auth(relay.admin_token()).send().await.expect("answered");
        let body: Value = answer.json().await.expect("JSON");
        if is_so(&body["cluster"]) {
            return body["cluster"].clone();
        }
        assert!(Instant::now() < deadline, "{body}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn faults(cluster: &Value) -> Vec<&str> {
    cluster["faults"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

#[tokio::test]
async fn a_relay_with_a_name_that_is_taken_and_other_keys_is_told_of_at_the_others_while_it_lives()
{
    let cluster = Cluster::start(1).await;
    let keys = Some(format!("1:{}", "33".repeat(32)));
    let other = Config { instance: "relay0".to_owned(), store_key: keys, ..cluster.config(1) };
    let other = Relay::start_alone(other).await;

    for relay in [&cluster.relays[0], &other] {
        let told = told_of(relay, |cluster| faults(cluster).len() == 2).await;
        assert!(faults(&told)[0].contains("--instance"), "{told}");
        assert!(faults(&told)[1].contains("BELAY_STORE_KEY"), "{told}");
    }
    other.stop().await;
    told_of(&cluster.relays[0], |cluster| faults(cluster).is_empty()).await;
}

#[tokio::test]
async fn a_relay_with_another_bus_secret_is_not_heard_and_named() {
    let cluster = Cluster::start(1).await;
    let secret = Some(belay_wire::Secret::new("another secret that is long enough, too"));
    let _other = Relay::start_alone(Config { bus_secret: secret, ..cluster.config(1) }).await;

    let told = told_of(&cluster.relays[0], |cluster| !faults(cluster).is_empty()).await;
    assert!(told["bus"]["refused"]["signature"].as_u64() > Some(0), "{told}");
    assert!(faults(&told)[0].contains("relay1"), "{told}");
    assert!(faults(&told)[0].contains("--bus-secret"), "{told}");
}

//! What strangers choose never stands as it is in a key of Redis or a subject of NATS.

use belay_relay::Config;
use belay_testkit::{Desk, cluster::Cluster, config};
use serde_json::{Value, json};

/// Names that mean something to Redis, to NATS or to a script.
const HOSTILE: [&str; 8] = [
    "}{x}:record-of-another-session",
    "belay:{AAAAAAAAAAAAAAAAAAAAAA}:record",
    "belay.d.0.>.* belay.s.>.bus of all",
    "x\r\nFLUSHALL\r\nSET owned 1\r\n-----------",
    "x\r\nPUB belay.s.all.bus 4\r\nevil\r\n-----",
    "\"]]) redis.call('FLUSHALL') --[[\" -----",
    "../../../etc/passwd\u{0}*****************",
    "\u{202e}\u{1F600} \u{7f} not of ascii ---------",
];

/// Subjects that somebody listens to, without those of the broker itself.
fn subjects(cluster: &Cluster) -> Vec<String> {
    let text = cluster.nats.monitor("/subsz?subs=1&limit=10000").expect("told");
    let told: Value = serde_json::from_str(&text).expect("JSON");
    let all = told["subscriptions_list"].as_array().expect("a list");
    let all = all.iter().filter_map(|one| one["subject"].as_str().map(str::to_owned));
    all.filter(|subject| subject.starts_with("belay")).collect()
}

/// A call with a hostile word in all places where a stranger has one. None of it may be an error of ours.
async fn call(cluster: &Cluster, path: &str, word: &str, body: Value) -> u16 {
    let call = reqwest::Client::new().post(format!("{}{path}", cluster.any().url)).json(&body);
    let cookie: String = word.chars().filter(|c| c.is_ascii_graphic() && *c != ';').collect();
    let call =
        call.header("x-affinity-key", &cookie).header("cookie", format!("belay_affinity={cookie}"));
    let status = call.send().await.expect("answered").status().as_u16();
    assert!(status < 500, "{path} with {word:?}: {status}");
    status
}

#[tokio::test]
async fn hostile_names_stay_out_of_keys_and_subjects() {
    let cluster = Cluster::start_of(
        1,
        Config { affinity: true, allowed_origins: vec!["*".to_owned()], ..config() },
    )
    .await;
    let any = cluster.any();
    let mut desk = Desk::start(&any).await;
    let _phone = desk.pair(&any).await;

    let start = |id: &str, token: &str| {
        json!({
            "sessionID": id, "joinToken": token, "desktopSessionToken": format!("{token}-desktop"),
            "joinTokenExpiresAt": "2100-01-01T00:00:00Z",
        })
    };
    let (id, token) = ("a-session-of-an-existing-client", "a-token-of-an-existing-client");
    assert_eq!(call(&cluster, "/pair/start", id, start(id, token)).await, 200);
    for word in HOSTILE {
        for body in [start(word, token), start(id, word)] {
            assert_eq!(call(&cluster, "/pair/start", word, body).await, 400, "{word:?}");
        }
        let refresh = json!({
            "sessionID": word, "joinToken": format!("{word} 2"), "desktopSessionToken": format!("{word} desktop"),
            "joinTokenExpiresAt": "2100-01-01T00:00:00Z",
        });
        call(&cluster, "/pair/refresh", word, refresh).await;
        let join = json!({ "sessionID": word, "joinToken": "no such token of anybody", "deviceName": word });
        call(&cluster, "/pair/join", word, join).await;
        let commit = "A".repeat(43);
        let device = json!({ "name": word, "platform": word });
        let typed = json!({ "code": word, "device": device, "commit": commit });
        call(&cluster, "/v1/pair", word, typed).await;
        let linked = json!({ "rendezvous": word, "device": device, "commit": commit });
        call(&cluster, "/v1/pair", word, linked).await;
    }

    let plain = |c: char| c.is_ascii_alphanumeric() || "_-:.{}".contains(c);
    // One a line: a key with a line break would be two, of which one does not begin as ours do.
    let keys = cluster.redis.cli(&["KEYS", "*"]).expect("told");
    assert!(keys.lines().count() > 5, "{keys}");
    for key in keys.lines() {
        assert!(key.starts_with("belay") && key.chars().all(plain), "{key:?}");
        assert!(!HOSTILE.iter().any(|word| key.contains(word)), "{key:?}");
    }
    let subjects = subjects(&cluster);
    assert!(subjects.iter().any(|subject| subject.contains(&desk.session.session.to_string())));
    for subject in subjects {
        let allowed = |c: char| plain(c) || "*>$".contains(c);
        assert!(subject.chars().all(allowed), "{subject:?}");
        let session = subject.split('.').nth(2).unwrap_or_default();
        assert!(!subject.starts_with("belay.s.") || session.len() == 22, "{subject:?}");
    }
}

//! Pairing under attack: races, hang-ups, wrong codes, restarts.

use std::time::Duration;

use belay_client::{Api, Event, Identity, Phone};
use belay_relay::Config;
use belay_wire::{
    Bytes32, Frame, Secret,
    pair::{DeviceInfo, PairOutcome, RevealPair, StartPair},
    proof::commitment,
};

use belay_testkit::{Desk, Relay, config, unix_ms};

#[tokio::test]
async fn a_hundred_redemptions_with_different_keys_pair_at_most_one() {
    let relay = Relay::start(config()).await;
    let mut desk = Desk::start(&relay).await;
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..100 {
        let (api, link, url) = (relay.api(), desk.link(&relay), relay.url.clone());
        calls.spawn(async move {
            let phone = Phone::new(&format!("phone {n}"), "test");
            let waiting = phone.start(&api, &link).await?;
            phone.finish(&api, &url, &waiting).await.map(|_| ())
        });
    }

    let warned = |e: &Event| matches!(e, Event::Frame(f) if matches!(&**f, Frame::Notice(n) if n.code == "pair_conflict"));
    let outcome = desk.until_ended().await;
    desk.until(warned).await;
    let results = calls.join_all().await;

    assert_eq!(outcome, PairOutcome::Conflict, "a second key denies both");
    assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 0);
    relay.until_number("pendingJoinWaiters", 0).await;
}

#[tokio::test]
async fn a_hundred_redemptions_with_the_same_key_pair_exactly_one_device() {
    let relay = Relay::start(config()).await;
    let mut desk = Desk::start(&relay).await;
    let key = Identity::generate().public();
    let opening = Bytes32([5; 32]);
    let link = desk.link(&relay);
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let api = relay.api();
        let start = StartPair {
            rendezvous: Some(link.rendezvous),
            code: None,
            device: DeviceInfo { name: "phone".to_owned(), platform: "test".to_owned() },
            commit: commitment(&key, &opening),
        };
        calls.spawn(async move {
            let started = api.start_pair(&start).await.expect("joins its own request");
            let reveal = RevealPair { public_key: key, opening };
            api.reveal_pair(started.request, &reveal).await.expect("paired").member
        });
    }
    // One that came after the end would find a link that is spent.
    relay.until_number("pendingJoinWaiters", 100).await;

    desk.decide(true, link.secret.expose().as_bytes()).await;
    let members: std::collections::BTreeSet<_> = calls.join_all().await.into_iter().collect();

    assert_eq!(members.len(), 1, "all calls learn of the same device");
    relay.until_number("pendingJoinWaiters", 0).await;
}

#[tokio::test]
async fn a_phone_that_hangs_up_leaves_nothing_behind() {
    let relay = Relay::start(config()).await;
    let mut desk = Desk::start(&relay).await;
    let (api, link, url) = (relay.api(), desk.link(&relay), relay.url.clone());
    let phone = Phone::new("phone", "test");
    let pairing = tokio::spawn(async move {
        let waiting = phone.start(&api, &link).await.expect("redeemed");
        let _ = phone.finish(&api, &url, &waiting).await;
    });
    desk.until(|e| matches!(e, belay_client::Event::Frame(f) if f.kind() == "pair.request")).await;
    relay.until_number("pendingJoinWaiters", 1).await;

    pairing.abort();

    relay.until_number("pendingJoinWaiters", 0).await;
    let told = |e: &belay_client::Event| {
        matches!(e, belay_client::Event::Frame(f)
            if matches!(**f, belay_wire::Frame::PairWaiting(ref w) if !w.waiting))
    };
    desk.until(told).await;
}

#[tokio::test]
async fn a_rejected_phone_is_told_and_the_link_is_used_up() {
    let relay = Relay::start(config()).await;
    let mut desk = Desk::start(&relay).await;
    let (api, link, url) = (relay.api(), desk.link(&relay), relay.url.clone());
    let phone = Phone::new("phone", "test");
    let secret = link.secret.clone();
    let again = link.clone();
    let pairing = tokio::spawn(async move {
        let waiting = phone.start(&api, &link).await.expect("redeemed");
        phone.finish(&api, &url, &waiting).await
    });

    desk.decide(false, secret.expose().as_bytes()).await;

    let error = pairing.await.expect("ended").expect_err("rejected");
    assert_eq!(error.name(), Some("rejected"));
    let second = Phone::new("other", "test").start(&relay.api(), &again).await;
    assert_eq!(second.expect_err("used").name(), Some("code_used"));
}

#[tokio::test]
async fn an_approval_that_does_not_come_expires() {
    let config = Config { approval_ttl: Duration::from_secs(2), ..config() };
    let relay = Relay::start(config).await;
    let mut desk = Desk::start(&relay).await;
    let (api, link, url) = (relay.api(), desk.link(&relay), relay.url.clone());
    let pairing = tokio::spawn(async move {
        let phone = Phone::new("phone", "test");
        let waiting = phone.start(&api, &link).await.expect("redeemed");
        phone.finish(&api, &url, &waiting).await
    });

    assert_eq!(desk.until_ended().await, PairOutcome::Expired);

    let error = pairing.await.expect("ended").expect_err("expired");
    assert_eq!(error.name(), Some("approval_expired"));
}

#[tokio::test]
async fn five_wrong_typed_codes_burn_the_code() {
    let relay = Relay::start(config()).await;
    let desk = Desk::start(&relay).await;
    let code = desk.session.code.expose().to_owned();
    let last = if code.ends_with('0') { '1' } else { '0' };
    let wrong = format!("{}{last}", &code[..7]);
    let api: Api = relay.api();

    for attempt in 1..=5 {
        let error = Phone::new("thief", "test").start_typed(&api, &wrong).await.expect_err("wrong");
        let expected = if attempt < 5 { "code_wrong" } else { "code_burnt" };
        assert_eq!(error.name(), Some(expected), "attempt {attempt}");
    }

    let error = Phone::new("owner", "test").start_typed(&api, &code).await.expect_err("burnt");
    assert_eq!(error.name(), Some("code_burnt"));
}

#[tokio::test]
async fn a_typed_code_pairs_and_both_screens_show_the_same_digits() {
    let relay = Relay::start(config()).await;
    let mut desk = Desk::start(&relay).await;
    let code = desk.session.code.expose().to_lowercase();
    let typed = format!("{}-{}", &code[..4], &code[4..]);
    let (api, url) = (relay.api(), relay.url.clone());
    let pairing = tokio::spawn(async move {
        let phone = Phone::new("phone", "test");
        let waiting = phone.start_typed(&api, &typed).await.expect("redeemed");
        phone.finish(&api, &url, &waiting).await.expect("paired");
        waiting.code
    });

    let shown = desk.decide(true, b"").await;

    assert_eq!(pairing.await.expect("paired"), shown);
}

#[tokio::test]
async fn the_third_device_is_refused_with_used_and_allowed() {
    let relay = Relay::start(config()).await;
    let mut desk = Desk::start(&relay).await;
    let _first = desk.pair(&relay).await;
    let _second = desk.pair(&relay).await;

    let third = Phone::new("third", "test").start(&relay.api(), &desk.link(&relay)).await;

    let error = third.expect_err("refused");
    assert_eq!(error.name(), Some("device_limit"));
    assert!(error.to_string().contains("2 of 2"), "{error}");
}

#[tokio::test]
async fn a_code_without_the_hosts_signature_is_refused() {
    let relay = Relay::start(config()).await;
    let desk = Desk::start(&relay).await;
    let thief = Identity::generate();

    let stolen = relay
        .api()
        .new_code(desk.session.session, &desk.token(), &thief, unix_ms())
        .await
        .expect_err("the token alone is worth nothing");
    let forged = relay
        .api()
        .new_code(desk.session.session, &Secret::new("x"), &desk.identity, unix_ms())
        .await
        .expect_err("no token");

    assert_eq!(stolen.name(), Some("unauthorized"));
    assert_eq!(forged.name(), Some("unauthorized"));
}

#[tokio::test]
async fn sessions_devices_and_tokens_survive_a_restart_of_the_relay() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let disk = |port| belay_testkit::disk_config(folder.path(), port);
    let relay = Relay::start(disk(0)).await;
    let mut desk = Desk::start(&relay).await;
    let phone = desk.pair(&relay).await;
    let token = desk.token();
    let port = relay.port();
    drop((desk.client, phone.client));
    relay.stop().await;

    let relay = Relay::start(disk(port)).await;

    let (_host, mut events) = belay_testkit::start_client(&desk.identity, desk.credentials);
    let connected = |e: &belay_client::Event| matches!(e, belay_client::Event::Connected(_));
    belay_testkit::until(&mut events, connected).await;
    let (_phone, mut events) = belay_testkit::start_client(&phone.identity, phone.credentials);
    belay_testkit::until(&mut events, connected).await;
    relay.until_number("activeWebSockets", 2).await;
    let text = std::fs::read(folder.path().join("belay.db")).expect("readable");
    let wal = std::fs::read(folder.path().join("belay.db-wal")).unwrap_or_default();
    let holds =
        |bytes: &[u8]| bytes.windows(token.expose().len()).any(|w| w == token.expose().as_bytes());
    assert!(!holds(&text) && !holds(&wal), "the store holds no token");
}

#[tokio::test]
async fn a_pairing_that_a_restart_cuts_goes_on_after_it() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let disk = |port| belay_testkit::disk_config(folder.path(), port);
    let relay = Relay::start(disk(0)).await;
    let mut desk = Desk::start(&relay).await;
    let (api, link, url) = (relay.api(), desk.link(&relay), relay.url.clone());
    let (port, secret) = (relay.port(), link.secret.clone());
    let (tell, told) = tokio::sync::oneshot::channel::<()>();
    let waiting = tokio::spawn(async move {
        let phone = Phone::new("phone", "test");
        let waiting = phone.start(&api, &link).await.expect("redeemed");
        let first = phone.finish(&api, &url, &waiting).await;
        told.await.expect("the relay is back");
        (first.is_err(), phone.finish(&api, &url, &waiting).await)
    });
    desk.until(|e| matches!(e, belay_client::Event::Frame(f) if f.kind() == "pair.request")).await;

    relay.stop().await;
    let relay = Relay::start(disk(port)).await;
    desk.until(|e| matches!(e, belay_client::Event::Connected(_))).await;
    tell.send(()).expect("it waits");
    let request = desk.request().await;
    desk.answer(&request, true, secret.expose().as_bytes());
    // Who decides while nobody waits is told so, and decides again when somebody does.
    let again = async {
        loop {
            let waits = |e: &belay_client::Event| {
                matches!(e, belay_client::Event::Frame(f)
                    if matches!(**f, belay_wire::Frame::PairWaiting(ref w) if w.waiting))
            };
            desk.until(waits).await;
            desk.answer(&request, true, secret.expose().as_bytes());
        }
    };
    let (was_cut, paired) = tokio::select! {
        ended = waiting => ended.expect("never left hanging"),
        () = again => unreachable!("it goes on"),
    };
    assert!(was_cut, "the first call ended with its relay");
    paired.expect("the same request was decided");
    drop(relay);
}

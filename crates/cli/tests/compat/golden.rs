//! One whole visit of a desktop and two phones, recorded, against the transcript in `golden.jsonl`.
//! `BELAY_BLESS=1` writes that anew.

use std::{collections::BTreeSet, path::PathBuf};

use belay_testkit::compat::{
    Desktop, Net, Party as _, Recorder, Rename, Transcript, What, Wire, normalise, replay,
};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use crate::{
    relay::{PAGE, Relay},
    scenario,
    world::Desk,
};

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/compat/golden.jsonl")
}

fn golden() -> Transcript {
    let text = std::fs::read_to_string(path()).expect("BELAY_BLESS=1 makes it");
    Transcript::parse(&text).expect("lines of JSON")
}

async fn recorder(relay: &Relay, rename: Option<Rename>) -> Recorder {
    let listen = "127.0.0.1:0".parse().expect("an address");
    Recorder::start(listen, &relay.url, rename).await.expect("a free port")
}

/// Step after step, so that every conversation has one order only.
async fn visit(url: &str) {
    let (net, page) = (Net::native(url), Net::page(url, PAGE));
    let desktop = Desktop::new("session-0123456789abcdef");
    assert_eq!(net.post("/pair/start", &desktop.start()).await.status, 200);
    let mut other = Desktop::new("session-0123456789abcdef");
    "another-desktop-0123456789abcdef".clone_into(&mut other.token);
    assert_eq!(net.post("/pair/start", &other.start()).await.status, 409);
    let mut wire = net.open().await;
    wire.auth(&desktop.token).await;
    let mut desk = Desk { desktop, wire, net, page };
    let phone = first_phone(&mut desk).await;
    second_phone(&mut desk).await;
    desk.net.post("/devices/list", &desk.desktop.own()).await;
    leave(desk, phone).await;
}

async fn say(desk: &mut Desk, messages: Vec<Value>) {
    for message in messages {
        desk.wire.send(&message).await;
    }
}

/// The desktop takes what comes next from a phone, and the phone gets its answers.
async fn serve(desk: &mut Desk, phone: &mut Wire) {
    let message = desk.wire.message().await;
    let answers = desk.desktop.hears(&message);
    for answer in answers {
        desk.wire.send(&answer).await;
        phone.envelope().await;
    }
}

async fn first_phone(desk: &mut Desk) -> Wire {
    let mut paired = desk.pair().await;
    let mut phone = desk.connect(&mut paired).await;
    let hello = vec![desk.desktop.hello(), desk.desktop.snapshot()];
    say(desk, hello).await;
    phone.envelope().await;
    phone.envelope().await;
    let mut hand = belay_testkit::compat::Phone::new(&paired.joined);
    phone.send(&hand.snapshot_request("initial_sync")).await;
    serve(desk, &mut phone).await;
    for (name, more) in [
        ("thread.select", json!({ "threadID": "t-1" })),
        ("thread.send_message", json!({ "threadID": "t-1", "text": "a private word" })),
        ("thread.send_message", json!({ "threadID": "t-9", "text": "into nowhere" })),
        ("project.select", json!({ "projectID": "p-1" })),
    ] {
        phone.send(&hand.command(name, &more)).await;
        serve(desk, &mut phone).await;
    }
    let asks = desk.desktop.asks("7", "t-1");
    say(desk, asks).await;
    phone.envelope().await;
    let answer = json!({
        "runtimeRequestID": "7", "runtimeRequestKind": "approval",
        "runtimeRequestResponse": { "decision": "accept", "optionID": "approve_once" },
    });
    phone.send(&hand.command("runtime_request.respond", &answer)).await;
    serve(desk, &mut phone).await;
    phone.send(&hand.command("thread.delete", &json!({ "threadID": "t-1" }))).await;
    phone.until("relay.error").await;
    // The desktop misses that number, and goes on all the same.
    phone.send(&hand.command("thread.select", &json!({ "threadID": "t-2" }))).await;
    serve(desk, &mut phone).await;
    reconnects(desk, phone, paired, &mut hand).await
}

/// The phone comes back with its rotated token, then the desktop does.
async fn reconnects(
    desk: &mut Desk,
    phone: Wire,
    mut paired: crate::world::Paired,
    hand: &mut belay_testkit::compat::Phone,
) -> Wire {
    phone.close().await;
    desk.wire.until("relay.device_count").await;
    let mut phone = desk.connect(&mut paired).await;
    phone.send(&hand.command("thread.select", &json!({ "threadID": "t-2" }))).await;
    serve(desk, &mut phone).await;
    let fresh = desk.net.open().await;
    std::mem::replace(&mut desk.wire, fresh).close().await;
    phone.until("relay.desktop_status").await;
    phone.send(&hand.command("thread.select", &json!({ "threadID": "t-1" }))).await;
    phone.until("relay.error").await;
    desk.refresh().await;
    let told = desk.wire.auth(&desk.desktop.token).await;
    phone.until("relay.desktop_status").await;
    let hello = desk.desktop.hears(&told);
    say(desk, hello).await;
    phone.envelope().await;
    phone.envelope().await;
    phone
}

/// One is refused, one is let in and removed.
async fn second_phone(desk: &mut Desk) {
    let joining = desk.joining();
    desk.decide(false).await;
    assert_eq!(joining.await.expect("ran").status, 403);
    let mut paired = desk.pair().await;
    let mut phone = desk.connect(&mut paired).await;
    let third = desk.joining().await.expect("ran");
    assert_eq!(third.status, 409);
    let mut body = desk.desktop.own();
    body["deviceID"] = json!(paired.device);
    assert_eq!(desk.net.post("/devices/revoke", &body).await.status, 200);
    phone.ended().await;
    desk.wire.until("relay.device_count").await;
    let mut again = desk.page.open().await;
    again.send(&json!({ "type": "relay.auth", "token": paired.token })).await;
    again.ended().await;
}

async fn leave(mut desk: Desk, mut phone: Wire) {
    let own = desk.desktop.own();
    assert_eq!(desk.net.post("/pair/stop", &own).await.status, 200);
    phone.ended().await;
    desk.wire.ended().await;
    assert_eq!(desk.net.post("/devices/list", &own).await.status, 404);
}

async fn record() -> String {
    let relay = Relay::start(&[]);
    let recorder = recorder(&relay, None).await;
    visit(&recorder.url).await;
    normalise(&recorder.transcript().await.by_conversation()).to_text()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_visit_is_as_it_was_in_twenty_runs() {
    let first = record().await;
    if std::env::var_os("BELAY_BLESS").is_some() {
        std::fs::write(path(), &first).expect("written");
    }
    let text = std::fs::read_to_string(path()).expect("BELAY_BLESS=1 makes it");
    let runs = stream::iter(0..20).map(|_| tokio::spawn(record())).buffer_unordered(4);
    let runs: Vec<_> = runs.collect().await;
    assert_eq!(runs.len(), 20);
    for run in runs {
        let run = run.expect("ran");
        for (at, (then, now)) in text.lines().zip(run.lines()).enumerate() {
            assert_eq!(then, now, "line {} of golden.jsonl", at + 1);
        }
        assert_eq!(text.lines().count(), run.lines().count());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_visit_leaves_no_secret_and_no_message_behind() {
    let relay = Relay::start(&[("RUST_LOG", "trace")]);
    let recorder = recorder(&relay, None).await;
    visit(&recorder.url).await;
    let mut secrets = BTreeSet::from(["a private word".to_owned(), "into nowhere".to_owned()]);
    for line in recorder.transcript().await.0 {
        let line = serde_json::to_value(&line).expect("plain data");
        tokens_of(&line, &mut secrets);
    }
    assert!(secrets.len() >= 9, "{secrets:?}");

    let log = relay.log();
    assert!(log.contains("device_revoked"), "it logs the visit");
    let files = files(relay.folder());
    assert!(files.iter().any(|path| path.extension().is_some_and(|e| e == "seg")), "{files:?}");
    for path in files {
        let bytes = std::fs::read(&path).expect("readable");
        let text = String::from_utf8_lossy(&bytes);
        for secret in &secrets {
            assert!(!text.contains(secret), "{secret} in {path:?}");
        }
    }
}

fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").flatten().map(|e| e.path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn tokens_of(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| match value {
            Value::String(text) if name.to_lowercase().ends_with("token") => {
                found.insert(text.clone());
            }
            value => tokens_of(value, found),
        }),
        Value::Array(items) => items.iter().for_each(|item| tokens_of(item, found)),
        _ => {}
    }
}

/// The transcript in an order in which it can be played: as it was recorded.
async fn playable() -> Transcript {
    let relay = Relay::start(&[]);
    let recorder = recorder(&relay, None).await;
    visit(&recorder.url).await;
    recorder.transcript().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_member_with_another_name_is_noticed_wherever_it_stands() {
    let transcript = playable().await;
    assert_eq!(
        normalise(&transcript.clone().by_conversation()),
        golden(),
        "what is played is golden"
    );
    let mut renames: Vec<_> = members(&transcript);
    assert!(renames.len() >= 60, "{} members", renames.len());
    // One that nobody uses shows that a difference is what fails.
    let unused = |to_relay| Rename { member: "neverUsed".to_owned(), to_relay };
    renames.extend([unused(true), unused(false)]);
    let played = renames.into_iter().map(|rename| {
        let transcript = transcript.clone();
        async move {
            let relay = Relay::start(&[]);
            let recorder = recorder(&relay, Some(rename.clone())).await;
            (rename, replay(&transcript, &recorder.url).await)
        }
    });
    let played: Vec<_> = stream::iter(played).buffer_unordered(6).collect().await;
    let rows: Vec<_> = played
        .iter()
        .map(|(r, end)| json!({ "member": r.member, "to_relay": r.to_relay, "noticed": end.as_ref().err() }))
        .collect();
    scenario::write("compat-mutations.json", &json!({ "mutations": rows.len() - 2, "rows": rows }));
    for (rename, end) in played {
        assert_eq!(end.is_err(), rename.member != "neverUsed", "{rename:?}: {end:?}");
    }
}

fn members(transcript: &Transcript) -> Vec<Rename> {
    let mut found = BTreeSet::new();
    for line in &transcript.0 {
        match &line.what {
            What::Call { body, .. } | What::Said(body) => collect(body, true, &mut found),
            What::Answer { body, .. } | What::Told(body) => collect(body, false, &mut found),
            _ => {}
        }
    }
    found.into_iter().map(|(member, to_relay)| Rename { member, to_relay }).collect()
}

fn collect(value: &Value, to_relay: bool, found: &mut BTreeSet<(String, bool)>) {
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| {
            found.insert((name.clone(), to_relay));
            collect(value, to_relay, found);
        }),
        Value::Array(items) => items.iter().for_each(|item| collect(item, to_relay, found)),
        _ => {}
    }
}

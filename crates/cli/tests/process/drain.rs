//! A rolling restart on one machine, with the commands of `docs/drain.md`.

use std::path::Path;

use belay_client::Event;
use belay_testkit::{Desk, Relay as Url};
use belay_wire::{Channel, Frame, RawJson};

use crate::relay::{Relay, command, operate, ready, start_with};

fn drain(relay: &Relay, folder: &Path, args: &[&str]) -> (bool, String) {
    operate(relay, folder, &[&["drain"], args].concat())
}

#[tokio::test]
async fn a_rolling_restart_costs_one_reconnect_and_no_message() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut relay = start_with(folder.path(), ":0", &["--admin-on-public"]);
    let there = Url::at(&relay.url);
    let mut desk = Desk::start(&there).await;
    let mut phone = desk.pair(&there).await;
    let mut next = 0;
    let mut send = |desk: &Desk| {
        next += 1;
        let payload = RawJson::of(&next).expect("JSON");
        desk.client.send(Channel::Down, payload, None).expect("room");
        next
    };
    let first = send(&desk);
    phone.until(|e| matches!(e, Event::Message(m) if m.payload.text() == first.to_string())).await;
    assert_eq!(drain(&relay, folder.path(), &["status"]).1.trim(), "active: 2 connections");
    let early = drain(&relay, folder.path(), &["complete"]);
    assert!(!early.0 && early.1.contains("does not drain"), "{}", early.1);

    let args = ["start", "--reason", "deploy 42", "--window", "1", "--wait"];
    let (good, text) = drain(&relay, folder.path(), &args);
    assert!(good && text.starts_with("draining: 2 of 2 connections"), "{text}");
    assert!(text.lines().last().is_some_and(|l| l.starts_with("drained: 0 of 2")), "{text}");
    let (_, ended) = operate(&relay, folder.path(), &["why"]);
    let id = ended.split_whitespace().nth(1).expect("a connection that ended");
    let (_, why) = operate(&relay, folder.path(), &["why", id]);
    assert!(why.contains("The relay drained (\"deploy 42\")."), "{why}");
    let last = send(&desk);
    assert!(drain(&relay, folder.path(), &["complete"]).0);
    assert!(relay.child.wait().expect("it ends").success());

    let url = relay.url.clone();
    drop(relay);
    let relay = start_with(folder.path(), &url, &["--admin-on-public"]);
    let status = drain(&relay, folder.path(), &["status"]).1;
    assert!(status.contains("last drained for \"deploy 42\" at 20"), "{status}");
    let is_last = |e: &Event| {
        assert!(!matches!(e, Event::Frame(f) if matches!(**f, Frame::Gap(_))), "{e:?}");
        matches!(e, Event::Message(m) if m.payload.text() == last.to_string())
    };
    phone.until(is_last).await;
}

#[test]
fn with_exit_the_relay_ends_once_nobody_is_connected() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut relay = ready({
        let mut command = command(folder.path());
        command.args(["--port=0", "--admin-on-public"]);
        command
    });

    let args = ["start", "--reason", "deploy 42", "--window", "1", "--exit"];
    let (good, text) = drain(&relay, folder.path(), &args);

    assert!(good && text.ends_with("the relay ends\n"), "{text}");
    assert!(relay.child.wait().expect("it ends").success());
}

#[test]
fn a_drain_without_a_relay_says_what_to_do() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut relay = ready({
        let mut command = command(folder.path());
        command.arg("--port=0");
        command
    });
    relay.child.kill().expect("killed");
    relay.child.wait().expect("it ends");

    let (good, text) = drain(&relay, folder.path(), &["status"]);

    assert!(!good && text.contains("--admin"), "{text}");
}

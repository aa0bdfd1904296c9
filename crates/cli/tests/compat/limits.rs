//! Section 4.8 of the protocol: every limit that the environment sets.

mod calls;
mod sockets;

use belay_testkit::compat::{Phone, Wire};
use serde_json::{Value, json};

use crate::{
    auth::{has_only, neighbour, second_phone},
    scenario::Scenario,
    world::World,
};

pub(crate) fn all() -> Vec<Scenario> {
    let own = [of_commands(), of_sessions(), of_snapshots(), of_texts()];
    own.into_iter().chain([calls::all(), sockets::all()]).flatten().collect()
}

fn select(hand: &mut Phone) -> Value {
    hand.command("thread.select", &json!({ "threadID": "t-1" }))
}

/// Sends a command that the desktop gets.
async fn passes(desktop: &mut Wire, phone: &mut Wire, command: &Value) {
    phone.send(command).await;
    let told = desktop.envelope().await;
    assert_eq!(told["seq"], command["seq"], "{told}");
}

/// Sends what is refused and gives the answer.
async fn refused(phone: &mut Wire, message: &Value, error: &str) -> Value {
    phone.send(message).await;
    let told = phone.message().await;
    assert_eq!((&told["type"], &told["error"]), (&json!("relay.error"), &json!(error)), "{told}");
    assert!(told["message"].as_str().is_some_and(|m| !m.is_empty()), "{told}");
    told
}

const THREE: &[(&str, &str)] = &[("MAX_REMOTE_COMMANDS_PER_MINUTE", "3")];
const SHARED: &[(&str, &str)] = &[("MAX_REMOTE_SESSION_COMMANDS_PER_MINUTE", "3")];
const TWO: &[(&str, &str)] = &[("MAX_SNAPSHOT_REQUESTS_PER_MINUTE", "2")];
const TEN: &[(&str, &str)] = &[("MAX_REMOTE_COMMAND_TEXT_BYTES", "10")];

fn of_commands() -> Vec<Scenario> {
    vec![
        Scenario::new("4.8 MAX_REMOTE_COMMANDS_PER_MINUTE: one more is refused", |w| async move {
            let w = w.with(THREE);
            let (mut desk, mut phone, paired) = w.connected().await;
            let mut hand = Phone::new(&paired.joined);
            for _ in 0..3 {
                passes(&mut desk.wire, &mut phone, &select(&mut hand)).await;
            }
            let told = refused(&mut phone, &select(&mut hand), "command_rate_limited").await;
            has_only(&told, &["type", "error", "message", "commandID", "seq"]);
            assert_eq!((&told["commandID"], &told["seq"]), (&json!("cmd-4"), &json!(4)));
        }),
        Scenario::new(
            "4.8 MAX_REMOTE_COMMANDS_PER_MINUTE: each phone has its own",
            |w| async move {
                let w = w.with(THREE);
                let (mut desk, mut phone, paired) = w.connected().await;
                let mut hand = Phone::new(&paired.joined);
                for _ in 0..3 {
                    passes(&mut desk.wire, &mut phone, &select(&mut hand)).await;
                }
                refused(&mut phone, &select(&mut hand), "command_rate_limited").await;
                let (mut second, other) = second_phone(&mut desk).await;
                passes(&mut desk.wire, &mut second, &select(&mut Phone::new(&other.joined))).await;
            },
        ),
        Scenario::new(
            "4.8 MAX_REMOTE_COMMANDS_PER_MINUTE: a reconnect does not reset it",
            |w| async move {
                let w = w.with(THREE);
                let (mut desk, mut phone, mut paired) = w.connected().await;
                let mut hand = Phone::new(&paired.joined);
                for _ in 0..3 {
                    passes(&mut desk.wire, &mut phone, &select(&mut hand)).await;
                }
                let mut again = desk.connect(&mut paired).await;
                refused(&mut again, &select(&mut hand), "command_rate_limited").await;
            },
        ),
        Scenario::new("4.8 MAX_REMOTE_COMMANDS_PER_MINUTE: the socket stays", |w| async move {
            let w = w.with(THREE);
            let (mut desk, mut phone, paired) = w.connected().await;
            let mut hand = Phone::new(&paired.joined);
            for _ in 0..3 {
                passes(&mut desk.wire, &mut phone, &select(&mut hand)).await;
            }
            for _ in 0..3 {
                refused(&mut phone, &select(&mut hand), "command_rate_limited").await;
            }
            // Requests for a snapshot have a budget of their own.
            phone.send(&hand.snapshot_request("manual_request")).await;
            desk.wire.until("relay.snapshot_request").await;
        }),
    ]
}

fn of_sessions() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "4.8 MAX_REMOTE_SESSION_COMMANDS_PER_MINUTE: all phones share it",
            |w| async move {
                let w = w.with(SHARED);
                let (mut desk, mut phone, paired) = w.connected().await;
                let (mut second, other) = second_phone(&mut desk).await;
                let (mut hand, mut theirs) =
                    (Phone::new(&paired.joined), Phone::new(&other.joined));
                passes(&mut desk.wire, &mut phone, &select(&mut hand)).await;
                passes(&mut desk.wire, &mut second, &select(&mut theirs)).await;
                passes(&mut desk.wire, &mut second, &select(&mut theirs)).await;
                for (wire, hand) in [(&mut phone, &mut hand), (&mut second, &mut theirs)] {
                    let told = refused(wire, &select(hand), "command_rate_limited").await;
                    has_only(&told, &["type", "error", "message", "commandID", "seq"]);
                }
            },
        ),
        Scenario::new(
            "4.8 MAX_REMOTE_SESSION_COMMANDS_PER_MINUTE: another session's",
            |w| async move {
                let w = w.with(SHARED);
                let (mut desk, mut phone, paired) = w.connected().await;
                let mut hand = Phone::new(&paired.joined);
                for _ in 0..3 {
                    passes(&mut desk.wire, &mut phone, &select(&mut hand)).await;
                }
                refused(&mut phone, &select(&mut hand), "command_rate_limited").await;
                let (mut desk, mut phone, paired) = neighbour(&w).connected().await;
                let command = select(&mut Phone::new(&paired.joined));
                passes(&mut desk.wire, &mut phone, &command).await;
            },
        ),
        Scenario::new("4.8 the two budgets of commands are told apart", |w| async move {
            let text = |told: &Value| told["message"].as_str().expect("text").to_owned();
            let mut texts = Vec::new();
            for setting in
                ["MAX_REMOTE_COMMANDS_PER_MINUTE", "MAX_REMOTE_SESSION_COMMANDS_PER_MINUTE"]
            {
                let w = World { relay: w.relay.clone(), session: w.session.clone() };
                let w = w.with(&[(setting, "1")]);
                let (mut desk, mut phone, paired) = w.connected().await;
                let mut hand = Phone::new(&paired.joined);
                passes(&mut desk.wire, &mut phone, &select(&mut hand)).await;
                let told = refused(&mut phone, &select(&mut hand), "command_rate_limited").await;
                texts.push(text(&told));
            }
            assert_ne!(texts[0], texts[1]);
        }),
    ]
}

fn of_snapshots() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "4.8 MAX_SNAPSHOT_REQUESTS_PER_MINUTE: one more is refused",
            |w| async move {
                let w = w.with(TWO);
                let (mut desk, mut phone, paired) = w.connected().await;
                let mut hand = Phone::new(&paired.joined);
                for _ in 0..2 {
                    phone.send(&hand.snapshot_request("manual_request")).await;
                    desk.wire.until("relay.snapshot_request").await;
                }
                let request = hand.snapshot_request("manual_request");
                let told = refused(&mut phone, &request, "snapshot_rate_limited").await;
                has_only(&told, &["type", "error", "message"]);
                passes(&mut desk.wire, &mut phone, &select(&mut hand)).await;
            },
        ),
        Scenario::new(
            "4.8 MAX_SNAPSHOT_REQUESTS_PER_MINUTE: each phone has its own",
            |w| async move {
                let w = w.with(TWO);
                let (mut desk, mut phone, paired) = w.connected().await;
                let request = Phone::new(&paired.joined).snapshot_request("manual_request");
                for _ in 0..2 {
                    phone.send(&request).await;
                    desk.wire.until("relay.snapshot_request").await;
                }
                refused(&mut phone, &request, "snapshot_rate_limited").await;
                let (mut second, _) = second_phone(&mut desk).await;
                second.send(&request).await;
                desk.wire.until("relay.snapshot_request").await;
            },
        ),
        Scenario::new(
            "4.8 MAX_SNAPSHOT_REQUESTS_PER_MINUTE: a reconnect does not reset it",
            |w| async move {
                let w = w.with(TWO);
                let (mut desk, mut phone, mut paired) = w.connected().await;
                let request = Phone::new(&paired.joined).snapshot_request("manual_request");
                for _ in 0..2 {
                    phone.send(&request).await;
                    desk.wire.until("relay.snapshot_request").await;
                }
                let mut again = desk.connect(&mut paired).await;
                refused(&mut again, &request, "snapshot_rate_limited").await;
            },
        ),
    ]
}

fn of_texts() -> Vec<Scenario> {
    vec![
        Scenario::new("4.8 MAX_REMOTE_COMMAND_TEXT_BYTES: text of a message", |w| async move {
            let w = w.with(TEN);
            let (mut desk, mut phone, paired) = w.connected().await;
            let mut hand = Phone::new(&paired.joined);
            let mut message = |text: &str| {
                let members = json!({ "threadID": "t-1", "text": text });
                hand.command("thread.send_message", &members)
            };
            passes(&mut desk.wire, &mut phone, &message("0123456789")).await;
            passes(&mut desk.wire, &mut phone, &message("éèêëñ")).await;
            refused(&mut phone, &message("0123456789a"), "invalid_command").await;
            // Bytes are counted, not characters.
            refused(&mut phone, &message("éèêëñx"), "invalid_command").await;
        }),
        Scenario::new("4.8 MAX_REMOTE_COMMAND_TEXT_BYTES: text of a response", |w| async move {
            let w = w.with(TEN);
            let (mut desk, mut phone, paired) = w.connected().await;
            let mut hand = Phone::new(&paired.joined);
            let mut response = |text: &str| {
                let members = json!({
                    "runtimeRequestID": "7", "runtimeRequestKind": "userInput",
                    "runtimeRequestResponse": { "text": text },
                });
                hand.command("runtime_request.respond", &members)
            };
            passes(&mut desk.wire, &mut phone, &response("0123456789")).await;
            refused(&mut phone, &response("0123456789a"), "invalid_command").await;
        }),
    ]
}

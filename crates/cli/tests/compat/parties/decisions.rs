//! Section 4.1: `relay.pair_decision`.

use belay_testkit::compat::Answer;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::{
    auth::{desktop_heard_nothing, phone_heard_nothing},
    scenario::Scenario,
    world::{Desk, World},
};

pub(super) fn all() -> Vec<Scenario> {
    let mut all = that_count();
    all.extend(that_mean_no());
    all.extend(that_say_nothing());
    all
}

/// A desktop that was asked about a phone, and the phone's call.
async fn asked(w: &World) -> (Desk, JoinHandle<Answer>, Value) {
    let mut desk = w.open().await;
    let joining = desk.joining();
    let request = desk.wire.until("relay.pair_request").await["requestID"].clone();
    (desk, joining, request)
}

fn decision(request: &Value, approved: &Value) -> Value {
    json!({ "type": "relay.pair_decision", "requestID": request, "approved": approved })
}

fn result(w: &World, request: &Value, approved: bool) -> Value {
    json!({
        "type": "relay.pair_result", "sessionID": w.session, "requestID": request,
        "approved": approved,
    })
}

/// The call still waits: it is let in now.
async fn is_let_in(desk: &mut Desk, joining: JoinHandle<Answer>, request: &Value) {
    desk.wire.send(&decision(request, &json!(true))).await;
    assert_eq!(desk.wire.message().await["type"], "relay.pair_result");
    assert_eq!(joining.await.expect("ran").status, 200);
}

fn that_count() -> Vec<Scenario> {
    vec![
        Scenario::new("4.1 pair_decision yes", |w| async move {
            let (mut desk, joining, request) = asked(&w).await;
            let mut yes = decision(&request, &json!(true));
            yes["sessionID"] = json!(w.session);
            desk.wire.send(&yes).await;
            assert_eq!(desk.wire.message().await, result(&w, &request, true));
            assert_eq!(joining.await.expect("ran").status, 200);
        }),
        Scenario::new("4.1 pair_decision no", |w| async move {
            let (mut desk, joining, request) = asked(&w).await;
            let mut no = decision(&request, &json!(false));
            no["sessionID"] = json!(w.session);
            desk.wire.send(&no).await;
            assert_eq!(desk.wire.message().await, result(&w, &request, false));
            let answer = joining.await.expect("ran");
            assert_eq!((answer.status, answer.error()), (403, "pair_request_denied"));
        }),
        Scenario::new("4.1 pair_decision without sessionID", |w| async move {
            let (mut desk, joining, request) = asked(&w).await;
            is_let_in(&mut desk, joining, &request).await;
        }),
        Scenario::new("4.1 pair_decision with sessionID null", |w| async move {
            let (mut desk, joining, request) = asked(&w).await;
            let mut yes = decision(&request, &json!(true));
            yes["sessionID"] = Value::Null;
            desk.wire.send(&yes).await;
            assert_eq!(desk.wire.message().await, result(&w, &request, true));
            assert_eq!(joining.await.expect("ran").status, 200);
        }),
        Scenario::new("4.1 pair_decision with a further member", |w| async move {
            let (mut desk, joining, request) = asked(&w).await;
            let mut yes = decision(&request, &json!(true));
            yes["note"] = json!("fine");
            desk.wire.send(&yes).await;
            assert_eq!(desk.wire.message().await, result(&w, &request, true));
            assert_eq!(joining.await.expect("ran").status, 200);
        }),
        Scenario::new("4.1 pair_decision after the decision changes nothing", |w| async move {
            let (mut desk, joining, request) = asked(&w).await;
            is_let_in(&mut desk, joining, &request).await;
            desk.wire.send(&decision(&request, &json!(false))).await;
            assert_eq!(desk.wire.message().await, result(&w, &request, false));
            let own = desk.desktop.own();
            let list = desk.net.post("/devices/list", &own).await.body;
            assert_eq!(list["devices"].as_array().map(Vec::len), Some(1), "{list}");
        }),
    ]
}

fn that_mean_no() -> Vec<Scenario> {
    let values = [
        ("\"true\"", json!("true")),
        ("1", json!(1)),
        ("null", Value::Null),
        ("{}", json!({})),
        ("[true]", json!([true])),
    ];
    let mut all: Vec<_> = values
        .into_iter()
        .map(|(name, approved)| {
            Scenario::new(format!("4.1 pair_decision approved {name} is a no"), move |w| {
                is_a_no(w, move |request| decision(request, &approved))
            })
        })
        .collect();
    all.push(Scenario::new("4.1 pair_decision without approved is a no", |w| {
        is_a_no(w, |request| json!({ "type": "relay.pair_decision", "requestID": request }))
    }));
    all
}

async fn is_a_no(w: World, message: impl FnOnce(&Value) -> Value) {
    let (mut desk, joining, request) = asked(&w).await;
    desk.wire.send(&message(&request)).await;
    assert_eq!(desk.wire.message().await, result(&w, &request, false));
    let answer = joining.await.expect("ran");
    assert_eq!((answer.status, answer.error()), (403, "pair_request_denied"));
}

fn that_say_nothing() -> Vec<Scenario> {
    let mut all = vec![
        Scenario::new(
            "4.1 pair_decision with another requestID is answered only",
            |w| async move {
                let (mut desk, joining, request) = asked(&w).await;
                let other = json!("another-request");
                desk.wire.send(&decision(&other, &json!(true))).await;
                assert_eq!(desk.wire.message().await, result(&w, &other, true));
                desk.wire.send(&decision(&other, &json!(false))).await;
                assert_eq!(desk.wire.message().await, result(&w, &other, false));
                is_let_in(&mut desk, joining, &request).await;
            },
        ),
        Scenario::new("4.1 pair_decision while nobody asks is answered only", |w| async move {
            let (mut desk, mut phone, _) = w.connected().await;
            desk.wire.send(&decision(&json!("nobody"), &json!(true))).await;
            assert_eq!(desk.wire.message().await, result(&w, &json!("nobody"), true));
            phone_heard_nothing(&mut phone).await;
        }),
        Scenario::new("4.1 pair_decision is not passed on to phones", |w| async move {
            let (mut desk, mut phone, _) = w.connected().await;
            desk.refresh().await;
            desk.pair().await;
            phone_heard_nothing(&mut phone).await;
        }),
        Scenario::new("4.1 pair_decision of a phone decides nothing", |w| async move {
            let (mut desk, mut phone, _) = w.connected().await;
            desk.refresh().await;
            let joining = desk.joining();
            let request = desk.wire.until("relay.pair_request").await["requestID"].clone();
            phone.send(&decision(&request, &json!(true))).await;
            assert_eq!(phone.message().await["type"], "relay.error");
            desktop_heard_nothing(&mut desk.wire).await;
            desk.wire.send(&decision(&request, &json!(false))).await;
            assert_eq!(joining.await.expect("ran").status, 403);
        }),
    ];
    for (name, member, value) in [
        ("with another sessionID", "sessionID", json!("session-of-somebody-else")),
        ("with requestID null", "requestID", Value::Null),
        ("with requestID 7", "requestID", json!(7)),
    ] {
        all.push(Scenario::new(format!("4.1 pair_decision {name} is dropped"), move |w| {
            is_dropped(w, move |mut message| {
                message[member] = value;
                message
            })
        }));
    }
    all.push(Scenario::new("4.1 pair_decision without requestID is dropped", |w| {
        is_dropped(w, |_| json!({ "type": "relay.pair_decision", "approved": true }))
    }));
    all
}

/// Neither answered nor obeyed.
async fn is_dropped(w: World, change: impl FnOnce(Value) -> Value) {
    let (mut desk, joining, request) = asked(&w).await;
    let yes = decision(&request, &json!(true));
    desk.wire.send(&change(yes)).await;
    desktop_heard_nothing(&mut desk.wire).await;
    is_let_in(&mut desk, joining, &request).await;
}

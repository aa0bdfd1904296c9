//! Section 2.5: what a phone calls itself, as its desktop hears and lists it.

use serde_json::{Value, json};

use crate::{scenario::Scenario, world::World};

pub(crate) fn all() -> Vec<Scenario> {
    let long = "\u{e9}".repeat(70);
    let cut = "\u{e9}".repeat(64);
    let blanks = format!("  {}  tail", "x".repeat(64));
    vec![
        named("as given", Some(json!("Ana's phone")), Some("Ana's phone".to_owned())),
        named("trimmed", Some(json!(" \t Ana's phone\n")), Some("Ana's phone".to_owned())),
        named("cut to 64 characters", Some(json!(long)), Some(cut)),
        named("trimmed, then cut", Some(json!(blanks)), Some("x".repeat(64))),
        named("empty", Some(json!("")), None),
        named("blank", Some(json!(" \t ")), None),
        named(
            "without what moves the cursor or the words",
            Some(json!("\u{1b}[2JA\u{202e}na\u{200b}")),
            Some("[2JAna".to_owned()),
        ),
        named("null", Some(Value::Null), None),
        named("absent", None, None),
    ]
}

fn named(what: &str, given: Option<Value>, kept: Option<String>) -> Scenario {
    Scenario::new(format!("2.5 deviceName {what}"), move |w| async move {
        let (asked, listed) = join_as(&w, given).await;
        assert_eq!(asked, kept.clone().map_or(Value::Null, Value::from));
        assert_eq!(listed, json!(kept.as_deref().unwrap_or("Mobile Device")));
    })
}

/// The name in the pair request (`Null`: there is none), and that in the list.
async fn join_as(w: &World, name: Option<Value>) -> (Value, Value) {
    let mut desk = w.open().await;
    let mut body = json!({ "sessionID": w.session, "joinToken": desk.desktop.join_token });
    if let Some(name) = name {
        body["deviceName"] = name;
    }
    let page = w.page();
    let joining = tokio::spawn(async move { page.post("/pair/join", &body).await });
    let request = desk.decide(true).await;
    assert_eq!(joining.await.expect("ran").status, 200);
    assert_ne!(request.get("deviceName"), Some(&Value::Null), "absent is not null: {request}");
    let list = desk.net.post("/devices/list", &desk.desktop.own()).await;
    (request["deviceName"].clone(), list.body["devices"][0]["deviceName"].clone())
}

//! 5.3: commands as clients send them, and members that a command does not use.

use serde_json::{Value, json};

use super::frame::Pair;
use crate::scenario::Scenario;

pub(crate) fn all() -> Vec<Scenario> {
    let nulls = commands().into_iter().map(|(name, uses)| {
        Scenario::new(format!("5.3 {name}: what it does not use is null"), move |w| async move {
            let mut pair = Pair::of(&w).await;
            let unused = MEMBERS.map(|member| (member, json!(null)));
            pair.passes(&pair.command(1, &with(name, &uses, &unused))).await;
        })
    });
    let anything = commands().into_iter().flat_map(|(name, uses)| {
        MEMBERS.into_iter().filter_map(move |member| {
            if uses.get(member).is_some() {
                return None;
            }
            let uses = uses.clone();
            let row = format!("4.6.11 {name}: {member} may hold anything");
            Some(Scenario::new(row, move |w| async move {
                let mut pair = Pair::of(&w).await;
                for (seq, value) in (1..).zip(anything()) {
                    pair.passes(&pair.command(seq, &with(name, &uses, &[(member, value)]))).await;
                }
            }))
        })
    });
    nulls.chain(anything).collect()
}

const MEMBERS: [&str; 6] = [
    "threadID",
    "projectID",
    "text",
    "runtimeRequestID",
    "runtimeRequestKind",
    "runtimeRequestResponse",
];

fn commands() -> Vec<(&'static str, Value)> {
    vec![
        ("thread.send_message", json!({ "threadID": "t-1", "text": "hello" })),
        ("thread.select", json!({ "threadID": "t-1" })),
        ("project.select", json!({ "projectID": "p-1" })),
        (
            "runtime_request.respond",
            json!({
                "runtimeRequestID": "7", "runtimeRequestKind": "mcpElicitation",
                "runtimeRequestResponse": { "text": "yes" },
            }),
        ),
    ]
}

/// Values that no member would take if it were used.
fn anything() -> Vec<Value> {
    vec![
        json!(7),
        json!(-1.5),
        json!(true),
        json!(""),
        json!("no id, and not short\n".repeat(50)),
        json!([]),
        json!([[], {}]),
        json!({ "colour": { "red": [1, null] } }),
    ]
}

fn with(name: &str, uses: &Value, unused: &[(&str, Value)]) -> Value {
    let mut inner = json!({ "name": name });
    let used = uses.as_object().expect("an object");
    for (member, value) in unused {
        inner[*member] = value.clone();
    }
    for (member, value) in used {
        inner[member] = value.clone();
    }
    inner
}

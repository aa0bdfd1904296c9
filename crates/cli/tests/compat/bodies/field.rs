//! Fields of bodies: missing, `null`, of another type, and the version.

use serde_json::{Value, json};

use super::check::{CALLS, body, refused};
use crate::scenario::Scenario;

pub(crate) fn all() -> Vec<Scenario> {
    let mut all = Vec::new();
    for path in CALLS {
        for field in required(path) {
            let wrong_types = [Value::Null, json!(7), json!(true), json!({}), json!(["a"])];
            all.push(wrong(path, field, "required text", vec![None], &wrong_types));
        }
        let numbers = [json!("2"), json!(-1), json!(1.5), json!([2])];
        all.push(wrong(path, "schemaVersion", "a whole number", Vec::new(), &numbers));
        all.push(unsupported(path));
    }
    let numbers = [json!("60"), json!(-1), json!(60.5), json!(true)];
    all.push(wrong("/pair/start", "idleTimeoutSeconds", "a whole number", Vec::new(), &numbers));
    for (path, field) in [("/pair/start", "relayWebSocketURL"), ("/pair/join", "deviceName")] {
        let no_texts = [json!(7), json!(["a"]), json!({})];
        all.push(wrong(path, field, "text or null", Vec::new(), &no_texts));
    }
    all
}

fn required(path: &str) -> &'static [&'static str] {
    match path {
        "/pair/start" | "/pair/refresh" => {
            &["sessionID", "joinToken", "desktopSessionToken", "joinTokenExpiresAt"]
        }
        "/pair/join" => &["sessionID", "joinToken"],
        "/devices/revoke" => &["sessionID", "desktopSessionToken", "deviceID"],
        _ => &["sessionID", "desktopSessionToken"],
    }
}

/// A field that is not as it must be is named; `None` leaves it out.
fn wrong(
    path: &'static str,
    field: &'static str,
    must: &str,
    mut values: Vec<Option<Value>>,
    given: &[Value],
) -> Scenario {
    values.extend(given.iter().cloned().map(Some));
    Scenario::new(format!("2.1 {path} 422 {field} must be {must}"), move |w| async move {
        let (net, desktop) = (w.native(), w.desktop());
        for value in values {
            let mut body = body(path, &desktop);
            match &value {
                Some(value) => body[field] = value.clone(),
                None => drop(body.as_object_mut().expect("an object").remove(field)),
            }
            let answer = net.post(path, &body).await;
            assert_eq!(answer.status, 422, "{value:?}: {}", answer.text);
            let message = refused(&answer, 422, "invalid_request");
            assert!(message.contains(field), "{value:?}: {field} is not named: {message}");
        }
    })
}

fn unsupported(path: &'static str) -> Scenario {
    Scenario::new(format!("2.1 {path} 400 unsupported_schema_version"), move |w| async move {
        let (net, desktop) = (w.native(), w.started().await);
        for version in [0_u64, 3, u64::MAX] {
            let mut body = body(path, &desktop);
            body["schemaVersion"] = json!(version);
            let answer = net.post(path, &body).await;
            assert_eq!(answer.status, 400, "{version}: {}", answer.text);
            let message = refused(&answer, 400, "unsupported_schema_version");
            assert!(message.contains("schemaVersion"), "{message}");
        }
    })
}

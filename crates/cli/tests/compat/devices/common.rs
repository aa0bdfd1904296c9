//! Errors that these calls have in common.

use serde_json::json;

use crate::{
    bodies::check::{body, refused, refused_saying},
    scenario::Scenario,
};

const CALLS: [(&str, &str); 4] = [
    ("/pair/refresh", "invalid_pair_refresh"),
    ("/pair/stop", "invalid_pair_stop"),
    ("/devices/list", "invalid_devices_list"),
    ("/devices/revoke", "invalid_device_revoke"),
];

pub(crate) fn all() -> Vec<Scenario> {
    let mut all = Vec::new();
    for (path, error) in CALLS {
        for (field, least) in fields(path) {
            all.push(shape(path, error, field, *least));
        }
        all.push(wrong_token(path));
        all.push(a_page_may(path));
        if path != "/pair/stop" {
            all.push(Scenario::new(
                format!("2.6 404 {path} session_not_found"),
                move |w| async move {
                    let answer = w.native().post(path, &body(path, &w.desktop())).await;
                    refused_saying(&answer, 404, "session_not_found", "Remote session not found.");
                },
            ));
        }
    }
    all
}

fn fields(path: &str) -> &'static [(&'static str, usize)] {
    match path {
        "/pair/refresh" => &[("sessionID", 16), ("joinToken", 22), ("desktopSessionToken", 22)],
        "/devices/revoke" => &[("sessionID", 16), ("desktopSessionToken", 22), ("deviceID", 8)],
        _ => &[("sessionID", 16), ("desktopSessionToken", 22)],
    }
}

fn shape(path: &'static str, error: &'static str, field: &'static str, least: usize) -> Scenario {
    Scenario::new(format!("2.6 400 {path} {error} {field}"), move |w| async move {
        let (net, right) = (w.native(), body(path, &w.started().await));
        let wrong = [String::new(), "a".repeat(least - 1), "a".repeat(513)];
        let letters = [' ', '+', '/', '=', '.', '\u{e9}'].map(|c| format!("{}{c}", "a".repeat(30)));
        for text in wrong.into_iter().chain(letters) {
            let mut body = right.clone();
            body[field] = json!(text);
            let answer = net.post(path, &body).await;
            assert_eq!(answer.status, 400, "{text:?}: {}", answer.text);
            refused(&answer, 400, error);
        }
    })
}

/// Neither another token, nor that of a phone, nor that of another session's desktop.
fn wrong_token(path: &'static str) -> Scenario {
    Scenario::new(format!("2.6 403 {path} invalid_desktop_session_token"), move |w| async move {
        let (desk, phone) = w.paired().await;
        let mut other = w.desktop();
        other.session_id = format!("{}-b", w.session);
        other.token = format!("{}-b", other.token);
        assert_eq!(desk.net.post("/pair/start", &other.start()).await.status, 200);
        let longer = format!("{}x", desk.desktop.token);
        let tokens = ["desktop-token-of-nobody-0123456789", &longer, &phone.token, &other.token];
        for token in tokens.into_iter().chain([desk.desktop.join_token.as_str()]) {
            let mut body = body(path, &desk.desktop);
            body["desktopSessionToken"] = json!(token);
            let answer = desk.net.post(path, &body).await;
            let text = "Desktop session token is invalid.";
            refused_saying(&answer, 403, "invalid_desktop_session_token", text);
        }
        w.page().open().await.auth(&phone.token).await;
    })
}

/// These calls are for whoever has the token, also a page that is listed.
fn a_page_may(path: &'static str) -> Scenario {
    Scenario::new(format!("2.6 {path} by a listed page"), move |w| async move {
        let (desk, phone) = w.paired().await;
        let mut body = body(path, &desk.desktop);
        if path == "/devices/revoke" {
            body["deviceID"] = json!(phone.device);
        }
        let answer = desk.page.post(path, &body).await;
        assert_eq!((answer.status, &answer.body["accepted"]), (200, &json!(true)));
    })
}

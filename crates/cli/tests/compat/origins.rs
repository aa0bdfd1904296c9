//! Section 2.2 of the protocol: origins and CORS.

mod cors;
mod socket;

use belay_testkit::compat::{Answer, Net};
use serde_json::json;

use crate::{
    bodies::check::{CALLS, body, refused_saying},
    relay::PAGE,
    scenario::Scenario,
};

/// Ways in which a listed `https://phone.example.org` may be written.
const SAME: [&str; 4] = [
    "https://phone.example.org",
    "https://phone.example.org:443",
    "HTTPS://Phone.Example.ORG",
    "https://phone.example.org/",
];

/// Origins that look like it or are none, and what of them is to be noticed.
const OTHERS: [(&str, &str); 18] = [
    ("null", "null"),
    ("empty text", ""),
    ("asterisk", "*"),
    ("look-alike suffix", "https://phone.example.org.evil.net"),
    ("look-alike prefix", "https://evil-phone.example.org"),
    ("name before @", "https://phone.example.org@evil.net"),
    ("subdomain", "https://a.phone.example.org"),
    ("parent domain", "https://example.org"),
    ("trailing dot", "https://phone.example.org."),
    ("other scheme", "http://phone.example.org"),
    ("no scheme", "phone.example.org"),
    ("other port", "https://phone.example.org:8443"),
    ("port of another scheme", "https://phone.example.org:80"),
    ("look-alike letter", "https://ph\u{43e}ne.example.org"),
    ("look-alike letter in punycode", "https://xn--phne-65d.example.org"),
    ("path", "https://phone.example.org/evil"),
    ("two in one header", "https://phone.example.org, https://evil.example.org"),
    ("file", "file://"),
];

pub(crate) fn all() -> Vec<Scenario> {
    let mut all: Vec<_> = CALLS.into_iter().map(refuses).collect();
    all.extend(OTHERS.into_iter().map(|(what, origin)| {
        Scenario::new(format!("2.2 HTTP refuses {what}"), move |w| async move {
            is_refused(&stop(&w.native(), origin).await, origin);
        })
    }));
    all.extend(SAME.into_iter().map(|origin| {
        Scenario::new(format!("2.2 HTTP takes {origin}"), move |w| async move {
            is_served(&stop(&w.native(), origin).await, origin);
        })
    }));
    all.extend(lists());
    all.extend(cors::all());
    all.extend(socket::all());
    all
}

/// A page of an origin that is not listed, at one call.
fn refuses(path: &'static str) -> Scenario {
    Scenario::new(format!("2.2 {path} 403 origin_not_allowed"), move |w| async move {
        let desktop = w.started().await;
        let page = Net::page(&w.relay.url, "https://evil.example.org");
        let answer = page.post(path, &body(path, &desktop)).await;
        refused_saying(&answer, 403, "origin_not_allowed", "Origin is not allowed.");
    })
}

/// A call that every caller may make, so that its answer shows what was thought of the origin.
async fn stop(net: &Net, origin: &str) -> Answer {
    let body = json!({
        "sessionID": "session-of-nobody-0123456789",
        "desktopSessionToken": "desktop-token-0123456789abcdef",
    });
    let headers = [("content-type", "application/json"), ("origin", origin)];
    let headers = if origin == NONE { &headers[..1] } else { &headers };
    net.raw("POST", "/pair/stop", headers, body.to_string()).await
}

fn is_refused(answer: &Answer, origin: &str) {
    assert_eq!(answer.status, 403, "{origin}: {}", answer.text);
    refused_saying(answer, 403, "origin_not_allowed", "Origin is not allowed.");
}

fn is_served(answer: &Answer, origin: &str) {
    assert_eq!(answer.status, 200, "{origin}: {}", answer.text);
}

/// Serves these origins, and not those.
fn list(
    what: &str,
    settings: &'static [(&'static str, &'static str)],
    served: &'static [&'static str],
    others: &'static [&'static str],
) -> Scenario {
    Scenario::new(format!("2.2 list {what}"), move |w| async move {
        let w = w.with(settings);
        let net = w.native();
        for origin in served {
            is_served(&stop(&net, origin).await, origin);
        }
        for origin in others {
            is_refused(&stop(&net, origin).await, origin);
        }
        is_served(&stop(&net, NONE).await, NONE);
    })
}

/// A call without `Origin`.
const NONE: &str = "no origin";

const FIRST: &str = "https://a.example.org";
const SECOND: &str = "http://b.example.org:8080";

fn lists() -> Vec<Scenario> {
    let mut all = vec![
        Scenario::new("2.2 HTTP without Origin is allowed", |w| async move {
            is_served(&stop(&w.native(), NONE).await, NONE);
        }),
        list(
            "of two",
            &[("ALLOWED_ORIGINS", "https://a.example.org , http://b.example.org:8080")],
            &[FIRST, SECOND],
            &[PAGE, "http://a.example.org", "http://b.example.org", "https://b.example.org:8080"],
        ),
        list(
            "with a name in punycode",
            &[("ALLOWED_ORIGINS", "https://xn--bcher-kva.example")],
            &["https://xn--bcher-kva.example", "https://XN--BCHER-KVA.example"],
            &["https://bucher.example", "https://b\u{fc}cher.example"],
        ),
        list(
            "without PUBLIC_BASE_URL where it is given",
            &[("ALLOWED_ORIGINS", FIRST), ("PUBLIC_BASE_URL", "https://relay.example.org")],
            &[FIRST],
            &["https://relay.example.org", "http://localhost:4173", "http://127.0.0.1:4173"],
        ),
        list(
            "that is not given",
            &[("ALLOWED_ORIGINS", ""), ("PUBLIC_BASE_URL", "https://relay.example.org")],
            &["https://relay.example.org", "http://localhost:4173", "http://127.0.0.1:4173"],
            &[PAGE, "http://relay.example.org", "https://localhost:4173", "http://localhost"],
        ),
        Scenario::new("2.2 list that is not given has the relay's own port", |w| async move {
            let w = w.with(&[("ALLOWED_ORIGINS", "")]);
            let net = w.native();
            let port = w.relay.url.rsplit(':').next().expect("a port");
            let own = format!("http://localhost:{port}");
            is_served(&stop(&net, &own).await, &own);
        }),
    ];
    for (what, listed) in [
        ("a slash behind it", "https://phone.example.org/"),
        ("its own port", "https://phone.example.org:443"),
        ("capital letters", "HTTPS://PHONE.example.ORG"),
    ] {
        all.push(Scenario::new(format!("2.2 list with {what}"), move |w| async move {
            let w = w.with(&[("ALLOWED_ORIGINS", listed)]);
            let net = w.native();
            is_served(&stop(&net, PAGE).await, PAGE);
            let other = "https://phone.example.org:8443";
            is_refused(&stop(&net, other).await, other);
        }));
    }
    for listed in ["*", "https://a.example.org,*"] {
        all.push(Scenario::new(format!("2.2 list {listed} takes all"), move |w| async move {
            let w = w.with(&[("ALLOWED_ORIGINS", listed)]);
            let net = w.native();
            for origin in SAME.into_iter().chain(OTHERS.map(|(_, origin)| origin)) {
                let answer = stop(&net, origin).await;
                is_served(&answer, origin);
                assert_eq!(answer.header("access-control-allow-origin"), "*", "{origin}");
            }
            is_served(&stop(&net, NONE).await, NONE);
        }));
    }
    all
}

//! Answers that know their session say so by a key, in a header and in a cookie, so that a balancer can send
//! what is of one session to one node. Who brings a key keeps it; nothing else is read from it.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, header},
    middleware::Next,
    response::Response,
};
use belay_wire::{AFFINITY_HEADER, SessionId, affinity_key, is_affinity_key};

use crate::node::Node;

/// Name of the cookie.
const COOKIE: &str = "belay_affinity";
/// How long a browser keeps it, in seconds.
pub(crate) const AFFINITY_SECS: u64 = 3_600;

/// The session that an answer is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Of(SessionId);

/// An answer that is about a session.
pub(super) type About<T> = (Extension<Of>, Json<T>);

/// An answer about a session.
pub(super) fn about<T>(session: SessionId, answer: T) -> About<T> {
    (Extension(Of(session)), Json(answer))
}

/// Adds the hint, if this relay gives any.
pub(super) async fn hint(State(node): State<Arc<Node>>, request: Request, next: Next) -> Response {
    if !node.config.affinity {
        return next.run(request).await;
    }
    let brought = brought(request.headers());
    let mut response = next.run(request).await;
    let known = response.extensions().get::<Of>().map(|of| affinity_key(of.0));
    if let Some(key) = known.or(brought) {
        let cookie = format!(
            "{COOKIE}={key}; Path=/; Max-Age={AFFINITY_SECS}; Secure; HttpOnly; SameSite=Strict"
        );
        let headers = response.headers_mut();
        for (name, value) in
            [(HeaderName::from_static(AFFINITY_HEADER), key), (header::SET_COOKIE, cookie)]
        {
            headers.extend(HeaderValue::try_from(value).ok().map(|value| (name, value)));
        }
    }
    response
}

/// The key that a request brings; what is none counts as nothing.
fn brought(headers: &HeaderMap) -> Option<String> {
    let text = |value: &HeaderValue| value.to_str().ok().map(str::to_owned);
    let named = headers.get(AFFINITY_HEADER).and_then(text);
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(text);
    let kept = cookies.flat_map(|all| {
        let ours =
            all.split(';').filter_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='));
        ours.map(str::to_owned).collect::<Vec<_>>()
    });
    named.into_iter().chain(kept).find(|key| is_affinity_key(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0123456789abcdef";

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        let value = |text: &str| HeaderValue::from_str(text).expect("a value");
        pairs.iter().map(|(name, text)| (name.clone(), value(text))).collect()
    }

    #[test]
    fn a_key_is_taken_from_the_header_or_the_cookie() {
        let named = headers(&[(HeaderName::from_static(AFFINITY_HEADER), KEY)]);
        let kept = headers(&[(header::COOKIE, "a=1; belay_affinity=0123456789abcdef; b=2")]);
        assert_eq!(
            [named, kept].map(|h| brought(&h)),
            [Some(KEY.to_owned()), Some(KEY.to_owned())]
        );
    }

    #[test]
    fn what_is_no_key_counts_as_nothing() {
        for cookie in [
            "belay_affinity=",
            "belay_affinity=../../x",
            "xbelay_affinity=0123456789abcdef",
            "belay_affinity",
        ] {
            assert_eq!(brought(&headers(&[(header::COOKIE, cookie)])), None, "{cookie}");
        }
    }
}

//! Golden vectors: bytes that must never change within a protocol version. The TypeScript tests
//! read the same files.

use belay_wire::{
    Bytes32, Frame, PublicKey, RendezvousId, RequestId, SessionId,
    binary::BinaryFrame,
    decode, depth_exceeds,
    proof::{
        Comparison, auth_transcript, commitment, decision_transcript, http_transcript, key_hash,
    },
};
use serde::Deserialize;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[derive(Deserialize)]
struct Proofs {
    host: PublicKey,
    phone: PublicKey,
    rendezvous: RendezvousId,
    host_nonce: Bytes32,
    opening: Bytes32,
    secret: String,
    origin: String,
    session: SessionId,
    member: RequestId,
    nonce: String,
    token: String,
    request: RequestId,
    expires_at: u64,
    expected: Expected,
}

#[derive(Deserialize)]
struct Expected {
    host_key_hash: String,
    commitment: String,
    code: String,
    code_without_secret: String,
    auth: String,
    http: String,
    decision: String,
}

#[test]
fn proofs_are_the_bytes_that_were_agreed() {
    let text = include_str!("../vectors/proofs.json");
    let v: Proofs = serde_json::from_str(text).expect("the vectors are readable");
    let comparison = |secret: &str| {
        Comparison {
            host: &v.host,
            phone: &v.phone,
            rendezvous: v.rendezvous,
            host_nonce: &v.host_nonce,
            opening: &v.opening,
            secret: secret.as_bytes(),
        }
        .code()
    };
    let auth = auth_transcript(&v.origin, v.session, v.member.as_bytes(), &v.nonce, &v.token);
    let call = "POST /v1/sessions/x/code";
    let http = http_transcript(&v.origin, v.session, call, v.expires_at, &v.token);
    let decision = decision_transcript(v.request, true, &key_hash(&v.phone), v.expires_at);

    assert_eq!(key_hash(&v.host).to_string(), v.expected.host_key_hash);
    assert_eq!(commitment(&v.phone, &v.opening).to_string(), v.expected.commitment);
    assert_eq!(comparison(&v.secret), v.expected.code);
    assert_eq!(comparison(""), v.expected.code_without_secret);
    assert_eq!(hex(auth.as_bytes()), v.expected.auth);
    assert_eq!(hex(&http.hash()), v.expected.http);
    assert_eq!(hex(&decision.hash()), v.expected.decision);
}

#[derive(Deserialize)]
struct Frames {
    valid: Vec<String>,
    invalid: Vec<Invalid>,
}

#[derive(Deserialize)]
struct Invalid {
    text: String,
    label: String,
    says: String,
}

fn frames() -> Frames {
    serde_json::from_str(include_str!("../vectors/frames.json")).expect("the vectors are readable")
}

#[test]
fn every_kind_of_frame_has_a_vector_and_keeps_its_bytes() {
    let config = ts_rs::Config::default();
    let mut kinds: Vec<_> =
        belay_wire::typescript(&config).into_iter().map(|(kind, _)| kind).collect();

    for text in frames().valid {
        let frame = decode(&text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(frame.encode(), text);
        kinds.retain(|kind| *kind != frame.kind());
    }

    assert!(kinds.is_empty(), "no vector for {kinds:?}");
}

#[test]
fn refusals_say_what_is_wrong() {
    let invalid = frames().invalid;
    assert!(invalid.len() >= 10);
    for case in invalid {
        let error = decode(&case.text).expect_err(&case.text);
        assert_eq!(error.label(), case.label, "{}: {error}", case.text);
        assert!(error.to_string().contains(&case.says), "{}: {error}", case.text);
    }
}

#[test]
fn payloads_are_passed_on_as_they_came() {
    let payload = "{\"b\" : [1, 2.50,\"\\u0041\"],  \"a\":null}";
    let text = format!(
        "{{\"k\":\"msg\",\"ch\":\"down\",\"epoch\":\"00000000000000ff\",\"seq\":1,\"p\":{payload}}}"
    );

    let Ok(Frame::Msg(msg)) = decode(&text) else { panic!("a message") };

    assert_eq!(msg.p.text(), payload);
    assert_eq!(Frame::encode_msg(&msg), text);
}

#[test]
fn deep_nesting_is_refused_also_inside_payloads() {
    let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
    assert!(depth_exceeds(&deep, 64));
    assert!(!depth_exceeds("\"[[[[\\\"[[[\"", 1));
    let text = format!(
        "{{\"k\":\"msg\",\"ch\":\"down\",\"epoch\":\"00000000000000ff\",\"seq\":1,\"p\":{deep}}}"
    );
    assert_eq!(decode(&text).expect_err("too deep").label(), "too_deep");
}

mod properties {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn decoding_text_never_panics(text in ".{0,200}") {
            let _ = decode(&text);
        }

        #[test]
        fn decoding_changed_frames_never_panics(
            which in 0_usize..100,
            at in 0_usize..400,
            with in ".{0,4}",
        ) {
            let valid = frames().valid;
            let text = &valid[which % valid.len()];
            let at = text.floor_char_boundary(at % text.len());
            let _ = decode(&format!("{}{with}{}", &text[..at], &text[text.ceil_char_boundary(at + 1)..]));
        }

        #[test]
        fn binary_frames_round_trip_and_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(frame) = BinaryFrame::decode(Bytes::from(bytes)) {
                let again = BinaryFrame::decode(frame.encode());
                prop_assert_eq!(again, Ok(frame));
            }
        }
    }
}

//! Replays the corpus of the fuzz targets: what once broke a decoder stays mended.

#[path = "common/around.rs"]
mod around;
#[path = "common/conversation.rs"]
mod conversation;
#[path = "common/desktop.rs"]
mod desktop;
#[path = "common/logs.rs"]
mod logs;
#[path = "common/phone.rs"]
mod phone;

use std::path::PathBuf;

use belay_core::{HashKey, session::LeaseKey, token::TokenKeys};
use belay_wire::{
    Channel, Epoch, Position, Secret,
    app::{FromHost, FromMember, open, read},
    binary::{BinaryFrame, MsgHeader, VolHeader},
    compat::{FromDesktop, FromPhone, Object, parse_time},
    decode,
    pair::{CreateSession, RevealPair, StartPair},
};
use bytes::Bytes;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let files = std::fs::read_dir(folder).expect("the corpus is there");
    let inputs: Vec<_> =
        files.map(|f| std::fs::read(f.expect("readable").path()).expect("readable")).collect();
    assert!(!inputs.is_empty(), "no input for {target}");
    inputs
}

#[test]
fn no_input_of_the_corpus_breaks_a_decoder() {
    let keys = TokenKeys::new([(1, [1; 32])]).expect("there is a key");
    for input in corpus("frame") {
        let text = String::from_utf8_lossy(&input);
        if let Ok(frame) = decode(&text) {
            let again = decode(&frame.encode()).expect("what was encoded is readable");
            assert_eq!(again.encode(), frame.encode());
        }
    }
    for input in corpus("binary") {
        if let Ok(frame) = BinaryFrame::decode(Bytes::from(input)) {
            assert_eq!(BinaryFrame::decode(frame.encode()), Ok(frame));
        }
    }
    for input in corpus("payload") {
        if let Ok(raw) = read(&String::from_utf8_lossy(&input)) {
            let _ = open::<FromHost>(&raw);
            let _ = open::<FromMember>(&raw);
        }
    }
    for input in corpus("text") {
        let text = String::from_utf8_lossy(&input);
        let _ = MsgHeader::decode(&text).map(|h| h.encode());
        let _ = VolHeader::decode(&text).map(|h| h.encode());
        let _ = serde_json::from_str::<StartPair>(&text);
        let _ = serde_json::from_str::<RevealPair>(&text);
        let _ = serde_json::from_str::<CreateSession>(&text);
        let _ = serde_json::from_str::<Position>(&text);
        let _ = (text.parse::<Channel>(), text.parse::<Epoch>());
        let _ = LeaseKey::code(&Secret::new(text), &HashKey::new([1; 32]));
    }
    for input in corpus("token") {
        let token = Secret::new(String::from_utf8_lossy(&input));
        assert!(keys.verify(&token).is_err(), "nothing of the corpus was signed");
    }
}

#[test]
fn no_input_of_the_corpus_breaks_the_compat_protocol() {
    for input in corpus("compat") {
        let text = String::from_utf8_lossy(&input);
        if let Some(object) = Object::parse(&text) {
            let again = Object::parse(object.to_json().text());
            assert_eq!(again, Some(object), "what was written is readable");
        }
        let _ = (FromDesktop::parse(&text), parse_time(&text));
        let frame = FromPhone::parse(&text, "session-0123456789abcdef", 16_384);
        if frame.checked.is_ok() {
            assert!(frame.stamped("connection", "device").is_some());
        }
    }
    for input in corpus("conversation") {
        conversation::converse(&input);
    }
}

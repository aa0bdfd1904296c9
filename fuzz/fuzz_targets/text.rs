#![no_main]
use belay_core::session::LeaseKey;
use belay_wire::{
    Channel, Epoch, Position, Secret,
    binary::{MsgHeader, VolHeader},
    pair::{CreateSession, RevealPair, StartPair},
};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let _ = MsgHeader::decode(text).map(|h| h.encode());
    let _ = VolHeader::decode(text).map(|h| h.encode());
    let _ = serde_json::from_str::<StartPair>(text);
    let _ = serde_json::from_str::<RevealPair>(text);
    let _ = serde_json::from_str::<CreateSession>(text);
    let _ = serde_json::from_str::<Position>(text);
    let _ = text.parse::<Channel>();
    let _ = text.parse::<Epoch>();
    let _ = LeaseKey::code(&Secret::new(text), &belay_core::HashKey::new([1; 32]));
});

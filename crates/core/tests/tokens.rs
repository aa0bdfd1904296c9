//! The token table, and its promise: no crash, lost frame or rolled back store locks an honest
//! device out, whatever the order.

use std::time::Duration;

use belay_core::{
    HashKey, SecretHash, TokenState,
    token::{Claims, Judgement, Presented, Principal, TokenKeys, judge},
};
use belay_wire::{MemberId, Secret, SessionId};
use proptest::prelude::*;

const KEY: HashKey = HashKey::new([3; 32]);
const GRACE: Duration = Duration::from_mins(1);
const NOW: u64 = 1_000_000_000;

fn hash(nonce: [u8; 16]) -> SecretHash {
    KEY.hash("token", &nonce)
}

fn stored(generation: u64, nonce: u8, age_ms: u64) -> TokenState {
    TokenState { generation, nonce: hash([nonce; 16]), committed_at: NOW - age_ms }
}

fn presented(generation: u64, nonce: u8, key: Option<bool>) -> Presented {
    Presented {
        generation,
        nonce: [nonce; 16],
        has_key: key.is_some(),
        proof_valid: key == Some(true),
        nonce_is_old: false,
    }
}

#[test]
fn the_table_of_verdicts() {
    let old = stored(5, 1, 120_000);
    let young = stored(5, 1, 10_000);
    let (without, valid, wrong) = (None, Some(true), Some(false));
    let cases = [
        ("current", presented(5, 1, without), old, Judgement::Current),
        ("current with key", presented(5, 1, valid), old, Judgement::Current),
        ("no proof", presented(5, 1, wrong), old, Judgement::ProofMissing),
        ("no proof, ahead", presented(6, 2, wrong), old, Judgement::ProofMissing),
        ("first use of an offer", presented(6, 2, valid), old, Judgement::Commit { ahead: false }),
        ("store went back", presented(9, 2, without), old, Judgement::Commit { ahead: true }),
        ("client went back", presented(4, 2, valid), old, Judgement::ClientWentBack),
        ("same generation, proof", presented(5, 2, valid), old, Judgement::ClientWentBack),
        ("two holders", presented(5, 2, without), old, Judgement::Stolen),
        ("late frame", presented(4, 2, without), young, Judgement::Stale),
        ("re-use", presented(4, 2, without), old, Judgement::Stolen),
        ("older re-use, though young", presented(3, 2, without), young, Judgement::Stolen),
    ];
    for (name, presented, stored, expected) in cases {
        assert_eq!(judge(&presented, &stored, &KEY, NOW, GRACE), expected, "{name}");
    }
    let late = Presented { nonce_is_old: true, ..presented(3, 2, without) };
    assert_eq!(judge(&late, &old, &KEY, NOW, GRACE), Judgement::Stale, "a held back auth");
}

fn keys(signing: u32) -> TokenKeys {
    let all = [(1, [1; 32]), (2, [2; 32])];
    let (first, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|(id, _)| *id == signing);
    TokenKeys::new(first.into_iter().chain(rest)).expect("there are keys")
}

fn claims() -> Claims {
    Claims {
        session: SessionId::from_bytes([1; 16]),
        principal: Principal::Member(MemberId::from_bytes([2; 16])),
        issued_at: 7,
        generation: 3,
        nonce: [4; 16],
    }
}

#[test]
fn tokens_verify_across_key_rotation_and_unknown_keys_are_not_refusals() {
    let token = keys(1).mint(&claims());

    assert_eq!(keys(2).verify(&token), Ok(claims()), "an older key still verifies");
    let other = TokenKeys::new([(9, [9; 32])]).expect("there is a key");
    assert_eq!(other.verify(&token), Err(belay_core::token::TokenError::UnknownKey));
    assert!(token.expose().len() <= 512);
}

proptest! {
    #[test]
    fn changed_or_cut_tokens_are_invalid(at in 0_usize..170, with in "[A-Za-z0-9_-]") {
        let token = keys(1).mint(&claims());
        let text = token.expose();
        let at = at % text.len();
        let changed = format!("{}{with}{}", &text[..at], &text[at + 1..]);
        if changed != text {
            prop_assert!(keys(1).verify(&Secret::new(changed)).is_err());
        }
        prop_assert!(keys(1).verify(&Secret::new(&text[..at])).is_err());
    }
}

/// What can happen around one rotation.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// The device connects with what it has on disk; the relay offers a successor.
    Connect,
    /// The same, but the answer with the offer is lost.
    ConnectLosesAnswer,
    /// The device crashes between receiving and writing an offer.
    CrashBeforeWrite,
    /// The store loses its last writes.
    StoreRollsBack,
}

/// A device with a key, its relay, and a store that can go back.
struct World {
    device: (u64, u8),
    store: TokenState,
    former: Vec<TokenState>,
    next_nonce: u8,
}

impl World {
    /// One connection; `keep` says whether the offer reaches the device's disk.
    fn connect(&mut self, keep: bool) -> Result<(), Judgement> {
        let (generation, nonce) = self.device;
        let verdict =
            judge(&presented(generation, nonce, Some(true)), &self.store, &KEY, NOW, GRACE);
        match verdict {
            Judgement::Current | Judgement::ClientWentBack => {}
            Judgement::Commit { .. } => {
                self.former.push(self.store);
                self.store = stored(generation, nonce, 0);
            }
            Judgement::ProofMissing | Judgement::Stale | Judgement::Stolen => return Err(verdict),
        }
        self.next_nonce = self.next_nonce.wrapping_add(1);
        if keep {
            self.device = (self.store.generation + 1, self.next_nonce);
        }
        Ok(())
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        Just(Step::Connect),
        Just(Step::ConnectLosesAnswer),
        Just(Step::CrashBeforeWrite),
        Just(Step::StoreRollsBack),
    ];
    proptest::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn an_honest_device_is_never_locked_out(steps in steps()) {
        let first = stored(1, 1, 0);
        let mut world = World { device: (1, 1), store: first, former: vec![], next_nonce: 1 };
        for step in steps {
            let outcome = match step {
                Step::Connect => world.connect(true),
                Step::ConnectLosesAnswer | Step::CrashBeforeWrite => world.connect(false),
                Step::StoreRollsBack => {
                    if let Some(former) = world.former.pop() {
                        world.store = former;
                    }
                    Ok(())
                }
            };
            prop_assert_eq!(outcome, Ok(()), "after {:?}", step);
        }
    }
}

//! Tokens of phones in the field: the offer of a connect commits at its first use or at the first text
//! after it, and whatever is lost on the way, the phone comes in again (delivery, section 6.2).

#![expect(clippy::wildcard_enum_match_arm, reason = "a test waits for one kind of many")]

#[path = "../common/around.rs"]
mod around;
#[path = "../common/desktop.rs"]
mod desktop;
#[path = "../common/logs.rs"]
mod logs;
#[path = "../common/phone.rs"]
mod phone;
mod world;

use std::time::Duration;

use belay_core::Input;
use belay_wire::CloseCode;
use proptest::prelude::*;
use world::World;

/// What can happen. The flags say what of it is lost.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// The save may fail, the answer may be lost; a phone that has it writes it down, then may speak.
    Connect {
        saved: bool,
        heard: bool,
        speaks: bool,
        text_saved: bool,
    },
    RelayDies,
    /// The store comes back as it was some saves ago.
    StoreRollsBack(usize),
    Wait {
        seconds: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let often = || prop::bool::weighted(0.8);
    prop_oneof![
        12 => (often(), often(), often(), often()).prop_map(|(saved, heard, speaks, text_saved)| {
            Step::Connect { saved, heard, speaks, text_saved }
        }),
        1 => Just(Step::RelayDies),
        1 => (1_usize..6).prop_map(Step::StoreRollsBack),
        3 => (1_u64..100_000).prop_map(|seconds| Step::Wait { seconds }),
    ]
}

fn take(world: &mut World, step: Step) -> Result<(), CloseCode> {
    match step {
        Step::Connect { saved, heard, speaks, text_saved } => {
            let token = world.token.clone();
            if let Some(next) = world.connect(&token, saved)?.filter(|_| heard) {
                world.token = next;
                if speaks {
                    world.says_something(text_saved);
                }
            }
        }
        Step::RelayDies => world.die(),
        Step::StoreRollsBack(saves) => {
            let keep = world.stored.len().saturating_sub(saves).max(1);
            world.stored.truncate(keep);
            world.die();
        }
        Step::Wait { seconds } => world.around.wait(Duration::from_secs(seconds)),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 200, ..ProptestConfig::with_cases(8) })]

    #[test]
    fn ten_thousand_rotations_under_faults_lock_no_phone_out(
        steps in proptest::collection::vec(step(), 4_000),
    ) {
        let mut world = World::new();
        for (at, step) in steps.into_iter().enumerate() {
            prop_assert_eq!(take(&mut world, step), Ok(()), "step {}: {:?}", at, step);
        }
        let token = world.token.clone();
        prop_assert!(world.connect(&token, true).is_ok(), "at the end");
        // Eight such runs are more than ten thousand rotations.
        prop_assert!(world.generation() > 1_250, "{} rotations", world.generation());
    }
}

#[test]
fn the_offer_commits_at_the_first_text_and_not_before() {
    let mut world = World::new();
    let first = world.token.clone();

    let offer = world.connect(&first, true).expect("let in").expect("an offer");
    let connection = world.open.expect("open");
    world.give(Input::Wrote { connection }, true).expect("saved");
    assert_eq!(world.generation(), 1, "it was written, which proves nothing");
    world.says_something(true);

    assert_eq!(world.generation(), 2);
    world.connect(&offer, true).expect("let in");
}

#[test]
fn the_offer_commits_at_its_first_use() {
    let mut world = World::new();
    let first = world.token.clone();
    let offer = world.connect(&first, true).expect("let in").expect("an offer");

    let next = world.connect(&offer, true).expect("let in").expect("an offer");

    assert_eq!(world.generation(), 2);
    assert_ne!(next.expose(), offer.expose());
}

#[test]
fn the_former_token_is_served_for_its_grace_and_an_older_one_not_at_all() {
    let mut world = World::new();
    let first = world.token.clone();
    let second = world.connect(&first, true).expect("let in").expect("an offer");
    // However long it takes until the phone speaks.
    world.around.wait(Duration::from_hours(48));
    world.connect(&first, true).expect("the offer was not used yet");
    world.connect(&second, true).expect("let in");
    world.around.policy.compat.rotation_grace = Duration::from_millis(2);

    world.around.wait(Duration::from_millis(1));
    world.connect(&first, true).expect("in its grace");
    world.around.wait(Duration::from_millis(1));
    assert_eq!(world.connect(&first, true).err(), Some(CloseCode::StaleToken));

    let third = world.connect(&second, true).expect("let in").expect("an offer");
    world.connect(&third, true).expect("let in");
    assert_eq!(world.connect(&first, true).err(), Some(CloseCode::StaleToken), "two before");
    world.connect(&second, true).expect("in its grace");
}

#[test]
fn without_a_grace_the_successor_is_stored_before_it_is_told() {
    let mut world = World::new();
    world.around.policy.compat.rotation_grace = Duration::ZERO;
    let first = world.token.clone();

    let lost = world.connect(&first, false).expect("let in");
    assert!(lost.is_none(), "what is not stored is not told");
    let second = world.connect(&first, true).expect("let in").expect("an offer");

    assert_eq!(world.stored.last().expect("stored").devices[0].token.generation, 2);
    assert_eq!(world.connect(&first, true).err(), Some(CloseCode::StaleToken));
    world.connect(&second, true).expect("let in");
}

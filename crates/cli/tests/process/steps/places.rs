//! Kills the host at each place that it comes by, and judges how often the effect happened.

use belay_wire::app::{CommandOutcome, CommandState};

use super::world::World;

/// Any command has more places at which a host can be killed, and fewer.
const PLACES_MIN: usize = 20;
const PLACES_MAX: usize = 400;

/// A step that not every run has may be missing in one.
const RUNS_WITHOUT_NEW_PLACES: usize = 2;

/// How a command ended whose host was killed.
pub(super) struct Ended {
    id: String,
    /// Where; `None`, it lived.
    place: Option<String>,
    sent_again: usize,
    outcome: CommandOutcome,
}

/// Plays a command again and again. Each time the host is killed at the first place that no run before was
/// killed at, until there is none any more. `begin` sets the host to work, after `prepare`; the `needed`
/// steps are among those at which it is killed.
pub(super) async fn at_each_place(
    world: &mut World,
    name: &str,
    prepare: impl AsyncFn(&mut World, &str),
    begin: impl AsyncFn(&mut World, &str),
    needed: &[&str],
) -> Vec<Ended> {
    let mut ended: Vec<Ended> = Vec::new();
    let mut lived = 0;
    while lived < RUNS_WITHOUT_NEW_PLACES {
        let id = format!("{name}-{}", ended.len());
        world.sent_again = 0;
        prepare(world, &id).await;
        let died = world.work(&id, None, &begin).await;
        let stands = world.desktop.has_prompt(&id);
        // Each run begins with a host that was started anew.
        world.desktop.start_again();
        let decided = world.decided;
        let outcome = world.end(&id).await;
        let is_done = outcome.state == CommandState::Done && world.decided == decided;
        assert!(is_done || !stands, "{id} stands in its thread, and is not done: {outcome:?}");
        let before = world.phone.give_again(&id);
        world.until(&id, |phone| phone.results.contains_key(&id)).await;
        assert_eq!(world.phone.results[&id], before, "{id} is answered the same for ever");
        let place = world.desktop.places().pop().filter(|_| died);
        ended.push(Ended { id, place, sent_again: world.sent_again, outcome });
        lived = if died { 0 } else { lived + 1 };
        assert!(ended.len() < PLACES_MAX, "{name} has too many places");
    }
    let places = world.desktop.places();
    eprintln!("{name}: killed at {} places", places.len());
    for step in needed {
        assert!(places.iter().any(|place| place.starts_with(step)), "not killed {step}");
    }
    assert!(places.len() >= PLACES_MIN, "{name} has only {places:?}");
    ended
}

/// How often an effect may have happened. `first`: the first attempt may have come so far.
fn allowed(ended: &Ended, first: usize) -> std::ops::RangeInclusive<usize> {
    let most = first + ended.sent_again;
    let told = ended.outcome.text.as_deref().unwrap_or_default();
    match ended.outcome.state {
        CommandState::Done => 1..=most,
        CommandState::Failed if !told.contains("not known") => 0..=ended.sent_again,
        CommandState::Failed | CommandState::Dropped => 0..=most,
        CommandState::Unknown => unreachable!("that is no end"),
    }
}

pub(super) fn judge(
    ended: &[Ended],
    notes: &[String],
    first: usize,
    effect: impl Fn(&str) -> String,
) {
    for one in ended {
        let Ended { id, place, sent_again, outcome } = one;
        let note = effect(id);
        let times = notes.iter().filter(|n| **n == note).count();
        let (state, text) = (outcome.state, outcome.text.as_deref().unwrap_or_default());
        let told = format!("{state:?} {text}, sent again {sent_again} times");
        let line = format!("{times} times \"{note}\", killed {place:?}: {told}");
        eprintln!("{line}");
        assert!(allowed(one, first).contains(&times), "{line}");
    }
}

//! Inputs whose save always succeeds.

use belay_core::{Effect, Effects, Env, Input, Session};

/// Gives an input, and what may be told once its save is done.
pub(crate) fn give(session: &mut Session, input: Input, env: &mut Env<'_>) -> Effects {
    let mut effects = session.handle(input, env);
    let told = |e: &mut Effect| matches!(e, Effect::Feed(Input::TellHost(_)));
    let told: Vec<_> = effects.then.extract_if(.., told).collect();
    for effect in told {
        if let Effect::Feed(input) = effect {
            session.handle(input, env);
        }
    }
    effects
}

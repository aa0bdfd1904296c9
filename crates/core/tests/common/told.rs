//! Inputs whose save always succeeds and whose messages are always stored.

use belay_core::{Effect, Effects, Env, Input, Session};

use crate::logs::Logs;

/// Gives an input, and what may be told once its save and its appends are done.
pub(crate) fn give(
    session: &mut Session,
    logs: &mut Logs,
    input: Input,
    env: &mut Env<'_>,
) -> Effects {
    let mut effects = session.handle(input, env);
    let told = |e: &mut Effect| matches!(e, Effect::Feed(Input::TellHost(_)));
    let told = effects.then.extract_if(.., told);
    let told = told.filter_map(|e| if let Effect::Feed(input) = e { Some(input) } else { None });
    let mut inputs: Vec<_> = told.collect();
    inputs.extend(logs.carry_out(std::mem::take(&mut effects.log)));
    for input in inputs {
        let later = give(session, logs, input, env);
        effects.then.extend(later.then);
        effects.wake.extend(later.wake);
        effects.events.extend(later.events);
        effects.save = later.save.or(effects.save);
    }
    effects
}

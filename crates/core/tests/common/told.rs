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
    let stored = effects.save.clone().map(|record| Input::Record(Box::new(record)));
    let mut inputs: Vec<_> = stored.into_iter().collect();
    let feeds = effects.then.extract_if(.., |effect| matches!(effect, Effect::Feed(_)));
    inputs.extend(feeds.filter_map(|e| if let Effect::Feed(i) = e { Some(i) } else { None }));
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

//! How an input of a session and all that follows from it are carried out.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use belay_core::{
    Effect, Effects, Input, SessionRecord,
    ports::{BusFrame, StoreError, Version},
};
use tokio::{task::JoinHandle, time::Instant};

use super::{CallError, Node};
use crate::{entropy::below, registry::Handle};

/// Times that another version is in the way of a save, until the store counts as not available: each time
/// somebody else stored something.
const CONFLICTS_MAX: u32 = 64;
/// A session that was not there for so long is lost.
const LOST_AFTER: Duration = Duration::from_secs(2);
/// How much more than by one a version may grow. A session of a million saves stays below 2^53.
const STEP_MAX: u64 = 1 << 20;

impl Node {
    /// Carries an input out in a task of its own: a caller that hangs up must not cut it in the
    /// middle.
    pub(crate) fn drive_to_the_end(
        self: &Arc<Self>,
        handle: &Arc<Handle>,
        input: Input,
    ) -> JoinHandle<()> {
        let (node, handle) = (self.clone(), handle.clone());
        self.tasks.spawn(async move { node.drive(&handle, input).await })
    }

    /// Gives an input to a session and carries out what follows, to the end.
    pub(crate) async fn drive(self: &Arc<Self>, handle: &Arc<Handle>, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let waiter =
                if let Input::Await { waiter, .. } = &input { Some(*waiter) } else { None };
            let mut effects = self.give(handle, input, &mut inputs);
            if let Some(record) = effects.save.take() {
                effects = self.store(handle, record, effects, &mut inputs).await;
            }
            self.follow(handle, effects, &mut inputs).await;
            // Who hung up while that was stored was not known to wait then.
            if let Some(waiter) = waiter.filter(|waiter| !self.waits(*waiter)) {
                inputs.push_back(Input::WaiterGone { waiter });
            }
        }
    }

    /// Gives an input, and what the logs are to do, whatever becomes of the save.
    fn give(
        self: &Arc<Self>,
        handle: &Arc<Handle>,
        input: Input,
        inputs: &mut VecDeque<Input>,
    ) -> Effects {
        let mut effects = self.with_env(|env| handle.session.lock().handle(input, env));
        self.ask_log(handle, std::mem::take(&mut effects.log), inputs);
        effects
    }

    /// What follows once everything is stored.
    async fn follow(
        self: &Arc<Self>,
        handle: &Arc<Handle>,
        effects: Effects,
        inputs: &mut VecDeque<Input>,
    ) {
        self.report(handle, &effects);
        for effect in effects.then {
            self.carry_out(handle, effect, inputs).await;
        }
        handle.wake(&effects.wake);
    }

    /// Stores a record, or finds out what another version of it makes of the input that wanted that. Saves of
    /// one session come one after the other. Answers what follows now.
    async fn store(
        self: &Arc<Self>,
        handle: &Arc<Handle>,
        mut record: SessionRecord,
        mut effects: Effects,
        inputs: &mut VecDeque<Input>,
    ) -> Effects {
        let _turn = handle.saving.lock().await;
        for _ in 0..CONFLICTS_MAX {
            let Some(redo) = effects.redo.take() else { return effects };
            let known = handle.session.lock().record().version;
            // One that the store lost follows nothing.
            let follows = [Some(known), Some(0)].contains(&record.replaces());
            let stored = if follows {
                self.stride(&mut record);
                self.observe_write(self.stores.sessions.save(record.clone())).await
            } else {
                // Somebody else here stored something while this one waited for its turn.
                Err(StoreError::Conflict)
            };
            let newer = match stored {
                Ok(()) => {
                    self.take_version(handle, record, inputs).await;
                    self.tell(handle.id, BusFrame::Changed);
                    return effects;
                }
                Err(StoreError::Conflict) if !follows => Ok(None),
                Err(StoreError::Conflict) => self.load(handle.id).await.map(Some),
                Err(error) => Err(error),
            };
            match newer {
                Ok(None) => {}
                Ok(Some(Some(newer))) => self.take_version(handle, newer, inputs).await,
                Ok(Some(None)) => match self.gone(handle).await {
                    Ok(Some(ended @ Input::End { .. })) => {
                        let gone = self.give(handle, ended, inputs);
                        self.follow(handle, gone, inputs).await;
                    }
                    // A look at the store puts it back.
                    Ok(_) => return self.cannot_store(handle, *redo, &lost()),
                    Err(error) => return self.cannot_store(handle, *redo, &error),
                },
                Err(error) => return self.cannot_store(handle, *redo, &error),
            }
            effects = self.give(handle, *redo, inputs);
            match effects.save.take() {
                Some(again) => record = again,
                None => return effects,
            }
        }
        let error = StoreError::Unavailable("other versions were always first".to_owned());
        effects
            .redo
            .take()
            .map_or_else(Effects::default, |redo| self.cannot_store(handle, *redo, &error))
    }

    /// Where others save, too, the number of a version is one that they would not choose.
    fn stride(&self, record: &mut SessionRecord) {
        if self.cluster.is_some() {
            record.stride(below(STEP_MAX));
        }
    }

    /// Another version of the record is stored: what is live follows.
    async fn take_version(
        self: &Arc<Self>,
        handle: &Arc<Handle>,
        record: SessionRecord,
        inputs: &mut VecDeque<Input>,
    ) {
        let effects = self.give(handle, Input::Record(Box::new(record)), inputs);
        self.follow(handle, effects, inputs).await;
    }

    /// A session is not in the store: what that means. `None`: it is looked at once more, because a relay of an
    /// older version does not note what it removes, but says so.
    async fn gone(&self, handle: &Handle) -> Result<Option<Input>, StoreError> {
        if self.observe(self.stores.sessions.was_removed(handle.id)).await? {
            // Ended at another node.
            return Ok(Some(Input::End { reason: "session_ended" }));
        }
        let version = handle.session.lock().record().version;
        let mut missed = handle.missed.lock();
        match *missed {
            Some((missing, since)) if missing == version => {
                if since.elapsed() < LOST_AFTER {
                    return Ok(None);
                }
                *missed = None;
                Ok(Some(Input::Lost { version }))
            }
            _ => {
                *missed = Some((version, Instant::now()));
                Ok(None)
            }
        }
    }

    fn cannot_store(&self, handle: &Arc<Handle>, redo: Input, error: &StoreError) -> Effects {
        tracing::error!(session = %handle.id, %error, "not stored");
        if let Some(waiter) = redo.waiter() {
            self.answer(waiter, Err(CallError::Store));
        }
        self.with_env(|env| handle.session.lock().not_stored(redo, env))
    }

    async fn carry_out(
        self: &Arc<Self>,
        handle: &Arc<Handle>,
        effect: Effect,
        inputs: &mut VecDeque<Input>,
    ) {
        match effect {
            Effect::Feed(input) => inputs.push_back(input),
            Effect::Close { connection, code } => handle.close(connection, code),
            Effect::Answer { waiter, answer } => {
                self.answer(waiter, answer.map_err(CallError::Pair));
            }
            Effect::Revoke { member } => match self.stores.revocations.add(member).await {
                Ok(()) => inputs.push_back(Input::RevokeDurable { member }),
                Err(error) => {
                    tracing::error!(%error, "revocation is in one place only; trying again");
                    handle.retry_revocation(member);
                }
            },
            Effect::Sit { connection, seat } => {
                inputs.extend(self.sit(handle, connection, *seat).await);
            }
            Effect::Leave { principal, generation } => self.leave(handle, principal, generation),
            Effect::Spend(spent) => self.spend(handle, spent),
            Effect::Bus(frame) => self.tell(handle.id, frame),
        }
    }

    /// Reads what is stored of a session if that is another version than is known here. Takes its turn with
    /// the saves, so that what was read before one of them is not taken after it.
    pub(super) async fn refresh(
        self: &Arc<Self>,
        handle: &Arc<Handle>,
        stored: Version,
    ) -> Result<(), StoreError> {
        let mut inputs = VecDeque::new();
        if differs(handle, stored) {
            let _turn = handle.saving.lock().await;
            if differs(handle, stored) {
                match self.load(handle.id).await? {
                    Some(record) => self.take_version(handle, record, &mut inputs).await,
                    None => inputs.extend(self.gone(handle).await?),
                }
            }
        }
        for input in inputs {
            self.drive(handle, input).await;
        }
        self.refresh_seats(handle, stored.seats).await
    }
}

/// Tells whether another version of the record is stored than is known here.
fn differs(handle: &Handle, stored: Version) -> bool {
    handle.session.lock().record().version != stored.record
}

fn lost() -> StoreError {
    StoreError::Unavailable("the session is not there; it is put back in a moment".to_owned())
}

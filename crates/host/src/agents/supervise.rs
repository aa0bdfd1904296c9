//! Keeps an agent's process running: starts it, restarts it when it ends, and answers calls that
//! come while it is away.

use std::time::Duration;

use belay_wire::app::AgentState;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::task::TaskTracker;

use super::{AgentCall, AgentError, AgentEvent};
use crate::rpc::{Incoming, Launch, Rpc};

/// Pause before a process that ended is started again.
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// The pause grows up to this, and a run that lasted longer starts it anew.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// One run of an agent's process.
pub(super) trait Process: Send {
    /// Serves until the process ends (the reason) or is no longer needed (`None`).
    fn serve(
        self,
        incoming: mpsc::Receiver<Incoming>,
        queue: &mut mpsc::Receiver<AgentCall>,
    ) -> impl Future<Output = Option<String>> + Send;
}

/// Runs processes one after the other until nobody needs them.
pub(super) async fn supervise<P: Process>(
    launch: Launch,
    processes: TaskTracker,
    mut queue: mpsc::Receiver<AgentCall>,
    events: mpsc::Sender<AgentEvent>,
    run: impl Fn(Rpc, mpsc::Sender<AgentEvent>) -> P + Send,
) {
    let mut pause = PAUSE_MIN;
    loop {
        let started = Instant::now();
        let reason = match Rpc::start(&launch, &processes) {
            Ok((rpc, incoming)) => run(rpc, events.clone()).serve(incoming, &mut queue).await,
            Err(error) => Some(format!("{}: {error}", launch.program.display())),
        };
        let Some(reason) = reason else { return };
        let (state, version, pid) = (AgentState::Restarting, String::new(), None);
        let event = AgentEvent::State { state, version, pid, text: Some(reason.clone()) };
        if events.send(event).await.is_err() {
            return;
        }
        if started.elapsed() > PAUSE_MAX {
            pause = PAUSE_MIN;
        }
        if !rest(pause, &reason, &mut queue).await {
            return;
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Waits; calls that come meanwhile are told that the agent is down. `false`: nobody calls any more.
async fn rest(pause: Duration, reason: &str, queue: &mut mpsc::Receiver<AgentCall>) -> bool {
    let wake = tokio::time::sleep(pause);
    tokio::pin!(wake);
    loop {
        tokio::select! {
            () = &mut wake => return true,
            call = queue.recv() => match call {
                Some(call) => {
                    let _ = call.reply.send(Err(AgentError::Down(reason.to_owned())));
                }
                None => return false,
            },
        }
    }
}

//! Commands of one thread reach their agent in the order in which they came.

use std::collections::{HashMap, VecDeque};

use tokio::sync::mpsc;

use super::{
    Desk, Work,
    steps::{Effect, Steps, carry_out},
};
use crate::agents::AgentError;

/// Commands that may wait for the one before them.
const WAITING_MAX: usize = 1_024;

/// A command on its way to an agent.
pub(super) struct Job {
    pub(super) id: String,
    pub(super) agent: usize,
    pub(super) steps: Steps,
}

/// A command that ran beside the desk's task.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(super) id: String,
    pub(super) agent: usize,
    pub(super) lane: Option<Lane>,
    pub(super) result: Result<Effect, AgentError>,
}

/// An agent and its own id of a thread.
pub(super) type Lane = (usize, String);

/// Who waits behind the command that is with the agent, for every thread where one is.
pub(super) type Lanes = HashMap<Lane, VecDeque<Job>>;

impl Desk {
    /// Begins a job now, or when the jobs of its thread that came before are done.
    ///
    /// # Errors
    /// When too many wait, in words.
    pub(super) fn line_up(&mut self, job: Job) -> Result<(), String> {
        let Some(thread) = job.steps.thread() else {
            self.launch(job, None);
            return Ok(());
        };
        let lane = (job.agent, thread.to_owned());
        if let Some(waiting) = self.lanes.get_mut(&lane) {
            if waiting.len() >= WAITING_MAX {
                return Err(
                    "too many commands wait for this thread; send it again later".to_owned()
                );
            }
            waiting.push_back(job);
            return Ok(());
        }
        self.lanes.insert(lane.clone(), VecDeque::new());
        self.launch(job, Some(lane));
        Ok(())
    }

    /// The first job of a lane has ended.
    pub(super) fn next_in(&mut self, lane: Option<Lane>) {
        let Some(lane) = lane else { return };
        match self.lanes.get_mut(&lane).and_then(VecDeque::pop_front) {
            Some(job) => self.launch(job, Some(lane)),
            None => drop(self.lanes.remove(&lane)),
        }
    }

    fn launch(&self, job: Job, lane: Option<Lane>) {
        let Job { id, agent, steps } = job;
        let Some(slot) = self.slots.get(agent) else { return };
        let (handle, finished) = (slot.agent.clone(), self.finished.clone());
        tokio::spawn(async move {
            let (started, mut made) = mpsc::channel(1);
            let told = async {
                while let Some(made) = made.recv().await {
                    let _ = finished.send(Work::Started(agent, made)).await;
                }
            };
            let (result, ()) = tokio::join!(carry_out(&handle, steps, started), told);
            let _ = finished.send(Work::Command(Finished { id, agent, lane, result })).await;
        });
    }
}

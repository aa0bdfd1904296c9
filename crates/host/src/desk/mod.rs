//! The heart of the host: one task that joins relay, agents, transcript, requests and journal.

mod agent_event;
mod command;
mod lane;
mod publish;
mod relay_event;
mod shorten;
mod snapshot;
mod steps;
mod unknown;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use belay_client::{Api, Client, CredentialStore, Event, Identity};
use belay_wire::{
    DeviceView, MemberId,
    app::{AgentState, AgentView, CommandRequest, ThreadStatus},
    pair::CodeMade,
};
use tokio::sync::{mpsc, watch};

use crate::{
    agents::{Agent, AgentEvent, ThreadInfo},
    clock::unix_ms,
    journal::Journal,
    pairing::Pairing,
    requests::Requests,
    transcript::Transcript,
    view::{HostView, UiCommand},
};

use lane::{Finished, Lanes};
use publish::Publisher;
use steps::Started;

/// How often what changed is written to the relay.
const FLUSH_EVERY: Duration = Duration::from_millis(60);
/// Lines of activity that the terminal can show.
const ACTIVITY_MAX: usize = 200;
/// A new code is made this long before the shown one ends.
const CODE_MARGIN_MS: u64 = 5_000;
/// Finished work that may wait.
const FINISHED_LEN: usize = 256;

/// An agent and what is known of its process.
#[derive(Debug)]
pub(crate) struct AgentSlot {
    pub(crate) agent: Agent,
    pub(crate) view: AgentView,
}

/// What a desk is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    /// Address that phones open.
    pub(crate) link: String,
    pub(crate) host_name: String,
    pub(crate) client: Client,
    pub(crate) api: Api,
    pub(crate) identity: Identity,
    pub(crate) credentials: Arc<dyn CredentialStore>,
    pub(crate) transcript: Transcript,
    pub(crate) requests: Requests,
    pub(crate) journal: Journal,
    pub(crate) unknown: Vec<(MemberId, CommandRequest)>,
    pub(crate) folders: Vec<PathBuf>,
    pub(crate) agents: Vec<Agent>,
    pub(crate) notes: Vec<String>,
    pub(crate) warning: Option<String>,
    pub(crate) news: watch::Receiver<String>,
    pub(crate) view: watch::Sender<HostView>,
}

/// Work that ran beside the desk's task.
#[derive(Debug)]
pub(crate) enum Work {
    Command(Finished),
    Code(Result<CodeMade, String>),
    /// The threads that an agent knows.
    Threads(usize, Vec<ThreadInfo>),
    /// A prompt whose effect was unknown stands in its thread.
    Found(String),
    /// A thread was made; its first prompt follows its record.
    Started(usize, Started),
}

/// The state of a host.
pub(crate) struct Desk {
    parts: Parts,
    slots: Vec<AgentSlot>,
    pairing: Pairing,
    devices: Vec<DeviceView>,
    devices_allowed: usize,
    relay_trouble: Option<String>,
    activity: Vec<String>,
    activity_count: u64,
    publisher: Publisher,
    /// A person asked for one more device.
    adding: bool,
    /// Devices whose removal was sent and is not answered yet.
    revoking: BTreeSet<MemberId>,
    making_code: bool,
    /// Why there was no code when it was asked for last.
    code_trouble: Option<String>,
    /// Commands whose effect is unknown, by id.
    unknown: BTreeMap<String, (MemberId, CommandRequest)>,
    lanes: Lanes,
    finished: mpsc::Sender<Work>,
}

/// Why a desk ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// A person asked for it.
    Quit,
    /// The relay refused this host for good.
    Refused { code: u16, reason: String },
}

impl Desk {
    /// Runs until a person quits or the relay refuses.
    pub(crate) async fn run(
        mut parts: Parts,
        mut relay: mpsc::Receiver<Event>,
        mut agents: mpsc::Receiver<(usize, AgentEvent)>,
        ui: &mut mpsc::Receiver<UiCommand>,
    ) -> Ended {
        let (finished, mut work) = mpsc::channel(FINISHED_LEN);
        let unknown = std::mem::take(&mut parts.unknown);
        let notes = std::mem::take(&mut parts.notes);
        let slots = std::mem::take(&mut parts.agents).into_iter().map(slot).collect();
        let mut desk = Self {
            parts,
            slots,
            pairing: Pairing::default(),
            devices: Vec::new(),
            devices_allowed: 0,
            relay_trouble: Some("connecting".to_owned()),
            activity_count: notes.len() as u64,
            activity: notes,
            publisher: Publisher::default(),
            adding: false,
            revoking: BTreeSet::new(),
            making_code: false,
            code_trouble: None,
            unknown: unknown.into_iter().map(|(m, r)| (r.id.clone(), (m, r))).collect(),
            lanes: Lanes::new(),
            finished,
        };
        desk.publish_everything();
        desk.void_kept_requests();
        desk.sort_out_unknown();
        let mut flush = tokio::time::interval(FLUSH_EVERY);
        loop {
            tokio::select! {
                event = relay.recv() => match event {
                    Some(Event::Stopped { code, reason }) => return Ended::Refused { code, reason },
                    Some(event) => desk.relay_event(event),
                    None => return Ended::Quit,
                },
                Some((agent, event)) = agents.recv() => desk.agent_event(agent, event),
                command = ui.recv() => match command {
                    Some(UiCommand::Quit) | None => return Ended::Quit,
                    Some(command) => desk.ui_command(&command),
                },
                Some(work) = work.recv() => desk.worked(work),
                Ok(()) = desk.parts.news.changed() => {
                    let news = desk.parts.news.borrow_and_update().clone();
                    desk.note(news);
                }
                _ = flush.tick() => {
                    desk.flush();
                    desk.pairing.expire(unix_ms());
                    desk.renew_code();
                }
            }
            desk.show();
        }
    }

    /// Requests that a former run left open have nobody to answer to.
    fn void_kept_requests(&mut self) {
        let rev = self.parts.transcript.next_rev();
        let note = "the desktop was restarted, so the agent no longer waits for this";
        for id in self.parts.requests.void(None, note, rev) {
            self.request_changed(&id);
            self.note(format!("void after the restart: {id}"));
        }
    }

    fn worked(&mut self, work: Work) {
        match work {
            Work::Command(finished) => self.finished(finished),
            Work::Threads(agent, threads) => self.threads_listed(agent, threads),
            Work::Found(id) => self.was_done(&id),
            Work::Started(agent, (info, written)) => {
                self.put_thread(agent, &info, ThreadStatus::Idle);
                let _ = written.send(());
            }
            Work::Code(Ok(made)) => {
                self.making_code = false;
                self.code_trouble = None;
                self.pairing.show(&self.parts.link, &made, &self.parts.identity);
            }
            Work::Code(Err(error)) => {
                self.making_code = false;
                self.pairing.hide();
                // It is tried again every two seconds, and said once.
                if self.code_trouble.as_ref() != Some(&error) {
                    self.note(format!(
                        "no pairing code: {error}; it is asked for until there is one"
                    ));
                    self.code_trouble = Some(error);
                }
            }
        }
    }

    fn ui_command(&mut self, command: &UiCommand) {
        match command {
            UiCommand::Approve(id) => self.decide(*id, true),
            UiCommand::Reject(id) => self.decide(*id, false),
            UiCommand::Revoke(member) => {
                let sent = self.parts.client.control(belay_wire::DeviceRevoke { member: *member });
                if sent.is_err() {
                    self.note("not removed: there is no connection to the relay".to_owned());
                } else {
                    self.revoking.insert(*member);
                }
            }
            UiCommand::AddDevice => {
                self.adding = true;
                self.pairing.hide();
                self.renew_code();
            }
            UiCommand::Quit => {}
        }
    }

    fn decide(&mut self, id: belay_wire::RequestId, approved: bool) {
        let Some(decision) = self.pairing.decide(id, approved, &self.parts.identity) else {
            return self.note("this phone no longer waits".to_owned());
        };
        if self.parts.client.control(decision).is_err() {
            self.note("not decided: there is no connection to the relay".to_owned());
        }
    }

    /// Keeps a link on show while the first device is missing, or one more is wanted.
    fn renew_code(&mut self) {
        let wanted = self.adding || self.devices.is_empty();
        let connected = self.relay_trouble.is_none();
        if !wanted || !connected || self.making_code || self.pairing.is_pending() {
            if !wanted {
                self.pairing.hide();
            }
            return;
        }
        let fresh = self.pairing.offer().is_some_and(|o| o.expires_at > unix_ms() + CODE_MARGIN_MS);
        if fresh {
            return;
        }
        let Ok(Some(credentials)) = self.parts.credentials.load() else { return };
        self.making_code = true;
        let (api, identity) = (self.parts.api.clone(), self.parts.identity.clone());
        let finished = self.finished.clone();
        tokio::spawn(async move {
            let made =
                api.new_code(credentials.session, &credentials.token, &identity, unix_ms()).await;
            if made.is_err() {
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
            let _ = finished.send(Work::Code(made.map_err(|e| e.to_string()))).await;
        });
    }

    /// Adds a line of activity.
    fn note(&mut self, line: String) {
        tracing::info!(%line, "host");
        self.activity.push(line);
        self.activity_count += 1;
        if self.activity.len() > ACTIVITY_MAX {
            self.activity.remove(0);
        }
    }

    fn device_name(&self, member: MemberId) -> String {
        let device = self.devices.iter().find(|d| d.member == member);
        device.map_or_else(|| "a device".to_owned(), |d| d.name.clone())
    }

    /// Tells the terminal what changed.
    fn show(&self) {
        let view = HostView {
            relay: self.parts.link.clone(),
            connected: self.relay_trouble.is_none(),
            relay_trouble: self.relay_trouble.clone(),
            // What the relay does not know of cannot be redeemed.
            offer: self.pairing.offer().filter(|_| self.relay_trouble.is_none()).cloned(),
            phone: self.pairing.phone(&self.parts.identity),
            devices: self.devices.clone(),
            devices_allowed: self.devices_allowed,
            agents: self.slots.iter().map(|s| s.view.clone()).collect(),
            folders: self.parts.folders.iter().map(|f| f.display().to_string()).collect(),
            activity: self.activity.clone(),
            activity_count: self.activity_count,
            pending_requests: self.parts.requests.open_count(),
            warning: self.parts.warning.clone(),
        };
        self.parts.view.send_if_modified(|shown| {
            let changed = *shown != view;
            if changed {
                *shown = view;
            }
            changed
        });
    }
}

fn slot(agent: Agent) -> AgentSlot {
    let view = AgentView {
        id: agent.id.clone(),
        name: agent.name.clone(),
        version: String::new(),
        state: AgentState::Starting,
        text: None,
        seen_at: unix_ms(),
    };
    AgentSlot { agent, view }
}

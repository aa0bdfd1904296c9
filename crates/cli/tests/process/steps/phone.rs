//! A phone as the page is one: it asks for the host's state when the host comes back, and gives open
//! commands once more when results may be gone.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use belay_client::{Event, Message};
use belay_testkit::Member;
use belay_wire::{
    Channel, Frame, Snapshot,
    app::{
        Command, CommandOutcome, CommandRequest, CommandState, CommandView, FromHost, FromMember,
        RequestState, RequestView, open, seal,
    },
};

pub(super) struct Phone {
    member: Member,
    given: BTreeMap<String, CommandRequest>,
    pub(super) results: BTreeMap<String, CommandOutcome>,
    /// Commands that are shown with "send again" and "drop".
    pub(super) unknown: BTreeSet<String>,
    requests: BTreeMap<String, RequestView>,
    snapshots: u32,
    host_is_there: bool,
}

impl Phone {
    pub(super) fn new(member: Member) -> Self {
        Self {
            member,
            given: BTreeMap::new(),
            results: BTreeMap::new(),
            unknown: BTreeSet::new(),
            requests: BTreeMap::new(),
            snapshots: 0,
            host_is_there: false,
        }
    }

    pub(super) fn give(&mut self, id: &str, command: Command) {
        let request = CommandRequest { id: id.to_owned(), command, at: belay_testkit::unix_ms() };
        self.send(&request);
        self.given.insert(id.to_owned(), request);
    }

    /// Gives a command that has its result once more, as a phone does that lost it.
    pub(super) fn give_again(&mut self, id: &str) -> CommandOutcome {
        self.send(&self.given[id]);
        self.results.remove(id).expect("a result")
    }

    /// A command has its result, or is shown as unknown.
    pub(super) fn knows(&self, id: &str) -> bool {
        self.results.contains_key(id) || self.unknown.contains(id)
    }

    /// The commands that wait for their result.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &CommandRequest> {
        self.given.values().filter(|request| !self.results.contains_key(&request.id))
    }

    fn send(&self, request: &CommandRequest) {
        let payload = seal(&FromMember::Command { command: request.clone() }).expect("JSON");
        self.member.client.send(Channel::Up(self.member.id), payload, None).expect("room");
    }

    /// The open request about this command line.
    pub(super) fn asked(&self, command: &str) -> Option<String> {
        let is_it = |r: &&RequestView| {
            r.state == RequestState::Open && r.command.as_deref() == Some(command)
        };
        self.requests.values().find(is_it).map(|r| r.id.clone())
    }

    /// Takes what comes within this time, at most one event.
    pub(super) async fn listen(&mut self, at_most: Duration) {
        let event = tokio::time::timeout(at_most, self.member.events.recv()).await;
        match event {
            Ok(Some(Event::Message(message))) => self.message(&message),
            Ok(Some(Event::Frame(frame))) => self.frame(*frame),
            Ok(Some(Event::Stopped { code, reason })) => panic!("stopped: {code} {reason}"),
            Ok(Some(_)) | Err(_) => {}
            Ok(None) => panic!("the client ended"),
        }
    }

    fn message(&mut self, message: &Message) {
        match open::<FromHost>(&message.payload).expect("of this version") {
            FromHost::Result { outcome } if outcome.state == CommandState::Unknown => {
                self.unknown.insert(outcome.id);
            }
            FromHost::Result { outcome } => {
                self.unknown.remove(&outcome.id);
                let former = self.results.insert(outcome.id.clone(), outcome.clone());
                assert!(former.is_none_or(|f| f == outcome), "told otherwise before: {outcome:?}");
            }
            FromHost::Command { command } => self.command(command),
            FromHost::Request { request } => {
                self.requests.insert(request.id.clone(), request);
            }
            FromHost::Snapshot { body, .. } => {
                self.unknown.clear();
                body.commands.into_iter().for_each(|command| self.command(command));
                self.requests = body.requests.into_iter().map(|r| (r.id.clone(), r)).collect();
            }
            FromHost::Agent { .. }
            | FromHost::Thread { .. }
            | FromHost::Item { .. }
            | FromHost::Delta { .. } => {}
        }
        self.member.client.applied(message.channel, message.position);
    }

    fn command(&mut self, view: CommandView) {
        if view.unknown {
            self.unknown.insert(view.id);
        } else {
            self.unknown.remove(&view.id);
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "most frames tell a phone nothing")]
    fn frame(&mut self, frame: Frame) {
        self.member.client.applied_frame(&frame);
        let own = Channel::DownTo(self.member.id);
        match frame {
            Frame::Presence(presence) => {
                let is_back = presence.host_connected && !self.host_is_there;
                self.host_is_there = presence.host_connected;
                if is_back {
                    self.ask_snapshot();
                }
            }
            Frame::EpochFrame(epoch) => self.missed(epoch.ch == own),
            Frame::Gap(gap) => self.missed(gap.ch == own),
            _ => {}
        }
    }

    fn ask_snapshot(&mut self) {
        self.snapshots += 1;
        let (id, reason) = (format!("s{}", self.snapshots), "host_is_back".to_owned());
        let _ = self.member.client.control(Snapshot { id, reason, from: None });
    }

    /// The state is asked for anew; on the phone's own channel, results may be gone, too. The host runs no
    /// command twice.
    fn missed(&mut self, results: bool) {
        self.ask_snapshot();
        for request in self.waiting().filter(|_| results) {
            self.send(request);
        }
    }
}

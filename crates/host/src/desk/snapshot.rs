//! The full state, for a member that asks: in parts, at a position of `down`, at most once a second.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use belay_client::ClientError;
use belay_wire::{
    Channel, MemberId, Position, RawJson,
    app::{CommandView, FromHost, RequestState, RequestView, SnapshotBody, ThreadView, seal},
};
use tokio::time::Instant;

use super::{
    Desk,
    shorten::{json_bytes, shortened_thread},
};

/// Bytes of the requests in a snapshot.
const SNAPSHOT_REQUEST_BYTES: usize = 512 * 1024;
/// Bytes of the prompt that a command of a snapshot shows.
const COMMAND_TEXT_MAX: usize = 2 * 1024;
/// Threads of a snapshot.
const SNAPSHOT_THREADS: usize = 50;
/// Bytes of threads, requests and commands of one part; one that is larger is alone.
const PART_BYTES: usize = 256 * 1024;
/// Bytes of a value that can pass.
const PASS_MAX: usize = belay_wire::HOST_MESSAGE_BYTES_MAX - 64 * 1024;
/// Bytes that its phone has not acknowledged yet, beyond which further parts wait: a slow phone must not lose
/// the first parts for the sake of the last.
const AHEAD_MAX: usize = 1024 * 1024;
/// A member is answered at most this often.
const ANSWER_EVERY: Duration = Duration::from_secs(1);

/// Members that wait for a snapshot, and those that had one just now.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    asked: BTreeMap<MemberId, String>,
    answered: BTreeMap<MemberId, Instant>,
    /// Parts that are still to be sent.
    parts: BTreeMap<MemberId, Parts>,
}

/// The parts of one answer, in order.
#[derive(Debug)]
struct Parts {
    queue: VecDeque<RawJson>,
    is_begun: bool,
}

impl Parts {
    /// Sends what may go now; tells whether something is left. The first part always goes: its acknowledgement
    /// covers all before it, also where theirs never reached this host.
    fn send(
        &mut self,
        unsettled: impl Fn() -> usize,
        send: impl Fn(RawJson) -> Result<Position, ClientError>,
    ) -> bool {
        while let Some(part) = self.queue.front() {
            if self.is_begun && unsettled() > AHEAD_MAX {
                return true;
            }
            match send(part.clone()) {
                Ok(_) => {}
                Err(ClientError::TooLarge { bytes, limit }) => {
                    tracing::error!(bytes, limit, "a part of a snapshot is too large to be sent");
                    return false;
                }
                Err(_) => return true,
            }
            self.is_begun = true;
            self.queue.pop_front();
        }
        false
    }
}

impl Snapshots {
    /// The newest request of a member stands for those before it.
    pub(super) fn ask(&mut self, member: MemberId, id: String) {
        self.asked.insert(member, id);
    }

    fn due(&mut self) -> Vec<MemberId> {
        self.answered.retain(|_, at| at.elapsed() < ANSWER_EVERY);
        self.asked.keys().filter(|member| !self.answered.contains_key(member)).copied().collect()
    }

    fn take(&mut self, member: MemberId) -> Option<String> {
        self.answered.insert(member, Instant::now());
        self.asked.remove(&member)
    }
}

impl Desk {
    /// Makes the answers of those who wait. A later one takes the place of what is still to be sent.
    pub(super) fn answer_snapshots(&mut self) {
        for member in self.publisher.snapshots.due() {
            let Some(position) = self.parts.client.head(Channel::Down) else {
                // Nothing was ever published: publishing names a position.
                return self.publish_everything();
            };
            let Some(id) = self.publisher.snapshots.take(member) else { continue };
            let parts = Parts { queue: self.snapshot(&id, position), is_begun: false };
            self.publisher.snapshots.parts.insert(member, parts);
        }
    }

    /// Sends parts on the members' own channels, as they are acknowledged.
    pub(super) fn send_parts(&mut self) {
        let client = &self.parts.client;
        self.publisher.snapshots.parts.retain(|member, parts| {
            let channel = Channel::DownTo(*member);
            parts.send(|| client.unsettled_bytes(channel), |part| client.send(channel, part, None))
        });
    }

    fn snapshot(&self, id: &str, position: Position) -> VecDeque<RawJson> {
        let bodies = in_parts(SnapshotBody {
            host: self.parts.host_name.clone(),
            agents: self.slots.iter().map(|s| s.view.clone()).collect(),
            folders: self.parts.folders.iter().map(|f| f.display().to_string()).collect(),
            threads: self.snapshot_threads(),
            requests: self.snapshot_requests(),
            commands: self.snapshot_commands(),
            more: BTreeMap::new(),
        });
        let parts = u32::try_from(bodies.len()).unwrap_or(u32::MAX);
        let Position { epoch, seq, .. } = position;
        let part = |(body, part)| {
            seal(&FromHost::Snapshot { id: id.to_owned(), part, parts, epoch, seq, body }).ok()
        };
        bodies.into_iter().zip(1..).filter_map(part).collect()
    }

    /// All requests that wait, the later ones without their diffs if there is much, and as many of the
    /// newest that are over as fit.
    fn snapshot_requests(&self) -> Vec<RequestView> {
        let mut bytes = 0;
        let mut chosen: Vec<_> = self.parts.requests.list();
        chosen.sort_by_key(|r| {
            let waits = matches!(r.state, RequestState::Open | RequestState::Answered);
            (!waits, std::cmp::Reverse(r.asked_at))
        });
        chosen.retain_mut(|r| {
            let waits = matches!(r.state, RequestState::Open | RequestState::Answered);
            let own = json_bytes(r);
            bytes += own;
            if waits && (bytes > SNAPSHOT_REQUEST_BYTES || own > PASS_MAX) {
                for change in &mut r.changes {
                    "[see the thread: much waits here]".clone_into(&mut change.diff);
                }
            }
            waits || bytes <= SNAPSHOT_REQUEST_BYTES
        });
        chosen
    }

    /// The newest threads that are not archived, and whatever needs a person.
    fn snapshot_threads(&self) -> Vec<ThreadView> {
        let unknown = |id: &str| {
            let threads = self.unknown.values().filter_map(|(_, r)| r.command.thread());
            threads.into_iter().any(|thread| thread == id)
        };
        let views = self.parts.transcript.views();
        let allowed = views.into_iter().filter(|v| self.is_allowed(&v.folder));
        let needs = |v: &ThreadView| self.parts.requests.waits_in(&v.id) || unknown(&v.id);
        let mut shown = 0;
        let mut threads = Vec::new();
        for view in allowed {
            let newest = !view.archived && shown < SNAPSHOT_THREADS;
            shown += usize::from(newest);
            if newest || needs(view) {
                threads.push(shortened_thread(view));
            }
        }
        threads
    }

    fn snapshot_commands(&self) -> Vec<CommandView> {
        let mut views: Vec<_> =
            self.unknown.keys().filter_map(|id| self.command_view(id)).collect();
        for view in &mut views {
            view.command.shorten(COMMAND_TEXT_MAX);
        }
        views
    }
}

/// Cuts a state into parts.
fn in_parts(whole: SnapshotBody) -> Vec<SnapshotBody> {
    let SnapshotBody { host, agents, folders, threads, requests, commands, more } = whole;
    let last = SnapshotBody { host, agents, folders, more, ..SnapshotBody::default() };
    let mut cut = Cut { parts: Vec::new(), last, bytes: 0 };
    for thread in threads {
        if let Some(part) = cut.room_for(&thread) {
            part.threads.push(thread);
        }
    }
    for request in requests {
        if let Some(part) = cut.room_for(&request) {
            part.requests.push(request);
        }
    }
    for command in commands {
        if let Some(part) = cut.room_for(&command) {
            part.commands.push(command);
        }
    }
    cut.parts.push(cut.last);
    cut.parts
}

struct Cut {
    parts: Vec<SnapshotBody>,
    last: SnapshotBody,
    bytes: usize,
}

impl Cut {
    /// Gives the part that a value goes in; none, if no part could pass with it.
    fn room_for(&mut self, value: &impl serde::Serialize) -> Option<&mut SnapshotBody> {
        let bytes = json_bytes(value);
        if bytes > PASS_MAX {
            tracing::error!(bytes, "too large for a snapshot");
            return None;
        }
        if self.bytes > 0 && self.bytes + bytes > PART_BYTES {
            let next = SnapshotBody { host: self.last.host.clone(), ..SnapshotBody::default() };
            self.parts.push(std::mem::replace(&mut self.last, next));
            self.bytes = 0;
        }
        self.bytes += bytes;
        Some(&mut self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thread(id: usize, title_bytes: usize) -> ThreadView {
        let status = belay_wire::app::ThreadStatus::Idle;
        let (id, title) = (id.to_string(), "t".repeat(title_bytes));
        let (agent, folder) = ("a".to_owned(), "/f".to_owned());
        let (created_at, updated_at, error, archived, rev) = (0, 0, None, false, 1);
        ThreadView {
            id,
            agent,
            title,
            folder,
            created_at,
            updated_at,
            status,
            error,
            archived,
            rev,
        }
    }

    #[test]
    fn a_large_state_is_cut_into_parts_that_pass_and_hold_all_of_it_in_order() {
        let threads: Vec<_> = (0..40).map(|n| thread(n, 50_000)).collect();
        let folders = vec!["/f".to_owned()];
        let whole = SnapshotBody { host: "h".to_owned(), folders, threads, ..Default::default() };

        let parts = in_parts(whole.clone());

        assert!(parts.len() > 5);
        assert!(parts.iter().all(|p| json_bytes(p) < PART_BYTES + 1024 && p.host == "h"));
        let ids: Vec<_> = parts.iter().flat_map(|p| &p.threads).map(|t| t.id.as_str()).collect();
        assert_eq!(ids, whole.threads.iter().map(|t| t.id.as_str()).collect::<Vec<_>>());
        assert_eq!(parts.iter().flat_map(|p| &p.folders).count(), 1);
    }

    #[test]
    fn what_cannot_pass_does_not_keep_the_rest_from_passing() {
        let threads = vec![thread(1, 10), thread(2, 2 * PASS_MAX), thread(3, 10)];

        let parts = in_parts(SnapshotBody { threads, ..Default::default() });

        assert!(parts.iter().all(|p| json_bytes(p) < belay_wire::HOST_MESSAGE_BYTES_MAX));
        assert_eq!(parts.iter().flat_map(|p| &p.threads).count(), 2);
    }

    #[test]
    fn the_first_part_always_goes_and_the_rest_as_it_is_acknowledged() {
        let queue = (0..3).map(|n| RawJson::of(&n).expect("JSON")).collect();
        let mut parts = Parts { queue, is_begun: false };
        let sent = std::cell::Cell::new(0);
        let send = |_| {
            sent.set(sent.get() + 1);
            Ok(Position::new(belay_wire::Epoch(1), belay_wire::Seq::ZERO))
        };

        assert!(parts.send(|| 2 * AHEAD_MAX, send));
        assert!(parts.send(|| 2 * AHEAD_MAX, send));
        assert_eq!(sent.get(), 1);

        assert!(!parts.send(|| AHEAD_MAX, send));
        assert_eq!(sent.get(), 3);
    }

    #[test]
    fn a_part_that_cannot_be_sent_ends_its_answer_and_one_without_room_waits() {
        let parts = || Parts { queue: [RawJson::of(&0).expect("JSON")].into(), is_begun: false };
        let too_large = |_| Err(ClientError::TooLarge { bytes: 2, limit: 1 });
        assert!(!parts().send(|| 0, too_large));
        assert!(parts().send(|| 0, |_| Err(ClientError::Offline)));
    }

    #[test]
    fn an_empty_state_is_one_part() {
        assert_eq!(in_parts(SnapshotBody::default()).len(), 1);
    }

    #[test]
    fn a_member_is_answered_once_a_second_for_its_newest_request() {
        let mut snapshots = Snapshots::default();
        let member = MemberId::from_bytes([1; 16]);
        snapshots.ask(member, "a".to_owned());
        snapshots.ask(member, "b".to_owned());
        assert_eq!(snapshots.due(), [member]);
        assert_eq!(snapshots.take(member).as_deref(), Some("b"));

        snapshots.ask(member, "c".to_owned());

        assert_eq!(snapshots.due(), []);
        snapshots.answered.insert(member, Instant::now() - ANSWER_EVERY);
        assert_eq!(snapshots.due(), [member]);
    }
}

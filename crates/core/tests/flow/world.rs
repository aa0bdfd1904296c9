//! A session with a connected host and phone, in invented time.

use std::time::Duration;

use belay_core::{
    Effects, Input, Session,
    session::{Attach, OutFrame},
    token::{Claims, Principal},
};
use belay_wire::{ConnectionId, Frame, MemberId, Positions, binary::BinaryFrame, pair::HostInfo};

use crate::{
    around::{Around, attach, key_of},
    logs::Logs,
    phone::phone,
    told,
};

pub(crate) const HOST: ConnectionId = ConnectionId::from_bytes([9; 16]);
pub(crate) const PHONE: ConnectionId = ConnectionId::from_bytes([8; 16]);

pub(crate) fn member() -> MemberId {
    MemberId::from_bytes([5; 16])
}

pub(crate) struct World {
    session: Session,
    logs: Logs,
    saved: Option<belay_core::SessionRecord>,
    phone: Claims,
    host: Claims,
    pub(crate) around: Around,
}

impl World {
    /// Connects both, each announcing what it writes.
    pub(crate) fn new(host_base: Positions, phone_base: Positions) -> Self {
        let mut around = Around::new();
        let key = key_of(1);
        let (name, platform) = ("desk".to_owned(), "test".to_owned());
        let host = HostInfo { name, platform, public_key: key };
        let (session, created) = Session::create(host, &mut around.env());
        let claims = around.keys.verify(&created.host_token).expect("our own token");
        let nonce = [6; 16];
        let mut record = session.record().clone();
        record.devices.push(phone(&around, member(), key, nonce));
        let session = Session::load(record);
        let phone = Claims { principal: Principal::Member(member()), nonce, ..claims };
        let mut world =
            Self { session, logs: Logs::default(), saved: None, phone, host: claims, around };
        world.give(Input::OpenLogs);
        world.attach(HOST, claims, host_base, 1);
        world.attach(PHONE, phone, phone_base, 1);
        world.pull(HOST);
        world.pull(PHONE);
        world
    }

    /// The phone connects once more, beside its first connection.
    pub(crate) fn attach_phone_again(&mut self, connection: ConnectionId) {
        self.attach(connection, self.phone, Positions::new(), 2);
    }

    pub(crate) fn attach_phone_with(&mut self, connection: ConnectionId, attempt: u64) -> Effects {
        self.attach(connection, self.phone, Positions::new(), attempt)
    }

    /// The host comes back.
    pub(crate) fn attach_host_again(&mut self, connection: ConnectionId) {
        self.attach(connection, self.host, Positions::new(), 2);
    }

    /// The phone comes back from a place.
    pub(crate) fn attach_phone_at(
        &mut self,
        connection: ConnectionId,
        resume: Positions,
    ) -> Effects {
        let attach = Attach { resume, ..attach(connection, self.phone, 2) };
        self.give(Input::Attach(Box::new(attach)))
    }

    /// Another instance of the phone comes.
    pub(crate) fn attach_phone_as(&mut self, connection: ConnectionId, instance: &str) -> Effects {
        let mut attach = attach(connection, self.phone, 1);
        instance.clone_into(&mut attach.client.instance);
        self.give(Input::Attach(Box::new(attach)))
    }

    fn attach(
        &mut self,
        connection: ConnectionId,
        claims: Claims,
        base: Positions,
        attempt: u64,
    ) -> Effects {
        let attach = Attach { base, ..attach(connection, claims, attempt) };
        self.give(Input::Attach(Box::new(attach)))
    }

    pub(crate) fn give(&mut self, input: Input) -> Effects {
        let effects = told::give(&mut self.session, &mut self.logs, input, &mut self.around.env());
        self.saved = effects.save.clone().or(self.saved.take());
        effects
    }

    pub(crate) fn frame(&mut self, connection: ConnectionId, frame: Frame) -> Effects {
        self.give(Input::Frame { connection, frame: Box::new(frame) })
    }

    /// The relay's process ends; the next one has what this one saved, and the logs.
    pub(crate) fn restart(&mut self) {
        self.session = Session::load(self.saved.clone().expect("something was saved"));
        self.give(Input::OpenLogs);
    }

    /// What would be written to a connection now.
    pub(crate) fn pull(&mut self, connection: ConnectionId) -> Vec<Frame> {
        let frames = self.pull_all(connection).into_iter();
        frames.map(|f| f.unwrap_or_else(|f| panic!("no binary frames here: {f:?}"))).collect()
    }

    /// The same, with the binary frames on the error side.
    pub(crate) fn pull_all(&mut self, connection: ConnectionId) -> Vec<Result<Frame, BinaryFrame>> {
        let env = self.around.env();
        let pulled = self.session.pull(connection, &env);
        let decode = |frame: OutFrame| match frame {
            OutFrame::Text(bytes) => {
                let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
                Ok(belay_wire::decode(&text).expect("our own frame"))
            }
            OutFrame::Binary(bytes) => Err(BinaryFrame::decode(bytes).expect("our own frame")),
        };
        pulled.frames.into_iter().map(decode).collect()
    }

    /// When there is something to write although nothing happens.
    pub(crate) fn pull_deadline(&self, connection: ConnectionId) -> Option<std::time::Instant> {
        self.session.pull_deadline(connection)
    }

    pub(crate) fn wait(&mut self, time: Duration) {
        self.around.wait(time);
    }
}

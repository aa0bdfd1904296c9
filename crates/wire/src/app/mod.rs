//! The application protocol: what a host and its members say to each other inside payloads. The
//! relay never reads it.
//!
//! Every payload is an [`Envelope`]. Things with an id are *upserted*: the copy with the higher
//! `rev` wins, so any re-send is harmless. `docs/protocol.md` describes the flow.

mod command;
mod item;
mod view;

use serde::{Deserialize, Serialize};
use ts_rs::TS;

pub use command::{Command, CommandOutcome, CommandRequest, CommandState, CommandView, Settle};
pub use item::{FileChange, Item, ItemBody, PlanStep, Progress};
pub use view::{
    AgentState, AgentView, Answer, Question, RequestKind, RequestOption, RequestState, RequestView,
    SnapshotBody, ThreadStatus, ThreadView,
};

use crate::RawJson;

/// Version of the application protocol.
pub const APP_VERSION: u32 = 1;

/// The outermost object of every payload.
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// [`APP_VERSION`].
    pub v: u32,
    /// Key epoch of the encryption; 0 means that `b` is plain JSON.
    pub ke: u32,
    /// The body; a base64url string when encrypted.
    pub b: RawJson,
}

/// Why a payload could not be read.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// Not an envelope or not a known body.
    #[error("payload: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Made by a newer program.
    #[error("payload of application protocol {0}, this program speaks {APP_VERSION}")]
    Version(u32),
    /// Encrypted under a key that this program does not have.
    #[error("payload is encrypted under key epoch {0}, which this program does not have")]
    Encrypted(u32),
}

/// Wraps a body in an envelope, unencrypted.
///
/// # Errors
/// When the body has no JSON form.
pub fn seal<T: Serialize>(body: &T) -> Result<RawJson, serde_json::Error> {
    RawJson::of(&Envelope { v: APP_VERSION, ke: 0, b: RawJson::of(body)? })
}

/// Reads a payload's text as JSON, without looking into it.
///
/// # Errors
/// When it is not JSON.
pub fn read(text: &str) -> Result<RawJson, serde_json::Error> {
    serde_json::from_str(text)
}

/// Reads the body of an unencrypted envelope.
///
/// # Errors
/// [`AppError`] says why not.
pub fn open<T: serde::de::DeserializeOwned>(payload: &RawJson) -> Result<T, AppError> {
    let envelope: Envelope = serde_json::from_str(payload.text())?;
    if envelope.v != APP_VERSION {
        return Err(AppError::Version(envelope.v));
    }
    if envelope.ke != 0 {
        return Err(AppError::Encrypted(envelope.ke));
    }
    Ok(serde_json::from_str(envelope.b.text())?)
}

/// Bodies that a host writes.
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
#[serde(tag = "t", rename_all = "camelCase")]
#[ts(optional_fields)]
pub enum FromHost {
    /// An agent's state changed.
    Agent { agent: AgentView },
    /// A thread is new or changed.
    Thread { thread: ThreadView },
    /// An item is new or changed.
    Item { thread: String, item: Item },
    /// Text that follows what the item already has; volatile, healed by the next `Item`.
    /// `offset` counts UTF-16 code units.
    Delta { thread: String, item: String, offset: u64, text: String },
    /// A pending request is new or changed.
    Request { request: RequestView },
    /// A command whose effect is unknown, or is no longer.
    Command { command: CommandView },
    /// The answer to a command; on `down/<member>`.
    Result { outcome: CommandOutcome },
    /// One part of the full state; on `down/<member>`.
    Snapshot {
        /// The request's id.
        id: String,
        part: u32,
        parts: u32,
        /// Position of `down` that this state includes.
        epoch: crate::Epoch,
        seq: crate::Seq,
        body: SnapshotBody,
    },
}

/// Bodies that a member writes.
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
#[serde(tag = "t", rename_all = "camelCase")]
pub enum FromMember {
    /// Do something.
    Command { command: CommandRequest },
}

/// TypeScript declarations of this module, by name.
pub fn typescript(config: &ts_rs::Config) -> Vec<String> {
    macro_rules! decls {
        ($($type:ty),* $(,)?) => { vec![$(<$type as TS>::decl(config)),*] };
    }
    decls![
        Envelope,
        FromHost,
        FromMember,
        Item,
        ItemBody,
        FileChange,
        PlanStep,
        Progress,
        AgentState,
        AgentView,
        Answer,
        Question,
        RequestKind,
        RequestOption,
        RequestState,
        RequestView,
        SnapshotBody,
        ThreadStatus,
        ThreadView,
        Command,
        CommandOutcome,
        CommandRequest,
        CommandState,
        CommandView,
        Settle,
    ]
}

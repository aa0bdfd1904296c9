//! What a member may ask of its host.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "most of an open set is none of this place's business"
)]

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// A command with the id under which it runs at most once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct CommandRequest {
    /// Chosen by the member, 1 to 128 characters of `[A-Za-z0-9:_-]`, unique for ever.
    pub id: String,
    pub command: Command,
    /// When the person gave it, Unix milliseconds.
    pub at: u64,
}

/// The commands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(tag = "c", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
#[ts(optional_fields)]
pub enum Command {
    /// Older threads than `before` (Unix milliseconds of their last change), newest first.
    ThreadList {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<u64>,
        limit: u32,
    },
    /// A new thread in an allowed folder, with a first prompt if there is one.
    ThreadStart {
        agent: String,
        folder: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        prompt: Option<String>,
    },
    /// Loads a thread in its agent.
    ThreadResume {
        thread: String,
    },
    ThreadRename {
        thread: String,
        title: String,
    },
    ThreadArchive {
        thread: String,
    },
    /// A prompt.
    TurnStart {
        thread: String,
        text: String,
    },
    /// Stops the running turn.
    TurnInterrupt {
        thread: String,
    },
    /// Answers a pending request by one of its options, or its questions.
    Answer {
        request: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        option: Option<String>,
        /// Question id to chosen labels or own words.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        #[ts(as = "Option<BTreeMap<String, Vec<String>>>")]
        answers: BTreeMap<String, Vec<String>>,
    },
    /// Items before place `before` (absent: the last ones), newest page first.
    ItemPage {
        thread: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<u64>,
        limit: u32,
    },
    /// One item whole: its full output, or what a lost delta left out.
    ItemGet {
        thread: String,
        item: String,
    },
    /// Decides about a command whose effect is unknown.
    Settle {
        command: String,
        how: Settle,
    },
}

impl Command {
    /// Tells whether running it twice does no more than running it once.
    pub const fn is_read(&self) -> bool {
        matches!(self, Self::ThreadList { .. } | Self::ItemPage { .. } | Self::ItemGet { .. })
    }

    /// The thread that it changes.
    pub fn thread(&self) -> Option<&str> {
        match self {
            Self::ThreadResume { thread }
            | Self::ThreadRename { thread, .. }
            | Self::ThreadArchive { thread }
            | Self::TurnStart { thread, .. }
            | Self::TurnInterrupt { thread } => Some(thread),
            Self::ThreadList { .. }
            | Self::ThreadStart { .. }
            | Self::Answer { .. }
            | Self::ItemPage { .. }
            | Self::ItemGet { .. }
            | Self::Settle { .. } => None,
        }
    }

    /// Cuts a long prompt, for a view of the command.
    pub fn shorten(&mut self, bytes_max: usize) {
        let text = match self {
            Self::TurnStart { text, .. } => Some(text),
            Self::ThreadStart { prompt, .. } => prompt.as_mut(),
            _ => None,
        };
        if let Some(text) = text.filter(|text| text.len() > bytes_max) {
            text.truncate(text.floor_char_boundary(bytes_max));
            text.push('…');
        }
    }
}

/// What to do with a command whose effect is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub enum Settle {
    SendAgain,
    Drop,
}

/// How a command went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub enum CommandState {
    Done,
    /// Refused or failed; nothing was done that the text does not say.
    Failed,
    /// The host or agent died in between; it may or may not have been done.
    Unknown,
    /// A person gave up a command whose effect is unknown.
    Dropped,
}

/// The stored answer to a command; repeats get the same one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(optional_fields)]
pub struct CommandOutcome {
    pub id: String,
    pub state: CommandState,
    /// Cause and next step, when it did not go well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// What the command returns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(type = "unknown")]
    pub data: Option<serde_json::Value>,
}

/// A command that waits for a person's decision, or no longer does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct CommandView {
    pub id: String,
    pub command: Command,
    /// Unix milliseconds.
    pub at: u64,
    /// False once it was settled.
    pub unknown: bool,
}

//! The scripts, which run as one step on the server. Each touches keys of one hash slot only.

use redis::{Cmd, Script, cmd};

/// A script, loaded by its hash; its first line carries its version.
#[derive(Debug)]
pub(super) struct Lua {
    text: &'static str,
    hash: String,
}

impl Lua {
    fn new(text: &'static str) -> Self {
        Self { text, hash: Script::new(text).get_hash().to_owned() }
    }
}

/// All scripts.
#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) save: Lua,
    pub(super) remove: Lua,
    pub(super) page: Lua,
    pub(super) note_code: Lua,
    pub(super) drop_codes: Lua,
    pub(super) sit: Lua,
    pub(super) leave: Lua,
    pub(super) renew: Lua,
    pub(super) hold: Lua,
    pub(super) spend: Lua,
    pub(super) stick: Lua,
    pub(super) take: Lua,
    pub(super) check: Lua,
}

/// The one set of scripts; their hashes are worked out once.
pub(super) fn scripts() -> &'static Scripts {
    static SCRIPTS: std::sync::LazyLock<Scripts> = std::sync::LazyLock::new(|| Scripts {
        save: Lua::new(include_str!("scripts/save.lua")),
        remove: Lua::new(include_str!("scripts/remove.lua")),
        page: Lua::new(include_str!("scripts/page.lua")),
        note_code: Lua::new(include_str!("scripts/note_code.lua")),
        drop_codes: Lua::new(include_str!("scripts/drop_codes.lua")),
        sit: Lua::new(include_str!("scripts/sit.lua")),
        leave: Lua::new(include_str!("scripts/leave.lua")),
        renew: Lua::new(include_str!("scripts/renew.lua")),
        hold: Lua::new(include_str!("scripts/hold.lua")),
        spend: Lua::new(include_str!("scripts/spend.lua")),
        stick: Lua::new(include_str!("scripts/stick.lua")),
        take: Lua::new(include_str!("scripts/take.lua")),
        check: Lua::new(include_str!("scripts/check.lua")),
    });
    &SCRIPTS
}

/// One command of an operation.
#[derive(Debug)]
pub(super) enum Step {
    Plain(Cmd),
    Script { lua: &'static Lua, keys: Vec<String>, args: Vec<Vec<u8>> },
}

impl Step {
    /// A command with its arguments.
    pub(super) fn plain(name: &str, args: &[&str]) -> Self {
        let mut command = cmd(name);
        command.arg(args);
        Self::Plain(command)
    }

    /// A script with its keys, all of one hash slot.
    pub(super) fn script(lua: &'static Lua, keys: Vec<String>) -> Self {
        Self::Script { lua, keys, args: Vec::new() }
    }

    /// One more argument of a script or command.
    pub(super) fn arg(mut self, arg: impl Into<Vec<u8>>) -> Self {
        let arg = arg.into();
        match &mut self {
            Self::Plain(command) => {
                command.arg(arg);
            }
            Self::Script { args, .. } => args.push(arg),
        }
        self
    }

    /// The command to send; `whole` sends a script's text, which a server that forgot it needs.
    pub(super) fn command(&self, whole: bool) -> Cmd {
        match self {
            Self::Plain(command) => command.clone(),
            Self::Script { lua, keys, args } => {
                let mut command = if whole { cmd("EVAL") } else { cmd("EVALSHA") };
                command.arg(if whole { lua.text } else { &lua.hash });
                command.arg(keys.len()).arg(keys).arg(args);
                command
            }
        }
    }
}

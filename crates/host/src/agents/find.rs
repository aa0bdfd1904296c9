//! What is installed, and how to install the rest.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

/// Folders below a package that are searched for its native binary.
const SEARCH_DEPTH: usize = 7;

/// What a person types to install Codex.
pub const CODEX_INSTALL: &str = "npm install -g @openai/codex";

/// An agent that speaks ACP and how it is started and installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownAcp {
    pub name: &'static str,
    /// The command line that serves ACP.
    pub line: &'static str,
    pub install: &'static str,
}

/// Agents that were seen to work by ACP, the best proven first.
pub const KNOWN_ACP: &[KnownAcp] = &[
    KnownAcp { name: "OpenCode", line: "opencode acp", install: "npm install -g opencode-ai" },
    KnownAcp {
        name: "Gemini CLI",
        line: "gemini --acp",
        install: "npm install -g @google/gemini-cli",
    },
    KnownAcp {
        name: "Claude Code",
        line: "claude-agent-acp",
        install: "npm install -g @agentclientprotocol/claude-agent-acp",
    },
    KnownAcp {
        name: "Qwen Code",
        line: "qwen --acp",
        install: "npm install -g @qwen-code/qwen-code",
    },
];

/// Those of [`KNOWN_ACP`] whose program is on the search path.
pub fn acp(search_path: Option<&std::ffi::OsStr>) -> Vec<KnownAcp> {
    let is_there = |agent: &&KnownAcp| {
        let program = agent.line.split(' ').next().unwrap_or_default();
        is_there(Path::new(program), search_path)
    };
    KNOWN_ACP.iter().filter(is_there).copied().collect()
}

/// Tells whether a program can be started: by its path, or from a folder of the search path.
pub fn is_there(program: &Path, search_path: Option<&std::ffi::OsStr>) -> bool {
    let mut folders = search_path.map(std::env::split_paths).into_iter().flatten();
    match program.components().count() {
        1 => folders.any(|folder| folder.join(program).is_file()),
        _ => program.is_file(),
    }
}

/// The native Codex binary: `explicit` if given, else what `codex` on the search path stands for.
/// The launcher script is not used, because killing it leaves the real process alive.
pub fn codex(explicit: Option<&Path>, search_path: Option<&std::ffi::OsStr>) -> Option<PathBuf> {
    let found = match explicit {
        Some(path) => Some(path.to_owned()),
        None => std::env::split_paths(search_path?).map(|d| d.join("codex")).find(|p| p.is_file()),
    }?;
    if is_native(&found) {
        return Some(found);
    }
    let script = found.canonicalize().ok()?;
    let package = script.parent()?.parent()?;
    native_below(package, SEARCH_DEPTH).or_else(|| native_below(package.parent()?, SEARCH_DEPTH))
}

/// Tells whether a file is an executable of this system (ELF).
fn is_native(path: &Path) -> bool {
    let mut magic = [0; 4];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut magic));
    read.is_ok() && magic == *b"\x7fELF"
}

fn native_below(folder: &Path, depth: usize) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?;
    let mut folders = Vec::new();
    for entry in entries.flatten() {
        let path = entry.path();
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_file() && entry.file_name() == "codex" && is_native(&path) {
            return Some(path);
        }
        if kind.is_dir() {
            folders.push(path);
        }
    }
    let depth = depth.checked_sub(1)?;
    folders.sort();
    folders.iter().find_map(|folder| native_below(folder, depth))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_native_binary_behind_a_launcher_script_is_found() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let package = folder.path().join("lib/@openai/codex");
        let vendor = package.join("node_modules/@openai/codex-linux-x64/vendor/x86_64/bin");
        let bin = folder.path().join("bin");
        for made in [&vendor, &package.join("bin"), &bin] {
            std::fs::create_dir_all(made).expect("made");
        }
        std::fs::write(package.join("bin/codex.js"), "#!/usr/bin/env node").expect("written");
        std::fs::write(vendor.join("codex"), b"\x7fELF....").expect("written");
        std::os::unix::fs::symlink(package.join("bin/codex.js"), bin.join("codex"))
            .expect("linked");

        let found = codex(None, Some(bin.as_os_str()));

        let expected = vendor.join("codex").canonicalize().expect("there");
        assert_eq!(found.and_then(|p| p.canonicalize().ok()), Some(expected));
        assert_eq!(codex(None, Some(vendor.parent().expect("a parent").as_os_str())), None);
    }

    #[test]
    fn known_acp_agents_are_found_on_the_search_path() {
        let folder = tempfile::tempdir().expect("temporary folder");
        std::fs::write(folder.path().join("gemini"), "").expect("written");
        std::fs::create_dir(folder.path().join("opencode")).expect("made");
        let path = std::env::join_paths([std::path::Path::new("/nowhere"), folder.path()]);

        let found = acp(path.ok().as_deref());

        assert_eq!(found.iter().map(|a| a.name).collect::<Vec<_>>(), ["Gemini CLI"]);
        assert!(acp(None).is_empty());
    }
}

//! Files that an ACP agent reads and writes through its client: only inside its thread's folder.

use std::{
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Component, Path, PathBuf},
};

use serde_json::{Value, json};

use crate::agents::text;

/// Largest file that is read or written, in bytes.
const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Serves `fs/read_text_file` or `fs/write_text_file`.
///
/// # Errors
/// Why not, in words.
pub(super) fn serve(method: &str, params: &Value, folder: Option<&Path>) -> Result<Value, String> {
    let folder = folder.ok_or("this session has no folder")?;
    let path = inside(folder, Path::new(&text(params, "path")))?;
    let failed = |e: std::io::Error| format!("{}: {e}", path.display());
    if std::fs::symlink_metadata(&path).is_ok_and(|m| !m.is_file()) {
        // Reading a pipe would hold the agent for good.
        return Err(format!("{} is not a plain file", path.display()));
    }
    if method == "fs/write_text_file" {
        write(&path, &text(params, "content")).map_err(failed)?;
        return Ok(json!({}));
    }
    if std::fs::metadata(&path).map_err(failed)?.len() > FILE_BYTES_MAX {
        return Err(format!("{} is too large", path.display()));
    }
    let content = std::fs::read_to_string(&path).map_err(failed)?;
    let number = |name: &str| params[name].as_u64().and_then(|n| usize::try_from(n).ok());
    let (line, limit) = (number("line").unwrap_or(1).max(1), number("limit"));
    if line == 1 && limit.is_none() {
        return Ok(json!({ "content": content }));
    }
    let lines = content.split_inclusive('\n').skip(line - 1).take(limit.unwrap_or(usize::MAX));
    Ok(json!({ "content": lines.collect::<String>() }))
}

fn write(path: &Path, content: &str) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let mut options = std::fs::OpenOptions::new();
    // A link that was put there in between is not followed.
    let no_follow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    options.write(true).create(true).truncate(true).custom_flags(no_follow);
    options.open(path)?.write_all(content.as_bytes())
}

/// The path with links resolved, if it lies in the folder. Its end need not exist.
fn inside(folder: &Path, path: &Path) -> Result<PathBuf, String> {
    let refused = || format!("{} is outside the folder of this thread", path.display());
    let folder = folder.canonicalize().map_err(|e| format!("{}: {e}", folder.display()))?;
    let whole = folder.join(path);
    let there = whole.ancestors().find(|a| a.symlink_metadata().is_ok()).ok_or_else(refused)?;
    let rest = whole.strip_prefix(there).map_err(|_| refused())?;
    if rest.components().any(|part| !matches!(part, Component::Normal(_))) {
        return Err(refused());
    }
    // A link that leads nowhere cannot be resolved, and writing would follow it.
    let there = there.canonicalize().map_err(|_| refused())?;
    if !there.starts_with(&folder) {
        return Err(refused());
    }
    Ok(if rest.as_os_str().is_empty() { there } else { there.join(rest) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_outside_the_folder_are_refused() {
        let root = tempfile::tempdir().expect("temporary folder");
        let folder = root.path().join("project");
        std::fs::create_dir(&folder).expect("made");
        std::fs::write(root.path().join("secret"), "x").expect("written");
        std::os::unix::fs::symlink(root.path().join("secret"), folder.join("link"))
            .expect("linked");
        let read = |path: &str| serve("fs/read_text_file", &json!({ "path": path }), Some(&folder));
        let secret = root.path().join("secret");

        for path in ["../secret", "link", secret.to_str().expect("UTF-8"), ".."] {
            assert!(read(path).is_err(), "{path}");
        }
        let write = json!({ "path": "a.txt", "content": "one\ntwo\nthree\n" });
        serve("fs/write_text_file", &write, Some(&folder)).expect("written");
        assert_eq!(read("a.txt").expect("read")["content"], "one\ntwo\nthree\n");
        let part = json!({ "path": "a.txt", "line": 2, "limit": 1 });
        let part = serve("fs/read_text_file", &part, Some(&folder)).expect("read");
        assert_eq!(part["content"], "two\n");
    }
    #[test]
    fn links_that_lead_nowhere_pipes_and_missing_folders_are_handled() {
        let root = tempfile::tempdir().expect("temporary folder");
        let folder = root.path().join("project");
        std::fs::create_dir(&folder).expect("made");
        std::os::unix::fs::symlink(root.path().join("new"), folder.join("dangle")).expect("linked");
        let pipe = folder.join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("ran").success());
        let write = |path: &str| {
            let params = json!({ "path": path, "content": "x" });
            serve("fs/write_text_file", &params, Some(&folder))
        };

        assert!(write("dangle").is_err() && !root.path().join("new").exists());
        assert!(write("pipe").is_err());
        assert!(write("gone/../../new").is_err());
        assert!(serve("fs/read_text_file", &json!({ "path": "pipe" }), Some(&folder)).is_err());
        write("sub/dir/a.txt").expect("its folders are made");
        assert!(folder.join("sub/dir/a.txt").is_file());
    }
}

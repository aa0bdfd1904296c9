//! Files that an ACP agent reads and writes through its client: only inside its thread's folder.

use std::path::{Path, PathBuf};

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
    if method == "fs/write_text_file" {
        let content = text(params, "content");
        std::fs::write(&path, content).map_err(|e| format!("{}: {e}", path.display()))?;
        return Ok(json!({}));
    }
    let failed = |e: std::io::Error| format!("{}: {e}", path.display());
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

/// The path with links resolved, if it lies in the folder.
fn inside(folder: &Path, path: &Path) -> Result<PathBuf, String> {
    let refused = || format!("{} is outside the folder of this thread", path.display());
    let folder = folder.canonicalize().map_err(|e| format!("{}: {e}", folder.display()))?;
    let whole = folder.join(path);
    let (parent, name) =
        (whole.parent().ok_or_else(refused)?, whole.file_name().ok_or_else(refused)?);
    let resolved = parent.canonicalize().map_err(|_| refused())?.join(name);
    // A file that is there may itself be a link to elsewhere.
    let resolved = resolved.canonicalize().unwrap_or(resolved);
    if resolved.starts_with(&folder) { Ok(resolved) } else { Err(refused()) }
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
}

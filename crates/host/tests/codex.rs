//! The methods and shapes that the host uses, against the schema that the pinned Codex generates.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use belay_host::agents::codex::METHODS;
use serde_json::Value;

#[expect(clippy::disallowed_methods, reason = "tests look for the cache where bootstrap puts it")]
fn codex() -> PathBuf {
    let pins = include_str!("../../../scripts/pins.env");
    let version = pins.lines().find_map(|l| l.strip_prefix("CODEX_VERSION=")).expect("a version");
    let home = || PathBuf::from(std::env::var_os("HOME").expect("a home")).join(".cache/belay");
    let cache = std::env::var_os("BELAY_CACHE").map_or_else(home, PathBuf::from);
    cache.join(format!("codex-{version}/codex"))
}

fn schema(folder: &Path, name: &str) -> Value {
    let path = folder.join(name);
    let text = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_slice(&text).expect("JSON")
}

fn properties(schema: &Value) -> Vec<&str> {
    schema["properties"]
        .as_object()
        .map(|o| o.keys().map(String::as_str).collect())
        .unwrap_or_default()
}

#[test]
fn what_the_host_uses_is_in_the_schema_of_the_pinned_codex() {
    let binary = codex();
    assert!(binary.exists(), "{} is missing: `make bootstrap` fetches it", binary.display());
    let folder = tempfile::tempdir().expect("temporary folder");
    let status = Command::new(&binary)
        .args(["app-server", "generate-json-schema", "--experimental", "--out"])
        .arg(folder.path())
        .env("HOME", folder.path())
        .env("CODEX_HOME", folder.path())
        .status()
        .expect("codex runs");
    assert!(status.success());

    let client = schema(folder.path(), "ClientRequest.json").to_string();
    for method in METHODS {
        assert!(client.contains(&format!("\"{method}\"")), "no method {method}");
    }
    let server = schema(folder.path(), "ServerRequest.json").to_string();
    let asks = [
        "item/commandExecution/requestApproval",
        "item/fileChange/requestApproval",
        "item/tool/requestUserInput",
        "mcpServer/elicitation/request",
        "item/permissions/requestApproval",
    ];
    for method in asks {
        assert!(server.contains(&format!("\"{method}\"")), "no request {method}");
    }
    let notifications = schema(folder.path(), "ServerNotification.json").to_string();
    let heard = [
        "item/started",
        "item/completed",
        "item/agentMessage/delta",
        "item/commandExecution/outputDelta",
        "item/reasoning/summaryTextDelta",
        "turn/plan/updated",
        "turn/started",
        "turn/completed",
        "thread/status/changed",
        "thread/name/updated",
        "serverRequest/resolved",
    ];
    for method in heard {
        assert!(notifications.contains(&format!("\"{method}\"")), "no notification {method}");
    }
    let shapes: [(&str, &[&str]); 16] = [
        ("v2/ThreadStartParams.json", &["cwd", "approvalsReviewer"]),
        ("v2/ThreadResumeParams.json", &["threadId", "approvalsReviewer"]),
        ("v2/TurnStartParams.json", &["threadId", "input", "clientUserMessageId"]),
        ("v2/TurnInterruptParams.json", &["threadId", "turnId"]),
        ("v2/ThreadListParams.json", &["limit", "cursor"]),
        ("v2/ThreadListResponse.json", &["data", "nextCursor"]),
        ("v2/ThreadReadParams.json", &["threadId", "includeTurns"]),
        ("v2/ThreadSetNameParams.json", &["threadId", "name"]),
        ("v2/ThreadArchiveParams.json", &["threadId"]),
        ("v2/TurnStartResponse.json", &["turn"]),
        ("v2/ThreadStartResponse.json", &["thread"]),
        ("PermissionsRequestApprovalParams.json", &["threadId", "permissions", "cwd", "reason"]),
        ("PermissionsRequestApprovalResponse.json", &["permissions", "scope"]),
        ("ToolRequestUserInputParams.json", &["threadId", "turnId", "itemId", "questions"]),
        (
            "CommandExecutionRequestApprovalParams.json",
            &[
                "threadId",
                "turnId",
                "itemId",
                "command",
                "cwd",
                "reason",
                "kind",
                "networkApprovalContext",
                "proposedExecpolicyAmendment",
            ],
        ),
        ("FileChangeRequestApprovalParams.json", &["threadId", "turnId", "itemId", "reason"]),
    ];
    for (name, members) in shapes {
        let schema = schema(folder.path(), name);
        let known = properties(&schema);
        for member in members {
            assert!(known.contains(member), "{name} has no {member}, only {known:?}");
        }
    }
}

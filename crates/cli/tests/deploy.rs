//! `deploy/` is well, and `scripts/check-deploy` sees what would not be.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Runs the check on a folder; tells whether it was content, and what it said.
fn check(deploy: &Path) -> (bool, String) {
    // The Python that the documentation is built with has what reads YAML.
    let mkdocs = belay_servers::program("mkdocs").expect("scripts/bootstrap test installs it");
    let output = Command::new(mkdocs.with_file_name("python"))
        .arg(root().join("scripts/check-deploy"))
        .arg(deploy)
        .output()
        .expect("it runs");
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A copy of `deploy/` in which a text of one file is another.
fn changed(file: &str, from: &str, to: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("temporary folder");
    let copied =
        Command::new("cp").arg("-r").arg(root().join("deploy")).arg(folder.path()).status();
    assert!(copied.expect("it runs").success());
    let path = folder.path().join("deploy").join(file);
    let text = std::fs::read_to_string(&path).expect("there");
    assert!(text.contains(from), "{file}: {from}");
    std::fs::write(&path, text.replacen(from, to, 1)).expect("written");
    folder
}

#[test]
fn what_is_deployed_is_pinned_watched_restarted_and_holds_no_secret() {
    let (well, said) = check(&root().join("deploy"));
    // What was skipped is said in the output of a test that passes, too.
    eprint!("{said}");
    assert!(well, "{said}");
}

#[test]
fn each_fault_of_a_deployment_is_seen() {
    for (file, from, to, told) in [
        ("compose/compose.yaml", "redis:7.4.1-alpine", "redis:latest", "no pinned tag"),
        ("compose/compose.yaml", "image: postgres:17.2-alpine", "image: postgres", "no pinned tag"),
        (
            "compose/compose.yaml",
            "    restart: unless-stopped\n    logging",
            "    logging",
            "no restart",
        ),
        (
            "compose/compose.yaml",
            "POSTGRES_PASSWORD: ${POSTGRES_PASSWORD}",
            "POSTGRES_PASSWORD: p1",
            "must come from .env",
        ),
        (
            "compose/compose.yaml",
            "redis://:${REDIS_PASSWORD:?set it in .env}@",
            "redis://:p1@",
            "password in its URL",
        ),
        ("compose/compose.yaml", "BELAY_LOG_FORMAT", "BELAY_LOG_FORM", "no setting of the relay"),
        ("compose/compose.yaml", "networks: [back]", "ports: [\"6379:6379\"]", "only nginx"),
        ("compose/.env.example", "REDIS_PASSWORD=", "REDIS_PASSWORD=p1", "has a value"),
        ("compose/.env.example", "NATS_PASSWORD=\n", "", "only one of"),
        ("compose/Dockerfile", "rust:1.95.0-bookworm", "rust:latest", "is not pinned"),
        ("nginx/belay.conf", "hash $affinity consistent;", "least_conn;", "no consistent"),
    ] {
        let folder = changed(file, from, to);
        let (well, said) = check(&folder.path().join("deploy"));
        assert!(!well && said.contains(told), "{file}, {to}: {said}");
    }
}

#[test]
fn nginx_and_nats_read_their_configurations() {
    for (file, from, to, program) in [
        ("nginx/belay.conf", "proxy_buffering off;", "proxy_bufering off;", "nginx"),
        ("compose/nats.conf", "max_payload: 8MB", "max_payload: [8MB", "nats-server"),
    ] {
        if belay_servers::program(program).is_err() {
            eprintln!("SKIPPED: {program} is not installed");
            continue;
        }
        let folder = changed(file, from, to);
        let (well, said) = check(&folder.path().join("deploy"));
        assert!(!well && said.contains(program), "{file}: {said}");
    }
}

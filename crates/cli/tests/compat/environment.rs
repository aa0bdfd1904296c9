//! Section 8 of the protocol: variables of the environment, and a start with nothing else.

use std::{
    net::TcpListener,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use belay_testkit::compat::Net;

use crate::scenario::Scenario;

/// A value of each variable, and what `belay config` shows of it.
const HONOURED: &[(&str, &str, &str)] = &[
    ("PORT", "9001", "port = \"9001\""),
    ("HOST", "127.0.0.2", "host = \"127.0.0.2\""),
    ("PUBLIC_BASE_URL", "https://relay.example.org", "public-url = \"https://relay.example.org\""),
    ("MAX_JSON_BYTES", "7001", "json-bytes-max = \"7001\""),
    ("MAX_PAIR_REQUESTS_PER_MINUTE", "61", "pair-per-minute = \"61\""),
    ("MAX_DEVICES_PER_SESSION", "3", "devices-max = \"3\""),
    ("SESSION_RETENTION_MS", "601000", "compat-retention = \"601s\""),
    ("PAIR_APPROVAL_TIMEOUT_MS", "46000", "approval-ttl = \"46s\""),
    ("WS_AUTH_TIMEOUT_MS", "11000", "auth-timeout = \"11s\""),
    ("MAX_PENDING_JOIN_WAITERS", "65", "pair-waiters-max = \"65\""),
    ("TRUST_PROXY", "yes", "trust-proxy = \"true\""),
    ("ALLOW_LEGACY_QUERY_TOKEN_AUTH", "on", "legacy-query-token = \"true\""),
    ("ALLOWED_ORIGINS", "https://a.example", "allowed-origins = \"https://a.example\""),
    ("TOKEN_ROTATION_GRACE_MS", "31000", "rotation-grace = \"31s\""),
    ("WS_HEARTBEAT_INTERVAL_MS", "21000", "compat-heartbeat = \"21s\""),
    ("WS_HEARTBEAT_TIMEOUT_MS", "61000", "compat-heartbeat-timeout = \"61s\""),
    ("SESSION_SWEEP_INTERVAL_MS", "31000", "sweep-every = \"31s\""),
    ("TRUSTED_DEVICE_IDLE_TIMEOUT_SECONDS", "604801", "device-idle = \"604801s\""),
    ("MAX_REMOTE_COMMANDS_PER_MINUTE", "241", "commands-per-minute = \"241\""),
    ("MAX_REMOTE_SESSION_COMMANDS_PER_MINUTE", "481", "session-commands-per-minute = \"481\""),
    ("MAX_SNAPSHOT_REQUESTS_PER_MINUTE", "62", "snapshots-per-minute = \"62\""),
    ("MAX_WS_MESSAGES_PER_MINUTE", "1201", "ws-messages-per-minute = \"1201\""),
    ("MAX_WS_MESSAGE_BYTES", "65537", "ws-message-bytes-max = \"65537\""),
    ("MAX_SOCKET_OUTBOUND_QUEUE", "257", "outbound-queue = \"257\""),
    ("MAX_ACTIVE_WEBSOCKET_CONNECTIONS", "10001", "connections-max = \"10001\""),
    ("MAX_REMOTE_COMMAND_TEXT_BYTES", "16385", "command-text-bytes-max = \"16385\""),
    ("RUST_LOG", "debug", "log-level = \"debug\""),
    ("REDIS_KEY_PREFIX", "x", "key-prefix = \"x\""),
    ("NATS_SUBJECT_PREFIX", "codexchat.remote", "subject-prefix = \"codexchat-remote\""),
    ("NATS_REPLAY_WINDOW_MS", "5000", "bus-replay-window = \"5s\""),
    ("NATS_MAX_CLOCK_SKEW_MS", "100", "bus-clock-skew = \"100ms\""),
];

/// What a relay without these variables does.
const DEFAULTS: &[&str] = &[
    "port = \"8787\"",
    "json-bytes-max = \"65536\"",
    "pair-per-minute = \"60\"",
    "devices-max = \"2\"",
    "compat-retention = \"600s\"",
    "approval-ttl = \"45s\"",
    "auth-timeout = \"10s\"",
    "pair-waiters-max = \"64\"",
    "rotation-grace = \"30s\"",
    "compat-heartbeat = \"20s\"",
    "compat-heartbeat-timeout = \"60s\"",
    "commands-per-minute = \"240\"",
    "session-commands-per-minute = \"480\"",
    "snapshots-per-minute = \"60\"",
    "ws-messages-per-minute = \"1200\"",
    "ws-message-bytes-max = \"65536\"",
    "outbound-queue = \"256\"",
    "connections-max = \"10000\"",
    "command-text-bytes-max = \"16384\"",
    "device-idle = \"604800s\"",
];

/// Values with which no relay starts, and a word of the reason.
const REFUSED: &[(&str, &str, &str)] = &[
    ("REDIS_URL", "redis://127.0.0.1:6379", "bus: needed"),
    ("REDIS_URL", "http://127.0.0.1:6379", "REDIS_URL"),
    ("NATS_URL", "nats://127.0.0.1:4222", "NATS_URL"),
    ("NATS_SUBJECT_PREFIX", "a b", "NATS_SUBJECT_PREFIX"),
    ("MAX_DEVICES_PER_SESSION", "0", "MAX_DEVICES_PER_SESSION"),
    ("MAX_PAIR_REQUESTS_PER_MINUTE", "0", "MAX_PAIR_REQUESTS_PER_MINUTE"),
    ("MAX_SOCKET_OUTBOUND_QUEUE", "7", "MAX_SOCKET_OUTBOUND_QUEUE"),
    ("MAX_JSON_BYTES", "many", "MAX_JSON_BYTES"),
    ("WS_HEARTBEAT_TIMEOUT_MS", "1000", "heartbeat"),
    ("ALLOWED_ORIGINS", "not an origin", "allowed-origins"),
    ("PUBLIC_BASE_URL", "relay", "public-url"),
    ("TRUST_PROXY", "perhaps", "TRUST_PROXY"),
];

pub(crate) fn all() -> Vec<Scenario> {
    let honoured = HONOURED.iter().map(|&(name, value, shown)| {
        Scenario::new(format!("8 {name} is honoured"), move |_| async move {
            let output = belay(&["config"], &[(name, value)]);
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(text.lines().any(|line| line == shown), "{shown} in {text}");
        })
    });
    let refused = REFUSED.iter().map(|&(name, value, why)| {
        Scenario::new(format!("8 {name}={value:.12} is refused at start"), move |_| async move {
            let output = belay(&["config"], &[(name, value)]);
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!output.status.success(), "it is taken");
            assert!(text.contains(why), "{why} in {text}");
            assert!(!text.contains("0123456789"), "a secret is shown: {text}");
        })
    });
    let mut all: Vec<_> = honoured.chain(refused).collect();
    all.push(Scenario::new("8 defaults", |_| async {
        let output = belay(&["config"], &[]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        for shown in DEFAULTS {
            assert!(text.lines().any(|line| line == *shown), "{shown} in {text}");
        }
    }));
    all.push(Scenario::new("8 six variables are enough to serve in a second", |_| async {
        six_variables_are_enough().await;
    }));
    all.push(Scenario::new("3.2 a rotation grace of 0 is warned of at start", |w| async {
        let w = w.with(&[("TOKEN_ROTATION_GRACE_MS", "0")]);
        assert!(w.relay.log().contains("rotation grace 0"), "{}", w.relay.log());
    }));
    all
}

fn belay(args: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_belay"));
    command.args(args).env_clear().envs(environment.iter().copied());
    command.output().expect("it runs")
}

async fn six_variables_are_enough() {
    let folder = tempfile::tempdir().expect("a folder");
    let port = belay_servers::free_port().expect("a port").to_string();
    let admin = TcpListener::bind("127.0.0.1:8788");
    let mut command = Command::new(env!("CARGO_BIN_EXE_belay"));
    command
        .arg("serve")
        .env_clear()
        .env("PORT", &port)
        .env("HOST", "127.0.0.1")
        .env("PUBLIC_BASE_URL", format!("http://127.0.0.1:{port}"))
        .env("ALLOWED_ORIGINS", "https://phone.example.org")
        .env("TOKEN_ROTATION_GRACE_MS", "30000")
        .env("BELAY_DATA_DIR", folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if admin.is_err() {
        // Somebody else has its standard port just now.
        command.env("BELAY_ADMIN_LISTEN", "127.0.0.1:0");
    }
    drop(admin);
    let started = Instant::now();
    let mut child = command.spawn().expect("it starts");
    let net = Net::native(&format!("http://127.0.0.1:{port}"));
    let mut ready = None;
    while ready.is_none() && started.elapsed() < Duration::from_secs(10) {
        ready = net.try_call("/pair/stop", &serde_json::json!({})).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let took = started.elapsed();
    let _ = child.kill();
    let _ = child.wait();
    assert!(ready.is_some(), "it never answered");
    // Other scenarios share two processors with it.
    assert!(took < Duration::from_secs(8), "ready after {took:?}");
}

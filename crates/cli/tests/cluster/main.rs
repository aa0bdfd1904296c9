//! A whole cluster on this machine, its parts killed one by one.

mod dev;
mod nginx;

use std::{
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::{Child, Command, Stdio},
    time::Duration,
};

use belay_client::Event;
use belay_testkit::{Desk, Relay};
use belay_wire::{Channel, Frame, RawJson};
use dev::{BELAY, Dev};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_killed_is_told_and_started_again_and_messages_go_on() {
    let mut dev = Dev::start(&[]);
    let there = Relay::at(&dev.url);
    // A node learns within a second that another is there.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let mut desk = Desk::start(&there).await;
    let mut phone = desk.pair(&there).await;
    // A phone that has read nothing yet has no place to come back to, and is told so.
    let first = RawJson::of(&"first").expect("JSON");
    desk.client.send(Channel::Down, first, None).expect("room");
    let is_first =
        |event: &Event| matches!(event, Event::Message(m) if m.payload.text() == "\"first\"");
    phone.until(is_first).await;

    for (n, killed) in
        ["relay1", "relay2", "redis", "nats2", "relay3", "postgres"].iter().enumerate()
    {
        dev.kill(killed);
        let payload = RawJson::of(&n).expect("JSON");
        desk.client.send(Channel::Down, payload, None).expect("room");
        let told = dev.until(&format!("{killed} (pid {}) ended", dev.part(killed).pid));
        assert!(told.contains("starting it again in"), "{told}");
        dev.until(&format!("{killed} is up again: "));
        phone
            .until(|event| {
                assert!(
                    !matches!(event, Event::Frame(f) if matches!(**f, Frame::Gap(_))),
                    "{event:?}"
                );
                matches!(event, Event::Message(m) if m.payload.text() == n.to_string())
            })
            .await;
    }

    let folder = dev.folder.clone();
    assert!(folder.exists());
    tokio::task::spawn_blocking(move || {
        dev.end();
        dev.until_all_are_gone();
    })
    .await
    .expect("no panic");
    assert!(!folder.exists(), "a temporary folder is removed");
}

#[test]
fn secrets_are_not_on_command_lines_and_their_file_is_for_its_owner() {
    let dev = Dev::start(&["--relays", "1"]);
    let file = dev.folder.join("secrets.env");
    let mode = std::fs::metadata(&file).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = std::fs::read_to_string(&file).expect("readable");
    let secrets: Vec<_> = text.lines().filter_map(|line| line.split_once('=')).collect();
    assert_eq!(secrets.len(), 3, "three names");

    let pid = dev.part("relay1").pid;
    let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).expect("it runs");
    assert!(line.contains("relay.toml"), "{line}");
    let log = std::fs::read_to_string(dev.folder.join("relay1/relay.log")).expect("a log");
    for (name, secret) in secrets {
        let bare = secret.trim_start_matches("1:");
        assert!(!line.contains(bare) && !log.contains(bare), "{name} is shown");
    }
}

#[test]
fn nothing_outlives_a_killed_cluster_dev() {
    let mut dev = Dev::start(&["--relays", "2"]);

    dev.child.kill().expect("killed with SIGKILL");

    dev.until_all_are_gone();
    // Relays that end write until their end.
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while let Err(error) = std::fs::remove_dir_all(&dev.folder) {
        assert!(std::time::Instant::now() < deadline, "nobody could remove it: {error}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_folder_is_gone_on_with_and_belongs_to_one() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let place = folder.path().join("kept");
    // PostgreSQL's user must get there.
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).expect("allowed");
    let args = ["--relays", "1", "--folder", place.to_str().expect("UTF-8")];
    let mut dev = Dev::start(&args);
    let other = Command::new(BELAY).arg("cluster-dev").args(args).stdin(Stdio::null()).output();
    let other = other.expect("it runs");
    let text = String::from_utf8_lossy(&other.stderr);
    assert!(!other.status.success() && text.contains("in use by another cluster-dev"), "{text}");
    let desk = Desk::start(&Relay::at(&dev.url)).await;
    let (session, token) = (desk.session.session, desk.session.host_token.clone());
    dev.end();
    drop(dev);

    let dev = Dev::start(&args);
    let api = Relay::at(&dev.url).api();

    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = u64::try_from(now.expect("after 1970").as_millis()).expect("fits");
    let code = api.new_code(session, &token, &desk.identity, now).await;
    assert!(code.is_ok(), "{code:?}");
}

#[test]
fn with_no_restart_what_died_stays_so() {
    let dev = Dev::start(&["--relays", "1", "--no-restart"]);
    dev.kill("nats3");
    assert!(dev.until("nats3 (pid").contains("left so"));
    dev.kill("relay1");
    assert!(dev.until("relay1 (pid").contains("left so"));
    let answer = Command::new("curl").args(["-s", "-i", &dev.url]).output();
    if let Ok(answer) = answer {
        let text = String::from_utf8_lossy(&answer.stdout).into_owned();
        assert!(text.contains("503") || text.is_empty(), "{text}");
    }
}

#[test]
fn redis_with_sentinels_starts_too() {
    let dev = Dev::start(&["--relays", "1", "--sentinels"]);
    for name in ["redis1", "redis2", "sentinel1", "sentinel2", "sentinel3"] {
        dev.part(name);
    }
    dev.kill("sentinel2");
    dev.until("sentinel2 is up again");
    dev.kill("redis1");
    dev.until("redis1 is up again");
}

#[test]
fn programs_that_are_missing_are_named_with_how_to_install_them() {
    let output = Command::new(BELAY)
        .arg("cluster-dev")
        .env("PATH", "/nowhere")
        .env("HOME", "/nowhere")
        .env("BELAY_CACHE", "/nowhere")
        .output()
        .expect("it runs");

    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert_eq!(text.trim().lines().count(), 1, "{text}");
    assert!(text.contains("redis-server (Debian: apt-get install redis-server)"), "{text}");
    assert!(text.contains("nats-server (https://"), "{text}");
}

#[test]
fn a_port_that_is_taken_is_told_before_anything_starts() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("bound").port().to_string();

    let output = Command::new(BELAY).args(["cluster-dev", "--port", &port]).output();

    let output = output.expect("it runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("name another --port"), "{text}");
    assert!(output.stdout.is_empty(), "nothing was started");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_relay_is_drained_by_its_name_through_any() {
    let dev = Dev::start(&["--relays", "2"]);
    let drain = |name: &str, args: &str| {
        let folder = dev.folder.join(name);
        let mut command = Command::new(BELAY);
        command.arg("drain").args(args.split(' ')).arg("--data-dir").arg(folder);
        let output = command.output().expect("it runs");
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    };
    // It knows no other relay to go to, and stays until it is closed.
    let _desk = Desk::start(&Relay::at(&format!("http://{}", dev.part("relay2").address))).await;

    let (done, told) = drain("relay1", "start --reason x --node relay9");
    assert!(!done && told.contains("no node of the name \"relay9\" lives"), "{told}");
    let (done, told) = drain("relay1", "start --reason x --node relay2 --exit");
    assert!(!done && told.contains("cannot be used with '--exit'"), "{told}");
    let (done, told) = drain("relay1", "start --reason upgrade --window 1 --node relay2 --wait");
    let lines: Vec<_> = told.lines().collect();
    assert!(done && lines.len() > 1, "{told}");
    assert!(lines[0].starts_with("relay2: draining: 1 of 1 connection left"), "{told}");
    let last = "relay2: drained: 0 of 1 connection left (0 moved, 1 closed)";
    assert!(lines[lines.len() - 1].starts_with(last), "{told}");

    let (_, told) = drain("relay1", "status");
    assert!(told.starts_with("active: "), "only the one that was named: {told}");
    assert!(drain("relay1", "status --node relay2").1.starts_with("relay2: drained: "));
    let (done, told) = drain("relay1", "cancel --node relay2");
    assert!(done && told.starts_with("relay2: active: "), "{told}");
    assert!(drain("relay2", "status").1.starts_with("active: "));

    // The desk is back. Who waits is told that somebody else ends it.
    let line = |name: &str| drain(name, "status").1;
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !line("relay2").starts_with("active: 1 connection") {
        assert!(std::time::Instant::now() < deadline, "{}", line("relay2"));
        std::thread::sleep(Duration::from_millis(50));
    }
    let (waited, told) = std::thread::scope(|scope| {
        let start = "start --reason again --window 60 --node relay2 --wait";
        let waiting = scope.spawn(|| drain("relay1", start));
        while !line("relay2").starts_with("draining: ") {
            assert!(std::time::Instant::now() < deadline, "{}", line("relay2"));
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(drain("relay1", "cancel --node relay2").0);
        waiting.join().expect("no panic")
    });
    assert!(!waited && told.contains("ended while clients were connected"), "{told}");
    assert!(!told.contains("no other relay"), "relay1 takes clients: {told}");
    assert!(line("relay2").contains("last drained for \"again\""), "{}", line("relay2"));

    assert!(drain("relay1", "start --reason both --window 60 --node relay2").0);
    let (_, told) = drain("relay1", "start --reason both --window 60");
    assert!(told.contains("no other relay takes clients now"), "{told}");
}

#[test]
fn one_more_relay_joins_by_the_command_that_is_shown() {
    let dev = Dev::start(&["--relays", "1"]);
    let shown = dev.until(" belay serve --config ").replace(" belay ", &format!(" {BELAY} "));
    let more = Command::new("sh")
        .args(["-c", shown.trim()])
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("it runs");
    let _more = Group(more);

    let names = || {
        let output = Command::new(BELAY)
            .args(["drain", "start", "--reason", "x", "--window", "1", "--node", "nobody"])
            .arg("--data-dir")
            .arg(dev.folder.join("relay1"))
            .output()
            .expect("it runs");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let deadline = std::time::Instant::now() + Duration::from_mins(1);
    while !names().contains("more") {
        assert!(std::time::Instant::now() < deadline, "{}", names());
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Processes that end with this.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill").args(["-9", "--", &group]).status();
        let _ = self.0.wait();
    }
}

//! What an acknowledgement promises: after a power cut, of which only synced bytes are left, the message
//! is there.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use belay_chaos::fleet::{Plan, Relay};
use belay_client::{Client, Event};
use belay_testkit::{Desk, Member, Relay as Url, SOON};
use belay_wire::{Channel, RawJson};
use rustix::process::Signal;

const ROUNDS: u64 = 12;

/// Builds the library that notes what was synced.
fn shim(folder: &Path) -> PathBuf {
    let library = folder.join("synced.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/shim/synced.c");
    let mut compile = Command::new("cc");
    compile.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).arg("-ldl");
    assert!(compile.status().expect("a C compiler").success(), "the shim does not compile");
    library
}

/// kill -9, and of the message log only what was synced is left. Gives how many bytes went.
fn power_cut(relay: &mut Relay, log: &Path, synced: &Path) -> u64 {
    relay.signal(Signal::KILL);
    relay.wait().expect("it ends");
    let mut cut = 0;
    for entry in std::fs::read_dir(log).expect("the log") {
        let path = entry.expect("an entry").path();
        let metadata = path.metadata().expect("metadata");
        let noted = std::fs::read_to_string(synced.join(metadata.ino().to_string()));
        let kept: u64 = noted.map_or(0, |text| text.trim().parse().expect("a length"));
        if path.extension().is_some_and(|e| e == "seg") && kept < metadata.len() {
            cut += metadata.len() - kept;
            let file = std::fs::OpenOptions::new().write(true).open(&path).expect("writable");
            file.set_len(kept).expect("cut");
        }
    }
    cut
}

async fn until_stored(client: &Client, channel: Channel) {
    let deadline = Instant::now() + SOON;
    while client.stored(channel) != client.head(channel) {
        assert!(Instant::now() < deadline, "not stored");
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
}

struct World {
    folder: tempfile::TempDir,
    plan: Plan,
    relay: Relay,
    desk: Desk,
    phone: Member,
}

impl World {
    async fn new(sync: &str) -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let synced = folder.path().join("synced");
        std::fs::create_dir(&synced).expect("a folder");
        let binary = PathBuf::from(env!("CARGO_BIN_EXE_chaos-party")).with_file_name("belay");
        let preload = shim(folder.path());
        let mut plan = Plan {
            binary,
            folder: folder.path().join("relay"),
            port: 0,
            public: vec!["http://127.0.0.1:1".to_owned()],
            args: vec![format!("--sync={sync}")],
            env: vec![
                ("LD_PRELOAD".into(), preload.into()),
                ("SYNCED_FOLDER".into(), synced.into()),
                ("SYNC_FAILS".into(), folder.path().join("sync-fails").into()),
            ],
            log: None,
        };
        let relay = plan.start().expect("started");
        plan.port = relay.address.port();
        let there = Url::at(&format!("http://{}", relay.address));
        let mut desk = Desk::start(&there).await;
        let phone = desk.pair(&there).await;
        Self { folder, plan, relay, desk, phone }
    }

    fn cut(&mut self) -> u64 {
        let log = self.plan.folder.join("log");
        power_cut(&mut self.relay, &log, &self.folder.path().join("synced"))
    }

    fn restart(&mut self) {
        self.relay = self.plan.start().expect("started again");
    }
}

fn payload(n: u64) -> RawJson {
    RawJson::of(&n).expect("JSON")
}

#[tokio::test]
async fn what_was_acknowledged_is_in_the_bytes_that_were_synced() {
    let World { folder, plan, mut relay, desk, phone } = World::new("always").await;
    let up = Channel::Up(phone.id);
    // The desktop is away: what it gets comes from the log.
    let Desk { client, identity, credentials, .. } = desk;
    drop(client);
    for n in 0..ROUNDS {
        phone.client.send(up, payload(n), None).expect("room");
        until_stored(&phone.client, up).await;
        let synced = folder.path().join("synced");
        power_cut(&mut relay, &plan.folder.join("log"), &synced);
        relay = plan.start().expect("started again");
    }
    // The writer would heal what is missing.
    drop(phone);

    let (_client, mut events) = belay_testkit::start_client(&identity, credentials);
    let mut got = Vec::new();
    while got.len() < usize::try_from(ROUNDS).expect("few") {
        let event = belay_testkit::until(&mut events, |e| matches!(e, Event::Message(_))).await;
        let Event::Message(message) = event else { unreachable!() };
        got.push(message.payload.text().parse::<u64>().expect("a number"));
    }
    assert_eq!(got, (0..ROUNDS).collect::<Vec<_>>());
}

#[tokio::test]
async fn without_syncs_a_power_cut_takes_bytes_and_the_writer_heals_them() {
    let mut world = World::new("never").await;
    let up = Channel::Up(world.phone.id);
    world.phone.client.send(up, payload(1), None).expect("room");
    until_stored(&world.phone.client, up).await;

    assert!(world.cut() > 0, "nothing was cut: the test above proves nothing");
    world.restart();

    let is_it = |e: &Event| matches!(e, Event::Message(m) if m.payload.text() == "1");
    world.desk.until(is_it).await;
}

#[tokio::test]
async fn a_sync_that_fails_ends_the_relay_and_the_next_one_has_or_gets_the_message() {
    let mut world = World::new("always").await;
    let up = Channel::Up(world.phone.id);
    std::fs::write(world.folder.path().join("sync-fails"), "").expect("written");
    world.phone.client.send(up, payload(1), None).expect("room");

    let deadline = Instant::now() + SOON;
    let well = loop {
        if let Some(well) = world.relay.ended().expect("asked") {
            break well;
        }
        assert!(Instant::now() < deadline, "it does not end by itself");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(!well, "its exit code says that it failed");
    world.restart();

    let is_it = |e: &Event| matches!(e, Event::Message(m) if m.payload.text() == "1");
    world.desk.until(is_it).await;
    until_stored(&world.phone.client, up).await;
}

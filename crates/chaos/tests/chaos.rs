//! Faults at random times under load: nothing is lost, doubled, reordered or missing in silence.
//! `CHAOS_SEED`, `CHAOS_FAULTS`, `CHAOS_MESSAGES`, `HOURS`.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use belay_chaos::{
    faults::{Kind, World},
    fleet::{self, Plan},
    flow,
    report::{self, Fault},
    rng::Rng,
};

const CHANNELS: u64 = 7;
/// Messages a second on each channel.
const PER_SECOND: u64 = 40;

fn number(name: &str, default: u64) -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a test run is configured by its environment")]
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_doubled_reordered_or_missing_in_silence() {
    let seed = number("CHAOS_SEED", 1);
    let folder = tempfile::tempdir().expect("temporary folder");
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_chaos-party")).with_file_name("belay");
    assert!(binary.exists(), "{} is missing: cargo build -p belay", binary.display());
    let clock = folder.path().join("clock");
    std::fs::write(&clock, "+0\n").expect("written");
    let mut plan = Plan {
        binary,
        folder: folder.path().join("relay"),
        port: 0,
        public: vec!["http://127.0.0.1:1".to_owned()],
        args: Vec::new(),
        env: fleet::clock(&clock).expect("libfaketime"),
        log: None,
    };
    let (relay, parties) = fleet::pair(&mut plan, PER_SECOND).await.expect("paired");
    let mut world = World { plan, clock, relay, parties };
    for party in &mut world.parties {
        party.start().expect("started");
    }
    fleet::until_up(&mut world.parties).await.expect("connected");

    let faults = disturb(&mut world, seed).await;
    flow::settle(&mut world.parties, Duration::from_secs(1)).await.expect("they run");

    let found = report::audit(&world.parties, &faults).expect("lists");
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/reports");
    found
        .write(&target.join("chaos.json"), seed, &faults, &serde_json::json!({}))
        .expect("written");
    if !found.breaches.is_empty() {
        keep(folder);
    }
    assert!(found.breaches.is_empty(), "seed {seed}: {:#?}", found.breaches);
    assert!(found.messages >= number("CHAOS_MESSAGES", 30_000), "{found:?}");
    assert!(found.applied > found.messages, "`down` has three readers: {found:?}");
    let met = faults.iter().filter(|fault| fault.in_flight > 0).count();
    assert!(met * 10 >= faults.len() * 9, "{met} of {} faults met a message", faults.len());
    assert!(found.resume_p99_ms <= 3_000, "{found:?}");
}

/// One fault after the other until there were enough of them and of messages.
async fn disturb(world: &mut World, seed: u64) -> Vec<Fault> {
    let mut rng = Rng(seed);
    let (count, messages) = (number("CHAOS_FAULTS", 60), number("CHAOS_MESSAGES", 30_000));
    let hours = Duration::from_secs(3_600 * number("HOURS", 0));
    let rate = CHANNELS * PER_SECOND;
    let lasts = Duration::from_millis(messages * 1_100 / rate).max(hours);
    let pause = if hours.is_zero() {
        lasts / u32::try_from(count).expect("small")
    } else {
        Duration::from_secs(2)
    };
    let started = Instant::now();
    let mut faults = Vec::new();
    while (faults.len() as u64) < count || started.elapsed() < lasts {
        let at = Instant::now();
        // Each kind comes once before any comes again.
        let kind = match Kind::ALL.get(faults.len()) {
            Some(kind) => *kind,
            None => Kind::ALL[usize::try_from(rng.draw()).expect("64 bits") % Kind::ALL.len()],
        };
        let mut fault = match world.strike(kind, rng.draw()).await {
            Ok(fault) => fault,
            Err(error) => panic!("seed {seed}, fault {}, {kind:?}: {error:#}", faults.len()),
        };
        tokio::time::sleep(Duration::from_millis(50)).await;
        let up = fleet::until_up(&mut world.parties).await;
        let up = up.unwrap_or_else(|e| panic!("seed {seed}, after {fault:?}: {e:#}"));
        fault.resume_ms = u64::try_from(up.as_millis()).expect("short");
        faults.push(fault);
        let spent = at.elapsed();
        let jitter = Duration::from_millis(rng.draw() % 300);
        tokio::time::sleep(pause.saturating_sub(spent) + jitter).await;
        if faults.len().is_multiple_of(20) {
            eprintln!("{} faults in {:?}", faults.len(), started.elapsed());
        }
    }
    faults
}

/// What the parties wrote stays for whoever looks into it.
fn keep(folder: tempfile::TempDir) {
    eprintln!("the lists are in {}", folder.keep().display());
}

//! A cluster under faults: nothing is lost, doubled, reordered or missing in silence, no session is
//! orphaned, nodes agree, and who was revoked stays out. `CHAOS_SEED`, `CHAOS_FAULTS`, `CHAOS_MESSAGES`,
//! `HOURS`; `CHAOS_KINDS=kill_relay,storm` plays these kinds alone. With `CHAOS_PREVIOUS=<binary>` relays run
//! that build and this one, side by side and one after the other, and each must read what the other wrote.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use belay_chaos::{
    cluster::{Kind, World, same},
    fleet, flow,
    lists::unix_ms,
    report::{self, Fault},
    rng::Rng,
};
use belay_wire::SessionId;

const CHANNELS: u64 = 7;
/// Messages a second on each channel: a window of 200 messages then lasts longer than most faults.
const PER_SECOND: u64 = 15;
/// How long messages may take to flow again after a fault.
const RESUME: Duration = Duration::from_secs(30);
/// How long nothing is written until everything counts as arrived.
const QUIET: Duration = Duration::from_secs(2);
/// How long nodes may need to say the same once nothing happens any more.
const SAME: Duration = Duration::from_secs(1);

#[expect(clippy::disallowed_methods, reason = "a test run is configured by its environment")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn number(name: &str, default: u64) -> u64 {
    variable(name).map_or(default, |text| text.parse().expect("a number"))
}

fn kinds() -> Vec<Kind> {
    let Some(wanted) = variable("CHAOS_KINDS") else { return Kind::ALL.to_vec() };
    let is_wanted = |kind: &Kind| wanted.split(',').any(|label| label == kind.label());
    let kinds: Vec<_> = Kind::ALL.into_iter().filter(is_wanted).collect();
    assert!(!kinds.is_empty(), "no such kinds: {wanted}");
    kinds
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cluster_loses_doubles_reorders_and_hides_nothing() {
    let (seed, started) = (number("CHAOS_SEED", 1), unix_ms() / 1_000);
    eprintln!("CHAOS_SEED={seed}");
    let folder = tempfile::tempdir().expect("temporary folder");
    let party = PathBuf::from(env!("CARGO_BIN_EXE_chaos-party"));
    let binary = party.with_file_name("belay");
    assert!(binary.exists(), "{} is missing: cargo build -p belay", binary.display());
    let previous = variable("CHAOS_PREVIOUS").map(PathBuf::from);
    let is_there = previous.as_ref().is_none_or(|previous| previous.is_file());
    assert!(is_there, "{previous:?} is no file: scripts/previous-build makes it");
    let report = if previous.is_some() { "skew.json" } else { "chaos-cluster.json" };
    // A task of its own: a pairing that panics must not take the logs with it, which say why.
    let at = folder.path().to_owned();
    let starting = async move { World::start(&at, &party, seed, PER_SECOND, previous).await };
    let mut world = match tokio::spawn(starting).await {
        Ok(Ok(world)) => world,
        Ok(Err(error)) => fail(folder, seed, &[format!("not started: {error:#}")]),
        Err(panic) => fail(folder, seed, &[format!("not started: {panic}")]),
    };
    let (faults, mut breaches) = run(&mut world, seed).await;
    // A party that has ended is found by the audit.
    let _ = flow::settle(&mut world.parties, QUIET).await;
    breaches.extend(world.look().await.err().map(|error| format!("{error:#}")));
    breaches.extend(world.build_breaches());
    let orphaned = orphans(&world).await;
    let came_back = world.came_back();
    let listing = world.listing_ms().await.ok();

    let found = report::audit(&world.parties, &faults).expect("lists");
    breaches.extend(world.breaches.iter().chain(&orphaned).chain(&came_back).cloned());
    breaches.extend(found.breaches.iter().cloned());
    let more = serde_json::json!({
        "started": started,
        "sessions": world.sessions(),
        "orphaned_sessions": orphaned.len(),
        "revoked": world.revoked(),
        "revoked_came_back": came_back.len(),
        "listing_sessions_ms": listing,
        "agreed_max_ms": world.agreed_ms.iter().max(),
        "builds": world.builds(),
        "breaches": breaches,
    });
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/reports");
    found.write(&target.join(report), seed, &faults, &more).expect("written");
    eprintln!("{found:?} {more}");
    if !breaches.is_empty() {
        drop(world);
        fail(folder, seed, &breaches);
    }
    assert!(found.applied > found.messages, "`down` has three readers: {found:?}");
    let met = faults.iter().filter(|fault| fault.in_flight > 0).count();
    assert!(met * 10 >= faults.len() * 9, "{met} of {} faults met a message", faults.len());
    if variable("CHAOS_KINDS").is_none() {
        assert!(found.messages >= number("CHAOS_MESSAGES", 10_000), "{found:?}");
    }
    planted_mistakes_are_found(&mut world, &faults).await;
}

/// What finds nothing must be able to.
async fn planted_mistakes_are_found(world: &mut World, faults: &[Fault]) {
    std::fs::write(world.parties[1].folder.join("drop"), "").expect("written");
    for party in &world.parties {
        std::fs::remove_file(party.folder.join("stop")).expect("it was stopped");
    }
    let dropping = unix_ms();
    flow::until_flowing(&mut world.parties, dropping + 1_500, RESUME).await.expect("it flows");
    // A party that has ended is found by the audit.
    let _ = flow::settle(&mut world.parties, QUIET).await;
    let found = report::audit(&world.parties, faults).expect("lists");
    assert!(!found.breaches.is_empty(), "a party did not note what it got, and nobody found out");
    let is_its = |breach: &String| breach.contains(" at phone1: ");
    assert!(found.breaches.iter().all(is_its), "{:#?}", found.breaches);

    let mut expected = world.expected();
    expected[0].session = SessionId::from_bytes([7; 16]);
    let same = same::until(&world.nodes, &expected, SAME).await;
    assert!(same.is_err(), "no node lists a session that there is not, and nobody found out");
}

/// Starts the parties and disturbs them; what goes wrong ends the faults, but not the audit.
async fn run(world: &mut World, seed: u64) -> (Vec<Fault>, Vec<String>) {
    let mut faults = Vec::new();
    for party in &mut world.parties {
        party.start().expect("started");
    }
    let ran = async {
        fleet::until_up(&mut world.parties).await?;
        flow::until_flowing(&mut world.parties, 1, RESUME).await?;
        disturb(world, seed, &mut faults).await
    };
    let breach = ran.await.err().map(|error| format!("after {} faults: {error:#}", faults.len()));
    (faults, breach.into_iter().collect())
}

/// One fault after the other until there were enough of them and of messages.
async fn disturb(world: &mut World, seed: u64, faults: &mut Vec<Fault>) -> anyhow::Result<()> {
    let mut rng = Rng(seed);
    let (count, messages) = (number("CHAOS_FAULTS", 20), number("CHAOS_MESSAGES", 10_000));
    let hours = Duration::from_secs(3_600 * number("HOURS", 0));
    let lasts = Duration::from_millis(messages * 1_100 / (CHANNELS * PER_SECOND)).max(hours);
    let pause = if hours.is_zero() {
        lasts / u32::try_from(count).expect("small")
    } else {
        Duration::from_secs(4)
    };
    let started = Instant::now();
    let mut round = Vec::new();
    while (faults.len() as u64) < count || started.elapsed() < lasts {
        let at = Instant::now();
        // Each kind comes once before any comes again.
        if round.is_empty() {
            round = kinds();
            rng.shuffle(&mut round);
        }
        let kind = round.pop().expect("a kind");
        let mut fault = world
            .strike(kind, &mut rng)
            .await
            .map_err(|error| error.context(format!("fault {}, {}", faults.len(), kind.label())))?;
        let flowing = flow::until_flowing(&mut world.parties, fault.healed_ms, RESUME).await;
        let resume = flowing.as_ref().map_or(RESUME, |resume| *resume);
        fault.resume_ms = u64::try_from(resume.as_millis()).expect("short");
        eprintln!("{:>6.1} s  {fault:?}", started.elapsed().as_secs_f64());
        faults.push(fault);
        flowing?;
        world.check()?;
        // One that does not answer is asked again after the next fault.
        let _ = world.look().await;
        let jitter = Duration::from_millis(rng.draw() % 300);
        tokio::time::sleep(pause.saturating_sub(at.elapsed()) + jitter).await;
    }
    Ok(())
}

/// What nodes say wrongly of the sessions of the run.
async fn orphans(world: &World) -> Vec<String> {
    match world.until_same(SAME).await {
        Ok(_) => Vec::new(),
        Err(differences) => differences.0,
    }
}

/// What all processes wrote stays for whoever looks into it.
fn fail(folder: tempfile::TempDir, seed: u64, breaches: &[String]) -> ! {
    let kept = folder.keep();
    panic!("CHAOS_SEED={seed}; lists and logs are in {}: {breaches:#?}", kept.display())
}

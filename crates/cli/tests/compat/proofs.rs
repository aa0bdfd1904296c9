//! What a relay of this protocol must stand: phones that hang up, that do not read, that guess; many
//! abandoned sessions; removals that must be felt at once.

use std::time::{Duration, Instant};

use belay_testkit::{
    SOON,
    compat::{Desktop, Heard, Net},
};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use crate::{relay::Relay, scenario::write, world::World};

/// A size that `make test-all` makes larger by a variable.
fn size(name: &str, standard: usize) -> usize {
    let given = std::env::var(name).ok();
    given.map_or(standard, |text| text.parse().expect("a whole number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn phones_that_hang_up_while_they_wait_take_no_place() {
    let w = alone(&[("MAX_PENDING_JOIN_WAITERS", "3")]);
    let mut desk = w.open().await;

    for _ in 0..4 {
        let joining = desk.joining();
        let request = desk.wire.until("relay.pair_request").await;
        assert!(request["requestID"].is_string());
        joining.abort();
        until_number(&w.relay, "pendingJoinWaiters", 0).await;
    }

    desk.pair().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_messages_three_milliseconds_apart_arrive_so() {
    let w = alone(&[]);
    let (mut desk, mut phone, _) = w.connected().await;
    let mut gaps = Vec::new();

    for _ in 0..25 {
        tokio::time::sleep(Duration::from_millis(60)).await;
        let (first, second) = (desk.desktop.hello(), desk.desktop.hello());
        let sending = async {
            desk.wire.send(&first).await;
            tokio::time::sleep(Duration::from_millis(3)).await;
            desk.wire.send(&second).await;
        };
        let receiving = async {
            phone.envelope().await;
            let started = Instant::now();
            phone.envelope().await;
            started.elapsed()
        };
        gaps.push(tokio::join!(sending, receiving).1);
    }

    gaps.sort_unstable();
    // A delayed acknowledgement would make 40 ms of it, a joined write 0.
    let median = gaps[gaps.len() / 2];
    assert!((2..=12).contains(&median.as_millis()), "{gaps:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_that_does_not_read_holds_nobody_up() {
    const MESSAGES: u64 = 3_000;
    // Fewer than the relay keeps: who reads must not become slow for want of a processor.
    const AHEAD: usize = 100;
    let w = alone(&[("MAX_WS_MESSAGES_PER_MINUTE", "100000")]);
    let (mut desk, mut reads, _) = w.connected().await;
    desk.refresh().await;
    let mut other = desk.pair().await;
    let deaf = desk.connect(&mut other).await;
    let text = "x".repeat(10_000);

    let room = tokio::sync::Semaphore::new(AHEAD);
    let sending = async {
        for _ in 0..MESSAGES {
            room.acquire().await.expect("open").forget();
            for message in desk.desktop.says("t-1", "assistant", &text) {
                desk.wire.send(&message).await;
            }
        }
    };
    let receiving = async {
        for seq in 1..=MESSAGES {
            assert_eq!(reads.envelope().await["seq"], seq);
            room.add_permits(1);
        }
    };
    tokio::join!(sending, receiving);

    until_number(&w.relay, "slowConsumerDisconnects", 1).await;
    drop(deaf);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn guesses_cost_one_read_forgeries_none_and_abandoned_sessions_leave_no_trace() {
    let sessions = size("COMPAT_SESSIONS", 10_000);
    let admin = crate::relay::free_address();
    let limits = [("BELAY_ADMIN_LISTEN", admin.as_str()), ("SESSION_SWEEP_INTERVAL_MS", "3600000")];
    let w = alone(&limits);
    let (_, phone) = w.paired().await;
    let before = bytes_of(&w.relay);
    start_sessions(&w.relay, sessions).await;
    assert_eq!(w.relay.number("sessions").await, i64::try_from(sessions).expect("few") + 1);
    assert!(bytes_of(&w.relay) > before + sessions as u64 * 100, "they are stored");

    let guess = |n: usize| format!("a-token-of-nobody-{n}-0123456789abcdef");
    let cost = reads_of(&w.relay, &admin, 50, guess).await;
    assert!(cost <= 50, "{cost} reads for 50 unknown tokens");
    let token = phone.token.clone();
    let forge = |n: usize| {
        // Its last characters are of the signature.
        let end = token.len() - 8;
        format!("{}{n:08}", &token[..end])
    };
    assert_eq!(reads_of(&w.relay, &admin, 50, forge).await, 0, "forged tokens");

    let World { relay, .. } = w;
    let relay = std::sync::Arc::into_inner(relay).expect("nobody else has it");
    let relay =
        relay.restart_with(&[("SESSION_RETENTION_MS", "200"), ("SESSION_SWEEP_INTERVAL_MS", "50")]);
    // Two processors shared with other tests remove some hundreds a second.
    let deadline = Instant::now()
        + Duration::from_mins(2)
        + Duration::from_millis(10) * u32::try_from(sessions).expect("few");
    // The one with a phone stays.
    while relay.number("sessions").await > 1 {
        assert!(Instant::now() < deadline, "{} are left", relay.number("sessions").await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let after = bytes_of(&relay);
    assert!(after < before + 10_000_000, "{before} bytes before, {after} after");
}

async fn start_sessions(relay: &Relay, sessions: usize) {
    let net = relay.native();
    let starting = (0..sessions).map(|n| {
        let net = net.clone();
        async move {
            let body = Desktop::new(&format!("abandoned-{n}-0123456789abcdef")).start();
            assert_eq!(net.post("/pair/start", &body).await.status, 200);
        }
    });
    stream::iter(starting).buffer_unordered(256).collect::<Vec<_>>().await;
}

/// Store operations that so many refused tokens cost.
async fn reads_of(
    relay: &Relay,
    admin: &str,
    tokens: usize,
    token: impl Fn(usize) -> String,
) -> i64 {
    let before = store_operations(relay, admin).await;
    for n in 0..tokens {
        let mut wire = relay.page().open().await;
        wire.send(&json!({ "type": "relay.auth", "token": token(n) })).await;
        assert_eq!(wire.ended().await, ("session_expired".to_owned(), 1008));
    }
    // The second look has two of its own.
    store_operations(relay, admin).await - before - 2
}

async fn store_operations(relay: &Relay, admin: &str) -> i64 {
    let token = std::fs::read_to_string(relay.folder().join("admin-token")).expect("made");
    let bearer = format!("Bearer {}", token.trim());
    let admin = Net::native(&format!("http://{admin}"));
    let text = admin.raw("GET", "/metrics", &[("authorization", &bearer)], "").await.text;
    let line = text.lines().find(|line| line.starts_with("store_seconds_count"));
    let count = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
    count.unwrap_or_else(|| panic!("store_seconds_count in {text}"))
}

/// Bytes of the store's files.
fn bytes_of(relay: &Relay) -> u64 {
    let entries = std::fs::read_dir(relay.folder()).expect("a folder").flatten();
    let files = entries.filter(|e| e.file_name().to_string_lossy().starts_with("belay.db"));
    files.map(|e| e.metadata().map_or(0, |m| m.len())).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_removed_phone_is_gone_within_a_second_each_time() {
    let tries = size("COMPAT_REVOKES", 200);
    let w = alone(&[]);
    let relay = &w.relay;
    let lanes = (0..8).map(|lane| async move {
        let mine = World { relay: relay.clone(), session: format!("lane-{lane}-0123456789abcdef") };
        let mut desk = mine.open().await;
        let mut times = Vec::new();
        for _ in 0..tries / 8 {
            let mut phone = desk.pair().await;
            let mut wire = desk.connect(&mut phone).await;
            let mut body = desk.desktop.own();
            body["deviceID"] = json!(phone.device);
            let started = Instant::now();
            let revoking = desk.net.post("/devices/revoke", &body);
            let (answer, end) = tokio::join!(revoking, wire.ended());
            times.push(started.elapsed());
            assert_eq!((answer.status, end), (200, ("device_revoked".to_owned(), 1008)));
            desk.refresh().await;
        }
        times
    });
    let mut times: Vec<_> =
        stream::iter(lanes).buffer_unordered(8).collect::<Vec<_>>().await.concat();

    times.sort_unstable();
    let at = |part: usize| times[(times.len() * part / 1_000).min(times.len() - 1)].as_micros();
    let slowest = *times.last().expect("some");
    write(
        "compat-revokes.json",
        &json!({
            "tries": times.len(), "p50_us": at(500), "p99_us": at(990), "p100_us": slowest.as_micros(),
        }),
    );
    // A run of its own measures; beside other tests it is no measurement.
    let is_measured = std::env::var_os("COMPAT_REVOKES").is_some();
    let limit = if is_measured { 1 } else { 5 };
    assert!(slowest < Duration::from_secs(limit), "{slowest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn floods_and_replays_leave_an_honest_pair_its_speed() {
    let w = alone(&[]);
    let (mut desk, mut phone, paired) = w.connected().await;
    let quiet = round_trips(&mut desk.wire, &mut phone, &w.session, 1).await;
    let other = World { relay: w.relay.clone(), session: "flooded-0123456789abcdef".to_owned() };
    let (_other_desk, mut flood, _) = other.connected().await;
    let replayed = command(&other.session, 1);
    let stop = tokio_util::sync::CancellationToken::new();
    let (stopped, relay) = (stop.clone(), w.relay.clone());
    let flooding = tokio::spawn(async move {
        let mut refused = 0_u64;
        while !stopped.is_cancelled() {
            for _ in 0..20 {
                flood.send(&replayed).await;
            }
            // One that was closed for its flood comes again as a stranger who guesses.
            if let Ok(Heard::Closed { .. } | Heard::Broken) =
                tokio::time::timeout(Duration::from_millis(2), flood.listen()).await
            {
                flood = relay.page().open().await;
                flood.send(&json!({ "type": "relay.auth", "token": paired.token })).await;
            }
            refused += 20;
        }
        refused
    });
    let flooded = round_trips(&mut desk.wire, &mut phone, &w.session, 101).await;
    stop.cancel();
    let refused = flooding.await.expect("ran");

    assert!(refused > 100, "it flooded");
    // Both share two processors with the flood and its client.
    assert!(flooded < quiet * 20 + Duration::from_millis(50), "p95 {quiet:?}, flooded {flooded:?}");
}

fn command(session: &str, seq: u64) -> Value {
    json!({
        "schemaVersion": 2, "sessionID": session, "seq": seq,
        "payload": { "type": "command", "payload": {
            "name": "thread.select", "commandID": format!("c-{seq}"), "threadID": "t-1",
        } },
    })
}

/// The p95 of a hundred ways from the phone to its desktop.
async fn round_trips(
    desktop: &mut belay_testkit::compat::Wire,
    phone: &mut belay_testkit::compat::Wire,
    session: &str,
    first: u64,
) -> Duration {
    let mut times = Vec::new();
    for seq in first..first + 100 {
        let started = Instant::now();
        phone.send(&command(session, seq)).await;
        assert_eq!(desktop.envelope().await["seq"], seq);
        times.push(started.elapsed());
    }
    times.sort_unstable();
    times[94]
}

fn alone(settings: &[(&str, &str)]) -> World {
    let relay = std::sync::Arc::new(Relay::start(settings));
    World { relay, session: "session-0123456789abcdef".to_owned() }
}

async fn until_number(relay: &Relay, name: &str, value: i64) {
    let deadline = Instant::now() + SOON;
    while relay.number(name).await != value {
        assert!(Instant::now() < deadline, "{name} is {}", relay.number(name).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

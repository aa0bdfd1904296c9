//! What every adapter of presence, leases and limits must do.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use belay_wire::{ConnectionId, MemberId, SessionId};

use crate::{
    ports::{Leases, Limits, Presence, Seat},
    token::Principal,
};

/// A lease that the suites let end.
const SHORT: Duration = Duration::from_millis(800);
/// One that does not end while they run.
const LONG: Duration = Duration::from_mins(1);

/// A seat of the `n`-th connection.
fn seat(principal: Principal, n: u8) -> Seat {
    Seat {
        principal,
        connection: ConnectionId::from_bytes([n; 16]),
        node: format!("node \"{n}\""),
        generation: 7,
        instance: format!("instance-{n}"),
        attempt: u64::from(n),
    }
}

/// Store time passes for real; whoever runs a suite blocks for a moment.
fn wait(time: Duration) {
    std::thread::sleep(time);
}

#[expect(clippy::disallowed_methods, reason = "the suite measures what happens outside of core")]
fn now() -> Instant {
    Instant::now()
}

/// Runs the suite of presence on an empty store.
pub async fn presence(presence: Arc<dyn Presence>) {
    a_newer_connection_takes_the_seat(&*presence).await;
    only_who_has_a_seat_gives_it_up(&*presence).await;
    sessions_have_their_own_seats(&*presence).await;
    a_life_counts_until_its_lease_ends(&*presence).await;
}

async fn a_newer_connection_takes_the_seat(presence: &dyn Presence) {
    let session = SessionId::from_bytes([70; 16]);
    assert_eq!(presence.seats(session).await.expect("readable"), []);
    let first = presence.sit(session, seat(Principal::Host, 1)).await.expect("seated");
    let member = Principal::Member(MemberId::from_bytes([1; 16]));
    let second = presence.sit(session, seat(member, 2)).await.expect("seated");
    let third = presence.sit(session, seat(Principal::Host, 3)).await.expect("seated");
    assert!(first < second && second < third, "{first} {second} {third}");

    let mut seats = presence.seats(session).await.expect("readable");

    seats.sort_by_key(|seat| seat.generation);
    let expected = [
        Seat { generation: second, ..seat(member, 2) },
        Seat { generation: third, ..seat(Principal::Host, 3) },
    ];
    assert_eq!(seats, expected);
}

async fn only_who_has_a_seat_gives_it_up(presence: &dyn Presence) {
    let session = SessionId::from_bytes([71; 16]);
    let old = presence.sit(session, seat(Principal::Host, 1)).await.expect("seated");
    let new = presence.sit(session, seat(Principal::Host, 2)).await.expect("seated");

    for generation in [0, old, new + 1, u64::MAX] {
        presence.leave(session, Principal::Host, generation).await.expect("harmless");
    }
    assert_eq!(presence.seats(session).await.expect("readable").len(), 1);
    presence.leave(session, Principal::Host, new).await.expect("left");
    presence.leave(session, Principal::Host, new).await.expect("twice is once");
    assert_eq!(presence.seats(session).await.expect("readable"), []);

    let next = presence.sit(session, seat(Principal::Host, 3)).await.expect("seated");
    assert!(next > new, "also after all have left");
}

async fn sessions_have_their_own_seats(presence: &dyn Presence) {
    let (one, other) = (SessionId::from_bytes([72; 16]), SessionId::from_bytes([73; 16]));
    let here = presence.sit(one, seat(Principal::Host, 1)).await.expect("seated");
    let there = presence.sit(other, seat(Principal::Host, 2)).await.expect("seated");

    presence.leave(one, Principal::Host, here).await.expect("left");

    let seats = presence.seats(other).await.expect("readable");
    assert_eq!(seats, [Seat { generation: there, ..seat(Principal::Host, 2) }]);
}

async fn a_life_counts_until_its_lease_ends(presence: &dyn Presence) {
    let renew = |node: &str, ttl| presence.renew(node.to_owned(), ttl);
    let first = renew("n1", LONG).await.expect("renewed");
    assert_eq!(first.nodes, ["n1"]);
    assert!(first.now_ms > 1_700_000_000_000, "{}", first.now_ms);
    let mut second = renew("n2", SHORT).await.expect("renewed").nodes;
    second.sort_unstable();
    assert_eq!(second, ["n1", "n2"]);

    wait(SHORT + SHORT / 2);
    let after = renew("n1", LONG).await.expect("renewed");
    assert_eq!(after.nodes, ["n1"], "a lease that was not renewed has ended");
    let passed = after.now_ms - first.now_ms;
    assert!((800..60_000).contains(&passed), "{passed} ms of store time");

    renew("n2", LONG).await.expect("renewed");
    presence.retire("n2".to_owned()).await.expect("retired");
    presence.retire("n2".to_owned()).await.expect("twice is once");
    assert_eq!(renew("n1", LONG).await.expect("renewed").nodes, ["n1"]);
}

/// Runs the suite of leases on work on an empty store.
pub async fn leases(leases: Arc<dyn Leases>) {
    let hold = |name, node: &str, ttl| leases.hold(name, node.to_owned(), ttl);
    let first = hold("sweep", "n1", SHORT).await.expect("asked").expect("free");
    assert_eq!(hold("sweep", "n1", SHORT).await.expect("asked"), Some(first), "a renewal");
    assert_eq!(hold("sweep", "n2", LONG).await.expect("asked"), None);
    assert!(hold("other", "n2", LONG).await.expect("asked").is_some(), "of another name");

    wait(SHORT + SHORT / 2);
    let second = hold("sweep", "n2", LONG).await.expect("asked").expect("it has ended");
    assert!(second > first, "{second} > {first}");
    assert_eq!(hold("sweep", "n1", SHORT).await.expect("asked"), None);
    assert_eq!(
        hold("sweep", "n2", SHORT).await.expect("asked"),
        Some(second),
        "also a shorter one"
    );
    wait(SHORT + SHORT / 2);
    let third = hold("sweep", "n2", SHORT).await.expect("asked").expect("it has ended");
    assert!(third > second, "whoever lost it for a moment has a new number");
    a_key_sticks_to_one_node(&*leases).await;
}

async fn a_key_sticks_to_one_node(leases: &dyn Leases) {
    let stick = |node: &str, instead_of: Option<&str>, ttl| {
        leases.stick("0123".to_owned(), node.to_owned(), instead_of.map(str::to_owned), ttl)
    };
    assert_eq!(stick("n1", None, LONG).await.expect("asked"), "n1");
    assert_eq!(stick("n2", None, LONG).await.expect("asked"), "n1");
    assert_eq!(stick("n2", Some("n3"), LONG).await.expect("asked"), "n1");
    assert_eq!(stick("n2", Some("n1"), SHORT).await.expect("asked"), "n2", "in its place");
    wait(SHORT + SHORT / 2);
    assert_eq!(stick("n1", None, LONG).await.expect("asked"), "n1", "the note has ended");
}

/// Runs the suite of limits; `one` and `other` share what they count.
pub async fn limits(one: Arc<dyn Limits>, other: Arc<dyn Limits>) {
    both_take_from_one_allowance(&*one, &*other).await;
    never_more_than_burst_plus_rate_times_time(&*one, &*other).await;
    what_was_taken_is_noted_for_all(&*one, &*other).await;
}

async fn what_was_taken_is_noted_for_all(one: &dyn Limits, other: &dyn Limits) {
    let key = || "spent".to_owned();
    let spend = |limits: &dyn Limits, cost| limits.spend(key(), cost, Duration::from_mins(1), 5);
    let near = |ahead: Duration, cells: u64| {
        let (least, most) = (Duration::from_secs(60 * cells - 50), Duration::from_secs(60 * cells));
        assert!((least..=most).contains(&ahead), "{ahead:?} for {cells}");
    };
    assert_eq!(spend(one, 0).await.expect("asked"), Duration::ZERO);
    near(spend(one, 2).await.expect("noted"), 2);
    near(spend(other, 0).await.expect("asked"), 2);
    near(spend(other, 2).await.expect("noted"), 4);
    let taken = one.take(key(), 1, Duration::from_mins(1), 5).await.expect("asked");
    assert!(taken.is_ok(), "one of five is left");
    near(spend(one, 9).await.expect("noted"), 5);
    let taken = other.take(key(), 1, Duration::from_mins(1), 5).await.expect("asked");
    assert!(taken.is_err(), "none is left, and no more than none");
}

async fn both_take_from_one_allowance(one: &dyn Limits, other: &dyn Limits) {
    let every = Duration::from_secs(30);
    let take = |limits: &dyn Limits, key: &str, cost| limits.take(key.to_owned(), cost, every, 5);
    assert!(take(one, "a", 2).await.expect("asked").is_ok());
    assert!(take(other, "a", 2).await.expect("asked").is_ok());
    let refused = take(one, "a", 2).await.expect("asked").expect_err("one is left");
    assert!(refused <= every && refused > every / 2, "{refused:?}");
    assert!(take(other, "a", 1).await.expect("asked").is_ok(), "the refusal took nothing");
    let refused = take(other, "a", 1).await.expect("asked").expect_err("nothing is left");
    assert!(refused <= every && refused > every / 2, "{refused:?}");
    assert!(take(one, "b", 5).await.expect("asked").is_ok(), "another key");
    assert!(take(one, "c", 0).await.expect("asked").is_ok());
    assert!(take(one, "c", 6).await.expect("asked").is_err(), "more than there ever is");
    assert!(take(one, "c", 5).await.expect("asked").is_ok());
}

async fn never_more_than_burst_plus_rate_times_time(one: &dyn Limits, other: &dyn Limits) {
    let (every, burst) = (Duration::from_millis(20), 4_u32);
    let start = now();
    let (mut taken, mut turn) = (0_u128, false);
    while start.elapsed() < Duration::from_millis(600) {
        turn = !turn;
        let limits = if turn { one } else { other };
        match limits.take("busy".to_owned(), 1, every, burst).await.expect("asked") {
            Ok(()) => taken += 1,
            Err(time) => {
                assert!(time <= every, "{time:?}");
                wait(time / 3);
            }
        }
    }
    let allowed = u128::from(burst) + start.elapsed().as_micros() / every.as_micros();
    assert!(taken <= allowed, "{taken} > {allowed}");
    assert!(taken > u128::from(burst), "what comes back is given again");
}

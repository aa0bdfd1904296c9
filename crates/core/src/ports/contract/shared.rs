//! What a store that several nodes share must do besides.

use std::{future::poll_fn, sync::Arc, task::Poll};

use belay_wire::SessionId;

use super::sample;
use crate::{
    SessionRecord,
    ports::{Answer, SessionStore, StoreError, Version},
};

/// Runs the suite of shared stores; `one` and `other` share an empty store.
pub async fn shared_store(one: Arc<dyn SessionStore>, other: Arc<dyn SessionStore>) {
    what_one_saves_the_other_reads(&*one, &*other).await;
    of_many_saves_at_once_one_wins(&*one, &*other).await;
    versions_are_told_in_the_order_asked(&*one, &*other).await;
    what_follows_a_version_that_was_lost_is_refused(&*one, &*other).await;
}

/// Waits for all answers, which all go on meanwhile.
async fn all<T>(mut answers: Vec<Answer<T>>) -> Vec<Result<T, StoreError>> {
    let mut done: Vec<Option<Result<T, StoreError>>> = answers.iter().map(|_| None).collect();
    poll_fn(|context| {
        for (answer, done) in answers.iter_mut().zip(&mut done) {
            if done.is_none()
                && let Poll::Ready(result) = answer.as_mut().poll(context)
            {
                *done = Some(result);
            }
        }
        if done.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}

async fn what_one_saves_the_other_reads(one: &dyn SessionStore, other: &dyn SessionStore) {
    let mut record = sample(50, *b"ZZZ");
    let absent = other.versions(vec![record.id]).await.expect("readable");
    assert_eq!(absent, [Version::default()]);
    assert!(!other.was_removed(record.id).await.expect("readable"));

    one.save(record.clone()).await.expect("stored");
    let loaded = other.load(record.id).await.expect("readable").expect("present");
    assert_eq!(format!("{loaded:?}"), format!("{record:?}"));
    assert_eq!(other.versions(vec![record.id]).await.expect("readable")[0].record, 1);

    record.version = 2;
    other.save(record.clone()).await.expect("stored");
    assert_eq!(one.load(record.id).await.expect("readable").expect("present").version, 2);
    assert_eq!(one.versions(vec![record.id]).await.expect("readable")[0].record, 2);

    other.remove(record.id).await.expect("removed");
    assert!(one.load(record.id).await.expect("readable").is_none());
    assert!(one.was_removed(record.id).await.expect("readable"));
    assert_eq!(one.versions(vec![record.id]).await.expect("readable")[0].record, 0);
    one.save(sample(50, *b"ZZZ")).await.expect("as a new one");
    assert!(!other.was_removed(record.id).await.expect("readable"));
    one.remove(record.id).await.expect("removed");
}

/// Both make something of the same version, and one of them is not what is stored.
async fn what_follows_a_version_that_was_lost_is_refused(
    one: &dyn SessionStore,
    other: &dyn SessionStore,
) {
    let mut record = sample(59, *b"ZZZ");
    one.save(record.clone()).await.expect("stored");
    record.succeed();
    let mut lost = record.clone();
    lost.stride(4);
    record.stride(7);
    other.save(record.clone()).await.expect("stored");
    let after = |mut record: SessionRecord| {
        record.succeed();
        record
    };
    for late in [lost.clone(), after(lost.clone()), after(after(lost))] {
        let refused = one.save(late).await.expect_err("it follows what is not stored");
        assert!(matches!(refused, StoreError::Conflict), "{refused}");
    }
    one.save(after(record.clone())).await.expect("it follows what is stored");
    let loaded = other.load(record.id).await.expect("readable").expect("present");
    assert_eq!(loaded.replaces(), Some(record.version));
    one.remove(record.id).await.expect("removed");
}

/// All of them save the very same record: each must still know whether it was its own save.
async fn of_many_saves_at_once_one_wins(one: &dyn SessionStore, other: &dyn SessionStore) {
    let mut record = sample(51, *b"ZZZ");
    for version in 1..=5 {
        record.version = version;
        let saves = (0..20).map(|n| if n % 2 == 0 { one } else { other }.save(record.clone()));
        let results = all(saves.collect()).await;
        let won = results.iter().filter(|result| result.is_ok()).count();
        let lost = results.iter().filter(|result| matches!(result, Err(StoreError::Conflict)));
        assert_eq!((won, lost.count()), (1, 19), "{results:?}");
        assert_eq!(one.versions(vec![record.id]).await.expect("readable")[0].record, version);
    }
    one.remove(record.id).await.expect("removed");
}

async fn versions_are_told_in_the_order_asked(one: &dyn SessionStore, other: &dyn SessionStore) {
    let mut record = sample(52, *b"ZZZ");
    one.save(record.clone()).await.expect("stored");
    record.version = 2;
    one.save(record.clone()).await.expect("stored");
    one.save(sample(53, *b"ZZZ")).await.expect("stored");
    assert_eq!(other.versions(Vec::new()).await.expect("readable"), []);
    let mut ids: Vec<_> = (0..1_100_u16)
        .map(|n| {
            let mut bytes = [200; 16];
            bytes[..2].copy_from_slice(&n.to_be_bytes());
            SessionId::from_bytes(bytes)
        })
        .collect();
    ids[0] = record.id;
    ids[700] = record.id;
    ids[1_099] = SessionId::from_bytes([53; 16]);

    let versions = other.versions(ids).await.expect("readable");

    let told: Vec<_> = versions.iter().map(|version| version.record).collect();
    assert_eq!((told[0], told[700], told[1_099]), (2, 2, 1));
    assert_eq!((told.len(), told.iter().sum::<u64>()), (1_100, 5));
    for n in [52, 53] {
        one.remove(SessionId::from_bytes([n; 16])).await.expect("removed");
    }
}

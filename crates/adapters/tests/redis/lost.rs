//! Answers that are lost on their way: what was asked may have been done.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use belay_core::ports::{Leases, Presence, SessionStore, StoreError, contract};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
    time::Instant,
};

use crate::{server, store};

/// What happens to an answer that is lost.
#[derive(Clone, Copy)]
enum Loss {
    /// The connection ends.
    Cut,
    /// Nothing comes any more, and the connection stays.
    Silence,
}

/// Stands between store and server.
struct Proxy {
    url: String,
    /// How many connections lose their next answer.
    losses: Arc<AtomicU32>,
}

impl Proxy {
    async fn start(to: u16, loss: Loss) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let losses = Arc::new(AtomicU32::new(0));
        let left = Arc::clone(&losses);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, to, Arc::clone(&left), loss));
            }
        });
        Self { url: format!("redis://127.0.0.1:{port}"), losses }
    }

    /// The next answers to this many connections are lost.
    fn lose(&self, connections: u32) {
        self.losses.store(connections, Ordering::SeqCst);
    }
}

async fn carry(client: TcpStream, to: u16, losses: Arc<AtomicU32>, loss: Loss) {
    let server = TcpStream::connect(("127.0.0.1", to)).await.expect("reachable");
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let questions = tokio::spawn(async move { copy(&mut from_client, &mut to_server).await });
    let mut bytes = vec![0; 64 * 1_024];
    // What logs in is let through: a connection that was never made loses nothing.
    let mut answers = 0;
    while let Ok(read @ 1..) = from_server.read(&mut bytes).await {
        answers += 1;
        let less = |left: u32| left.checked_sub(1);
        if answers > 1 && losses.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok() {
            match loss {
                Loss::Cut => break,
                Loss::Silence => std::future::pending().await,
            }
        }
        if to_client.write_all(&bytes[..read]).await.is_err() {
            break;
        }
    }
    questions.abort();
}

#[tokio::test]
async fn a_save_whose_answer_is_lost_ends_in_the_right_answer() {
    for loss in [Loss::Cut, Loss::Silence] {
        let (redis, _folder) = server(&[]);
        let proxy = Proxy::start(redis.port, loss).await;
        let (behind, direct) = (store(&proxy.url).await, store(&redis.url()).await);
        let mut record = contract::sample(1, *b"AAA");
        for version in 1..=2 {
            record.version = version;
            proxy.lose(1);
            behind.save(record.clone()).await.expect("it was stored, once");
            assert_eq!(proxy.losses.load(Ordering::SeqCst), 0, "an answer was lost");
            let versions = direct.versions(vec![record.id]).await.expect("readable");
            assert_eq!(versions[0].record, version);
        }

        // The very same record of somebody else is another save.
        proxy.lose(1);
        let refused = behind.save(record.clone()).await.expect_err("not the next");
        assert!(matches!(refused, StoreError::Conflict), "{refused:?}");
        let found = direct.list(None, 9).await.expect("readable");
        assert_eq!(found, [record.id]);
    }
}

#[tokio::test]
async fn when_all_answers_are_lost_it_is_not_known_and_the_bound_is_kept() {
    let (redis, _folder) = server(&[]);
    let proxy = Proxy::start(redis.port, Loss::Silence).await;
    let (behind, direct) = (store(&proxy.url).await, store(&redis.url()).await);
    let record = contract::sample(1, *b"AAA");
    // Else its script, too, would have to be asked for.
    direct.save(contract::sample(2, *b"AAA")).await.expect("stored");
    proxy.lose(3);
    let start = Instant::now();

    let failed = behind.save(record.clone()).await.expect_err("no answer at all");

    assert!(matches!(failed, StoreError::Unavailable(_)), "{failed:?}");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(direct.load(record.id).await.expect("readable").expect("stored").version, 1);
    assert!(behind.load(record.id).await.expect("well again").is_some());
}

#[tokio::test]
async fn what_else_is_asked_may_be_done_twice() {
    let (redis, _folder) = server(&[]);
    let proxy = Proxy::start(redis.port, Loss::Cut).await;
    let behind = store(&proxy.url).await;
    let ttl = Duration::from_mins(1);
    proxy.lose(1);
    let fence = behind.hold("sweep", "n1".to_owned(), ttl).await.expect("asked").expect("free");
    assert_eq!(behind.hold("sweep", "n1".to_owned(), ttl).await.expect("asked"), Some(fence));
    proxy.lose(2);
    assert_eq!(behind.renew("n1".to_owned(), ttl).await.expect("renewed").nodes, ["n1"]);
    let record = contract::sample(1, *b"AAA");
    behind.save(record.clone()).await.expect("stored");
    proxy.lose(1);
    behind.remove(record.id).await.expect("removed");
    assert!(behind.load(record.id).await.expect("readable").is_none());
    proxy.lose(1);
    behind.check().await.expect("well");
}

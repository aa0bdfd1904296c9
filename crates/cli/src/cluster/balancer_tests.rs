use std::collections::BTreeMap;

use super::*;

/// Answers each connection with its name, then with all that it read, once the client has ended its way.
async fn echo(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let at = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                stream.write_all(name.as_bytes()).await?;
                let mut all = Vec::new();
                stream.read_to_end(&mut all).await?;
                stream.write_all(&all).await?;
                stream.shutdown().await
            });
        }
    });
    at
}

struct Running {
    at: SocketAddr,
    stop: CancellationToken,
}

async fn balancer(names: &[&'static str]) -> (Running, Vec<Backend>) {
    balancing(names, false).await
}

async fn balancing(names: &[&'static str], by_key: bool) -> (Running, Vec<Backend>) {
    let balancer = Balancer::bind(0, by_key).await.expect("a port");
    let mut backends = Vec::new();
    for name in names {
        let backend = balancer.backend(echo(name).await);
        backend.set_ready(true);
        backends.push(backend);
    }
    let (at, stop) = (balancer.address, CancellationToken::new());
    tokio::spawn(balancer.run(stop.clone()));
    (Running { at, stop }, backends)
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Sends, ends its way, and reads all that comes.
async fn talk(at: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(at).await.expect("accepted");
    stream.write_all(bytes).await.expect("sent");
    stream.shutdown().await.expect("its way is ended");
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.expect("read");
    all
}

#[tokio::test]
async fn bytes_pass_both_ways_unchanged_and_each_way_ends_by_itself() {
    let (running, _) = balancer(&["a"]).await;
    let big: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();

    let back = talk(running.at, &big).await;

    assert_eq!(back[0], b'a');
    assert!(back[1..] == big, "{} bytes", back.len());
}

#[tokio::test]
async fn connections_go_to_all_ready_relays_and_to_no_other() {
    let (running, backends) = balancer(&["a", "b", "c"]).await;
    let mut seen = BTreeMap::<Vec<u8>, usize>::new();
    for _ in 0..90 {
        *seen.entry(talk(running.at, b"").await).or_default() += 1;
    }
    assert_eq!(seen.len(), 3, "{seen:?}");
    assert!(seen.values().all(|n| *n > 8), "{seen:?}");

    backends[1].set_ready(false);
    for _ in 0..30 {
        assert_ne!(talk(running.at, b"").await, b"b");
    }
}

#[tokio::test]
async fn a_relay_that_takes_no_connection_is_passed_over() {
    let balancer = Balancer::bind(0, false).await.expect("a port");
    let gone = belay_servers::free_port().expect("a port");
    let dead = balancer.backend(SocketAddr::from((Ipv4Addr::LOCALHOST, gone)));
    dead.set_ready(true);
    balancer.backend(echo("a").await).set_ready(true);
    let (at, stop) = (balancer.address, CancellationToken::new());
    tokio::spawn(balancer.run(stop.clone()));

    for _ in 0..20 {
        assert_eq!(talk(at, b"x").await, b"ax");
    }

    assert!(!dead.is_ready(), "until it is checked again");
    stop.cancel();
}

#[tokio::test]
async fn while_no_relay_is_ready_a_client_is_told() {
    let (running, _) = balancer(&[]).await;

    let told = talk(running.at, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;

    let told = String::from_utf8(told).expect("text");
    let (head, body) = told.split_once("\r\n\r\n").expect("an answer");
    assert!(head.starts_with("HTTP/1.1 503 "), "{told}");
    assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{told}");
}

#[tokio::test]
async fn a_stop_ends_what_passes() {
    let (running, _) = balancer(&["a"]).await;
    let mut stream = TcpStream::connect(running.at).await.expect("accepted");
    let mut name = [0; 1];
    stream.read_exact(&mut name).await.expect("its name");

    running.stop.cancel();

    let ended = timeout(Duration::from_secs(5), stream.read(&mut name)).await.expect("in time");
    assert!(matches!(ended, Ok(0) | Err(_)));
}

#[tokio::test]
async fn connections_with_one_key_go_to_one_relay_until_that_is_not_ready() {
    let (running, backends) = balancing(&["a", "b", "c"], true).await;
    let request = b"GET / HTTP/1.1\r\nX-Affinity-Key: 0123456789abcdef\r\n\r\n";
    let first = talk(running.at, request).await[0];
    for _ in 0..20 {
        assert_eq!(talk(running.at, request).await[0], first);
    }
    let mut others = BTreeMap::<u8, usize>::new();
    for _ in 0..60 {
        *others.entry(talk(running.at, b"GET / HTTP/1.1\r\n\r\n").await[0]).or_default() += 1;
    }
    assert_eq!(others.len(), 3, "{others:?}");

    backends[usize::from(first - b'a')].set_ready(false);
    let second = talk(running.at, request).await[0];
    assert_ne!(second, first);
    assert_eq!(talk(running.at, request).await[0], second);
}

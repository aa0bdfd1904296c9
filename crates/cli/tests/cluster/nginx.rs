//! Relays behind nginx, with the configuration that `deploy/` holds.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    net::TcpStream,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

use belay_client::Event;
use belay_testkit::{Desk, Relay};
use belay_wire::{Channel, RawJson};

use crate::dev::Dev;

const SOON: Duration = Duration::from_secs(10);

struct Nginx {
    child: Child,
    url: String,
    access: Receiver<String>,
    _folder: tempfile::TempDir,
}

impl Nginx {
    /// Starts it on a port in front of two relays; `None` if it is not installed.
    fn start(dev: &Dev, port: u16) -> Option<Self> {
        let Ok(program) = belay_servers::program("nginx") else {
            eprintln!("SKIPPED: nginx is not installed; run scripts/bootstrap test");
            return None;
        };
        let folder = tempfile::tempdir().expect("temporary folder");
        let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/nginx/belay.conf");
        let kept = std::fs::read_to_string(kept).expect("the configuration");
        let health = belay_servers::free_port().expect("a port");
        let pid = folder.path().join("nginx.pid").display().to_string();
        let mut text = kept
            .replace("/tmp/nginx.pid", &pid)
            .replace("listen 8080;", &format!("listen 127.0.0.1:{port};"))
            .replace("127.0.0.1:8081", &format!("127.0.0.1:{health}"))
            .replace("server relay3:8787", "# ");
        for name in ["relay1", "relay2"] {
            text = text.replace(&format!("{name}:8787"), &dev.part(name).address);
        }
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, text).expect("written");
        let mut child = Command::new(program)
            .arg("-c")
            .arg(&file)
            .args(["-g", "daemon off; master_process off;", "-p"])
            .arg(folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it runs");
        let (said, access) = channel();
        let stdout = child.stdout.take().expect("piped");
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = said.send(line);
            }
        });
        let deadline = Instant::now() + SOON;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "nginx listens");
            std::thread::sleep(Duration::from_millis(20));
        }
        let url = format!("http://127.0.0.1:{port}");
        Some(Self { child, url, access, _folder: folder })
    }

    /// The relay that a request with this hint went to.
    async fn relay_of(&self, key: &str) -> String {
        let call = reqwest::Client::new().get(format!("{}/livez", self.url));
        let answer = call.header("X-Affinity-Key", key).send().await.expect("answered");
        assert_eq!(answer.status().as_u16(), 200, "{key}");
        loop {
            let line = self.access.recv_timeout(SOON).expect("a line");
            if line.contains(" /livez ") {
                return line.split_whitespace().next_back().expect("an address").to_owned();
            }
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn relays_behind_nginx_pair_talk_and_are_passed_over_when_they_die() {
    let port = belay_servers::free_port().expect("a port");
    let url = format!("http://127.0.0.1:{port}");
    let dev = Dev::start(&["--relays", "2", "--no-restart", "--public-url", &url]);
    let Some(nginx) = Nginx::start(&dev, port) else { return };
    let there = Relay::at(&nginx.url);
    // A node learns within a second that another is there.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let mut desk = Desk::start(&there).await;
    let mut phone = desk.pair(&there).await;
    let mut used = BTreeSet::new();
    for key in 0..24 {
        let key = format!("session-{key}");
        let first = nginx.relay_of(&key).await;
        assert_eq!(nginx.relay_of(&key).await, first, "a hint leads to one relay");
        used.insert(first);
    }
    assert_eq!(used.len(), 2, "hints are spread: {used:?}");

    for (n, dies) in [None, Some("relay2")].into_iter().enumerate() {
        if let Some(name) = dies {
            dev.kill(name);
        }
        desk.client.send(Channel::Down, RawJson::of(&n).expect("JSON"), None).expect("room");
        let is_it = |e: &Event| matches!(e, Event::Message(m) if m.payload.text() == n.to_string());
        phone.until(is_it).await;
    }
    for key in 0..24 {
        let line = nginx.relay_of(&format!("session-{key}")).await;
        assert_eq!(line, dev.part("relay1").address);
    }
}

#[test]
fn the_health_check_of_the_image_tells_a_relay_that_serves() {
    let dev = Dev::start(&["--relays", "1", "--no-restart"]);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/compose/ready");
    let port = dev.part("relay1").address.rsplit_once(':').expect("a port").1.to_owned();
    let ready = || Command::new(script).env("BELAY_PORT", &port).status().expect("it runs");
    assert!(ready().success());

    dev.kill("relay1");
    dev.until("relay1 (pid");

    assert!(!ready().success());
}

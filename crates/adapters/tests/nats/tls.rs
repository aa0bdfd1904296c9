//! TLS to the broker.

use std::{path::Path, process::Command};

use belay_adapters::{Nats, NatsError, NatsOptions};

use super::{append, connect, down, options};

fn openssl(folder: &Path, arguments: &str) {
    let mut command = Command::new("openssl");
    let output = command.args(arguments.split(' ')).current_dir(folder).output().expect("openssl");
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_with_tls_is_trusted_by_its_authority_only() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path();
    std::fs::write(path.join("names"), "subjectAltName=IP:127.0.0.1").expect("written");
    let new = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(path, &format!("req -x509 {new} -keyout ca.key -out ca.pem -subj /CN=ca -days 2"));
    openssl(path, &format!("req {new} -keyout key.pem -out csr.pem -subj /CN=nats"));
    let sign = "x509 -req -in csr.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2";
    openssl(path, &format!("{sign} -extfile names -out cert.pem"));
    let (cert, key) = (path.join("cert.pem"), path.join("key.pem"));
    let tls = format!("tls {{ cert_file: {cert:?}, key_file: {key:?} }}");
    let settings = belay_servers::NatsOptions { settings: vec![tls], ..Default::default() };
    let server = belay_servers::Nats::start(path, &settings).expect("nats");

    let url = format!("tls://127.0.0.1:{}", server.port);
    let stranger = Nats::connect(options(&url, "n1")).await.expect_err("nobody signed for it");
    assert!(matches!(stranger, NatsError::Unreachable { .. }), "{stranger}");
    let ca = Some(path.join("ca.pem"));
    let log = connect(NatsOptions { ca, ..options(&url, "n1") }).await;
    append(&log, down(1), 1).await;
}

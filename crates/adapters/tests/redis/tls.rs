//! Encrypted connections.

use std::{path::Path, process::Command};

use belay_adapters::{RedisError, RedisOptions, RedisStore};
use belay_core::ports::SessionStore;
use belay_servers::{Redis, free_port};

use crate::PREFIX;

/// Makes a key and a certificate of 127.0.0.1 that signs itself.
fn certificate(folder: &Path) -> Vec<u8> {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-days", "2", "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(folder)
        .output()
        .expect("openssl is installed");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    std::fs::read(folder.join("cert.pem")).expect("made")
}

#[tokio::test]
async fn the_certificate_of_a_server_is_verified() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let ca = certificate(folder.path());
    let port = free_port().expect("a port");
    let tls = format!("tls-port {port}");
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (cert, key) = (
        format!("tls-cert-file {}", file("cert.pem")),
        format!("tls-key-file {}", file("key.pem")),
    );
    let _redis =
        Redis::start(folder.path(), &[&tls, &cert, &key, "tls-auth-clients no"]).expect("redis");
    let mut options = RedisOptions::new(format!("rediss://127.0.0.1:{port}"), PREFIX);

    let refused = RedisStore::connect(options.clone()).await.expect_err("nobody vouches for it");
    let text = refused.to_string();
    assert!(matches!(refused, RedisError::Unreachable { .. }), "{text}");
    assert!(
        text.to_lowercase().contains("certificate") || text.contains("UnknownIssuer"),
        "{text}"
    );

    options.ca = Some(ca);
    let (store, _) = RedisStore::connect(options.clone()).await.expect("verified");
    store.check().await.expect("well");
    options.ca = Some(b"-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----".to_vec());
    let refused = RedisStore::connect(options).await.expect_err("no certificate");
    assert!(matches!(refused, RedisError::Address(_)), "{refused}");
}

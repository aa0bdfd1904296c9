//! Encrypted connections.

use std::{
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use belay_adapters::{SqlError, SqlRevocations};
use sqlx::Connection;

use crate::{folder, open, postgres};

/// Makes a key and a certificate of 127.0.0.1 that signs itself.
fn certificate(folder: &Path) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-days", "2", "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", "server.key", "-out", "server.crt"])
        .current_dir(folder)
        .output()
        .expect("openssl is installed");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

#[tokio::test]
async fn the_certificate_of_a_server_is_verified() {
    let folder = folder();
    let server = postgres(folder.path());
    let data = folder.path().join("postgres/data");
    certificate(folder.path());
    let owner = std::fs::metadata(&data).expect("there");
    let (user, group) = {
        use std::os::unix::fs::MetadataExt;
        (owner.uid(), owner.gid())
    };
    for name in ["server.key", "server.crt"] {
        let file = data.join(name);
        std::fs::copy(folder.path().join(name), &file).expect("copied");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("allowed");
        chown(&file, Some(user), Some(group)).expect("its user's");
    }
    let mut hand = sqlx::PgConnection::connect(&server.url()).await.expect("connects");
    for sql in ["ALTER SYSTEM SET ssl = on", "SELECT pg_reload_conf()"] {
        sqlx::raw_sql(sql).execute(&mut hand).await.expect("done");
    }
    let taken = format!("{}?sslmode=require", server.url());
    let deadline = Instant::now() + Duration::from_secs(20);
    while sqlx::PgConnection::connect(&taken).await.is_err() {
        assert!(Instant::now() < deadline, "it does not take its certificate");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let verified = format!("{}?sslmode=verify-full", server.url());

    let refused = SqlRevocations::open(&verified, "n1").await.expect_err("nobody vouches for it");
    assert!(matches!(refused, SqlError::Unreachable { .. }), "{refused:?}");
    assert!(refused.to_string().to_lowercase().contains("certificate"), "{refused}");

    let ca = folder.path().join("server.crt");
    open(&format!("{verified}&sslrootcert={}", ca.display()), "n1").await;
}

//! Measures a relay process from outside, on loopback: memory per idle socket, round trips and CPU of both
//! protocols, and what storing costs. `make bench` runs it; a second argument (`v1`, `compat`, `stored`)
//! measures that part alone.

#![expect(clippy::print_stdout, reason = "the figures are its output")]

mod compat;
mod pair;
mod process;
mod raw;
mod stored;
mod v1;

use process::Process;

/// A message is stored before it is acknowledged: on disk, on disk a little later, or with the system.
const SYNC: [&str; 3] = ["always", "50", "never"];

#[tokio::main]
async fn main() {
    let binary = std::env::args().nth(1).expect("the belay binary as argument");
    let only = std::env::args().nth(2);
    let wanted = |part| only.as_ref().is_none_or(|only| only == part);
    if wanted("v1") {
        println!("belay.v1");
        Box::pin(v1::measure(Process::start(&binary, "always").await)).await;
    }
    if wanted("compat") {
        println!("compat");
        Box::pin(compat::measure(Process::start(&binary, "always").await)).await;
    }
    for sync in SYNC.iter().filter(|_| wanted("stored")) {
        println!("belay.v1, --sync {sync}");
        Box::pin(stored::measure(Process::start(&binary, sync).await)).await;
    }
}

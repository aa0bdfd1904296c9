//! Measures a relay process from outside: memory per idle socket, round trips and CPU on loopback, for
//! both protocols. `make bench` runs it.

#![expect(clippy::print_stdout, reason = "the figures are its output")]

mod compat;
mod process;
mod v1;

use process::Process;

#[tokio::main]
async fn main() {
    let binary = std::env::args().nth(1).expect("the belay binary as argument");
    println!("belay.v1");
    Box::pin(v1::measure(Process::start(&binary).await)).await;
    println!("compat");
    Box::pin(compat::measure(Process::start(&binary).await)).await;
}

//! Many pairs of a desktop and a phone over several relays that share Redis and NATS, all on one machine:
//! what they cost while they connect, are idle, talk, and come back all at once. `make pairs` runs it.
//!
//! The clients run in processes of their own (`belay-load clients`), so that descriptors and CPU of relays
//! are theirs alone.

#![expect(clippy::print_stdout, reason = "the figures are its output")]

mod clients;
mod cluster;
mod crowd;
mod link;
mod pairs;
mod party;
mod plan;
mod proc;
mod report;
mod spread;
mod usage;
mod world;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Measures relays under many pairs of clients")]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Starts servers, relays and clients, and measures them.
    Pairs(plan::Plan),
    /// One process of clients; orders come on standard input.
    #[command(hide = true)]
    Clients,
}

fn main() -> anyhow::Result<()> {
    proc::raise_descriptors();
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build()?;
    match Args::parse().what {
        What::Pairs(plan) => runtime.block_on(pairs::run(&plan)),
        What::Clients => runtime.block_on(clients::run()),
    }
}

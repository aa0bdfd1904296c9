//! `netsim SEED [MUTATION]`: plays one run in this process, shows its trace, and ends with a line of JSON.
//! A process plays once: tokio numbers tasks and seeds generators from counters of the process.

use std::{cell::Cell, io::Write, path::Path, process::ExitCode, time::Duration};

use anyhow::Context;
use belay_core::{Mutation, mutate};
use belay_netsim::{Played, Trace, play};

thread_local! {
    static STATE: Cell<u64> = const { Cell::new(0) };
}

/// Stands before the function of libc of this name. All randomness of this process comes from there: the
/// keys of hash maps, the branches of `select!`, masks of websockets, nonces and epochs. A seed sets it.
#[expect(unsafe_code, reason = "a function with the name and type of one of libc")]
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(bytes: *mut u8, len: usize, _flags: u32) -> isize {
    for at in 0..len {
        let x = STATE.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        STATE.set(x);
        let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        // SAFETY: the caller gives `len` bytes that may be written.
        unsafe { bytes.add(at).write((x ^ (x >> 31)).to_le_bytes()[0]) };
    }
    isize::try_from(len).unwrap_or(isize::MAX)
}

/// Real time after which a run counts as stuck: a task that never rests lets no simulated time pass.
const LIMIT: Duration = Duration::from_mins(2);

fn main() -> anyhow::Result<ExitCode> {
    let mut args = std::env::args().skip(1);
    let seed: u64 = args.next().context("netsim SEED [MUTATION]")?.parse().context("SEED")?;
    let named = |name: String| {
        let found = Mutation::ALL.into_iter().find(|m| format!("{m:?}") == name);
        found.with_context(|| format!("no mutation {name}"))
    };
    let mutation = args.next().map(named).transpose()?;
    // What is synced is not looked at here, so it may be where that costs nothing.
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory)? } else { tempfile::tempdir()? };
    let (trace, path) = (Trace::default(), folder.path().to_owned());
    let (tell, told) = std::sync::mpsc::channel();
    let theirs = trace.clone();
    std::thread::spawn(move || {
        STATE.set(seed);
        mutate(mutation);
        tell.send(play(seed, &path, &theirs))
    });
    let played = told.recv_timeout(LIMIT).unwrap_or_else(|error| Played {
        violations: vec![format!("no end: {error}; a task does not rest, or the test panicked")],
        ..Played::default()
    });
    let (mut out, lines) = (std::io::stdout().lock(), trace.take());
    for line in &lines {
        writeln!(out, "{line}")?;
    }
    writeln!(out, "{}", played.json(&lines))?;
    Ok(if played.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

//! What is under way between the parties, by their lists.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::ensure;

use crate::{fleet::Party, lists};

/// Words of a line of the list of what was sent, and of a message that was applied.
const SENT_N: usize = 1;
const APPLIED_N: usize = 3;
const APPLIED_MS: usize = 4;
/// The end of a list that is looked at, in bytes.
const TAIL: u64 = 4_096;

/// Waits until a message is under way, so that a fault meets one. Gives how many there are.
///
/// # Errors
/// When a list cannot be read.
pub async fn until_in_flight(parties: &[Party]) -> anyhow::Result<u64> {
    for _ in 0..200 {
        let in_flight = in_flight(parties)?;
        if in_flight > 0 {
            return Ok(in_flight);
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(0)
}

/// Messages that were sent, and not applied by a reader yet.
fn in_flight(parties: &[Party]) -> anyhow::Result<u64> {
    let mut count = 0;
    for writer in parties {
        for channel in &writer.writes {
            let sent = last_number(&lists::path(&writer.folder, "sent", *channel), SENT_N)?;
            for reader in parties.iter().filter(|p| p.reads.contains(channel)) {
                let applied = lists::path(&reader.folder, "applied", *channel);
                count += sent.saturating_sub(last_number(&applied, APPLIED_N)?);
            }
        }
    }
    Ok(count)
}

/// Waits until every reader of every channel got a message after `since` (Unix milliseconds). Gives how
/// long that took.
///
/// # Errors
/// When it takes longer than `bound`, with who waits for what; when a party has ended.
pub async fn until_flowing(
    parties: &mut [Party],
    since: u64,
    bound: Duration,
) -> anyhow::Result<Duration> {
    let started = Instant::now();
    loop {
        let dry = dry(parties, since)?;
        if dry.is_empty() {
            return Ok(started.elapsed());
        }
        for party in parties.iter_mut() {
            party.check()?;
        }
        ensure!(started.elapsed() < bound, "no message within {bound:?}: {}", dry.join(", "));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How long everything may take to arrive once the faults are over.
const SETTLE: Duration = Duration::from_mins(1);
/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The parties stop sending, and everything arrives: until they say so and write nothing for as long as
/// `quiet`, or a minute is over. What is missing then is for the auditor to say.
///
/// # Errors
/// When a list cannot be read or a party has ended.
pub async fn settle(parties: &mut [Party], quiet: Duration) -> anyhow::Result<()> {
    for party in parties.iter() {
        std::fs::write(party.folder.join("stop"), "")?;
    }
    let deadline = Instant::now() + SETTLE;
    let (mut before, mut changed) = (0, Instant::now());
    while changed.elapsed() < quiet && Instant::now() < deadline {
        let mut size = 0;
        for party in parties.iter_mut() {
            party.check()?;
            size += applied_bytes(&party.folder)?;
        }
        let are_settled = parties.iter().all(|party| party.folder.join("settled").exists());
        if !are_settled || size != before {
            (before, changed) = (size, Instant::now());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// Bytes of the lists of what was applied.
fn applied_bytes(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("applied-") {
            bytes += entry.metadata()?.len();
        }
    }
    Ok(bytes)
}

fn dry(parties: &[Party], since: u64) -> anyhow::Result<Vec<String>> {
    let mut dry = Vec::new();
    for party in parties {
        for channel in &party.reads {
            let path = lists::path(&party.folder, "applied", *channel);
            if last_number(&path, APPLIED_MS)? < since {
                let how = if party.is_up() { "connected" } else { "not connected" };
                dry.push(format!("{channel} at {} ({how})", party.name));
            }
        }
    }
    Ok(dry)
}

/// The number in the last line that has one, as word `at`.
fn last_number(path: &Path, at: usize) -> anyhow::Result<u64> {
    let Ok(mut file) = File::open(path) else { return Ok(0) };
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(TAIL)))?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    // A line that is being written may end in half of a number.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let number = |line: &str| line.split(' ').nth(at)?.parse().ok();
    Ok(whole.lines().rev().find_map(number).unwrap_or(0))
}

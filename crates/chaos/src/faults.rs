//! What goes wrong, one after the other.

use std::{path::PathBuf, time::Duration};

use anyhow::Context;
use rustix::process::Signal;

use crate::{
    fleet::{Party, Plan, Relay},
    flow,
    lists::unix_ms,
    proxy::{End, Mode},
    report::Fault,
};

/// The kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Cut,
    Reset,
    Stall,
    Delay,
    HalfOpen,
    Split,
    KillRelay,
    StopRelay,
    DrainRelay,
    KillParty,
    StopParty,
    DiskFull,
    ClockJump,
}

impl Kind {
    pub const ALL: [Self; 13] = [
        Self::Cut,
        Self::Reset,
        Self::Stall,
        Self::Delay,
        Self::HalfOpen,
        Self::Split,
        Self::KillRelay,
        Self::StopRelay,
        Self::DrainRelay,
        Self::KillParty,
        Self::StopParty,
        Self::DiskFull,
        Self::ClockJump,
    ];

    pub fn label(self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::Reset => "reset",
            Self::Stall => "stall",
            Self::Delay => "delay",
            Self::HalfOpen => "half_open",
            Self::Split => "split",
            Self::KillRelay => "kill_relay",
            Self::StopRelay => "stop_relay",
            Self::DrainRelay => "drain_relay",
            Self::KillParty => "kill_party",
            Self::StopParty => "stop_party",
            Self::DiskFull => "disk_full",
            Self::ClockJump => "clock_jump",
        }
    }

    /// Who is struck: the relay, or one party.
    fn strikes_relay(self) -> bool {
        matches!(
            self,
            Self::KillRelay | Self::StopRelay | Self::DrainRelay | Self::DiskFull | Self::ClockJump
        )
    }
}

/// Everything that a fault may touch.
#[derive(Debug)]
pub struct World {
    pub plan: Plan,
    /// Says by how much the relay's wall clock is wrong.
    pub clock: PathBuf,
    pub relay: Relay,
    pub parties: Vec<Party>,
}

impl World {
    /// One fault from its beginning until everything is well again. `draw` is a random number.
    ///
    /// # Errors
    /// When a process does what it must not.
    pub async fn strike(&mut self, kind: Kind, draw: u64) -> anyhow::Result<Fault> {
        let party = usize::try_from(draw % self.parties.len() as u64)?;
        let lasts = Duration::from_millis(200 + draw / 7 % 1_300);
        let target = if kind.strikes_relay() { "relay" } else { self.parties[party].name };
        let in_flight = flow::until_in_flight(&self.parties).await?;
        let at_ms = unix_ms();
        match kind {
            Kind::Cut => self.parties[party].proxy.end(End::Close),
            Kind::Reset => self.parties[party].proxy.end(End::Reset),
            Kind::Stall => self.network(party, Mode::Stall, lasts).await,
            Kind::Delay => {
                let by = Duration::from_millis(20 + draw % 200);
                self.network(party, Mode::Delay(by), lasts).await;
            }
            Kind::Split => self.network(party, Mode::Split, lasts).await,
            Kind::HalfOpen => {
                self.network(party, Mode::HalfOpen, lasts).await;
                // What sends into a forgotten connection is told so.
                self.parties[party].proxy.end(End::Reset);
            }
            Kind::KillRelay => {
                self.relay.signal(Signal::KILL);
                self.relay.wait()?;
                tokio::time::sleep(lasts / 4).await;
                self.relay = self.plan.start().context("after kill -9")?;
            }
            Kind::DrainRelay => {
                self.relay.signal(Signal::TERM);
                self.relay.wait()?;
                self.relay = self.plan.start().context("after a drain")?;
            }
            Kind::StopRelay => {
                self.relay.signal(Signal::STOP);
                tokio::time::sleep(lasts).await;
                self.relay.signal(Signal::CONT);
            }
            Kind::KillParty => {
                self.parties[party].kill()?;
                tokio::time::sleep(lasts / 4).await;
                self.parties[party].start()?;
            }
            Kind::StopParty => {
                self.parties[party].signal(Signal::STOP);
                tokio::time::sleep(lasts).await;
                self.parties[party].signal(Signal::CONT);
            }
            Kind::DiskFull => {
                self.relay.limit_files(Some(self.log_bytes()? + draw % 20_000))?;
                tokio::time::sleep(lasts).await;
                self.relay.limit_files(None)?;
            }
            Kind::ClockJump => self.jump(draw)?,
        }
        let (kind, target, healed_ms) = (kind.label(), target.to_owned(), unix_ms());
        Ok(Fault { kind, target, at_ms, healed_ms, in_flight, resume_ms: 0 })
    }

    async fn network(&self, party: usize, mode: Mode, lasts: Duration) {
        let proxy = &self.parties[party].proxy;
        proxy.set(mode);
        tokio::time::sleep(lasts).await;
        proxy.set(Mode::Pass);
    }

    /// The relay's wall clock goes forwards or backwards, up to two hours.
    fn jump(&self, draw: u64) -> anyhow::Result<()> {
        let seconds = i64::try_from(draw % 14_400)? - 7_200;
        let new = self.clock.with_extension("new");
        std::fs::write(&new, format!("{seconds:+}\n"))?;
        Ok(std::fs::rename(new, &self.clock)?)
    }

    /// The size of the segment that the message log writes now.
    fn log_bytes(&self) -> anyhow::Result<u64> {
        let mut newest = None;
        for entry in std::fs::read_dir(self.plan.folder.join("log"))? {
            let entry = entry?;
            if entry.path().extension().is_some_and(|e| e == "seg") {
                newest = newest.max(Some((entry.file_name(), entry.metadata()?.len())));
            }
        }
        Ok(newest.context("a segment")?.1)
    }
}

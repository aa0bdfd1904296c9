//! One run, from the first connection until nothing moves any more.

use std::{path::Path, sync::Arc, time::Duration};

use belay_relay::embedded;
use belay_wire::Channel;
use parking_lot::Mutex;

use crate::{
    faults::{Faults, LATENCY_MS},
    log::FaultyLog,
    net::{self, Trace},
    party::Party,
    played::Played,
    relay::{self, Orders},
    world::World,
};

/// Time of faults.
const TROUBLE: Duration = Duration::from_secs(20);
/// Time after which all that is owed must have come: the longest silence that a client takes for life, the
/// longest pause between two attempts, and some more.
const PEACE: Duration = Duration::from_secs(150);
/// Everything has come: time in which something may come twice.
const AFTERWARDS: Duration = Duration::from_secs(2);
const BEGIN_MAX: Duration = Duration::from_mins(1);
const TICK: Duration = Duration::from_millis(10);

/// Panics of tasks: tokio holds them back.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Plays the run of a seed in this thread; outboxes are kept in `folder`.
pub fn play(seed: u64, folder: &Path, trace: &Trace) -> Played {
    std::panic::set_hook(Box::new(|panic| PANICS.lock().push(panic.to_string())));
    embedded::set_clock(net::unix_ms);
    let world = World::new(seed, folder, trace);
    let (log, orders) = (Arc::new(FaultyLog::new(seed ^ 0x106)), Orders::default());
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .epoch(net::begin())
        .simulation_duration(Duration::from_hours(1))
        .tick_duration(TICK)
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(LATENCY_MS))
        .enable_random_order()
        .build();
    relay::add(&mut sim, &world, &log, &orders);
    for party in &world.parties {
        let party = party.clone();
        sim.host(party.name, move || party.clone().run());
    }
    let faults = Faults::new(seed, &world.parties, &log, &orders, trace);
    let mut run = Run { sim, world: &world, faults, played: Played::default() };
    if let Err(violation) = run.all() {
        run.played.violations.push(violation);
    }
    run.audit();
    let Run { sim, faults, mut played, .. } = run;
    played.simulated = sim.elapsed();
    drop(sim);
    played.faults = faults.begun;
    played.violations.append(&mut PANICS.lock());
    played
}

struct Run<'a> {
    sim: turmoil::Sim<'a>,
    world: &'a World,
    faults: Faults,
    played: Played,
}

impl Run<'_> {
    fn all(&mut self) -> Result<(), String> {
        let parties = &self.world.parties;
        let all = |f: fn(&Party) -> bool| move |_: &Self| parties.iter().all(|party| f(party));
        // Who connects for the first time is told of nothing before: nobody sends before all are there.
        self.step_until(BEGIN_MAX, "not all connected", all(Party::was_connected))?;
        self.world.phase.set_sending(true);
        self.step_until(BEGIN_MAX, "not all got a first message", all(Party::has_begun))?;
        let end = self.sim.elapsed() + TROUBLE;
        while self.sim.elapsed() < end {
            self.step()?;
            self.faults.advance(&mut self.sim);
        }
        self.world.phase.set_sending(false);
        self.faults.end_all(&mut self.sim);
        self.step_until(PEACE, "not all has come", Self::has_settled)?;
        self.step_for(AFTERWARDS)
    }

    fn step(&mut self) -> Result<(), String> {
        self.sim.step().map_err(|error| error.to_string())?;
        if PANICS.lock().is_empty() { Ok(()) } else { Err("a task panicked".to_owned()) }
    }

    fn step_for(&mut self, time: Duration) -> Result<(), String> {
        let end = self.sim.elapsed() + time;
        while self.sim.elapsed() < end {
            self.step()?;
        }
        Ok(())
    }

    /// Looks once in a while.
    fn step_until(
        &mut self,
        limit: Duration,
        otherwise: &str,
        is_so: impl Fn(&Self) -> bool,
    ) -> Result<(), String> {
        let end = self.sim.elapsed() + limit;
        while !is_so(self) {
            if self.sim.elapsed() >= end {
                return Err(format!("{otherwise} in {limit:?}"));
            }
            self.step_for(Duration::from_millis(250))?;
        }
        Ok(())
    }

    /// Writer, channel and reader of all that is to arrive.
    fn ways(&self) -> Vec<(&Arc<Party>, Channel, &Arc<Party>)> {
        let parties = &self.world.parties;
        let mut ways = Vec::new();
        for writer in parties {
            for channel in &writer.writes {
                let readers = parties.iter().filter(|reader| reader.reads.contains(channel));
                ways.extend(readers.map(|reader| (writer, *channel, reader)));
            }
        }
        ways
    }

    fn has_settled(&self) -> bool {
        let has_come = |(writer, channel, reader): (&Arc<Party>, Channel, &Arc<Party>)| {
            writer.compare(channel, reader).lost.is_empty()
        };
        self.world.parties.iter().all(|party| party.is_stored())
            && self.ways().into_iter().all(has_come)
    }

    fn audit(&mut self) {
        let found = |(writer, channel, reader): (&Arc<Party>, Channel, &Arc<Party>)| {
            let what = format!("{channel} from {} to {}", writer.name, reader.name);
            (what, channel, writer.compare(channel, reader))
        };
        let found: Vec<_> = self.ways().into_iter().map(found).collect();
        for (what, channel, found) in found {
            self.played.add(&what, channel, &found);
        }
        for party in &self.world.parties {
            let (sent, given_up) = party.sent();
            self.played.messages += sent;
            self.played.given_up += given_up;
            let stopped = party.stopped().map(|why| format!("{}: {why}", party.name));
            self.played.violations.extend(stopped);
        }
    }
}

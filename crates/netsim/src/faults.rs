//! What goes wrong, when, and for how long.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use belay_sim::Rng;

use crate::{
    kind::{KINDS, Kind},
    log::FaultyLog,
    net::Trace,
    party::Party,
    relay::{Order, Orders, RELAY},
};

/// So many of a hundred looks begin a fault, and the time between two looks.
const PERCENT: u64 = 7;
const LOOK: Duration = Duration::from_millis(100);
/// Longest time of most faults and of some, milliseconds.
const SHORT_MS: u64 = 7_000;
const LONG_MS: u64 = 30_000;
/// Longest time of a message before and during a latency fault, milliseconds.
pub(crate) const LATENCY_MS: u64 = 80;
const SLOW_MS: u64 = 2_500;

/// A fault that lasts.
#[derive(Debug, Clone, Copy)]
struct Active {
    kind: Kind,
    party: usize,
    until: Duration,
}

/// Begins and ends faults.
pub(crate) struct Faults {
    rng: Rng,
    active: Vec<Active>,
    next: Duration,
    parties: Vec<Arc<Party>>,
    log: Arc<FaultyLog>,
    orders: Orders,
    trace: Trace,
    /// How many of each kind began.
    pub(crate) begun: BTreeMap<&'static str, u64>,
}

impl Faults {
    pub(crate) fn new(
        seed: u64,
        parties: &[Arc<Party>],
        log: &Arc<FaultyLog>,
        orders: &Orders,
        trace: &Trace,
    ) -> Self {
        Self {
            rng: Rng::new(seed ^ 0xfa17),
            active: Vec::new(),
            next: Duration::ZERO,
            parties: parties.to_vec(),
            log: log.clone(),
            orders: orders.clone(),
            trace: trace.clone(),
            begun: BTreeMap::new(),
        }
    }

    /// Ends what is over, begins what is drawn.
    pub(crate) fn advance(&mut self, sim: &mut turmoil::Sim<'_>) {
        let now = sim.elapsed();
        self.end(sim, now);
        if now < self.next {
            return;
        }
        self.next = now + LOOK;
        if !self.rng.chance(PERCENT) {
            return;
        }
        let kind = KINDS[self.draw(KINDS.len())];
        let party = self.draw(self.parties.len());
        let is_taken = |active: &Active| active.kind.place(active.party) == kind.place(party);
        if self.active.iter().any(is_taken) {
            return;
        }
        let longest = if self.rng.chance(10) { LONG_MS } else { SHORT_MS };
        let time = Duration::from_millis(50 + self.rng.below(longest));
        *self.begun.entry(kind.name()).or_default() += 1;
        self.trace.note_at(now, self.who(kind, party), &format!("{} for {time:?}", kind.name()));
        self.active.push(Active { kind, party, until: now + time });
        self.begin(sim, kind, party, time);
    }

    /// Peace: everything ends.
    pub(crate) fn end_all(&mut self, sim: &mut turmoil::Sim<'_>) {
        self.end(sim, Duration::MAX);
    }

    fn draw(&mut self, count: usize) -> usize {
        usize::try_from(self.rng.below(count as u64)).unwrap_or(0)
    }

    fn who(&self, kind: Kind, party: usize) -> &'static str {
        if kind.place(party).0 > 2 { RELAY } else { self.parties[party].name }
    }

    fn begin(&self, sim: &mut turmoil::Sim<'_>, kind: Kind, party: usize, time: Duration) {
        let of = &self.parties[party];
        match kind {
            Kind::Partition => sim.partition(of.name, RELAY),
            Kind::Deaf => sim.partition_oneway(of.name, RELAY),
            Kind::Mute => sim.partition_oneway(RELAY, of.name),
            Kind::Hold => sim.hold(of.name, RELAY),
            Kind::Slow => {
                sim.set_link_max_message_latency(of.name, RELAY, Duration::from_millis(SLOW_MS));
            }
            Kind::PartyCrash => {
                sim.crash(of.name);
                of.crashed();
            }
            Kind::Doze => of.doze(time),
            Kind::RelayCrash => sim.crash(RELAY),
            Kind::RelayRestart => self.orders.give(Order::Stop),
            Kind::Drain | Kind::DrainRestart => self.orders.give(Order::Drain(time / 2)),
            Kind::LogDown => self.log.set_down(true),
        }
    }

    fn end(&mut self, sim: &mut turmoil::Sim<'_>, before: Duration) {
        let over: Vec<_> = self.active.extract_if(.., |active| active.until <= before).collect();
        for Active { kind, party, .. } in over {
            let name = self.parties[party].name;
            self.trace.note_at(
                sim.elapsed(),
                self.who(kind, party),
                &format!("{} ends", kind.name()),
            );
            match kind {
                Kind::Partition => sim.repair(name, RELAY),
                Kind::Deaf => sim.repair_oneway(name, RELAY),
                Kind::Mute => sim.repair_oneway(RELAY, name),
                Kind::Hold => sim.release(name, RELAY),
                Kind::Slow => {
                    let usual = Duration::from_millis(LATENCY_MS);
                    sim.set_link_max_message_latency(name, RELAY, usual);
                }
                Kind::PartyCrash => sim.bounce(name),
                Kind::Doze => {}
                Kind::RelayCrash | Kind::RelayRestart | Kind::DrainRestart => sim.bounce(RELAY),
                Kind::Drain => self.orders.give(Order::EndDrain),
                Kind::LogDown => self.log.set_down(false),
            }
        }
    }
}

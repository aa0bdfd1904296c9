//! belay.v1: what it costs to store a message, against one that is not stored (`vol`).

use std::time::{Duration, Instant};

use belay_testkit::Relay;
use futures_util::future::join_all;

use crate::{
    pair::{Kind, MESSAGES, Pair},
    process::{Process, tell_times},
};

/// Messages whose way is timed, one at a time.
const TIMED: usize = 500;
/// Sessions that write at once.
const WRITERS: [usize; 3] = [1, 8, 32];
/// Runs of each kind, by turns.
const ROUNDS: u32 = 3;
/// In this time a host that has sent all that may do so again.
const REST: Duration = Duration::from_secs(2);
/// No run takes so long.
const LONG: Duration = Duration::from_mins(2);

pub(crate) async fn measure(process: Process) {
    let relay = Relay::at(&process.url);
    let mut pairs = vec![Pair::connect(&relay).await];
    time(&mut pairs[0]).await;
    for writers in WRITERS {
        while pairs.len() < writers {
            pairs.push(Pair::connect(&relay).await);
        }
        let (mut stored, mut volatile) = (Cost::default(), Cost::default());
        for _ in 0..ROUNDS {
            tokio::time::sleep(REST).await;
            stored.add(&process, &mut pairs, Kind::Stored).await;
            volatile.add(&process, &mut pairs, Kind::Volatile).await;
        }
        stored.tell("stored", writers);
        volatile.tell("volatile", writers);
        let (rate, cpu) = (stored.rate() / volatile.rate(), stored.cpu_us() / volatile.cpu_us());
        println!("  stored to volatile        {rate:.2} of the messages, {cpu:.2} of the CPU");
    }
}

/// How long a message takes to its reader, which gets it once it is stored, and until its writer is told.
async fn time(pair: &mut Pair) {
    let (mut read, mut told) = (Vec::new(), Vec::new());
    for _ in 0..TIMED {
        let message = pair.stored();
        let sent = Instant::now();
        pair.host.send([message]).await;
        let ((_, at), (_, told_at)) = tokio::join!(pair.phone.until("msg"), pair.host.until("ack"));
        read.push(at - sent);
        told.push(told_at - sent);
        pair.applied().await;
    }
    tell_times("sent to read", read);
    tell_times("sent to ack", told);
}

/// What some messages took, together.
#[derive(Default)]
struct Cost {
    messages: f64,
    took: Duration,
    /// Of the relay, on a processor.
    spent: Duration,
}

impl Cost {
    /// All pairs send their messages as fast as they are read.
    async fn add(&mut self, process: &Process, pairs: &mut [Pair], kind: Kind) {
        self.messages += pairs.iter().map(|_| f64::from(MESSAGES)).sum::<f64>();
        let (before, started) = (process.cpu_ns(), Instant::now());
        let running = join_all(pairs.iter_mut().map(|pair| pair.run(kind)));
        tokio::time::timeout(LONG, running).await.expect("all of it is read");
        self.took += started.elapsed();
        self.spent += Duration::from_nanos(process.cpu_ns() - before);
    }

    fn rate(&self) -> f64 {
        self.messages / self.took.as_secs_f64()
    }

    fn cpu_us(&self) -> f64 {
        self.spent.as_secs_f64() * 1e6 / self.messages
    }

    fn tell(&self, what: &str, writers: usize) {
        let (what, rate, cpu) = (format!("{what} by {writers}"), self.rate(), self.cpu_us());
        println!("  {what:<25} {rate:.0} per second, CPU of the relay {cpu:.1} us each");
    }
}

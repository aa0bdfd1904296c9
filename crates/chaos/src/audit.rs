//! The auditor: compares the lists of what was sent with those of what was applied. It knows nothing of
//! the relay.

use std::collections::{BTreeMap, BTreeSet};

use crate::lists::{Applied, Sent};

/// What one reader missed or had too often of one channel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Messages that were sent.
    pub sent: u64,
    pub applied: u64,
    /// Messages that are missing although nobody said so, before a later one.
    pub silent: Vec<u64>,
    /// Messages that never came and that nobody was told of.
    pub lost: Vec<u64>,
    pub doubled: Vec<u64>,
    pub reordered: Vec<u64>,
    /// Messages whose absence the reader was told of.
    pub told: u64,
}

/// Compares what was sent with what one reader applied, once nothing moves any more.
pub fn compare(sent: &BTreeMap<u64, Sent>, applied: &[Applied]) -> Findings {
    let mut found = Findings { sent: sent.len() as u64, ..Findings::default() };
    let mut seen = BTreeSet::new();
    let mut next = 0;
    let mut told = false;
    for line in applied {
        match line {
            Applied::Place { .. } => {}
            Applied::Gap { .. } => told = true,
            Applied::Message { n, .. } => {
                found.applied += 1;
                if !seen.insert(*n) {
                    found.doubled.push(*n);
                } else if *n < next {
                    found.reordered.push(*n);
                } else {
                    let missing = owed(sent, next, *n);
                    if told {
                        found.told += missing.len() as u64;
                    } else {
                        found.silent.extend(missing);
                    }
                    (next, told) = (n + 1, false);
                }
            }
        }
    }
    let missing = owed(sent, next, u64::MAX);
    if told {
        found.told += missing.len() as u64;
    } else {
        found.lost = missing;
    }
    found
}

/// The numbers in a range that must arrive.
fn owed(sent: &BTreeMap<u64, Sent>, from: u64, to: u64) -> Vec<u64> {
    let owed = sent.range(from..to).filter(|(_, word)| matches!(word, Sent::Done(_)));
    owed.map(|(n, _)| *n).collect()
}

/// The longest time between two messages that follow each other, in milliseconds, of those that arrived in
/// a span of time.
pub fn longest_pause(applied: &[Applied], from: u64, to: u64) -> u64 {
    let time = |line: &Applied| match line {
        Applied::Message { ms, .. } => Some(*ms),
        Applied::Place { .. } | Applied::Gap { .. } => None,
    };
    let times: Vec<_> = applied.iter().filter_map(time).collect();
    let pairs = times.windows(2).filter(|pair| pair[1] >= from && pair[0] <= to);
    pairs.map(|pair| pair[1].saturating_sub(pair[0])).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use belay_wire::{Epoch, Position, Seq};

    use super::*;

    fn message(n: u64) -> Applied {
        let at = Position::new(Epoch(1), Seq::new(n + 1).expect("small"));
        Applied::Message { at, n, ms: 10 * n }
    }

    fn gap() -> Applied {
        Applied::Gap { at: Position::new(Epoch(1), Seq::ZERO), reason: "evicted".to_owned() }
    }

    fn sent(count: u64) -> BTreeMap<u64, Sent> {
        (0..count).map(|n| (n, Sent::Done(n))).collect()
    }

    #[test]
    fn what_arrived_in_order_is_well() {
        let applied: Vec<_> = (0..5).map(message).collect();

        let found = compare(&sent(5), &applied);

        assert_eq!(found, Findings { sent: 5, applied: 5, ..Findings::default() });
    }

    #[test]
    fn each_kind_of_breach_is_found() {
        let found = |numbers: &[u64]| {
            let applied: Vec<_> = numbers.iter().map(|n| message(*n)).collect();
            compare(&sent(5), &applied)
        };

        assert_eq!(found(&[0, 1, 3, 4]).silent, [2]);
        assert_eq!(found(&[0, 1, 2]).lost, [3, 4]);
        assert_eq!(found(&[0, 1, 1, 2, 3, 4]).doubled, [1]);
        assert_eq!(found(&[0, 2, 1, 3, 4]).reordered, [1]);
        assert_eq!(found(&[]).lost.len(), 5, "an empty list is not well");
    }

    #[test]
    fn what_was_told_is_not_lost() {
        let applied = [message(0), gap(), message(3), message(4)];

        let found = compare(&sent(5), &applied);

        assert_eq!((found.told, found.silent.len(), found.lost.len()), (2, 0, 0));
    }

    #[test]
    fn a_gap_excuses_nothing_that_is_missing_later() {
        let applied = [message(0), gap(), message(2), message(4)];

        assert_eq!(compare(&sent(5), &applied).silent, [3]);
    }

    #[test]
    fn what_nobody_knows_to_be_sent_may_be_missing_but_not_come_twice() {
        let mut sent = sent(4);
        sent.insert(1, Sent::Unknown(1));

        assert_eq!(compare(&sent, &[message(0), message(2), message(3)]).silent.len(), 0);
        let twice = [message(0), message(1), message(1), message(2), message(3)];
        assert_eq!(compare(&sent, &twice).doubled, [1]);
    }

    #[test]
    fn a_pause_counts_where_it_touches_the_span() {
        let applied = [message(0), message(1), message(9), message(10)];

        assert_eq!(longest_pause(&applied, 20, 30), 80);
        assert_eq!(longest_pause(&applied, 95, 200), 10);
    }
}

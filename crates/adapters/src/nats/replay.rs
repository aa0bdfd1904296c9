//! Frames that were heard before. Each node counts its frames, so a window of bits per node is enough.

use std::{collections::HashMap, time::Duration};

/// Frames of one node that may overtake each other.
const WINDOW: u64 = 1_024;
const WORDS: usize = 16;
/// Nodes that are remembered; one leaves once all that it said is too old to be taken.
const NODES_MAX: usize = 1_024;

#[derive(Debug)]
struct Heard {
    highest: u64,
    /// Bit `n % WINDOW` is frame `n`, for the last [`WINDOW`] ones.
    bits: [u64; WORDS],
    /// When its newest frame was made, Unix milliseconds.
    at: u64,
}

/// What was heard of which node.
#[derive(Debug)]
pub(super) struct Replays {
    nodes: HashMap<String, Heard>,
    window: Duration,
    skew: Duration,
}

impl Replays {
    pub(super) fn new(window: Duration, skew: Duration) -> Self {
        Self { nodes: HashMap::new(), window, skew }
    }

    /// Takes a frame that was never heard and is neither too old nor from the future.
    pub(super) fn take(
        &mut self,
        node: &str,
        count: u64,
        at: u64,
        now: u64,
    ) -> Result<(), &'static str> {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        if at.saturating_add(ms(self.window)) < now {
            return Err("old");
        }
        if at > now.saturating_add(ms(self.skew)) {
            return Err("future");
        }
        if let Some(heard) = self.nodes.get_mut(node) {
            heard.at = heard.at.max(at);
            return if heard.take(count) { Ok(()) } else { Err("replayed") };
        }
        if self.nodes.len() >= NODES_MAX {
            let window = ms(self.window);
            self.nodes.retain(|_, heard| heard.at.saturating_add(window) >= now);
            if self.nodes.len() >= NODES_MAX {
                return Err("nodes");
            }
        }
        let mut heard = Heard { highest: 0, bits: [0; WORDS], at };
        heard.take(count);
        self.nodes.insert(node.to_owned(), heard);
        Ok(())
    }
}

impl Heard {
    fn take(&mut self, count: u64) -> bool {
        let place = |n: u64| {
            let bit = n % WINDOW;
            (usize::try_from(bit / 64).unwrap_or_default(), 1u64 << (bit % 64))
        };
        if count > self.highest {
            if count - self.highest >= WINDOW {
                self.bits = [0; WORDS];
            } else {
                for passed in self.highest + 1..count {
                    let (word, bit) = place(passed);
                    self.bits[word] &= !bit;
                }
            }
            self.highest = count;
        } else {
            let (word, bit) = place(count);
            if self.highest - count >= WINDOW || self.bits[word] & bit != 0 {
                return false;
            }
        }
        let (word, bit) = place(count);
        self.bits[word] |= bit;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replays() -> Replays {
        Replays::new(Duration::from_mins(2), Duration::from_secs(30))
    }

    #[test]
    fn each_frame_is_taken_once_in_whichever_order() {
        let mut replays = replays();
        let mut take = |n| replays.take("a", n, 1_000, 1_000);
        for n in [5, 3, 4, 1, 2, 6, 2_000, 1_999, 977] {
            assert_eq!(take(n), Ok(()), "{n}");
            assert_eq!(take(n), Err("replayed"), "{n}");
        }
        assert_eq!(take(976), Err("replayed"), "before the window");
        assert_eq!(take(u64::MAX), Ok(()));
        assert_eq!(take(u64::MAX), Err("replayed"));
    }

    #[test]
    fn time_has_two_edges_and_nodes_have_a_bound() {
        let mut replays = replays();
        assert_eq!(replays.take("a", 1, 0, 120_000), Ok(()));
        assert_eq!(replays.take("a", 2, 0, 120_001), Err("old"));
        assert_eq!(replays.take("a", 3, 30_000, 0), Ok(()));
        assert_eq!(replays.take("a", 4, 30_001, 0), Err("future"));
        for n in 1..NODES_MAX {
            assert_eq!(replays.take(&n.to_string(), 1, 130_000, 130_000), Ok(()));
        }
        assert_eq!(replays.take("b", 1, 130_000, 130_000), Err("nodes"));
        assert_eq!(replays.take("b", 1, 150_001, 150_001), Ok(()), "a was silent for too long");
    }
}

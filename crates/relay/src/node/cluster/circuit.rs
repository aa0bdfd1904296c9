//! A store that answers late is not asked by everybody: each would wait as long as its client has patience.
//! The lease of the node and its looks go on, and show when it is well again.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::Duration,
};

use tokio::sync::Notify;

/// An answer that takes longer is late.
const LATE: Duration = Duration::from_millis(900);
/// So many that were late or never came, one after the other, open the circuit.
const OPENS_AFTER: u32 = 32;
/// So many answers in time, one after the other, close it.
const CLOSES_AFTER: u32 = 2;

/// Whether a store is asked.
#[derive(Debug, Default)]
pub(crate) struct Circuit {
    open: AtomicBool,
    late: AtomicU32,
    in_time: AtomicU32,
    opened: Notify,
}

impl Circuit {
    /// Nothing but what shows when it is well is asked now.
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// Takes how an operation went.
    pub(crate) fn took(&self, time: Duration, answered: bool) {
        if time < LATE {
            // What fails at once, such as a full queue of our own, says nothing of the store.
            if answered {
                self.in_time();
            }
            return;
        }
        self.in_time.store(0, Ordering::Release);
        let late = self.late.fetch_add(1, Ordering::AcqRel) + 1;
        if late >= OPENS_AFTER && !self.open.swap(true, Ordering::AcqRel) {
            self.opened.notify_one();
        }
    }

    fn in_time(&self) {
        self.late.store(0, Ordering::Release);
        if self.is_open() && self.in_time.fetch_add(1, Ordering::AcqRel) + 1 >= CLOSES_AFTER {
            self.open.store(false, Ordering::Release);
        }
    }

    /// Waits until it opens.
    pub(super) async fn opens(&self) {
        self.opened.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(1);

    #[test]
    fn it_opens_after_late_answers_in_a_row_only() {
        let circuit = Circuit::default();
        for n in 0..10 * OPENS_AFTER {
            circuit.took(LATE, true);
            if n % (OPENS_AFTER - 1) == 0 {
                circuit.took(SOON, true);
            }
        }
        assert!(!circuit.is_open());
        for _ in 0..OPENS_AFTER {
            circuit.took(SOON, false);
        }
        assert!(!circuit.is_open(), "what fails at once is not late");
        for _ in 0..OPENS_AFTER {
            circuit.took(LATE, false);
        }
        assert!(circuit.is_open());
    }

    #[test]
    fn it_closes_after_answers_in_time_in_a_row() {
        let circuit = Circuit::default();
        for _ in 0..OPENS_AFTER {
            circuit.took(LATE, false);
        }
        circuit.took(SOON, true);
        circuit.took(LATE, true);
        circuit.took(SOON, true);
        assert!(circuit.is_open());
        circuit.took(SOON, true);
        assert!(!circuit.is_open());
    }
}

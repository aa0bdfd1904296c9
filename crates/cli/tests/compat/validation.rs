//! Section 4.3, 4.5, 4.6 of the protocol, and of 5.3 and 9 what the relay checks: which frames of a phone
//! pass, and what it is told of the others.

mod budget;
mod envelope;
pub(crate) mod frame;
mod kind;
mod need;
mod offline;
mod order;
mod pass;
pub(crate) mod raw;
mod sender;
mod sequence;
mod snapshot;
mod version;

use crate::scenario::Scenario;

pub(crate) fn all() -> Vec<Scenario> {
    [
        kind::all(),
        sender::all(),
        offline::all(),
        snapshot::all(),
        envelope::all(),
        sequence::all(),
        budget::all(),
        need::all(),
        order::all(),
        pass::all(),
        raw::all(),
        version::all(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

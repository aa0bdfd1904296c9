//! Sections 4.1, 4.2 and 4.4 of the protocol: what each party is told, and by whom.

mod decisions;
mod forwarded;
pub(crate) mod raw;
mod requests;
mod to_desktop;
mod to_phone;

use crate::scenario::Scenario;

pub(crate) fn all() -> Vec<Scenario> {
    [decisions::all(), forwarded::all(), requests::all(), to_desktop::all(), to_phone::all()]
        .into_iter()
        .flatten()
        .collect()
}

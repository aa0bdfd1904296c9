//! Section 2.6 of the protocol: what a desktop does with a session that runs.

mod common;
mod list;
mod refresh;
mod revoke;
mod stop;

use crate::scenario::Scenario;

pub(crate) fn all() -> Vec<Scenario> {
    [common::all(), refresh::all(), stop::all(), list::all(), revoke::all()]
        .into_iter()
        .flatten()
        .collect()
}

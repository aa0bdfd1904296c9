//! A desktop and a phone as they are in the field, written from the description of their protocol
//! alone: every name here is typed from it and none is taken from the code under test. The parties are
//! state machines; [`Seat`] gives one a socket. [`Recorder`] stands between clients and a relay and
//! writes what passes; [`replay`] plays a transcript against another relay and compares.

#![expect(clippy::wildcard_enum_match_arm, reason = "what is not expected is told, whatever it is")]

mod desktop;
mod net;
mod phone;
mod record;
mod replay;
mod seat;
mod transcript;

pub use desktop::Desktop;
pub use net::{Answer, Heard, Net, Wire};
pub use phone::Phone;
pub use record::{Recorder, Rename};
pub use replay::replay;
pub use seat::{Party, Seat};
pub use transcript::{Line, Transcript, What, normalise};

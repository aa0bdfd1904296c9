//! The client side of belay.v1: connects, authenticates, keeps an outbox, resumes, reconnects.
//!
//! [`Client`] runs one task that owns the socket and the outbox; what it learns comes out of a
//! bounded channel of [`Event`]s.

mod api;
mod backoff;
mod client;
mod credentials;
mod identity;
mod ledger;
mod outbox;
mod pairing;
mod reader;
mod socket;
mod writer;

pub use api::{Api, ApiError, install_crypto};
pub use backoff::Backoff;
pub use client::{Client, ClientError, Event, Memory, Message, Options};
pub use credentials::{CredentialStore, Credentials, FileCredentials, MemoryCredentials};
pub use identity::{Identity, IdentityError};
pub use ledger::{Heard, Ledger};
pub use outbox::OutboxFile;
pub use pairing::{PairingLink, Phone};
pub use reader::{Applied, Reader};
pub use socket::{Connecting, Connector, Tcp, Transport, origin_of};
pub use writer::{Full, GivenUp, Nacked, Writer};

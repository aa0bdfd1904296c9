//! Channels as logs: what is retained, who may append what, and where readers stand.

mod log;
mod reader;
mod record;
mod ring;
mod volatile;
mod window;

pub use log::{Accepted, Ask, Log, Outcome, Overdue, Refused};
pub use reader::{Cursor, Next};
pub(crate) use record::lost;
pub use record::{Record, RecordKind};
pub use ring::{LogLimits, Ring};
pub use volatile::{Body, Put, Volatile, Volatiles};
pub use window::Window;

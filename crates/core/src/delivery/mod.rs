//! Channels as logs: what is retained, who may append what, and where readers stand.

mod log;
mod reader;
mod volatile;
mod window;

pub use log::{Accepted, Log, LogLimits, Record, RecordKind, Refused};
pub use reader::{Cursor, Next};
pub use volatile::{Body, Put, Volatile, Volatiles};
pub use window::Window;

//! The relay: HTTP, websockets, sessions, health and numbers around the pure core.

pub mod config;
mod drain;
#[cfg(feature = "sim")]
pub mod embedded;
mod entropy;
mod forwarded;
mod history;
mod http;
pub mod log;
mod metrics;
mod node;
mod origin;
mod registry;
mod serve;
mod sweep;
mod ws;

pub use config::{Config, ConfigError, Setting, settings};
pub use serve::{ADMIN_ADDRESS, ServeError, Server, serve};

/// Version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Commit of this build, if the build said so.
pub const COMMIT: Option<&str> = option_env!("BELAY_COMMIT");

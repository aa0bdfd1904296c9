//! The terminal: a full screen where there is one, plain lines elsewhere.

mod plain;
mod qr;
mod tui;

pub use plain::run as plain;
pub use qr::half_blocks;
use tui::ago;
pub use tui::run as full_screen;

#![no_main]

#[path = "../../crates/core/tests/common/around.rs"]
mod around;
#[path = "../../crates/core/tests/common/conversation.rs"]
mod conversation;
#[path = "../../crates/core/tests/common/desktop.rs"]
mod desktop;
#[path = "../../crates/core/tests/common/logs.rs"]
mod logs;
#[path = "../../crates/core/tests/common/phone.rs"]
mod phone;

libfuzzer_sys::fuzz_target!(|data: &[u8]| conversation::converse(data));

//! Websocket frames: whatever comes, split anywhere, gives the same messages and the same verdict.

#![no_main]

#[path = "../../crates/ws/tests/common/parts.rs"]
mod parts;

use belay_ws::Role;

const LIMIT: usize = 4_096;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((first, bytes)) = data.split_first() else { return };
    let client = Role::Client { masking_key: || [0; 4] };
    let role = if first & 1 == 1 { client } else { Role::Server };
    let step = usize::from(first >> 1) + 1;
    assert_eq!(parts::in_parts(role, LIMIT, bytes, &[step]), parts::whole(role, LIMIT, bytes));
});

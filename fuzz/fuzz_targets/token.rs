#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let keys = belay_core::token::TokenKeys::new([(1, [1; 32])]).expect("there is a key");
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = keys.verify(&belay_wire::Secret::new(text));
    }
});

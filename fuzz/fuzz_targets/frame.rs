#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) && let Ok(frame) = belay_wire::decode(text) {
        let again = belay_wire::decode(&frame.encode()).expect("what was encoded is readable");
        assert_eq!(again.encode(), frame.encode());
    }
});

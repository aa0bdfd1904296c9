#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) && let Ok(raw) = belay_wire::app::read(text) {
        let _ = belay_wire::app::open::<belay_wire::app::FromHost>(&raw);
        let _ = belay_wire::app::open::<belay_wire::app::FromMember>(&raw);
    }
});

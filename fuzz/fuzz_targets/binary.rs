#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(frame) = belay_wire::binary::BinaryFrame::decode(bytes::Bytes::copy_from_slice(data)) {
        assert_eq!(belay_wire::binary::BinaryFrame::decode(frame.encode()), Ok(frame));
    }
});

#![no_main]
use belay_wire::compat::{FromDesktop, FromPhone, Object, parse_time};

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Some(object) = Object::parse(text) {
        let again = Object::parse(object.to_json().text()).expect("what was written is readable");
        assert_eq!(again, object);
    }
    let _ = FromDesktop::parse(text);
    let frame = FromPhone::parse(text, "session-0123456789abcdef", 16_384);
    if frame.checked.is_ok() {
        let stamped = frame.stamped("connection", "device").expect("what was checked is an object");
        assert!(Object::parse(stamped.text()).is_some());
    }
    let _ = parse_time(text);
});

use super::*;

fn header(opcode: OpCode, length: u64, masking_key: Option<[u8; 4]>) -> Header {
    Header { is_final: true, opcode, length, masking_key }
}

#[test]
fn lengths_take_their_shortest_form_and_are_read_back() {
    let rows = [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10), (i64::MAX as u64, 10)];
    for (length, bytes) in rows {
        for (key, key_bytes) in [(None, 0), (Some([1, 2, 3, 4]), 4)] {
            let header = header(OpCode::Binary, length, key);
            let mut encoded = Vec::new();

            header.encode(&mut encoded);

            assert_eq!(encoded.len(), bytes + key_bytes, "{length}");
            assert_eq!(Header::parse(&encoded), Ok(Some((header, encoded.len()))));
            for end in 0..encoded.len() {
                assert_eq!(Header::parse(&encoded[..end]), Ok(None), "{length} cut at {end}");
            }
        }
    }
}

#[test]
fn bytes_are_those_of_the_specification() {
    let rows: [(&[u8], Header); 4] = [
        (&[0x81, 0x05], header(OpCode::Text, 5, None)),
        (
            &[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d],
            header(OpCode::Text, 5, Some([0x37, 0xfa, 0x21, 0x3d])),
        ),
        (&[0x01, 0x03], Header { is_final: false, ..header(OpCode::Text, 3, None) }),
        (&[0x82, 0x7e, 0x01, 0x00], header(OpCode::Binary, 256, None)),
    ];
    for (bytes, header) in rows {
        assert_eq!(Header::parse(bytes), Ok(Some((header, bytes.len()))));
        let mut encoded = Vec::new();
        header.encode(&mut encoded);
        assert_eq!(encoded, bytes);
    }
}

#[test]
fn what_no_header_may_say_is_refused() {
    let rows: [(&[u8], Violation); 12] = [
        (&[0xc1, 0], Violation::ReservedBits),
        (&[0xa1, 0], Violation::ReservedBits),
        (&[0x91, 0], Violation::ReservedBits),
        (&[0x83, 0], Violation::ReservedOpcode(3)),
        (&[0x8f, 0], Violation::ReservedOpcode(15)),
        (&[0x09, 0], Violation::FragmentedControl),
        (&[0x89, 126], Violation::LongControl),
        (&[0x88, 0xff], Violation::LongControl),
        (&[0x82, 126, 0, 125], Violation::LengthNotMinimal),
        (&[0x82, 127, 0, 0, 0, 0, 0, 0, 255, 255], Violation::LengthNotMinimal),
        (&[0x82, 127, 128, 0, 0, 0, 0, 0, 0, 0], Violation::LengthTooLong),
        (&[0x82, 127, 255, 255, 255, 255, 255, 255, 255, 255], Violation::LengthTooLong),
    ];
    for (bytes, violation) in rows {
        assert_eq!(Header::parse(bytes), Err(violation), "{bytes:x?}");
    }
}

//! Masking of payloads (RFC 6455, section 5.3).

/// Masks or unmasks bytes in place: the same operation. `key` begins at the first byte; for bytes from
/// the middle of a payload it must be rotated left by their offset.
pub fn apply_mask(bytes: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = bytes.as_chunks_mut();
    for bytes in words {
        *bytes = (u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::apply_mask;

    #[test]
    fn words_are_masked_as_bytes_are() {
        let key = [1, 2, 4, 128];
        for length in 0..40_usize {
            let plain: Vec<u8> = (0_u8..).take(length).collect();
            let by_bytes: Vec<u8> = plain.iter().enumerate().map(|(i, b)| b ^ key[i % 4]).collect();

            let mut by_words = plain;
            apply_mask(&mut by_words, key);

            assert_eq!(by_words, by_bytes, "{length} bytes");
        }
    }

    #[test]
    fn a_part_is_masked_with_the_key_rotated_by_its_offset() {
        let key = [9, 8, 7, 6];
        for at in 0..20_usize {
            let mut whole = [0x55; 20];
            apply_mask(&mut whole, key);

            let mut parts = [0x55; 20];
            let (head, tail) = parts.split_at_mut(at);
            apply_mask(head, key);
            let mut rotated = key;
            rotated.rotate_left(at % 4);
            apply_mask(tail, rotated);

            assert_eq!(parts, whole, "split at {at}");
        }
    }
}

//! The body of a close frame (RFC 6455, sections 5.5.1 and 7.4).

use std::str;

use bytes::{BufMut, Bytes, BytesMut};

use crate::{Text, Violation, header::CONTROL_BYTES_MAX};

/// The longest reason, bytes: what a control frame holds beside the code.
const REASON_BYTES_MAX: usize = CONTROL_BYTES_MAX - 2;

/// Why a connection is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseFrame {
    /// See section 7.4.
    pub code: u16,
    /// For people who read logs. What is longer than 123 bytes is cut off when it is sent.
    pub reason: Text,
}

impl CloseFrame {
    pub fn new(code: u16, reason: impl Into<Text>) -> Self {
        Self { code, reason: reason.into() }
    }

    /// Reads the body of a close frame; an empty one has no code.
    ///
    /// # Errors
    ///
    /// One byte, a code that may not be sent, a reason that is not UTF-8.
    pub(crate) fn decode(body: &[u8]) -> Result<Option<Self>, Violation> {
        let Some((code, reason)) = body.split_first_chunk() else {
            return if body.is_empty() { Ok(None) } else { Err(Violation::HalfCloseCode) };
        };
        let code = u16::from_be_bytes(*code);
        if !may_be_sent(code) {
            return Err(Violation::CloseCode(code));
        }
        let reason = str::from_utf8(reason).map_err(|_| Violation::NotUtf8)?;
        Ok(Some(Self::new(code, reason.to_owned())))
    }

    pub(crate) fn encode(&self) -> Bytes {
        let reason = self.reason.as_str();
        let reason = &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)];
        let mut body = BytesMut::with_capacity(2 + reason.len());
        body.put_u16(self.code);
        body.put_slice(reason.as_bytes());
        body.freeze()
    }
}

/// Sections 7.4.1 and 7.4.2, with 1012 to 1014 as registered since. 1004 has no meaning; 1005, 1006 and
/// 1015 stand for things that are not sent.
const fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_read_as_written() {
        for close in [CloseFrame::new(1000, ""), CloseFrame::new(4500, "größer")] {
            assert_eq!(CloseFrame::decode(&close.encode()), Ok(Some(close)));
        }
        assert_eq!(CloseFrame::decode(&[]), Ok(None));
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let close = CloseFrame::new(1001, "ä".repeat(100));

        let body = close.encode();

        assert_eq!(body.len(), 2 + 122);
        let read = CloseFrame::decode(&body).expect("a body").expect("with a code");
        assert_eq!(read.reason.as_str(), "ä".repeat(61));
    }

    #[test]
    fn what_is_no_body_is_refused() {
        let rows: [(&[u8], Violation); 4] = [
            (&[3], Violation::HalfCloseCode),
            (&[3, 237], Violation::CloseCode(1005)),
            (&[255, 255], Violation::CloseCode(65_535)),
            (&[3, 232, 0xff], Violation::NotUtf8),
        ];
        for (body, violation) in rows {
            assert_eq!(CloseFrame::decode(body), Err(violation), "{body:?}");
        }
    }

    #[test]
    fn codes_are_those_of_the_registry() {
        let refused = [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, u16::MAX];
        assert!(refused.into_iter().all(|code| !may_be_sent(code)));
        let taken = [1000, 1001, 1002, 1003, 1007, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999];
        assert!(taken.into_iter().all(may_be_sent));
    }
}

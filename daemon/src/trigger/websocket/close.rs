//! Why does a connection end? A code that programs understand and a reason for people, as a close frame carries them.

use bytes::Bytes;

use crate::trigger::websocket::frame::{self, MAX_CONTROL, Opcode};

pub(super) const NORMAL: u16 = 1000;
pub(super) const GOING_AWAY: u16 = 1001;
pub(super) const PROTOCOL_ERROR: u16 = 1002;
/// The client gave no code. Never sent.
pub(super) const NONE_GIVEN: u16 = 1005;
/// The connection ended without a close frame. Never sent.
pub(super) const ABNORMAL: u16 = 1006;
pub(super) const INVALID_TEXT: u16 = 1007;
pub(super) const TOO_LARGE: u16 = 1009;
pub(super) const FAILED: u16 = 1011;
/// The client does not take what is sent to it.
pub(super) const TOO_SLOW: u16 = 1013;

/// Why a connection ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Close {
    pub(super) code: u16,
    pub(super) reason: Box<str>,
}

impl Close {
    pub(super) fn new(code: u16, reason: &str) -> Self {
        Self { code, reason: reason.into() }
    }

    /// A connection that ended without a word.
    pub(super) fn abnormal(reason: &str) -> Self {
        Self::new(ABNORMAL, reason)
    }

    /// Reads the payload of a close frame.
    pub(super) fn parse(payload: &[u8]) -> Result<Self, Self> {
        let Some((code, reason)) = payload.split_first_chunk::<2>() else {
            return match payload {
                [] => Ok(Self::new(NONE_GIVEN, "")),
                _ => Err(Self::new(PROTOCOL_ERROR, "a close frame has half a code")),
            };
        };
        let code = u16::from_be_bytes(*code);
        if !is_sendable(code) {
            return Err(Self::new(PROTOCOL_ERROR, "a close frame has a code that nobody may send"));
        }
        let Ok(reason) = str::from_utf8(reason) else {
            return Err(Self::new(INVALID_TEXT, "the reason of a close frame is not UTF-8"));
        };
        Ok(Self::new(code, reason))
    }

    /// The close frame. A code that cannot be sent is left out, a reason that is too long cut.
    pub(super) fn encode(&self) -> Bytes {
        if !is_sendable(self.code) {
            return frame::encode(Opcode::Close, b"");
        }
        let end = self.reason.floor_char_boundary(MAX_CONTROL - 2);
        let mut payload = Vec::with_capacity(2 + end);
        payload.extend_from_slice(&self.code.to_be_bytes());
        payload.extend_from_slice(&self.reason.as_bytes()[..end]);
        frame::encode(Opcode::Close, &payload)
    }
}

/// Whether a close frame may have this code: those of RFC 6455 and its registry, and those that are free for programs.
pub(super) fn is_sendable(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_stand_for_none_are_neither_taken_nor_sent() {
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535u16] {
            assert_eq!(Close::parse(&code.to_be_bytes()).unwrap_err().code, PROTOCOL_ERROR, "{code}");
            assert_eq!(&Close::new(code, "x").encode()[..], b"\x88\x00", "{code}");
        }
        for code in [1000, 1003, 1007, 1014, 3000, 4999u16] {
            assert_eq!(Close::parse(&code.to_be_bytes()).unwrap(), Close::new(code, ""), "{code}");
        }
        assert_eq!(Close::parse(b"").unwrap().code, NONE_GIVEN);
        assert_eq!(Close::parse(b"\x03").unwrap_err().code, PROTOCOL_ERROR);
        assert_eq!(Close::parse(b"\x03\xe8\xff").unwrap_err().code, INVALID_TEXT);
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        let frame = Close::new(NORMAL, &"é".repeat(100)).encode();
        assert_eq!(frame.len(), 2 + 2 + 122);
        assert_eq!(Close::parse(&frame[2..]).unwrap().reason.chars().count(), 61);
    }
}

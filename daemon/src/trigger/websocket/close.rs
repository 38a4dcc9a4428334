//! Why does a connection end? A code that programs understand and a reason for people, as a close frame carries them.

use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// Longest reason that a close frame has room for.
const MAX_REASON: usize = 123;

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

    /// A connection that nothing can be read from or written to any more.
    pub(super) fn broken(error: &Error) -> Self {
        match error {
            Error::Protocol(_) => Self::abnormal("the client has gone without a close frame"),
            Error::Io(error) => Self::abnormal(&format!("the connection has broken: {error}")),
            error => Self::abnormal(&format!("the connection has broken: {error}")),
        }
    }

    /// What a client has done wrong, if the error means that it has.
    pub(super) fn of_violation(error: &Error) -> Option<Self> {
        match error {
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
            Error::Protocol(error) => Some(Self::new(PROTOCOL_ERROR, &error.to_string())),
            Error::Utf8(_) => Some(Self::new(INVALID_TEXT, "a text is not UTF-8")),
            Error::Capacity(_) => {
                Some(Self::new(TOO_LARGE, "a message is larger than websocket.max_message or max_frame allows"))
            }
            _ => None,
        }
    }

    /// What a close frame carries. A code that cannot be sent is left out, a reason that is too long cut.
    pub(super) fn frame(&self) -> Option<CloseFrame> {
        is_sendable(self.code).then(|| CloseFrame {
            code: self.code.into(),
            reason: self.reason[..self.reason.floor_char_boundary(MAX_REASON)].into(),
        })
    }
}

/// What a client's close frame carries.
impl From<Option<CloseFrame>> for Close {
    fn from(frame: Option<CloseFrame>) -> Self {
        frame.map_or_else(|| Self::new(NONE_GIVEN, ""), |frame| Self::new(frame.code.into(), &frame.reason))
    }
}

/// Whether a close frame may have this code: those of RFC 6455 and those that are free for programs.
pub(super) fn is_sendable(code: u16) -> bool {
    CloseCode::from(code).is_allowed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_stand_for_none_are_not_sent() {
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535u16] {
            assert_eq!(Close::new(code, "x").frame(), None, "{code}");
        }
        for code in [1000, 1003, 1007, 1013, 3000, 4999u16] {
            let close = Close::new(code, "x");
            assert_eq!(Close::from(close.frame()), close, "{code}");
        }
        assert_eq!(Close::from(None).code, NONE_GIVEN);
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        let frame = Close::new(NORMAL, &"é".repeat(100)).frame().unwrap();
        assert_eq!(frame.reason.chars().count(), 61);
    }
}

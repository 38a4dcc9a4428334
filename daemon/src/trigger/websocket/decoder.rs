//! What does a client say? Bytes in, whole messages and control frames out. No input or output of its own.
//!
//! A message is refused at the header that makes it too large and at the first byte that cannot be UTF-8, and memory is
//! taken only for what has come.

use bytes::Bytes;

use crate::trigger::websocket::close::{Close, INVALID_TEXT, PROTOCOL_ERROR, TOO_LARGE};
use crate::trigger::websocket::frame::{self, Header, Opcode};

/// Most bytes that are taken for a message on the strength of its announcement alone.
const FIRST_ROOM: usize = 16 << 10;

/// What clients may send.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Bytes of a message, all of its frames together.
    pub(super) message: u64,
    /// Bytes of a frame.
    pub(super) frame: u64,
}

/// Something that a client has said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    Message(Message),
    Ping(Bytes),
    Pong,
    Close(Close),
}

/// A whole message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// Whether it is binary; else it is text, which is UTF-8.
    pub(super) binary: bool,
    pub(super) data: Bytes,
}

/// How far the input has led.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Said(Said),
    /// More input is needed; what is left of this is the beginning of a frame.
    Incomplete,
    /// A part of a message is next, and was not wanted.
    Withheld,
}

/// Follows the frames of one connection.
#[derive(Debug)]
pub(super) struct Decoder {
    limits: Limits,
    /// The frame whose payload is next.
    frame: Option<Payload>,
    /// The message that has begun.
    message: Option<Box<Begun>>,
}

/// A part of a message that has not come whole.
#[derive(Debug)]
struct Payload {
    fin: bool,
    mask: [u8; 4],
    taken: usize,
    left: usize,
}

/// A message that has begun.
#[derive(Debug)]
struct Begun {
    binary: bool,
    data: Vec<u8>,
    /// How many bytes are known to be UTF-8.
    checked: usize,
}

impl Decoder {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, frame: None, message: None }
    }

    /// Takes input until something is said. Without `messages`, frames of messages are left where they are.
    ///
    /// # Errors
    /// When the client has broken the protocol or a limit; nothing can be read after that.
    pub(super) fn step(&mut self, input: &mut &[u8], messages: bool) -> Result<Step, Close> {
        loop {
            if let Some(payload) = &mut self.frame {
                let message = self.message.as_mut().expect("a payload belongs to a message");
                if !payload.take(input, message)? {
                    return Ok(Step::Incomplete);
                }
                let fin = payload.fin;
                self.frame = None;
                if fin && let Some(message) = self.message.take() {
                    return message.finish().map(Step::Said);
                }
                continue;
            }
            let Some((header, length)) = Header::parse(input)? else { return Ok(Step::Incomplete) };
            if header.opcode.is_control() {
                return Ok(control(&header, length, input)?.map_or(Step::Incomplete, Step::Said));
            }
            if !messages {
                return Ok(Step::Withheld);
            }
            self.begin(&header)?;
            *input = &input[length..];
        }
    }

    /// A frame of a message begins.
    fn begin(&mut self, header: &Header) -> Result<(), Close> {
        if header.length > self.limits.frame {
            return Err(Close::new(TOO_LARGE, "a frame is larger than websocket.max_frame allows"));
        }
        let present = self.message.as_ref().map_or(0, |message| message.data.len());
        if header.length + present as u64 > self.limits.message {
            return Err(Close::new(TOO_LARGE, "a message is larger than websocket.max_message allows"));
        }
        let left = usize::try_from(header.length).expect("it is within the limits, which memory can hold");
        match (&mut self.message, header.opcode) {
            (Some(_), Opcode::Continuation) => {}
            (Some(_), _) => return Err(Close::new(PROTOCOL_ERROR, "a message begins within another one")),
            (None, Opcode::Continuation) => {
                return Err(Close::new(PROTOCOL_ERROR, "a message goes on that has not begun"));
            }
            (message @ None, opcode) => {
                let data = Vec::with_capacity(left.min(FIRST_ROOM));
                *message = Some(Box::new(Begun { binary: opcode == Opcode::Binary, data, checked: 0 }));
            }
        }
        self.frame = Some(Payload { fin: header.fin, mask: header.mask, taken: 0, left });
        Ok(())
    }
}

impl Payload {
    /// Takes what there is of it; whether it is whole now.
    fn take(&mut self, input: &mut &[u8], message: &mut Begun) -> Result<bool, Close> {
        let (part, rest) = input.split_at(input.len().min(self.left));
        let start = message.data.len();
        message.data.extend_from_slice(part);
        frame::unmask(&mut message.data[start..], self.mask, self.taken);
        *input = rest;
        self.taken += part.len();
        self.left -= part.len();
        message.check()?;
        Ok(self.left == 0)
    }
}

impl Begun {
    /// Checks what has come of a text. The last character may be incomplete.
    fn check(&mut self) -> Result<(), Close> {
        if self.binary {
            return Ok(());
        }
        match str::from_utf8(&self.data[self.checked..]) {
            Ok(_) => self.checked = self.data.len(),
            Err(error) if error.error_len().is_none() => self.checked += error.valid_up_to(),
            Err(_) => return Err(not_utf8()),
        }
        Ok(())
    }

    fn finish(self) -> Result<Said, Close> {
        if !self.binary && self.checked != self.data.len() {
            return Err(not_utf8());
        }
        Ok(Said::Message(Message { binary: self.binary, data: self.data.into() }))
    }
}

fn not_utf8() -> Close {
    Close::new(INVALID_TEXT, "a text is not UTF-8")
}

/// A control frame, once it has come whole.
fn control(header: &Header, length: usize, input: &mut &[u8]) -> Result<Option<Said>, Close> {
    let size = usize::try_from(header.length).expect("a control frame is small");
    let Some(payload) = input.get(length..length + size) else { return Ok(None) };
    let mut payload = payload.to_vec();
    frame::unmask(&mut payload, header.mask, 0);
    *input = &input[length + size..];
    Ok(Some(match header.opcode {
        Opcode::Close => Said::Close(Close::parse(&payload)?),
        Opcode::Ping => Said::Ping(payload.into()),
        _ => Said::Pong,
    }))
}

#[cfg(test)]
mod tests;

//! What do the daemon and a worker say to each other?

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use rmp::decode;

use crate::invocation::Invocation;
use crate::load::{Hello, Load, Report};
use crate::outcome::{Completed, Emit, HandlerError, LogLevel};
use crate::protocol::frame::{self, Error};
use crate::protocol::input::input;
use crate::protocol::pack::{array, trace_id, uint};
use crate::push::{Frame, Push};

const LOAD: u64 = 1;
const INVOKE: u64 = 2;
const CANCEL: u64 = 3;
const DRAIN: u64 = 4;
const PING: u64 = 5;
const HELLO: u64 = 101;
const LOADED: u64 = 102;
const COMPLETED: u64 = 103;
const FAILED: u64 = 104;
const LOG: u64 = 105;
const PONG: u64 = 106;
const PUSH: u64 = 107;

/// A message from a worker.
#[derive(Debug)]
pub enum FromWorker {
    /// The worker runs.
    Hello {
        /// The protocol version it speaks.
        version: u64,
        /// What it is.
        hello: Hello,
    },
    /// Handlers are loaded.
    Loaded(Report),
    /// A call returned.
    Completed {
        /// Id of the call.
        id: u64,
        /// What it left.
        completed: Completed,
    },
    /// A call raised an error.
    Failed {
        /// Id of the call.
        id: u64,
        /// The error.
        error: HandlerError,
    },
    /// A line was logged or printed.
    Log {
        /// Id of the call, 0 for none.
        id: u64,
        /// Index of the handler.
        handler: Option<u32>,
        /// Severity or stream.
        level: LogLevel,
        /// Text.
        message: String,
        /// JSON object.
        fields: Option<String>,
    },
    /// Answer to a ping: the worker's loop turns.
    Pong(u64),
    /// A handler does something to WebSocket connections.
    Push(Push),
}

/// Appends a `load` message.
///
/// # Errors
/// Never in practice: the types serialise without fail.
pub fn encode_load(out: &mut Vec<u8>, load: &Load) -> Result<(), serde_json::Error> {
    let body = serde_json::to_vec(load)?;
    frame::encode(out, &body, |out| header(out, 1, LOAD));
    Ok(())
}

/// Appends an `invoke` message.
pub fn encode_invoke(out: &mut Vec<u8>, id: u64, slot: u32, invocation: &Invocation) {
    frame::encode(out, &invocation.body, |out| {
        header(out, 7, INVOKE);
        uint(out, id);
        uint(out, u64::from(slot));
        uint(out, u64::from(invocation.handler));
        uint(out, u64::from(invocation.attempt));
        trace_id(out, &invocation.trace_id);
        input(out, &invocation.input);
    });
}

/// Appends a `cancel` message.
pub fn encode_cancel(out: &mut Vec<u8>, id: u64) {
    frame::encode(out, &[], |out| {
        header(out, 2, CANCEL);
        uint(out, id);
    });
}

/// Appends a `drain` message.
pub fn encode_drain(out: &mut Vec<u8>) {
    frame::encode(out, &[], |out| header(out, 1, DRAIN));
}

/// Appends a `ping` message.
pub fn encode_ping(out: &mut Vec<u8>, number: u64) {
    frame::encode(out, &[], |out| {
        header(out, 2, PING);
        uint(out, number);
    });
}

fn header(out: &mut Vec<u8>, length: u32, message: u64) {
    array(out, length);
    uint(out, message);
}

impl FromWorker {
    /// Reads one frame.
    ///
    /// # Errors
    /// When it is not a message of the protocol.
    pub fn decode(header: &[u8], body: Bytes) -> Result<Self, Error> {
        let mut reader = Reader { rest: header, message: 0 };
        reader.array()?;
        let message = reader.uint("a message number")?;
        reader.message = message;
        let bad_body = |source| Error::BadBody { message, source };
        match message {
            HELLO => {
                let version = reader.uint("a protocol version")?;
                Ok(Self::Hello { version, hello: serde_json::from_slice(&body).map_err(bad_body)? })
            }
            LOADED => Ok(Self::Loaded(serde_json::from_slice(&body).map_err(bad_body)?)),
            COMPLETED => reader.completed(body),
            FAILED => {
                let id = reader.uint("a call's id")?;
                Ok(Self::Failed { id, error: serde_json::from_slice(&body).map_err(bad_body)? })
            }
            LOG => reader.log(),
            PONG => Ok(Self::Pong(reader.uint("a ping's number")?)),
            PUSH => Ok(Self::Push(reader.push(body)?)),
            _ => Err(reader.bad("a known message number")),
        }
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    message: u64,
}

impl Reader<'_> {
    fn bad(&self, expected: &'static str) -> Error {
        Error::BadHeader { message: self.message, expected }
    }

    fn array(&mut self) -> Result<u32, Error> {
        decode::read_array_len(&mut self.rest).map_err(|_unreadable| self.bad("an array"))
    }

    fn uint(&mut self, expected: &'static str) -> Result<u64, Error> {
        decode::read_int(&mut self.rest).map_err(|_unreadable| self.bad(expected))
    }

    fn length(&mut self) -> Result<usize, Error> {
        usize::try_from(self.uint("a length")?).map_err(|_too_large| self.bad("a length"))
    }

    /// Skips nil, if it is next.
    fn nil(&mut self) -> bool {
        const NIL: u8 = 0xc0;
        match self.rest.split_first() {
            Some((&NIL, rest)) => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn boolean(&mut self, expected: &'static str) -> Result<bool, Error> {
        decode::read_bool(&mut self.rest).map_err(|_unreadable| self.bad(expected))
    }

    fn text(&mut self, expected: &'static str) -> Result<String, Error> {
        self.optional_text(expected)?.ok_or_else(|| self.bad(expected))
    }

    fn optional_text(&mut self, expected: &'static str) -> Result<Option<String>, Error> {
        if self.nil() {
            return Ok(None);
        }
        let (text, rest) = decode::read_str_from_slice(self.rest).map_err(|_unreadable| self.bad(expected))?;
        let text = text.to_owned();
        self.rest = rest;
        Ok(Some(text))
    }

    fn completed(&mut self, body: Bytes) -> Result<FromWorker, Error> {
        let mut parts = Parts { body };
        let id = self.uint("a call's id")?;
        let status = u16::try_from(self.uint("a status")?).map_err(|_too_large| self.bad("a status"))?;
        let mut headers = Vec::new();
        for _ in 0..self.array()? {
            self.array()?;
            headers.push((self.text("a header's name")?, self.text("a header's value")?));
        }
        let length = self.length()?;
        let reply = parts.take(length).ok_or_else(|| self.bad("a body of the announced length"))?;
        let count = self.array()?;
        // A count is only a claim: nothing is reserved that the header could not hold.
        let mut emits = Vec::with_capacity(self.rest.len().min(usize::try_from(count).unwrap_or(usize::MAX)));
        for _ in 0..count {
            self.array()?;
            let event = self.text("an event's name")?;
            let key = self.optional_text("a key")?;
            let due = self.due()?;
            let length = self.length()?;
            let payload = parts.take(length).ok_or_else(|| self.bad("a body of the announced length"))?;
            emits.push(Emit { event, key, due, payload });
        }
        let mut sets = Vec::new();
        for _ in 0..self.array()? {
            self.array()?;
            let event = self.text("an event's name")?;
            let length = self.length()?;
            sets.push((event, parts.take(length).ok_or_else(|| self.bad("a body of the announced length"))?));
        }
        let status = (status != 0).then_some(status);
        let replaces = !self.rest.is_empty() && self.boolean("whether it replaces an answer")?;
        Ok(FromWorker::Completed { id, completed: Completed { status, headers, reply, emits, sets, replaces } })
    }

    /// Milliseconds since the Unix epoch, 0 for at once.
    fn due(&mut self) -> Result<Option<SystemTime>, Error> {
        match self.uint("a due time")? {
            0 => Ok(None),
            due => match SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(due)) {
                Some(due) => Ok(Some(due)),
                None => Err(self.bad("a due time")),
            },
        }
    }

    fn log(&mut self) -> Result<FromWorker, Error> {
        let id = self.uint("a call's id")?;
        let handler = if self.nil() {
            None
        } else {
            Some(u32::try_from(self.uint("a handler")?).map_err(|_too_large| self.bad("a handler"))?)
        };
        let level = self.text("a level")?;
        let level = LogLevel::parse(&level).ok_or_else(|| self.bad("a level"))?;
        let message = self.text("a message")?;
        let fields = self.optional_text("fields")?;
        Ok(FromWorker::Log { id, handler, level, message, fields })
    }
}

impl Reader<'_> {
    fn push(&mut self, body: Bytes) -> Result<Push, Error> {
        const CONNECTION: &str = "a connection's id";
        const ROOM: &str = "a room";
        Ok(match self.uint("an action")? {
            0 => Push::Send { connection: self.text(CONNECTION)?, frame: self.frame(body)? },
            1 => Push::Broadcast {
                websocket: self.text("a WebSocket's name")?,
                room: self.optional_text(ROOM)?,
                exclude: self.optional_text(CONNECTION)?,
                frame: self.frame(body)?,
            },
            2 => Push::Join { connection: self.text(CONNECTION)?, room: self.text(ROOM)? },
            3 => Push::Leave { connection: self.text(CONNECTION)?, room: self.text(ROOM)? },
            4 => Push::Close {
                connection: self.text(CONNECTION)?,
                code: u16::try_from(self.uint("a close code")?).map_err(|_too_large| self.bad("a close code"))?,
                reason: self.text("a close reason")?,
            },
            _ => return Err(self.bad("a known action")),
        })
    }

    fn frame(&mut self, body: Bytes) -> Result<Frame, Error> {
        Ok(if self.boolean("whether the frame is binary")? { Frame::Binary(body) } else { Frame::Text(body) })
    }
}

/// A body that is divided by lengths in the header.
struct Parts {
    body: Bytes,
}

impl Parts {
    fn take(&mut self, length: usize) -> Option<Bytes> {
        (length <= self.body.len()).then(|| self.body.split_to(length))
    }
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;

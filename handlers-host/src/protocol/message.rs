//! What do the daemon and a worker say to each other?

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use rmp::decode::RmpRead;
use rmp::{decode, encode as pack};

use crate::invocation::{ApiInput, EventInput, Input, Invocation};
use crate::load::{Hello, Load, Report};
use crate::outcome::{Completed, Emit, HandlerError, LogLevel};
use crate::protocol::frame::{self, Error};

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

const API_INPUT: u64 = 0;
const EVENT_INPUT: u64 = 1;

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
        match &invocation.input {
            Input::Api(input) => api_input(out, input),
            Input::Event(input) => event_input(out, input),
        }
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

const VEC: &str = "writing into memory cannot fail";

fn header(out: &mut Vec<u8>, length: u32, message: u64) {
    array(out, length);
    uint(out, message);
}

fn array(out: &mut Vec<u8>, length: u32) {
    pack::write_array_len(out, length).expect(VEC);
}

fn uint(out: &mut Vec<u8>, value: u64) {
    pack::write_uint(out, value).expect(VEC);
}

fn text(out: &mut Vec<u8>, value: &str) {
    pack::write_str(out, value).expect(VEC);
}

fn length_of(items: usize) -> u32 {
    u32::try_from(items).expect("lists in a request are bounded by its size")
}

fn trace_id(out: &mut Vec<u8>, id: &[u8; 16]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    pack::write_str_len(out, 32).expect(VEC);
    for byte in id {
        out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

fn api_input(out: &mut Vec<u8>, input: &ApiInput) {
    array(out, if input.query_length.is_some() { 6 } else { 5 });
    uint(out, API_INPUT);
    array(out, length_of(input.path_params.len()));
    input.path_params.iter().for_each(|value| text(out, value));
    array(out, length_of(input.query.len()));
    for (name, value) in &input.query {
        array(out, 2);
        text(out, name);
        text(out, value);
    }
    array(out, length_of(input.headers.len()));
    for (name, value) in &input.headers {
        array(out, 2);
        text(out, name.as_str());
        match value.to_str() {
            Ok(value) => text(out, value),
            Err(_) => text(out, &value.as_bytes().iter().copied().map(char::from).collect::<String>()),
        }
    }
    pack::write_bool(out, input.has_body).expect(VEC);
    if let Some(length) = input.query_length {
        uint(out, u64::from(length_of(length)));
    }
}

fn event_input(out: &mut Vec<u8>, input: &EventInput) {
    array(out, 5);
    uint(out, EVENT_INPUT);
    text(out, &input.id);
    text(out, &rfc3339(input.time));
    match &input.key {
        Some(key) => text(out, key),
        None => pack::write_nil(out).expect(VEC),
    }
    text(out, &input.event);
}

/// RFC 3339 in UTC with microseconds. A time beyond what can be written is the epoch.
fn rfc3339(time: SystemTime) -> String {
    format!("{:.6}", jiff::Timestamp::try_from(time).unwrap_or_default())
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

    fn text(&mut self, expected: &'static str) -> Result<String, Error> {
        self.optional_text(expected)?.ok_or_else(|| self.bad(expected))
    }

    fn optional_text(&mut self, expected: &'static str) -> Result<Option<String>, Error> {
        const NIL: u8 = 0xc0;
        if self.rest.first() == Some(&NIL) {
            self.rest.read_u8().map_err(|_unreadable| self.bad(expected))?;
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
        let mut emits = Vec::new();
        for _ in 0..self.array()? {
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
        Ok(FromWorker::Completed { id, completed: Completed { status, headers, reply, emits, sets } })
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
        const NIL: u8 = 0xc0;
        let id = self.uint("a call's id")?;
        let handler = if self.rest.first() == Some(&NIL) {
            self.rest.read_u8().map_err(|_unreadable| self.bad("a handler"))?;
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

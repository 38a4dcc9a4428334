//! What do the headers of the worker protocol say? Decoding of the daemon's, encoding of ours.
//!
//! `docs/worker-protocol.md` is the reference for every number and field here.

use rmp::decode::{self, NumValueReadError, ValueReadError};
use rmp::encode;

/// The version of the protocol that this worker speaks.
pub(crate) const VERSION: u32 = 1;

const LOAD: u32 = 1;
const INVOKE: u32 = 2;
const CANCEL: u32 = 3;
const DRAIN: u32 = 4;
const PING: u32 = 5;

const HELLO: u32 = 101;
const LOADED: u32 = 102;
const COMPLETED: u32 = 103;
const FAILED: u32 = 104;
const LOG: u32 = 105;
const PONG: u32 = 106;

const API: u32 = 0;
const EVENT: u32 = 1;

/// Why a header can't be understood. All of them end the connection: the peers don't speak the same language.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Something else than an array, or a too short one.
    #[error("a header of the worker protocol is no array of at least {expected} elements")]
    Array {
        /// How many elements there should be.
        expected: u32,
    },
    /// A number is missing or out of range.
    #[error("a header of the worker protocol lacks a number")]
    Number(#[source] NumValueReadError),
    /// A text is missing or not UTF-8.
    #[error("a header of the worker protocol lacks a text")]
    Text,
    /// A boolean is missing.
    #[error("a header of the worker protocol lacks a boolean")]
    Boolean(#[source] ValueReadError),
    /// A message that the daemon doesn't send.
    #[error("message {0} of the worker protocol is unknown")]
    Message(u32),
    /// A kind of input that this version doesn't know.
    #[error("input kind {0} of the worker protocol is unknown")]
    Kind(u32),
}

/// A message from the daemon.
pub(crate) enum Message<'a> {
    /// Load the project that the body describes.
    Load,
    /// Run a handler.
    Invoke(Invoke<'a>),
    /// Stop a call.
    Cancel(u64),
    /// Finish and exit.
    Drain,
    /// Say that you are alive.
    Ping(u64),
}

/// One call of a handler.
pub(crate) struct Invoke<'a> {
    /// The call's id.
    pub(crate) id: u64,
    /// The slot that says who owns the call.
    pub(crate) slot: u32,
    /// Index into the handlers of the load message.
    pub(crate) handler: u32,
    /// Counted from 1.
    pub(crate) attempt: u32,
    /// 32 hexadecimal digits.
    pub(crate) trace_id: &'a str,
    /// What the handler is called with; the body of the frame goes with it.
    pub(crate) input: Input<'a>,
}

/// The part of an invoke that differs by the handler's kind.
pub(crate) enum Input<'a> {
    /// An HTTP request.
    Api {
        /// Values in the order of the path.
        path_params: Vec<&'a str>,
        /// Decoded pairs in order.
        query: Vec<(&'a str, &'a str)>,
        /// Lower-case names with their values, not decoded: see [`decode_pairs`].
        headers: &'a [u8],
        /// Whether the frame's body holds a request body.
        has_body: bool,
        /// How much of the frame's body is the validated query.
        query_length: Option<usize>,
    },
    /// A message of an event.
    Event {
        /// The event's id.
        id: &'a str,
        /// When the event happened, RFC 3339.
        time: &'a str,
        /// The ordering key.
        key: Option<&'a str>,
    },
}

/// Decodes a header.
///
/// # Errors
///
/// When it isn't a message of the daemon.
pub(crate) fn decode(header: &[u8]) -> Result<Message<'_>, Error> {
    let mut rest = header;
    let length = array(&mut rest, 1)?;
    let kind: u32 = number(&mut rest)?;
    match kind {
        LOAD => Ok(Message::Load),
        INVOKE => Ok(Message::Invoke(invoke(&mut rest, length)?)),
        CANCEL => Ok(Message::Cancel(expect(length, 2).and_then(|()| number(&mut rest))?)),
        DRAIN => Ok(Message::Drain),
        PING => Ok(Message::Ping(expect(length, 2).and_then(|()| number(&mut rest))?)),
        other => Err(Error::Message(other)),
    }
}

fn invoke<'a>(rest: &mut &'a [u8], length: u32) -> Result<Invoke<'a>, Error> {
    expect(length, 7)?;
    Ok(Invoke {
        id: number(rest)?,
        slot: number(rest)?,
        handler: number(rest)?,
        attempt: number(rest)?,
        trace_id: text(rest)?,
        input: input(rest)?,
    })
}

fn input<'a>(rest: &mut &'a [u8]) -> Result<Input<'a>, Error> {
    let length = array(rest, 1)?;
    match number::<u32>(rest)? {
        API => {
            expect(length, 5)?;
            let count = array(rest, 0)?;
            let path_params = (0..count).map(|_| text(rest)).collect::<Result<_, _>>()?;
            let query = pairs(rest)?;
            let headers = skip_pairs(rest)?;
            let has_body = decode::read_bool(rest).map_err(Error::Boolean)?;
            let query_length = if length > 5 { Some(number(rest)?) } else { None };
            Ok(Input::Api { path_params, query, headers, has_body, query_length })
        }
        EVENT => {
            expect(length, 5)?;
            Ok(Input::Event { id: text(rest)?, time: text(rest)?, key: text_or_nil(rest)? })
        }
        other => Err(Error::Kind(other)),
    }
}

/// The names and values of headers.
///
/// # Errors
///
/// When they are no array of pairs of texts.
pub(crate) fn decode_pairs(encoded: &[u8]) -> Result<Vec<(&str, &str)>, Error> {
    pairs(&mut &*encoded)
}

fn skip_pairs<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Error> {
    let start = *rest;
    let count = array(rest, 0)?;
    for _ in 0..count {
        array(rest, 2)?;
        skip_text(rest)?;
        skip_text(rest)?;
    }
    Ok(&start[..start.len() - rest.len()])
}

fn skip_text(rest: &mut &[u8]) -> Result<(), Error> {
    let length = decode::read_str_len(rest).ok().and_then(|length| usize::try_from(length).ok());
    let tail = length.and_then(|length| rest.get(length..)).ok_or(Error::Text)?;
    *rest = tail;
    Ok(())
}

fn pairs<'a>(rest: &mut &'a [u8]) -> Result<Vec<(&'a str, &'a str)>, Error> {
    let count = array(rest, 0)?;
    // A count is only a claim: nothing is reserved that the header couldn't hold.
    let mut pairs = Vec::with_capacity(rest.len().min(usize::try_from(count).unwrap_or(usize::MAX)));
    for _ in 0..count {
        array(rest, 2)?;
        pairs.push((text(rest)?, text(rest)?));
    }
    Ok(pairs)
}

fn array(rest: &mut &[u8], expected: u32) -> Result<u32, Error> {
    // The cause adds nothing: whatever stands there, it is no array.
    let Ok(length) = decode::read_array_len(rest) else { return Err(Error::Array { expected }) };
    expect(length, expected).map(|()| length)
}

fn expect(length: u32, expected: u32) -> Result<(), Error> {
    if length < expected { Err(Error::Array { expected }) } else { Ok(()) }
}

fn number<T: TryFrom<u64>>(rest: &mut &[u8]) -> Result<T, Error> {
    let number: u64 = decode::read_int(rest).map_err(Error::Number)?;
    T::try_from(number).or(Err(Error::Number(NumValueReadError::OutOfRange)))
}

fn text<'a>(rest: &mut &'a [u8]) -> Result<&'a str, Error> {
    // As with arrays: the cause would only say what stands there instead.
    let bytes: &'a [u8] = rest;
    let Ok((text, tail)) = decode::read_str_from_slice(bytes) else { return Err(Error::Text) };
    *rest = tail;
    Ok(text)
}

fn text_or_nil<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a str>, Error> {
    const NIL: u8 = 0xc0;
    if rest.first() != Some(&NIL) {
        return text(rest).map(Some);
    }
    *rest = &rest[1..];
    Ok(None)
}

/// A header under construction. Writing to memory can't fail, which is said once, here.
pub(crate) struct Header {
    bytes: Vec<u8>,
}

impl Header {
    fn new(elements: u32, message: u32) -> Self {
        let mut header = Self { bytes: Vec::with_capacity(64) };
        header.array(elements);
        header.number(message.into());
        header
    }

    /// `hello`
    pub(crate) fn hello() -> Self {
        let mut header = Self::new(2, HELLO);
        header.number(VERSION.into());
        header
    }

    /// `loaded`
    pub(crate) fn loaded() -> Self {
        Self::new(1, LOADED)
    }

    /// `completed`, to be continued with the headers, the reply's length, the emits and the sets.
    pub(crate) fn completed(id: u64, status: u16) -> Self {
        let mut header = Self::new(7, COMPLETED);
        header.number(id);
        header.number(status.into());
        header
    }

    /// `failed`
    pub(crate) fn failed(id: u64) -> Self {
        let mut header = Self::new(2, FAILED);
        header.number(id);
        header
    }

    /// `log`
    pub(crate) fn log(line: &Line<'_>) -> Self {
        let mut header = Self::new(6, LOG);
        header.number(line.call);
        match line.handler {
            Some(handler) => header.number(handler.into()),
            None => header.nil(),
        }
        header.text(line.level);
        header.text(line.message);
        header.text_or_nil(line.fields);
        header
    }

    /// `pong`
    pub(crate) fn pong(number: u64) -> Self {
        let mut header = Self::new(2, PONG);
        header.number(number);
        header
    }

    /// Begins an array.
    fn array(&mut self, elements: u32) {
        encode::write_array_len(&mut self.bytes, elements).expect("memory takes every write");
    }

    /// Begins an array of as many elements as there are of something in memory.
    pub(crate) fn elements(&mut self, count: usize) {
        self.array(u32::try_from(count).expect("a frame can't hold that many elements"));
    }

    /// A number.
    pub(crate) fn number(&mut self, number: u64) {
        encode::write_uint(&mut self.bytes, number).expect("memory takes every write");
    }

    /// A length in bytes or elements.
    pub(crate) fn length(&mut self, length: usize) {
        self.number(u64::try_from(length).unwrap_or(u64::MAX));
    }

    /// A text.
    pub(crate) fn text(&mut self, text: &str) {
        encode::write_str(&mut self.bytes, text).expect("memory takes every write");
    }

    /// A text or nil.
    pub(crate) fn text_or_nil(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.text(text),
            None => self.nil(),
        }
    }

    /// The header's bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Nothing.
    pub(crate) fn nil(&mut self) {
        encode::write_nil(&mut self.bytes).expect("memory takes every write");
    }
}

/// A line for the log.
pub(crate) struct Line<'a> {
    /// The call it belongs to; 0 for none.
    pub(crate) call: u64,
    /// The handler it belongs to.
    pub(crate) handler: Option<u32>,
    /// A level of the protocol.
    pub(crate) level: &'a str,
    /// The text.
    pub(crate) message: &'a str,
    /// A JSON object.
    pub(crate) fields: Option<&'a str>,
}

//! What do the daemon's headers of the worker protocol say?
//!
//! `docs/worker-protocol.md` is the reference for every number and field here.

use rmp::decode::{self, NumValueReadError, ValueReadError};

const LOAD: u32 = 1;
const INVOKE: u32 = 2;
const CANCEL: u32 = 3;
const DRAIN: u32 = 4;
const PING: u32 = 5;

const API: u32 = 0;
const EVENT: u32 = 1;
const CRON: u32 = 2;
const WEBSOCKET: u32 = 3;
const BEFORE: u32 = 4;
const AFTER: u32 = 5;

const OPENED: u32 = 0;
const MESSAGE: u32 = 1;
const CLOSED: u32 = 2;

const TO_API: u32 = 0;
const TO_WEBSOCKET: u32 = 1;

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
    /// A kind of input, of what happens on a WebSocket or of what a middleware stands before, that this version doesn't know.
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
        query: Pairs<'a>,
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
    /// A run of a cron job.
    Cron {
        /// The job's name.
        name: &'a str,
        /// Its schedule.
        schedule: &'a str,
        /// When the run was due, RFC 3339.
        slot: &'a str,
    },
    /// What happened on a WebSocket connection.
    WebSocket {
        /// The connection.
        connection: Box<Connection<'a>>,
        /// What happened.
        phase: Phase<'a>,
    },
    /// A request before its handler, or after it.
    Middleware {
        /// The request.
        context: Box<Context<'a>>,
        /// Decoded pairs in order.
        query: Pairs<'a>,
        /// The answer, after the handler.
        after: Option<After<'a>>,
    },
}

/// Decoded names and values, in order.
pub(crate) type Pairs<'a> = Vec<(&'a str, &'a str)>;

/// A WebSocket connection.
pub(crate) struct Connection<'a> {
    pub(crate) id: &'a str,
    /// As the schema has it.
    pub(crate) path: &'a str,
    /// RFC 3339.
    pub(crate) connected_at: &'a str,
    pub(crate) path_params: Pairs<'a>,
    pub(crate) query: Pairs<'a>,
    /// See [`decode_pairs`].
    pub(crate) headers: &'a [u8],
    /// The client's address.
    pub(crate) client: Option<&'a str>,
}

/// What happened on a WebSocket connection.
pub(crate) enum Phase<'a> {
    Opened,
    Message {
        /// When it came, RFC 3339.
        time: &'a str,
        /// Whether the frame's body is the message itself, and not JSON.
        binary: bool,
    },
    Closed {
        code: u16,
        reason: &'a str,
    },
}

/// A request as middlewares see it.
pub(crate) struct Context<'a> {
    pub(crate) target: Target<'a>,
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) path_params: Pairs<'a>,
    /// See [`decode_pairs`].
    pub(crate) headers: &'a [u8],
    /// The client's address.
    pub(crate) client: Option<&'a str>,
}

/// What a request leads to.
pub(crate) enum Target<'a> {
    Api(&'a str),
    WebSocket(&'a str, Connection<'a>),
}

/// The answer to a request, so far.
pub(crate) struct After<'a> {
    /// How much of the frame's body is the payload; the rest is the answer's.
    pub(crate) payload_length: usize,
    pub(crate) status: u16,
    pub(crate) headers: Pairs<'a>,
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
            let has_body = boolean(rest)?;
            let query_length = if length > 5 { Some(number(rest)?) } else { None };
            Ok(Input::Api { path_params, query, headers, has_body, query_length })
        }
        EVENT => {
            expect(length, 5)?;
            Ok(Input::Event { id: text(rest)?, time: text(rest)?, key: text_or_nil(rest)? })
        }
        CRON => {
            expect(length, 4)?;
            Ok(Input::Cron { name: text(rest)?, schedule: text(rest)?, slot: text(rest)? })
        }
        WEBSOCKET => websocket(rest, length),
        BEFORE => {
            expect(length, 3)?;
            Ok(Input::Middleware { context: Box::new(context(rest)?), query: pairs(rest)?, after: None })
        }
        AFTER => {
            expect(length, 6)?;
            let (context, query) = (Box::new(context(rest)?), pairs(rest)?);
            let after = After { payload_length: number(rest)?, status: number(rest)?, headers: pairs(rest)? };
            Ok(Input::Middleware { context, query, after: Some(after) })
        }
        other => Err(Error::Kind(other)),
    }
}

fn websocket<'a>(rest: &mut &'a [u8], length: u32) -> Result<Input<'a>, Error> {
    expect(length, 3)?;
    let phase: u32 = number(rest)?;
    let connection = Box::new(connection(rest)?);
    let phase = match phase {
        OPENED => Phase::Opened,
        MESSAGE => {
            expect(length, 5)?;
            Phase::Message { time: text(rest)?, binary: boolean(rest)? }
        }
        CLOSED => {
            expect(length, 5)?;
            Phase::Closed { code: number(rest)?, reason: text(rest)? }
        }
        other => return Err(Error::Kind(other)),
    };
    Ok(Input::WebSocket { connection, phase })
}

fn connection<'a>(rest: &mut &'a [u8]) -> Result<Connection<'a>, Error> {
    array(rest, 7)?;
    Ok(Connection {
        id: text(rest)?,
        path: text(rest)?,
        connected_at: text(rest)?,
        path_params: pairs(rest)?,
        query: pairs(rest)?,
        headers: skip_pairs(rest)?,
        client: text_or_nil(rest)?,
    })
}

fn context<'a>(rest: &mut &'a [u8]) -> Result<Context<'a>, Error> {
    array(rest, 6)?;
    Ok(Context {
        target: target(rest)?,
        method: text(rest)?,
        path: text(rest)?,
        path_params: pairs(rest)?,
        headers: skip_pairs(rest)?,
        client: text_or_nil(rest)?,
    })
}

fn target<'a>(rest: &mut &'a [u8]) -> Result<Target<'a>, Error> {
    let length = array(rest, 2)?;
    match number::<u32>(rest)? {
        TO_API => Ok(Target::Api(text(rest)?)),
        TO_WEBSOCKET => {
            expect(length, 3)?;
            Ok(Target::WebSocket(text(rest)?, connection(rest)?))
        }
        other => Err(Error::Kind(other)),
    }
}

/// The names and values of headers.
///
/// # Errors
///
/// When they are no array of pairs of texts.
pub(crate) fn decode_pairs(encoded: &[u8]) -> Result<Pairs<'_>, Error> {
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

fn pairs<'a>(rest: &mut &'a [u8]) -> Result<Pairs<'a>, Error> {
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

fn boolean(rest: &mut &[u8]) -> Result<bool, Error> {
    decode::read_bool(rest).map_err(Error::Boolean)
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

//! What do our headers of the worker protocol say?
//!
//! `docs/worker-protocol.md` is the reference for every number and field here.

use rmp::encode;

/// The version of the protocol that this worker speaks.
pub(crate) const VERSION: u32 = 1;

const HELLO: u32 = 101;
const LOADED: u32 = 102;
const COMPLETED: u32 = 103;
const FAILED: u32 = 104;
const LOG: u32 = 105;
const PONG: u32 = 106;
const PUSH: u32 = 107;

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
        Self::completed_of(7, id, status)
    }

    /// The same, of an answer that takes the place of another one: behind the sets stands true.
    pub(crate) fn replaced(id: u64, status: u16) -> Self {
        Self::completed_of(8, id, status)
    }

    fn completed_of(elements: u32, id: u64, status: u16) -> Self {
        let mut header = Self::new(elements, COMPLETED);
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

    /// `push`, to be continued with as many elements, the first of them the action.
    pub(crate) fn push(elements: usize) -> Self {
        Self::new(u32::try_from(1 + elements).expect("a push has few elements"), PUSH)
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

    /// True or false.
    pub(crate) fn boolean(&mut self, value: bool) {
        encode::write_bool(&mut self.bytes, value).expect("memory takes every write");
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

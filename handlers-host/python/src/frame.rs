//! How do bytes of the socket become frames, and frames bytes?
//!
//! A frame is never longer than [`MAX_FRAME`], in either direction.

use std::collections::VecDeque;
use std::ops::Range;

/// The largest value of a frame's first length.
pub(crate) const MAX_FRAME: usize = 64 << 20;

/// What one read asks for at least; a longer frame asks for all that it lacks.
const READ_SIZE: usize = 256 << 10;

/// A buffer that has grown beyond this is given back when it is empty.
const KEEP: usize = 1 << 20;

const LENGTH: usize = 4;
const PREFIX: usize = 2 * LENGTH;

/// Why the peer's bytes are no frame.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The first length is beyond the limit.
    #[error("a frame of {0} bytes is longer than the limit of {MAX_FRAME} bytes")]
    TooLong(usize),
    /// The lengths contradict each other.
    #[error("a frame of {frame} bytes can't hold a header of {header} bytes")]
    Header {
        /// The frame's length.
        frame: usize,
        /// The header's length.
        header: usize,
    },
}

/// Where a complete frame stands in [`Inbox::bytes`].
pub(crate) struct Frame {
    /// The MessagePack header.
    pub(crate) header: Range<usize>,
    /// The raw body.
    pub(crate) body: Range<usize>,
}

/// Bytes that were read and not yet taken as frames.
#[derive(Default)]
pub(crate) struct Inbox {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Inbox {
    /// Room for the next read.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        let wanted = self.missing().max(READ_SIZE);
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.bytes.len() < self.end + wanted {
            self.bytes.resize(self.end + wanted, 0);
        }
        &mut self.bytes[self.end..]
    }

    /// `count` bytes of [`Inbox::space`] have been filled.
    pub(crate) fn filled(&mut self, count: usize) {
        self.end += count;
    }

    /// The next complete frame, if there is one.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, Error> {
        let pending = &self.bytes[self.start..self.end];
        let Some(lengths) = lengths(pending)? else { return Ok(None) };
        let end = LENGTH + lengths.frame;
        if pending.len() < end {
            return Ok(None);
        }
        let start = self.start;
        self.start += end;
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
        let body = start + PREFIX + lengths.header;
        Ok(Some(Frame { header: start + PREFIX..body, body: body..start + end }))
    }

    /// The bytes that the ranges of a [`Frame`] refer to, until the next call of [`Inbox::space`].
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Gives back the memory of a long frame once nothing is left of it.
    pub(crate) fn trim(&mut self) {
        if self.start == self.end && self.bytes.len() > KEEP {
            *self = Self::default();
        }
    }

    /// What the frame that has begun lacks; 0 as long as its length isn't known or known to be wrong.
    fn missing(&self) -> usize {
        let pending = &self.bytes[self.start..self.end];
        match lengths(pending) {
            Ok(Some(lengths)) => (LENGTH + lengths.frame).saturating_sub(pending.len()),
            Ok(None) | Err(_) => 0,
        }
    }
}

struct Lengths {
    frame: usize,
    header: usize,
}

fn lengths(pending: &[u8]) -> Result<Option<Lengths>, Error> {
    let (Some(frame), Some(header)) = (word(pending, 0), word(pending, LENGTH)) else { return Ok(None) };
    if frame > MAX_FRAME {
        return Err(Error::TooLong(frame));
    }
    if header + LENGTH > frame {
        return Err(Error::Header { frame, header });
    }
    Ok(Some(Lengths { frame, header }))
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..at + LENGTH)?;
    let word: [u8; LENGTH] = bytes.try_into().ok()?;
    usize::try_from(u32::from_le_bytes(word)).ok()
}

/// Frames that wait to be written.
#[derive(Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    written: usize,
    /// Bodies too long to be worth copying stand alone, in the order of the bytes around them.
    queue: VecDeque<Vec<u8>>,
}

impl Outbox {
    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.written + self.queue.iter().map(Vec::len).sum::<usize>()
    }

    /// Appends one frame whose body is made of `parts`.
    ///
    /// # Errors
    ///
    /// When the frame would be too long; nothing is appended then.
    pub(crate) fn push(&mut self, header: &[u8], parts: &[&[u8]]) -> Result<(), Error> {
        let body: usize = parts.iter().map(|part| part.len()).sum();
        let frame = LENGTH + header.len() + body;
        if frame > MAX_FRAME {
            return Err(Error::TooLong(frame));
        }
        let bytes = self.tail(LENGTH + frame);
        bytes.extend_from_slice(&length(frame));
        bytes.extend_from_slice(&length(header.len()));
        bytes.extend_from_slice(header);
        for part in parts {
            bytes.extend_from_slice(part);
        }
        Ok(())
    }

    /// What to write next; empty when nothing waits.
    pub(crate) fn front(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    /// `count` bytes of [`Outbox::front`] have been written.
    pub(crate) fn wrote(&mut self, count: usize) {
        self.written += count;
        if self.written < self.bytes.len() {
            return;
        }
        self.written = 0;
        match self.queue.pop_front() {
            Some(next) => self.bytes = next,
            None if self.bytes.capacity() > KEEP => self.bytes = Vec::new(),
            None => self.bytes.clear(),
        }
    }

    /// The chunk that takes the next frame: a new one when growing the last would mean to copy much.
    fn tail(&mut self, more: usize) -> &mut Vec<u8> {
        let last = self.queue.back().unwrap_or(&self.bytes);
        if !last.is_empty() && last.len() + more > KEEP {
            self.queue.push_back(Vec::with_capacity(more));
        }
        match self.queue.back_mut() {
            Some(last) => last,
            None => &mut self.bytes,
        }
    }
}

fn length(value: usize) -> [u8; LENGTH] {
    u32::try_from(value).expect("no frame is longer than the limit").to_le_bytes()
}

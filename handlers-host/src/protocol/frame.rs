//! Where does a message begin and end? Two lengths, a header, a body.

use bytes::{Buf, Bytes, BytesMut};

/// Longest frame either side may send, in bytes after the first length.
pub const MAX_FRAME: usize = 64 << 20;

const LENGTH: usize = 4;

/// Why bytes are not the protocol's. The connection ends then: there is no way to find the next frame.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A frame is longer than allowed.
    #[error("a frame of {0} bytes; {MAX_FRAME} are allowed")]
    TooLong(usize),
    /// The header's length does not fit into the frame.
    #[error("a header of {header} bytes in a frame of {frame}")]
    BadHeaderLength {
        /// Announced length of the header.
        header: usize,
        /// Length of the frame.
        frame: usize,
    },
    /// The header is not what the protocol says.
    #[error("message {message}: {expected} expected")]
    BadHeader {
        /// The message's number, 0 when unreadable.
        message: u64,
        /// What should have been there.
        expected: &'static str,
    },
    /// A JSON body cannot be read.
    #[error("message {message}: the body is not the JSON expected")]
    BadBody {
        /// The message's number.
        message: u64,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// Takes a stream of bytes apart into frames.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
}

impl Decoder {
    /// Where received bytes are to be appended.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next whole frame as header and body, or `None` until more bytes have come.
    ///
    /// # Errors
    /// When the lengths make no sense.
    pub fn next_frame(&mut self) -> Result<Option<(Bytes, Bytes)>, Error> {
        let Some(length) = peek_length(&self.buffer) else { return Ok(None) };
        if length > MAX_FRAME {
            return Err(Error::TooLong(length));
        }
        if self.buffer.len() < LENGTH + length {
            self.buffer.reserve(LENGTH + length - self.buffer.len());
            return Ok(None);
        }
        self.buffer.advance(LENGTH);
        let mut frame = self.buffer.split_to(length).freeze();
        let bad = |header| Error::BadHeaderLength { header, frame: length };
        let header_length = peek_length(&frame).ok_or_else(|| bad(0))?;
        frame.advance(LENGTH);
        if header_length > frame.len() {
            return Err(bad(header_length));
        }
        let header = frame.split_to(header_length);
        Ok(Some((header, frame)))
    }
}

fn peek_length(bytes: &[u8]) -> Option<usize> {
    let length = bytes.first_chunk::<LENGTH>()?;
    usize::try_from(u32::from_le_bytes(*length)).ok()
}

/// Appends one frame to `out`; `header` writes the header's bytes.
pub(super) fn encode(out: &mut Vec<u8>, body: &[u8], header: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 2 * LENGTH]);
    header(out);
    let header_length = out.len() - start - 2 * LENGTH;
    out.extend_from_slice(body);
    let frame_length = out.len() - start - LENGTH;
    patch_length(out, start, frame_length);
    patch_length(out, start + LENGTH, header_length);
}

fn patch_length(out: &mut [u8], at: usize, length: usize) {
    // Bodies are bounded far below 4 GiB by the settings that admit them.
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    out[at..at + LENGTH].copy_from_slice(&length.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_as_they_went_in_however_they_are_cut() {
        let mut bytes = Vec::new();
        encode(&mut bytes, b"body", |out| out.extend_from_slice(b"head"));
        encode(&mut bytes, b"", |out| out.extend_from_slice(b"h"));
        for cut in 0..bytes.len() {
            let mut decoder = Decoder::default();
            let mut frames = Vec::new();
            for part in [&bytes[..cut], &bytes[cut..]] {
                decoder.buffer().extend_from_slice(part);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    frames.push(frame);
                }
            }
            let expected = [(Bytes::from("head"), Bytes::from("body")), (Bytes::from("h"), Bytes::new())];
            assert_eq!(frames, expected, "cut at {cut}");
        }
    }

    #[test]
    fn impossible_lengths_are_errors() {
        for bytes in [[0xff; 8].as_slice(), &[2, 0, 0, 0, 1, 0], &[4, 0, 0, 0, 1, 0, 0, 0]] {
            let mut decoder = Decoder::default();
            decoder.buffer().extend_from_slice(bytes);
            assert!(decoder.next_frame().is_err(), "{bytes:?}");
        }
    }
}

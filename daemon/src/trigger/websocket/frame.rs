//! What does a frame look like on the wire? Headers read and whole frames written, as RFC 6455 has them.

use bytes::Bytes;

use crate::trigger::websocket::close::{Close, PROTOCOL_ERROR};

/// Most bytes that a control frame carries.
pub(super) const MAX_CONTROL: usize = 125;
/// Longest header of a frame from a server.
const MAX_HEADER: usize = 10;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl Opcode {
    fn parse(bits: u8) -> Option<Self> {
        const ALL: [Opcode; 6] =
            [Opcode::Continuation, Opcode::Text, Opcode::Binary, Opcode::Close, Opcode::Ping, Opcode::Pong];
        ALL.into_iter().find(|opcode| *opcode as u8 == bits)
    }

    pub(super) fn is_control(self) -> bool {
        self as u8 >= Self::Close as u8
    }
}

/// The header of a frame from a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Whether it is the last frame of its message.
    pub(super) fin: bool,
    pub(super) opcode: Opcode,
    pub(super) mask: [u8; 4],
    /// Bytes of payload.
    pub(super) length: u64,
}

impl Header {
    /// Reads the header at the beginning of `bytes`, and how long it is; `None` when it has not come whole. What is wrong
    /// with its first bytes is found before the rest has come.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Close> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        if first & RESERVED != 0 {
            return Err(violation("a frame has reserved bits set; no extension was agreed on"));
        }
        let opcode = Opcode::parse(first & 0x0f).ok_or_else(|| violation("a frame has an unknown opcode"))?;
        let fin = first & FIN != 0;
        if opcode.is_control() && !fin {
            return Err(violation("a control frame is fragmented"));
        }
        let Some(&second) = bytes.get(1) else { return Ok(None) };
        if second & MASKED == 0 {
            return Err(violation("a frame from a client is not masked"));
        }
        let short = second & !MASKED;
        if opcode.is_control() && usize::from(short) > MAX_CONTROL {
            return Err(violation("a control frame carries more than 125 bytes"));
        }
        let Some((length, at)) = length(short, &bytes[2..])? else { return Ok(None) };
        let Some(mask) = bytes[2 + at..].first_chunk::<4>() else { return Ok(None) };
        Ok(Some((Self { fin, opcode, mask: *mask, length }, 2 + at + 4)))
    }
}

/// The length of the payload, and how many further bytes it takes.
fn length(short: u8, rest: &[u8]) -> Result<Option<(u64, usize)>, Close> {
    let (length, size) = match short {
        126 => match rest.first_chunk::<2>() {
            Some(bytes) => (u64::from(u16::from_be_bytes(*bytes)), 2),
            None => return Ok(None),
        },
        127 => match rest.first_chunk::<8>() {
            Some(bytes) => (u64::from_be_bytes(*bytes), 8),
            None => return Ok(None),
        },
        short => return Ok(Some((u64::from(short), 0))),
    };
    let least = if size == 2 { 126 } else { 1 << 16 };
    if length < least || length > i64::MAX as u64 {
        return Err(violation("a frame's length is not written as RFC 6455 has it"));
    }
    Ok(Some((length, size)))
}

fn violation(reason: &'static str) -> Close {
    Close::new(PROTOCOL_ERROR, reason)
}

/// A whole frame from a server. One can be sent to any number of clients, since nothing in it is theirs.
pub(super) fn encode(opcode: Opcode, payload: &[u8]) -> Bytes {
    let mut frame = Vec::with_capacity(MAX_HEADER + payload.len());
    frame.push(FIN | opcode as u8);
    match u16::try_from(payload.len()) {
        Ok(length) if length < 126 => frame.push(payload.len() as u8),
        Ok(length) => {
            frame.push(126);
            frame.extend_from_slice(&length.to_be_bytes());
        }
        Err(_longer) => {
            frame.push(127);
            frame.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame.into()
}

/// Takes the mask off (or puts it on) bytes that begin `offset` bytes into a payload.
pub(super) fn unmask(bytes: &mut [u8], mask: [u8; 4], offset: usize) {
    let mut mask = mask;
    mask.rotate_left(offset % 4);
    let word = u64::from_ne_bytes([mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3]]);
    let (chunks, rest) = bytes.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ word).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_written_as_short_as_they_can_be() {
        for (length, header) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            assert_eq!(encode(Opcode::Text, &vec![b'x'; length]).len(), header + length, "{length}");
        }
        assert_eq!(&encode(Opcode::Text, b"Hello")[..], b"\x81\x05Hello");
    }

    #[test]
    fn headers_are_refused_at_their_first_wrong_byte() {
        for wrong in [
            &b"\x91"[..],
            b"\xc1",
            b"\x83",
            b"\x8b",
            b"\x09",
            b"\x81\x05",
            b"\x89\xfe",
            b"\x81\xfe\x00\x7d",
            b"\x81\xff\x00\x00\x00\x00\x00\x00\xff\xff",
            b"\x81\xff\x80\x00\x00\x00\x00\x00\x00\x00",
        ] {
            assert_eq!(Header::parse(wrong).unwrap_err().code, PROTOCOL_ERROR, "{wrong:?}");
            assert!(wrong.len() == 10 || matches!(Header::parse(&wrong[..wrong.len() - 1]), Ok(None)), "{wrong:?}");
        }
    }

    #[test]
    fn a_header_is_read_once_it_is_whole() {
        let bytes = b"\x01\xfe\x01\x00\x0a\x0b\x0c\x0d";
        for end in 0..bytes.len() {
            assert_eq!(Header::parse(&bytes[..end]).unwrap(), None, "{end}");
        }
        let header = Header { fin: false, opcode: Opcode::Text, mask: [10, 11, 12, 13], length: 256 };
        assert_eq!(Header::parse(bytes).unwrap(), Some((header, 8)));
    }

    #[test]
    fn masks_come_off_wherever_a_part_begins() {
        let mask = [1, 2, 3, 4];
        let plain: Vec<u8> = (0..=255).collect();
        let masked: Vec<u8> = plain.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        for cut in 0..40 {
            let mut bytes = masked.clone();
            let (head, tail) = bytes.split_at_mut(cut);
            unmask(head, mask, 0);
            unmask(tail, mask, cut);
            assert_eq!(bytes, plain, "{cut}");
        }
    }
}

use std::time::{Duration, Instant};

use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message as Oracle};

use super::*;
use crate::trigger::websocket::close::{GOING_AWAY, NORMAL};

const LIMITS: Limits = Limits { message: 1 << 20, frame: 1 << 20 };
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A frame as a client sends it.
fn client(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut payload = payload.to_vec();
    frame::unmask(&mut payload, MASK, 0);
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..126 => bytes.push(0x80 | length as u8),
        length @ 126..65_536 => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&MASK);
    bytes.extend_from_slice(&payload);
    bytes
}

/// All that is said in these bytes, which come in pieces of `size`.
fn said(bytes: &[u8], size: usize, limits: Limits) -> Result<Vec<Said>, Close> {
    let mut decoder = Decoder::new(limits);
    let mut rest = Vec::new();
    let mut all = Vec::new();
    for piece in bytes.chunks(size.max(1)) {
        rest.extend_from_slice(piece);
        loop {
            let mut input = &rest[..];
            let step = decoder.step(&mut input, true)?;
            let used = rest.len() - input.len();
            rest.drain(..used);
            match step {
                Step::Said(said) => all.push(said),
                Step::Incomplete => break,
                Step::Withheld => panic!("messages were wanted"),
            }
        }
    }
    Ok(all)
}

fn code(bytes: &[u8]) -> u16 {
    said(bytes, usize::MAX, LIMITS).unwrap_err().code
}

fn text(text: &str) -> Said {
    Said::Message(Message { binary: false, data: Bytes::copy_from_slice(text.as_bytes()) })
}

fn binary(data: &[u8]) -> Said {
    Said::Message(Message { binary: true, data: Bytes::copy_from_slice(data) })
}

#[test]
fn messages_are_put_together_around_control_frames_however_the_bytes_come() {
    let bytes = [
        client(0x01, b"caf\xc3"),
        client(0x89, b"here?"),
        client(0x00, b""),
        client(0x8a, b""),
        client(0x80, b"\xa9"),
        client(0x82, &[0xff; 300]),
        client(0x81, b""),
        client(0x88, b"\x03\xe9bye"),
    ]
    .concat();
    let expected = [
        Said::Ping(Bytes::from_static(b"here?")),
        Said::Pong,
        text("café"),
        binary(&[0xff; 300]),
        text(""),
        Said::Close(Close::new(GOING_AWAY, "bye")),
    ];
    for size in [1, 2, 3, 7, 100, usize::MAX] {
        assert_eq!(said(&bytes, size, LIMITS).unwrap(), expected, "{size}");
    }
}

#[test]
fn messages_within_each_other_and_ends_without_a_beginning_are_refused() {
    assert_eq!(code(&client(0x80, b"x")), PROTOCOL_ERROR);
    assert_eq!(code(&[client(0x01, b"x"), client(0x81, b"y")].concat()), PROTOCOL_ERROR);
    assert_eq!(code(&[client(0x02, b"x"), client(0x80, b"y"), client(0x80, b"z")].concat()), PROTOCOL_ERROR);
}

#[test]
fn a_text_is_refused_at_its_first_wrong_byte() {
    assert_eq!(code(&client(0x81, b"\xc3")), INVALID_TEXT);
    assert_eq!(code(&client(0x81, b"\xed\xa0\x80")), INVALID_TEXT);
    assert_eq!(code(&[client(0x01, b"\xc3"), client(0x80, b"x")].concat()), INVALID_TEXT);
    let whole = client(0x81, b"ab\xffcdefgh");
    assert!(said(&whole[..8], 1, LIMITS).is_ok());
    assert_eq!(said(&whole[..9], 1, LIMITS).unwrap_err().code, INVALID_TEXT);
}

#[test]
fn what_is_too_large_is_refused_at_its_header() {
    let limits = Limits { message: 300, frame: 200 };
    let refused = |bytes: &[u8]| said(bytes, usize::MAX, limits).unwrap_err().code == TOO_LARGE;
    assert!(refused(&client(0x82, &[0; 201])[..8]));
    assert!(refused(&[client(0x02, &[0; 200]), client(0x80, &[0; 101])[..6].to_vec()].concat()));
    assert!(said(&[client(0x02, &[0; 200]), client(0x80, &[0; 100])].concat(), 3, limits).is_ok());
    assert!(refused(b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00"));
}

#[test]
fn an_announcement_takes_no_memory() {
    let mut decoder = Decoder::new(LIMITS);
    let bytes = client(0x82, &[0; 1 << 20]);
    decoder.step(&mut &bytes[..100], true).unwrap();
    assert!(decoder.message.unwrap().data.capacity() <= FIRST_ROOM);
}

#[test]
fn messages_are_withheld_while_control_frames_go_on() {
    let mut decoder = Decoder::new(LIMITS);
    let bytes = [client(0x89, b"1"), client(0x81, b"later"), client(0x89, b"2")].concat();
    let mut input = &bytes[..];
    assert_eq!(decoder.step(&mut input, false).unwrap(), Step::Said(Said::Ping(Bytes::from_static(b"1"))));
    assert_eq!(decoder.step(&mut input, false).unwrap(), Step::Withheld);
    assert_eq!(decoder.step(&mut input, true).unwrap(), Step::Said(text("later")));
    assert_eq!(decoder.step(&mut input, false).unwrap(), Step::Said(Said::Ping(Bytes::from_static(b"2"))));
    assert_eq!(decoder.step(&mut input, false).unwrap(), Step::Incomplete);
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound.max(1) as u64).unwrap()
    }
}

/// What another implementation reads, for comparison: what was said until an error or the end.
fn oracle(bytes: &[u8], limits: Limits) -> (Vec<Said>, bool) {
    let config = WebSocketConfig::default()
        .max_message_size(Some(usize::try_from(limits.message).unwrap()))
        .max_frame_size(Some(usize::try_from(limits.frame).unwrap()));
    let mut context = WebSocketContext::new(Role::Server, Some(config));
    let mut stream = Replay { input: bytes };
    let mut all = Vec::new();
    loop {
        match context.read(&mut stream) {
            Ok(Oracle::Text(said)) => all.push(text(said.as_str())),
            Ok(Oracle::Binary(data)) => all.push(binary(&data)),
            Ok(Oracle::Ping(data)) => all.push(Said::Ping(Bytes::copy_from_slice(&data))),
            Ok(Oracle::Pong(_)) => all.push(Said::Pong),
            // What it answers to a close is not what was sent: it is compared up to there.
            Ok(Oracle::Close(_)) => return (all, true),
            Ok(Oracle::Frame(_)) => unreachable!("never read"),
            Err(Error::Io(_)) => return (all, true),
            Err(_) => return (all, false),
        }
    }
}

struct Replay<'b> {
    input: &'b [u8],
}

impl std::io::Read for Replay<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.input.is_empty() {
            return Err(std::io::ErrorKind::WouldBlock.into());
        }
        self.input.read(buffer)
    }
}

impl std::io::Write for Replay<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn anything(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..1 + random.below(6) {
        let firsts = [0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x89, 0x8a, 0x88, 0x81, 0x82];
        let lengths = [0, 1, 2, 5, 60, 125, 126, 127, 300, 1000, 65_535, 65_536, 70_000];
        let large = random.below(20) == 0;
        let length = lengths[random.below(if large { lengths.len() } else { 9 })];
        let words: [&[u8]; 6] = [b"a", "é".as_bytes(), "😀".as_bytes(), b"\xff", b"\x03\xe8", b"\0"];
        let any = random.below(4) == 0;
        let word = words[random.below(if any { 6 } else { 3 })];
        let payload: Vec<u8> = word.iter().copied().cycle().take(length).collect();
        bytes.extend(client(firsts[random.below(firsts.len())], &payload));
    }
    for _ in 0..[0, 0, 1, 2, 5][random.below(5)] {
        let at = random.below(bytes.len());
        match random.below(3) {
            0 => bytes[at] = random.below(256) as u8,
            1 => drop(bytes.drain(at..(at + 1 + random.below(8)).min(bytes.len()))),
            _ => bytes.insert(at, random.below(256) as u8),
        }
        if bytes.is_empty() {
            bytes.push(0);
        }
    }
    bytes
}

/// Any bytes, in any pieces, within limits, mean the same to another implementation, and never make this one panic.
///
/// For `ROHAS_FUZZ_SECONDS` (2 without it); `ROHAS_FUZZ_SEED` repeats a run.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test that is told how long to run")]
fn fuzz_frames() {
    let seconds = std::env::var("ROHAS_FUZZ_SECONDS").map_or(2, |seconds| seconds.parse().unwrap());
    let seed = std::env::var("ROHAS_FUZZ_SEED").map_or(0x9e37_79b9_7f4a_7c15, |seed| seed.parse().unwrap());
    let mut random = Random(seed);
    let until = Instant::now() + Duration::from_secs(seconds);
    let (mut runs, mut refused) = (0u64, 0u64);
    while Instant::now() < until {
        let bytes = anything(&mut random);
        let limits =
            Limits { message: [200, 70_000, 1 << 20][random.below(3)], frame: [150, 1 << 20][random.below(2)] };
        let mut outcomes =
            [1 + random.below(9), 1000, usize::MAX].map(|size| until_close(said_before(&bytes, size, limits)));
        assert_eq!(outcomes[0], outcomes[2], "{bytes:?}");
        assert_eq!(outcomes[1], outcomes[2], "{bytes:?}");
        let (ours, our_error) = std::mem::take(&mut outcomes[2]);
        let (theirs, fine) = oracle(&bytes, limits);
        // It reads frames with lengths that are longer than need be, and refuses some codes later; beyond a close or an error
        // of either nothing is compared.
        let common = ours.len().min(theirs.len());
        assert_eq!(ours[..common], theirs[..common], "{bytes:?}");
        if our_error.is_none() && fine {
            assert_eq!(ours, theirs, "{bytes:?}");
        }
        assert!(fine || our_error.is_some() || ours.len() >= theirs.len(), "{bytes:?}");
        runs += 1;
        refused += u64::from(our_error.is_some());
    }
    println!(
        "{runs} streams of frames, {refused} of them refused, none read otherwise than by tungstenite (seed {seed})"
    );
    assert!(runs > 100 && refused > 0 && refused < runs);
}

/// What was said before the end or an error.
fn said_before(bytes: &[u8], size: usize, limits: Limits) -> (Vec<Said>, Option<Close>) {
    let mut decoder = Decoder::new(limits);
    let (mut rest, mut all) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(size) {
        rest.extend_from_slice(piece);
        loop {
            let mut input = &rest[..];
            let step = match decoder.step(&mut input, true) {
                Ok(step) => step,
                Err(close) => return (all, Some(close)),
            };
            let used = rest.len() - input.len();
            rest.drain(..used);
            match step {
                Step::Said(said) => all.push(said),
                _ => break,
            }
        }
    }
    (all, None)
}

/// Nothing behind a close counts.
fn until_close((mut all, error): (Vec<Said>, Option<Close>)) -> (Vec<Said>, Option<Close>) {
    match all.iter().position(|said| matches!(said, Said::Close(_))) {
        Some(at) => {
            all.truncate(at);
            (all, None)
        }
        None => (all, error),
    }
}

#[test]
fn a_close_without_a_code_is_one() {
    assert_eq!(said(&client(0x88, b""), 1, LIMITS).unwrap().len(), 1);
    assert_eq!(said(&client(0x88, b"\x03\xe8"), 1, LIMITS).unwrap(), [Said::Close(Close::new(NORMAL, ""))]);
}

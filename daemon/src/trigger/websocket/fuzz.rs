//! Does any sequence of bytes break a session? Mutated frames, for `ROHAS_FUZZ_SECONDS` (2 without it); `ROHAS_FUZZ_SEED` repeats a run.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tokio_tungstenite::tungstenite::{Error, Message as Wire};

use super::close::Close;
use super::tests::{Server, sent};

const MAX_MESSAGE: usize = 70_000;
const MAX_FRAME: usize = 66_000;
/// What the process may take beyond what it had after the first streams.
const MORE_MEMORY: usize = 64 << 20;

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound.max(1) as u64).unwrap()
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// A few frames, some of them changed.
fn anything(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..1 + random.below(6) {
        let first = random.of(&[0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x89, 0x8a, 0x88, 0x81, 0x82]);
        let lengths = [0, 1, 2, 5, 60, 125, 126, 127, 300, 1000, 65_535, 65_536, 67_000];
        let known = if random.below(20) == 0 { lengths.len() } else { 9 };
        let length = random.of(&lengths[..known]);
        let words: [&[u8]; 6] = [b"a", "é".as_bytes(), "😀".as_bytes(), b"\xff", b"\x03\xe8", b"\0"];
        let known = if random.below(4) == 0 { 6 } else { 3 };
        let word = random.of(&words[..known]);
        let payload: Vec<u8> = word.iter().copied().cycle().take(length).collect();
        bytes.extend(sent(first, &payload));
    }
    for _ in 0..random.of(&[0, 0, 1, 2, 5]) {
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

/// Bytes that come, and no more.
struct Replay<'b>(&'b [u8]);

impl Read for Replay<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() { Err(io::ErrorKind::WouldBlock.into()) } else { self.0.read(buffer) }
    }
}

impl Write for Replay<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The code of the close frame that is to come, empty for one without; `None` while the connection is open.
fn expected(bytes: &[u8]) -> Option<Option<u16>> {
    let config = WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_FRAME));
    let mut context = WebSocketContext::new(Role::Server, Some(config));
    let mut stream = Replay(bytes);
    loop {
        match context.read(&mut stream) {
            Ok(Wire::Close(frame)) => return Some(frame.map(|frame| frame.code.into())),
            Ok(_) => {}
            Err(Error::Io(_)) => return None,
            Err(error) => return Some(Close::of_violation(&error).map(|close| close.code)),
        }
    }
}

/// The code of the close frame among whole frames, which must be the last of them.
fn close_among(mut answers: &[u8]) -> Option<Option<u16>> {
    while let [first, length, rest @ ..] = answers {
        let (length, rest) = match length {
            126 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
            127 => panic!("no frame is so long"),
            length => (usize::from(*length), rest),
        };
        let (payload, rest) = rest.split_at(length);
        if *first == 0x88 {
            assert!(rest.is_empty(), "something comes after the close frame");
            return Some(payload.first_chunk::<2>().map(|code| u16::from_be_bytes(*code)));
        }
        assert!([0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x8a].contains(first), "{first:#x}");
        answers = rest;
    }
    assert!(answers.is_empty(), "half a frame");
    None
}

/// What comes back for bytes that come in two pieces, until both sides have ended.
fn answers(server: &Server, bytes: &[u8], cut: usize) -> Vec<u8> {
    let mut stream = server.connect();
    for piece in [&bytes[..cut], &bytes[cut..]] {
        stream.write_all(piece).unwrap();
    }
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answers = Vec::new();
    stream.read_to_end(&mut answers).unwrap();
    answers
}

/// Bytes of this process that are in memory.
fn memory() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test that is told how long to run")]
fn fuzz_sessions() {
    let seconds = std::env::var("ROHAS_FUZZ_SECONDS").map_or(2, |seconds| seconds.parse().unwrap());
    let seed = std::env::var("ROHAS_FUZZ_SEED").map_or(0x9e37_79b9_7f4a_7c15, |seed| seed.parse().unwrap());
    let server = Server::with_limits(MAX_MESSAGE, MAX_FRAME);
    let mut random = Random(seed);
    let mut ends = BTreeMap::<String, u64>::new();
    let (mut runs, mut before) = (0u64, 0);
    let until = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < until {
        let bytes = anything(&mut random);
        let end = close_among(&answers(&server, &bytes, random.below(bytes.len())));
        assert_eq!(end, expected(&bytes), "{bytes:?}");
        *ends.entry(end.map_or_else(|| "open".to_owned(), |code| format!("{code:?}"))).or_default() += 1;
        runs += 1;
        if runs == 100 {
            before = memory();
        }
    }
    let more = memory().saturating_sub(before);
    println!("{runs} streams (seed {seed}), {} KiB more memory than after 100; how they ended: {ends:?}", more >> 10);
    assert!(runs > 100 && ends.len() > 3 && more < MORE_MEMORY);
}

//! What the extension does without an interpreter. The crate is a `cdylib` whose own tests can't be linked, because the
//! symbols of Python come from the interpreter that loads it; so the files are taken in here.

#![allow(dead_code, unreachable_pub, reason = "each file is used by the extension as a whole, here only in part")]

#[path = "../src/decode.rs"]
mod decode;
#[path = "../src/frame.rs"]
mod frame;
#[path = "../src/ids.rs"]
mod ids;
#[path = "../src/message.rs"]
mod message;
#[path = "../src/rfc3339.rs"]
mod rfc3339;
#[path = "../src/slots.rs"]
mod slots;

use std::fs::File;
use std::io::Write;

use decode::{Input, Message, Phase, Target};
use frame::{Inbox, MAX_FRAME, Outbox};
use ids::Ids;
use message::{Header, Line};
use slots::Slots;

/// Bytes of frames as the peer sends them.
fn written(frames: &[(&[u8], &[&[u8]])]) -> Vec<u8> {
    let mut outbox = Outbox::default();
    for (header, parts) in frames {
        outbox.push(header, parts).expect("the frame is short enough");
    }
    let mut bytes = Vec::new();
    while !outbox.front().is_empty() {
        let count = outbox.front().len().min(100_000);
        bytes.extend_from_slice(&outbox.front()[..count]);
        outbox.wrote(count);
    }
    assert_eq!(outbox.len(), 0);
    bytes
}

/// The frames in bytes that arrive in pieces of a given size.
fn read(bytes: &[u8], piece: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut inbox = Inbox::default();
    let mut frames = Vec::new();
    for piece in bytes.chunks(piece) {
        let mut piece = piece;
        while !piece.is_empty() {
            let space = inbox.space();
            let count = space.len().min(piece.len());
            space[..count].copy_from_slice(&piece[..count]);
            inbox.filled(count);
            piece = &piece[count..];
            while let Some(frame) = inbox.next().expect("the lengths are right") {
                frames.push((inbox.bytes()[frame.header].to_vec(), inbox.bytes()[frame.body].to_vec()));
            }
            inbox.trim();
        }
    }
    frames
}

#[test]
fn frames_arrive_as_they_were_sent_however_they_are_cut() {
    let large = vec![7_u8; 3_000_000];
    let [alone, with_more]: [&[&[u8]]; 2] = [&[&large], &[&large, b"!"]];
    let sent: Vec<(&[u8], &[&[u8]])> =
        vec![(b"\x91\x04", &[]), (b"h", &[b"body", b" ", b"parts"]), (b"x", alone), (b"y", &[b""]), (b"z", with_more)];
    let bytes = written(&sent);
    let expected: Vec<_> = sent.iter().map(|(header, parts)| (header.to_vec(), parts.concat())).collect();
    for piece in [1_000, 65_536, 1_048_577, bytes.len()] {
        assert!(read(&bytes, piece) == expected, "pieces of {piece} bytes");
    }
    let small = written(&sent[..2]);
    assert_eq!(read(&small, 1), expected[..2]);
}

#[test]
fn a_frame_beyond_the_limit_is_refused_and_leaves_nothing() {
    let mut outbox = Outbox::default();
    let body = vec![0; MAX_FRAME];
    assert!(outbox.push(b"h", &[&body]).is_err());
    assert_eq!(outbox.len(), 0);
    assert!(outbox.push(b"h", &[&body[..MAX_FRAME - 5]]).is_ok());
}

#[test]
fn lengths_that_contradict_each_other_are_no_frame() {
    for lengths in [[u32::MAX, 0], [8, 5], [3, 0]] {
        let mut inbox = Inbox::default();
        let bytes: Vec<u8> = lengths.iter().flat_map(|length| length.to_le_bytes()).collect();
        inbox.space()[..8].copy_from_slice(&bytes);
        inbox.filled(8);
        assert!(inbox.next().is_err(), "{lengths:?}");
    }
}

#[test]
fn an_invoke_of_an_api_is_understood_with_elements_of_newer_daemons() {
    let mut header = vec![0x98, 2, 9, 3, 1, 2, 0xa2, b'a', b'b'];
    // [0, ["eu"], [["k", "v"]], [["h", "1"]], true, 12, "newer"], "newer"
    header.extend_from_slice(&[0x97, 0, 0x91, 0xa2, b'e', b'u', 0x91, 0x92, 0xa1, b'k', 0xa1, b'v']);
    header.extend_from_slice(&[0x91, 0x92, 0xa1, b'h', 0xa1, b'1', 0xc3, 12, 0xa1, b'n', 0xa1, b'n']);
    let Message::Invoke(invoke) = decode::decode(&header).unwrap() else { panic!("no invoke") };
    assert_eq!((invoke.id, invoke.slot, invoke.handler, invoke.attempt, invoke.trace_id), (9, 3, 1, 2, "ab"));
    let Input::Api { path_params, query, headers, has_body, query_length } = invoke.input else { panic!("no api") };
    assert_eq!((path_params, query), (vec!["eu"], vec![("k", "v")]));
    assert_eq!(decode::decode_pairs(headers).unwrap(), [("h", "1")]);
    assert_eq!((has_body, query_length), (true, Some(12)));
}

#[test]
fn an_event_may_have_no_key() {
    let header = [0x97, 2, 1, 0, 0, 1, 0xa0, 0x95, 1, 0xa1, b'e', 0xa1, b't', 0xc0, 0xa1, b'E'];
    let Message::Invoke(invoke) = decode::decode(&header).unwrap() else { panic!("no invoke") };
    assert!(matches!(invoke.input, Input::Event { id: "e", time: "t", key: None }));
}

/// An invoke with this input.
fn invoke(input: &[u8]) -> Vec<u8> {
    [&[0x97, 2, 1, 0, 0, 1, 0xa0], input].concat()
}

/// `["c", "/p", "t", [["r", "b"]], [], [["h", "1"]], nil]`
const CONNECTION: &[u8] = b"\x97\xa1c\xa2/p\xa1t\x91\x92\xa1r\xa1b\x90\x91\x92\xa1h\xa11\xc0";

#[test]
fn what_happens_on_a_connection_is_understood() {
    let input = |phase: u8, rest: &[u8]| {
        let length = if rest.is_empty() { 0x93 } else { 0x95 };
        [&[length, 3, phase], CONNECTION, rest].concat()
    };
    let opened = invoke(&input(0, b""));
    let Message::Invoke(invoked) = decode::decode(&opened).unwrap() else { panic!("no invoke") };
    let Input::WebSocket { connection, phase: Phase::Opened } = invoked.input else { panic!("no opened") };
    assert_eq!((connection.id, connection.path, connection.connected_at, connection.client), ("c", "/p", "t", None));
    assert_eq!((connection.path_params, connection.query), (vec![("r", "b")], Vec::new()));
    assert_eq!(decode::decode_pairs(connection.headers).unwrap(), [("h", "1")]);
    for (phase, rest, expected) in [(1, b"\xa1t\xc3".as_slice(), (true, 0)), (2, b"\xcd\x03\xe9\xa1r", (false, 1001))] {
        let header = invoke(&input(phase, rest));
        let Message::Invoke(invoked) = decode::decode(&header).unwrap() else { panic!("no invoke") };
        let seen = match invoked.input {
            Input::WebSocket { phase: Phase::Message { time: "t", binary }, .. } => (binary, 0),
            Input::WebSocket { phase: Phase::Closed { code, reason: "r" }, .. } => (false, code),
            _ => panic!("neither a message nor an end"),
        };
        assert_eq!(seen, expected);
    }
    assert!(decode::decode(&invoke(&input(3, b""))).is_err());
    assert!(decode::decode(&invoke(&[&[0x93, 3, 1], CONNECTION].concat())).is_err());
}

#[test]
fn a_middleware_is_told_what_it_stands_before_and_what_was_answered() {
    let context = |target: &[u8]| [b"\x96".as_slice(), target, b"\xa3GET\xa2/x\x90\x90\xa1i"].concat();
    let before = invoke(&[b"\x93\x04".as_slice(), &context(b"\x92\x00\xa1A"), b"\x91\x92\xa1k\xa1v"].concat());
    let Message::Invoke(invoked) = decode::decode(&before).unwrap() else { panic!("no invoke") };
    let Input::Middleware { context: seen, query, after: None } = invoked.input else { panic!("no middleware") };
    assert!(matches!(seen.target, Target::Api("A")));
    assert_eq!((seen.method, seen.path, seen.client, query), ("GET", "/x", Some("i"), vec![("k", "v")]));
    let target = [b"\x93\x01\xa1W".as_slice(), CONNECTION].concat();
    let after = [b"\x96\x05".as_slice(), &context(&target), b"\x90\x07\xcc\xc9\x91\x92\xa1h\xa11"].concat();
    let after = invoke(&after);
    let Message::Invoke(invoked) = decode::decode(&after).unwrap() else { panic!("no invoke") };
    let Input::Middleware { context: seen, after: Some(after), .. } = invoked.input else { panic!("no after") };
    assert!(matches!(seen.target, Target::WebSocket("W", connection) if connection.id == "c"));
    assert_eq!((after.payload_length, after.status, after.headers), (7, 201, vec![("h", "1")]));
    assert!(decode::decode(&invoke(&[b"\x93\x04".as_slice(), &context(b"\x92\x02\xa1A"), b"\x90"].concat())).is_err());
}

#[test]
fn a_push_has_the_elements_of_the_protocol() {
    let mut header = Header::push(3);
    header.number(0);
    header.text("c");
    header.boolean(true);
    assert_eq!(header.bytes(), b"\x94\x6b\x00\xa1c\xc3");
}

#[test]
fn headers_that_are_none_are_errors_and_never_panics() {
    let valid = [0x97, 2, 1, 0, 0, 1, 0xa0, 0x95, 1, 0xa1, b'e', 0xa1, b't', 0xc0, 0xa1, b'E'];
    for end in 0..14 {
        assert!(decode::decode(&valid[..end]).is_err(), "{end} bytes");
    }
    for byte in 0..=255 {
        for at in 0..valid.len() {
            let mut changed = valid;
            changed[at] = byte;
            drop(decode::decode(&changed));
        }
    }
    for header in
        [&b"\x91\x63"[..], b"\x92\x03\xff", b"\xc0", b"\xdd\xff\xff\xff\xff\x02", b"\x91\x02", b"\x92\x03\xa1x"]
    {
        assert!(decode::decode(header).is_err(), "{header:?}");
    }
}

#[test]
fn a_log_line_has_the_elements_of_the_protocol() {
    let line = Line { call: 5, handler: None, level: "info", message: "m", fields: Some("{}") };
    assert_eq!(Header::log(&line).bytes(), b"\x96\x69\x05\xc0\xa4info\xa1m\xa2{}");
    let line = Line { call: 0, handler: Some(2), level: "stdout", message: "", fields: None };
    assert_eq!(Header::log(&line).bytes(), b"\x96\x69\x00\x02\xa6stdout\xa0\xc0");
}

fn shared(words: &[u64]) -> File {
    let mut file = tempfile::tempfile().expect("there is room for a file");
    for word in words {
        file.write_all(&word.to_ne_bytes()).expect("there is room for a word");
    }
    file
}

#[test]
fn a_slot_is_entered_once_and_only_by_the_call_that_stands_in_it() {
    let file = shared(&[0, 7]);
    let (worker, again) = (Slots::map(&file).unwrap(), Slots::map(&file).unwrap());
    assert!(!worker.enter(0, 7));
    assert!(!worker.enter(1, 8));
    assert!(!worker.enter(2, 7));
    assert!(worker.enter(1, 7));
    assert!(!again.enter(1, 7));
}

#[test]
fn ids_of_all_workers_grow_and_differ() {
    let file = shared(&[0]);
    let (one, other) = (Ids::map(&file).unwrap(), Ids::map(&file).unwrap());
    let ids: Vec<u64> = (0..1_000).flat_map(|_| [one.generate(), other.generate()]).collect();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(ids.iter().all(|id| *id < 1 << 53));
    assert!(Ids::map(&shared(&[])).is_err());
}

#[test]
fn times_are_read_with_fraction_and_offset() {
    let parts = |text: &str| rfc3339::parse(text).map(|time| (time.date, time.clock, time.micros, time.offset));
    assert_eq!(parts("2026-11-21T03:04:05Z"), Some(([2026, 11, 21], [3, 4, 5], 0, 0)));
    assert_eq!(parts("2026-11-21t03:04:05.6z"), Some(([2026, 11, 21], [3, 4, 5], 600_000, 0)));
    assert_eq!(parts("2026-11-21 03:04:05.123456789+05:30"), Some(([2026, 11, 21], [3, 4, 5], 123_456, 330)));
    assert_eq!(parts("2026-11-21T03:04:05-00:15").map(|parts| parts.3), Some(-15));
    for text in [
        "",
        "2026-11-21",
        "2026-11-21T03:04:05",
        "2026-11-21T03:04:05.Z",
        "2026-1-21T03:04:05Z",
        "2026-11-21T03:04:05+5",
    ] {
        assert_eq!(parts(text), None, "{text}");
    }
}

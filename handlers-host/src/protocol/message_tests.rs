//! Do messages survive the way, and are strange ones refused?

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::*;
use crate::protocol::pack::{boolean, optional_text, text};

fn completed_header() -> Vec<u8> {
    let mut out = Vec::new();
    array(&mut out, 7);
    uint(&mut out, COMPLETED);
    uint(&mut out, 7);
    uint(&mut out, 201);
    array(&mut out, 1);
    array(&mut out, 2);
    text(&mut out, "location");
    text(&mut out, "/orders/7");
    uint(&mut out, 4);
    array(&mut out, 1);
    array(&mut out, 4);
    text(&mut out, "OrderPlaced");
    optional_text(&mut out, None);
    uint(&mut out, 1500);
    uint(&mut out, 2);
    array(&mut out, 1);
    array(&mut out, 2);
    text(&mut out, "OrderPaid");
    uint(&mut out, 1);
    out
}

#[test]
fn a_result_is_divided_as_its_header_says() {
    let message = FromWorker::decode(&completed_header(), Bytes::from("true{}1")).unwrap();
    let FromWorker::Completed { id, completed } = message else { panic!("{message:?}") };
    assert_eq!((id, completed.status), (7, Some(201)));
    assert_eq!(completed.headers, [("location".to_owned(), "/orders/7".to_owned())]);
    assert_eq!(completed.reply, "true");
    let emit = &completed.emits[0];
    assert_eq!((emit.event.as_str(), emit.payload.as_ref()), ("OrderPlaced", b"{}".as_slice()));
    assert_eq!((emit.due, &emit.key), (Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1500)), &None));
    assert_eq!(completed.sets, [("OrderPaid".to_owned(), Bytes::from("1"))]);
    assert!(!completed.replaces);
    let replacing = [completed_header(), vec![0xc3]].concat();
    let message = FromWorker::decode(&replacing, Bytes::from("true{}1")).unwrap();
    assert!(matches!(message, FromWorker::Completed { completed: Completed { replaces: true, .. }, .. }));
}

#[test]
fn a_body_shorter_than_announced_is_refused() {
    assert!(FromWorker::decode(&completed_header(), Bytes::from("true{}")).is_err());
}

#[test]
fn headers_cut_anywhere_are_refused() {
    let header = completed_header();
    for length in 0..header.len() {
        assert!(FromWorker::decode(&header[..length], Bytes::from("true{}1")).is_err(), "{length}");
    }
}

#[test]
fn arbitrary_bytes_are_refused_without_panic() {
    let mut seed = 7_u64;
    for _ in 0..100_000 {
        let mut bytes = [0_u8; 24];
        for byte in &mut bytes {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (seed >> 56) as u8;
        }
        drop(FromWorker::decode(&bytes, Bytes::from_static(b"{}")));
    }
}

fn push(fields: u32, write: impl FnOnce(&mut Vec<u8>)) -> Result<Push, Error> {
    let mut out = Vec::new();
    array(&mut out, fields + 1);
    uint(&mut out, PUSH);
    write(&mut out);
    match FromWorker::decode(&out, Bytes::from("[1]"))? {
        FromWorker::Push(push) => Ok(push),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_done_to_connections_is_read() {
    let sent = push(3, |out| {
        uint(out, 0);
        text(out, "c1");
        boolean(out, false);
    });
    assert_eq!(sent.unwrap(), Push::Send { connection: "c1".to_owned(), frame: Frame::Text(Bytes::from("[1]")) });
    let broadcast = push(5, |out| {
        uint(out, 1);
        text(out, "Chat");
        optional_text(out, None);
        optional_text(out, Some("c1"));
        boolean(out, true);
    });
    let expected = Push::Broadcast {
        websocket: "Chat".to_owned(),
        room: None,
        exclude: Some("c1".to_owned()),
        frame: Frame::Binary(Bytes::from("[1]")),
    };
    assert_eq!(broadcast.unwrap(), expected);
    let (connection, room) = ("c1".to_owned(), "blue".to_owned());
    for (action, expected) in [
        (2, Push::Join { connection: connection.clone(), room: room.clone() }),
        (3, Push::Leave { connection: connection.clone(), room }),
    ] {
        let done = push(3, |out| {
            uint(out, action);
            text(out, "c1");
            text(out, "blue");
        });
        assert_eq!(done.unwrap(), expected);
    }
    let closed = push(4, |out| {
        uint(out, 4);
        text(out, "c1");
        uint(out, 4000);
        text(out, "bye");
    });
    assert_eq!(closed.unwrap(), Push::Close { connection, code: 4000, reason: "bye".to_owned() });
}

#[test]
fn unknown_actions_and_impossible_close_codes_are_refused() {
    assert!(push(1, |out| uint(out, 5)).is_err());
    let close = |out: &mut Vec<u8>| {
        uint(out, 4);
        text(out, "c1");
        uint(out, 70_000);
        text(out, "");
    };
    assert!(push(4, close).is_err());
}

//! Do messages survive the way, and are strange ones refused?

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::*;

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
    pack::write_nil(&mut out).unwrap();
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

#[test]
fn times_are_rfc_3339() {
    for (seconds, micros, expected) in [
        (0, 0, "1970-01-01T00:00:00.000000Z"),
        (951_782_400, 5, "2000-02-29T00:00:00.000005Z"),
        (1_732_147_199, 999_999, "2024-11-20T23:59:59.999999Z"),
        (4_107_542_400, 0, "2100-03-01T00:00:00.000000Z"),
    ] {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_micros(micros);
        assert_eq!(rfc3339(time), expected);
    }
}

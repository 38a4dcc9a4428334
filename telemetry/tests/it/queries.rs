//! Are records found again, in the right order, by filter and by trace?

use std::time::Duration;

use rohas_telemetry::{Error, Filter, Kind, Level, Log, Options, Record, SpanId, Status, TraceId, open};

use crate::{EPOCH, everything, failed, keeping, request, start, starts};

const NONE: [u64; 0] = [];

#[test]
fn records_are_listed_at_once_newest_first() {
    let directory = tempfile::tempdir().unwrap();
    let (handle, _service) = start(directory.path());
    for at in [1, 3, 2] {
        handle.record(request(at));
    }
    assert_eq!(starts(&handle, &everything()), [3, 2, 1]);
    handle.record(request(4));
    assert_eq!(starts(&handle, &Filter { limit: 2, ..Filter::default() }), [4, 3]);
    assert_eq!(starts(&handle, &Filter { limit: 0, ..Filter::default() }), NONE);
}

#[test]
fn order_of_beginning_holds_across_blocks() {
    let directory = tempfile::tempdir().unwrap();
    let (handle, _service) = start(directory.path());
    // Each flush makes a block; records end in another order than they began.
    for at in [10, 90, 20, 80, 30, 70, 40, 60, 50] {
        handle.record(request(at));
        handle.flush().unwrap();
    }
    assert_eq!(starts(&handle, &everything()), [90, 80, 70, 60, 50, 40, 30, 20, 10]);
    assert_eq!(starts(&handle, &Filter { limit: 3, ..Filter::default() }), [90, 80, 70]);
}

#[test]
fn many_blocks_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (handle, service) = start(directory.path());
    for at in 0..3_210 {
        handle.record(request(at));
        if at % 700 == 0 {
            handle.flush().unwrap();
        }
    }
    let expected: Vec<u64> = (0..3_210).rev().collect();
    assert_eq!(starts(&handle, &everything()), expected);
    service.shutdown().unwrap();
    let (handle, _service) = start(directory.path());
    assert_eq!(starts(&handle, &everything()), expected);
}

#[test]
fn filters_choose_entries() {
    let directory = tempfile::tempdir().unwrap();
    let (handle, _service) = start(directory.path());
    handle.record(request(1));
    handle.record(failed(2));
    handle.flush().unwrap();
    let handler = Some("send_mail".into());
    handle.record(Record { kind: Kind::Delivery, name: "UserCreated".into(), handler, ..request(3) });
    handle.record(Record { kind: Kind::Publish, ..request(4) });

    assert_eq!(starts(&handle, &everything()), [3, 2, 1], "a publish is no entry");
    let by = |filter: Filter| starts(&handle, &filter);
    assert_eq!(by(Filter { statuses: vec![Status::Failed, Status::TimedOut], ..everything() }), [2]);
    assert_eq!(by(Filter { kinds: vec![Kind::Delivery], ..everything() }), [3]);
    assert_eq!(by(Filter { kinds: vec![Kind::CronRun], ..everything() }), NONE);
    assert_eq!(by(Filter { name: Some("CreateUser".to_owned()), ..everything() }), [2, 1]);
    assert_eq!(by(Filter { name: Some("send_mail".to_owned()), ..everything() }), [3]);
    let at = |ms| Some(EPOCH.after(Duration::from_millis(ms)));
    assert_eq!(by(Filter { since: at(2), until: at(3), ..everything() }), [2]);
}

#[test]
fn one_trace_links_request_and_handlers_across_blocks() {
    let directory = tempfile::tempdir().unwrap();
    let (handle, _service) = start(directory.path());
    let root = request(1);
    let delivery = |parent, at| Record {
        trace_id: root.trace_id,
        parent: Some(parent),
        kind: Kind::Delivery,
        name: "UserCreated".into(),
        ..request(at)
    };
    let first = delivery(root.span_id, 2);
    let second = delivery(first.span_id, 4);
    let third = delivery(root.span_id, 3);
    for record in [&second, &root, &first, &third] {
        handle.record(record.clone());
        handle.record(request(9));
        handle.flush().unwrap();
    }
    let tree = handle.trace(root.trace_id).unwrap();
    let shape: Vec<_> = tree.records.iter().map(|node| (node.depth, node.record.clone())).collect();
    assert_eq!(shape, [(0, root), (1, first), (2, second), (1, third)]);
    assert!(handle.trace(TraceId::random()).unwrap().is_empty());
}

#[test]
fn trace_is_found_by_the_beginning_of_its_id() {
    let directory = tempfile::tempdir().unwrap();
    let (handle, _service) = start(directory.path());
    let id = |text: &str| text.parse::<TraceId>().unwrap();
    let one = id("abcd0000000000000000000000000001");
    let two = id("abcd0000000000000000000000000002");
    let other = id("abce0000000000000000000000000003");
    for trace_id in [one, two, other] {
        handle.record(Record { trace_id, ..request(1) });
    }
    assert_eq!(handle.find("abce").unwrap(), other);
    assert_eq!(handle.find("ABCE00").unwrap(), other);
    assert_eq!(handle.find(&one.to_string()).unwrap(), one);
    assert!(matches!(handle.find("abcd"), Err(Error::AmbiguousTrace { candidates, .. }) if candidates == [one, two]));
    assert!(matches!(handle.find("ffff"), Err(Error::UnknownTrace { .. })));
    for invalid in ["abc", "", "xyz!", "abcd00000000000000000000000000001"] {
        assert!(matches!(handle.find(invalid), Err(Error::InvalidPrefix { .. })), "{invalid}");
    }
}

#[test]
fn switches_decide_what_is_recorded() {
    let directory = tempfile::tempdir().unwrap();
    let log = Log { offset: Duration::ZERO, level: Level::Info, message: "hello".into(), fields: None };
    let record = Record { logs: vec![log], ..request(1) };

    let (handle, service) = open(Options { logs: false, ..keeping(directory.path()) }).unwrap();
    assert!(handle.is_recording() && !handle.keeps_logs());
    handle.record(record.clone());
    assert_eq!(handle.trace(record.trace_id).unwrap().records[0].record.logs, []);
    service.shutdown().unwrap();

    let (handle, _service) = open(Options { traces: false, ..keeping(directory.path()) }).unwrap();
    assert!(!handle.is_recording() && !handle.keeps_logs());
    handle.record(Record { trace_id: TraceId::random(), span_id: SpanId::random(), ..record });
    assert_eq!(starts(&handle, &everything()), [1], "what was recorded before is still there");
}

#[test]
fn memory_and_disk_give_the_same_answers() {
    let directory = tempfile::tempdir().unwrap();
    let (handle, service) = open(Options { max_cache_size: 10_000, ..keeping(directory.path()) }).unwrap();
    for at in 0..1_700 {
        handle.record(request(at));
    }
    let from_memory = handle.list(&everything()).unwrap();
    service.shutdown().unwrap();
    let (handle, _service) = open(Options { max_cache_size: 0, ..keeping(directory.path()) }).unwrap();
    assert_eq!(handle.list(&everything()).unwrap(), from_memory);
}

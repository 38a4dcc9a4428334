use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use uuid::Uuid;

use super::index::IdRange;
use super::*;
use crate::{Cron, Emit, EventId, Failure, Http, Level, Log, Phase, Span, SpanId, TraceId};

fn text() -> impl Strategy<Value = Arc<str>> {
    prop_oneof![Just(""), Just("CreateUser"), Just("send_mail"), Just("größe"), Just("\u{1b}[31m")].prop_map(Into::into)
}

fn trace() -> impl Strategy<Value = TraceId> {
    prop_oneof![(1_u8..6).prop_map(|n| TraceId::from_bytes([n; 16])), any::<[u8; 16]>().prop_map(TraceId::from_bytes)]
}

fn span_id() -> impl Strategy<Value = SpanId> {
    prop_oneof![(1_u8..9).prop_map(|n| SpanId::from_bytes([n; 8])), any::<[u8; 8]>().prop_map(SpanId::from_bytes)]
}

fn event_id() -> impl Strategy<Value = EventId> {
    prop_oneof![
        (0_u128..4).prop_map(|n| EventId::Uuid(Uuid::from_u128(n))),
        any::<u128>().prop_map(|n| EventId::Uuid(Uuid::from_u128(n))),
        "[a-z]{0,9}".prop_map(|text| EventId::Text(text.into())),
    ]
}

fn duration() -> impl Strategy<Value = Duration> {
    any::<u64>().prop_map(Duration::from_nanos)
}

fn of<T: Copy + std::fmt::Debug + 'static>(all: &'static [T]) -> impl Strategy<Value = T> {
    proptest::sample::select(all)
}

prop_compose! {
    fn span()(phase in of(Phase::ALL), name in proptest::option::of(text()), offset in duration(), duration in duration()) -> Span {
        Span { phase, name, offset, duration }
    }
}

prop_compose! {
    fn log()(level in of(Level::ALL), message in ".{0,40}", fields in proptest::option::of(".{0,20}"), offset in duration()) -> Log {
        Log { offset, level, message: message.into(), fields: fields.map(Into::into) }
    }
}

prop_compose! {
    fn failure()(kind in text(), message in ".{0,40}", traceback in proptest::option::of(".{0,200}")) -> Failure {
        Failure { kind, message: message.into(), traceback: traceback.map(Into::into) }
    }
}

prop_compose! {
    fn parts()(
        http in proptest::option::of((text(), text(), any::<u16>())),
        cron in proptest::option::of((text(), any::<u64>())),
        event_id in proptest::option::of(event_id()),
        error in proptest::option::of(failure()),
        spans in proptest::collection::vec(span(), 0..4),
        logs in proptest::collection::vec(log(), 0..3),
        emits in proptest::collection::vec((text(), event_id()), 0..3),
    ) -> Record {
        Record {
            http: http.map(|(method, path, status)| Http { method, path, status }),
            cron: cron.map(|(schedule, slot)| Cron { schedule, slot: Timestamp::from_nanos(slot) }),
            event_id,
            error,
            spans,
            logs,
            emits: emits.into_iter().map(|(event, id)| Emit { event, id }).collect(),
            ..Record::new(Kind::Request, "".into(), TraceId::from_bytes([1; 16]), SpanId::from_bytes([1; 8]))
        }
    }
}

prop_compose! {
    fn record()(
        parts in parts(),
        trace_id in trace(),
        span_id in span_id(),
        parent in proptest::option::of(span_id()),
        (kind, status) in (of(Kind::ALL), of(Status::ALL)),
        name in text(),
        handler in proptest::option::of(text()),
        attempt in any::<u32>(),
        started_at in any::<u64>(),
        duration in duration(),
    ) -> Record {
        let started_at = Timestamp::from_nanos(started_at);
        Record { trace_id, span_id, parent, kind, status, name, handler, attempt, started_at, duration, ..parts }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn records_come_back_as_they_were(records in proptest::collection::vec(record(), 0..20)) {
        let encoded = encode(&records);
        prop_assert_eq!(decode(&encoded.value).unwrap(), records);
    }

    #[test]
    fn meta_and_index_know_every_record(records in proptest::collection::vec(record(), 1..20)) {
        let encoded = encode(&records);
        for record in &records {
            prop_assert!(encoded.meta.first() <= record.started_at && record.started_at <= encoded.meta.last());
            prop_assert!(encoded.meta.has_status(&[record.status]) && encoded.meta.has_kind(&[record.kind]));
            prop_assert!(IdRange::one(record.trace_id).may_occur(&encoded.index));
            let id = record.trace_id.to_string();
            for digits in [4, 15, 16, 17, 31] {
                let range = IdRange::starting_with(&id[..digits]).unwrap();
                prop_assert!(range.contains(record.trace_id) && range.may_occur(&encoded.index));
            }
        }
    }

    #[test]
    fn changed_byte_is_noticed(records in proptest::collection::vec(record(), 1..5), at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let mut value = encode(&records).value;
        let at = at.index(value.len());
        value[at] ^= 1 << bit;
        prop_assert!(decode(&value).is_err());
    }

    #[test]
    fn nonsense_with_a_true_checksum_does_not_panic(
        records in proptest::collection::vec(record(), 1..5),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut value = encode(&records).value;
        for (at, byte) in changes {
            let at = CHECKED + at.index(value.len() - CHECKED);
            value[at] = byte;
        }
        let checksum = crc32fast::hash(&value[CHECKED..]);
        value[1..CHECKED].copy_from_slice(&checksum.to_le_bytes());
        drop(decode(&value));
    }
}

#[test]
fn masks_exclude_what_is_not_there() {
    let record = Record::new(Kind::Request, "Api".into(), TraceId::random(), SpanId::random());
    let meta = encode(&[record]).meta;
    assert!(!meta.has_status(&[Status::Failed, Status::TimedOut]));
    assert!(!meta.has_kind(&[Kind::Delivery]));
}

#[test]
fn index_excludes_other_traces() {
    let record = Record::new(Kind::Request, "Api".into(), TraceId::from_bytes([7; 16]), SpanId::random());
    let index = encode(&[record]).index;
    for other in ["0706", "0708", "08", "00", "ff"] {
        assert!(!IdRange::starting_with(other).unwrap().may_occur(&index), "{other}");
    }
    assert!(IdRange::starting_with("070707").unwrap().may_occur(&index));
    assert_eq!(IdRange::starting_with("07G"), None);
}

#[test]
fn newer_versions_are_named_as_such() {
    let mut value = encode(&[]).value;
    value[0] = 9;
    assert!(matches!(decode(&value), Err(Malformed::Version(9))));
}

#[test]
fn typical_record_takes_at_most_sixty_bytes() {
    let names: [Arc<str>; 4] = ["CreateUser".into(), "create_user".into(), "POST".into(), "/users/{id}".into()];
    let mut state = 7_u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let records: Vec<Record> = (0..500)
        .map(|n| {
            let part = |phase, offset, duration| Span {
                phase,
                name: None,
                offset: Duration::from_nanos(offset),
                duration: Duration::from_nanos(duration),
            };
            let (validate, handler, publish) = (300 + random(200), 10_000 + random(9_000), 2_000 + random(900));
            Record {
                handler: Some(names[1].clone()),
                started_at: Timestamp::from_nanos(1_790_000_000_000_000_000 + n * 16_000 + random(5_000)),
                duration: Duration::from_nanos(validate + handler + publish + 900),
                http: Some(Http { method: names[2].clone(), path: names[3].clone(), status: 201 }),
                spans: vec![
                    part(Phase::Validate, 120, validate),
                    part(Phase::Handler, 150 + validate, handler),
                    part(Phase::Publish, 180 + validate + handler, publish),
                ],
                ..Record::new(Kind::Request, names[0].clone(), TraceId::random(), SpanId::random())
            }
        })
        .collect();
    let bytes = encode(&records).meta.bytes / 500;
    assert!(bytes <= 60, "{bytes} bytes per record");
}

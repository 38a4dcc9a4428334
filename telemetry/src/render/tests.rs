use std::time::Duration;

use super::*;
use crate::{Cron, Emit, Entry, Failure, Http, Kind, Level, Listing, Log, Phase, Record, Span, SpanId, TraceId, Tree};

fn style() -> Style {
    Style { zone: TimeZone::get("Europe/Berlin").unwrap(), color: false }
}

fn micros(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

fn part(phase: Phase, offset: u64, duration: u64) -> Span {
    Span { phase, name: None, offset: micros(offset), duration: micros(duration) }
}

fn log(offset: u64, level: Level, message: &str, fields: Option<&str>) -> Log {
    Log { offset: micros(offset), level, message: message.into(), fields: fields.map(Into::into) }
}

fn record(kind: Kind, name: &str, span: u8, at: u64) -> Record {
    let started_at = Timestamp::from_nanos(1_790_000_000_123_456_789).after(micros(at));
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736".parse().unwrap();
    Record { started_at, ..Record::new(kind, name.into(), trace, SpanId::from_bytes([span; 8])) }
}

fn request() -> Record {
    Record {
        handler: Some("create_user".into()),
        duration: micros(12_345),
        http: Some(Http { method: "POST".into(), path: "/users".into(), status: 201 }),
        spans: vec![
            part(Phase::Validate, 10, 310),
            Span { name: Some("auth".into()), ..part(Phase::Middleware, 320, 1_200) },
            part(Phase::Handler, 1_520, 9_800),
            part(Phase::Publish, 11_320, 900),
        ],
        logs: vec![log(3_100, Level::Info, "user created", Some(r#"{"id":7,"name":"Ada L"}"#))],
        emits: vec![Emit { event: "UserCreated".into(), id: uuid::Uuid::from_u128(7).into() }],
        ..record(Kind::Request, "CreateUser", 1, 0)
    }
}

fn delivery(handler: &str, span: u8, parent: u8, at: u64) -> Record {
    Record {
        handler: Some(handler.into()),
        parent: Some(SpanId::from_bytes([parent; 8])),
        duration: micros(8_200),
        event_id: Some(uuid::Uuid::from_u128(7).into()),
        ..record(Kind::Delivery, "UserCreated", span, at)
    }
}

fn failure() -> Record {
    Record {
        attempt: 2,
        status: Status::Failed,
        logs: vec![log(100, Level::Stdout, "first\nsecond \u{1b}[31mline", None)],
        error: Some(Failure {
            kind: "ValueError".into(),
            message: "no such user".into(),
            traceback: Some(
                "File \"src/handlers/events/audit.py\", line 7, in audit\n\traise ValueError(\"no such user\")\n"
                    .into(),
            ),
        }),
        ..delivery("audit", 3, 1, 13_100)
    }
}

#[test]
fn tree_shows_what_happened() {
    let trace = request().trace_id;
    let records =
        vec![request(), delivery("send_welcome_email", 2, 1, 13_000), failure(), delivery("count", 4, 2, 22_000)];
    let text = tree(&Tree::new(trace, records, Vec::new()), &style());
    let expected = r#"trace 4bf92f3577b34da6a3ce929d0e0e4736
2026-09-21 16:13:20.123, 30.2ms, 4 records, 1 not ok

✓ request CreateUser › create_user  POST /users 201     12.3ms  +0
│  validate 310µs · middleware auth 1.20ms · handler 9.80ms · publish 900µs
│    +3.10ms  INFO   user created  id=7 name="Ada L"
│  → UserCreated  00000000-0000-0000-0000-000000000007
├─ ✓ delivery UserCreated › send_welcome_email          8.20ms  +13.0ms
│  │  event 00000000-0000-0000-0000-000000000007
│  └─ ✓ delivery UserCreated › count                    8.20ms  +22.0ms
│        event 00000000-0000-0000-0000-000000000007
└─ ✗ delivery UserCreated › audit  attempt 2  failed    8.20ms  +13.1ms
      event 00000000-0000-0000-0000-000000000007
         +100µs  STDOUT first
                        second \u{1b}[31mline
      ValueError: no such user
        File "src/handlers/events/audit.py", line 7, in audit
            raise ValueError("no such user")
"#;
    assert_eq!(text, expected, "\n{text}");
}

#[test]
fn a_run_of_a_cron_job_is_shown_with_its_schedule_and_slot() {
    let slot = Timestamp::from_nanos(1_790_000_000_000_000_000);
    let run = Record {
        handler: Some("nightly".into()),
        duration: micros(8_200),
        cron: Some(Cron { schedule: "*/5 * * * *".into(), slot }),
        ..record(Kind::CronRun, "Nightly", 1, 0)
    };
    let text = tree(&Tree::new(run.trace_id, vec![run], Vec::new()), &style());
    let expected = "\
trace 4bf92f3577b34da6a3ce929d0e0e4736
2026-09-21 16:13:20.123, 8.20ms, 1 record

✓ cron_run Nightly › nightly    8.20ms  +0
   schedule */5 * * * * · slot 2026-09-21 16:13:20.000
";
    assert_eq!(text, expected, "\n{text}");
}

#[test]
fn list_shows_one_line_per_entry() {
    let entries = [failure(), request()].iter().map(Entry::from).collect();
    let text = list(&Listing { entries, damaged: Vec::new() }, &style());
    let expected = "\
STARTED                  STATUS     TOOK    KIND      NAME         HANDLER      TRACE
2026-09-21 16:13:20.136  failed #2  8.20ms  delivery  UserCreated  audit        4bf92f3577b34da6a3ce929d0e0e4736
2026-09-21 16:13:20.123  ok 201     12.3ms  request   CreateUser   create_user  4bf92f3577b34da6a3ce929d0e0e4736
";
    assert_eq!(text, expected, "\n{text}");
}

#[test]
fn damage_is_told_below() {
    let damaged = vec![Damage {
        key: "18d4a1f3c2b10000".to_owned(),
        written_at: Timestamp::from_nanos(1_790_000_000_000_000_000),
        reason: "its checksum does not match".to_owned(),
    }];
    let text = list(&Listing { entries: Vec::new(), damaged }, &style());
    assert_eq!(
        text,
        "no traces found\nblock 18d4a1f3c2b10000 of 2026-09-21 16:13:20.000 is damaged and its records are missing: \
         its checksum does not match\n"
    );
}

#[test]
fn unknown_trace_is_said_to_be_empty() {
    let id = TraceId::from_bytes([1; 16]);
    let text = tree(&Tree::new(id, Vec::new(), Vec::new()), &style());
    assert_eq!(text, format!("nothing is recorded of trace {id}\n"));
}

#[test]
fn colours_change_nothing_but_colours() {
    let some = Tree::new(request().trace_id, vec![request(), failure()], Vec::new());
    let coloured = tree(&some, &Style { color: true, ..style() });
    let mut plain = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, sequence)) = rest.split_once('\u{1b}') {
        plain.push_str(before);
        rest = sequence.split_once('m').unwrap().1;
    }
    plain.push_str(rest);
    assert_ne!(coloured, plain);
    let trimmed = |text: &str| text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
    assert_eq!(trimmed(&plain), trimmed(&tree(&some, &style())));
}

#[test]
fn deep_chains_are_not_indented_without_end() {
    let records = (1..=60)
        .map(|n| Record { parent: Some(SpanId::from_bytes([n - 1; 8])), ..delivery("next", n, 0, u64::from(n)) });
    let some = Tree::new(request().trace_id, records.collect(), Vec::new());
    let text = tree(&some, &style());
    assert!(text.lines().all(|line| line.chars().count() < 160), "{text}");
}

//! Does any message make its reading panic, or come out as something that is no JSON? For `ROHAS_FUZZ_SECONDS` (2 without it).
#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rohas_adapters::Envelope;
use rohas_adapters::remote::wire::{self, Incoming, Outgoing};

/// Bodies to begin with.
const BODIES: [&str; 8] = [
    r#"{"specversion":"1.0","id":"1","source":"/a","type":"t","time":"2018-04-05T17:31:00Z","data":{"a":[1,2.5,null]}}"#,
    r#"{"specversion":"1.0","id":"1","source":"/a","type":"t","datacontenttype":"text/plain","data_base64":"aGk="}"#,
    r#"{"topic":"E","payload":{"a":"é\u00e9"},"timestamp":"1700000000","metadata":{}}"#,
    r#"{"topic":"E","payload":1,"timestamp":1,"metadata":{"specversion":"1.0","id":"1","source":"/a","type":"t"}}"#,
    r#"{"a":1}"#,
    "[1]",
    "\"text\"",
    "",
];

/// Pieces that mean something in one form or another.
const PIECES: [&str; 40] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\\ud800",
    "null",
    "NaN",
    "1e999",
    "-",
    "99999999999999999999",
    "\0",
    "é",
    "\u{feff}",
    "\"specversion\":\"1.0\",",
    "\"id\":\"2\",",
    "\"id\":7,",
    "\"source\":\"/b\",",
    "\"type\":\"u\",",
    "\"time\":\"2018-04-05T17:31:60+24:00\",",
    "\"subject\":\"k\",",
    "\"data\":",
    "\"data_base64\":\"AA==\",",
    "\"datacontenttype\":\"image/png\",",
    "\"topic\":\"E\",",
    "\"payload\":",
    "\"timestamp\":\"9\",",
    "\"metadata\":{",
    "\"rohasversion\":4294967296,",
    "\"rohashops\":\"3\",",
    "\"rohasdedupe\":\"18446744073709551615\",",
    "\"traceparent\":\"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01\",",
    "\"causationid\":\"x\",",
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
    " ",
    "%E2%82",
];

const NAMES: [&str; 16] = [
    "specversion",
    "id",
    "source",
    "type",
    "subject",
    "time",
    "datacontenttype",
    "traceparent",
    "causationid",
    "rohasversion",
    "rohashops",
    "rohasdedupe",
    "rohas",
    "topic",
    "timestamp",
    "other",
];

const VALUES: [&str; 14] = [
    "1.0",
    "1",
    "/a",
    "t",
    "k",
    "",
    "2018-04-05T17:31:00.123456789012Z",
    "text/plain",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "018f2c3e-1d2a-7c3b-8d4e-5f6a7b8c9d0e",
    "version=2;hops=3;;=;dedupe=1;causationid",
    "E",
    "99999999999999999999",
    "%zz é",
];

const TYPES: [&str; 8] = [
    "application/json",
    "application/cloudevents+json",
    "application/cloudevents-batch+json",
    "text/plain;charset=é",
    "application/octet-stream",
    "image/svg+xml",
    "/",
    ";",
];

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }

    fn one_of<'a>(&mut self, texts: &[&'a str]) -> &'a str {
        texts[self.below(texts.len())]
    }

    fn mutate(&mut self, body: &mut Vec<u8>) {
        let at = self.below(body.len() + 1);
        match self.below(5) {
            0 | 1 => drop(body.splice(at..at, self.one_of(&PIECES).bytes())),
            2 => body.truncate(at),
            3 if at < body.len() => body[at] = u8::try_from(self.below(256)).unwrap(),
            _ => {
                let end = (at + self.below(8)).min(body.len());
                body.drain(at..end);
            }
        }
    }

    fn message(&mut self) -> Incoming {
        let mut body = self.one_of(&BODIES).as_bytes().to_vec();
        for _ in 0..self.below(4) {
            self.mutate(&mut body);
        }
        let mut attributes = Vec::new();
        if self.below(2) == 0 {
            let required = [("specversion", "1.0"), ("id", "1"), ("source", "/a"), ("type", "t")];
            attributes.extend(required.map(|(name, value)| (name.into(), value.into())));
        }
        for _ in 0..self.below(4) {
            attributes.push((self.one_of(&NAMES).into(), self.one_of(&VALUES).into()));
        }
        Incoming {
            event: "E".into(),
            attributes,
            content_type: (self.below(3) == 0).then(|| self.one_of(&TYPES).into()),
            body: body.into(),
            place: (self.below(2) == 0).then(|| "place".into()),
            ..Incoming::default()
        }
    }
}

/// What was read goes out and comes back the same.
fn comes_back(outgoing: &Outgoing, now: SystemTime) {
    for body in [wire::structured(outgoing), wire::original(outgoing)] {
        let event = outgoing.envelope.event.clone();
        let (back, _) = wire::read(Incoming { event, body, ..Incoming::default() }, now).unwrap();
        let time = outgoing.envelope.time.max(UNIX_EPOCH);
        assert_eq!(back, Envelope { time, ..outgoing.envelope.clone() });
    }
}

#[test]
fn fuzz_any_message_becomes_an_event_or_a_dead_letter() {
    let seconds = std::env::var("ROHAS_FUZZ_SECONDS").map_or(2, |seconds| seconds.parse().unwrap());
    let until = Instant::now() + Duration::from_secs(seconds);
    let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut executions, mut read) = (0_u64, 0_u64);
    while Instant::now() < until {
        executions += 1;
        let message = random.message();
        let envelope = match wire::read(message.clone(), now) {
            Err(unreadable) => unreadable.envelope,
            Ok((envelope, dedupe)) => {
                read += 1;
                comes_back(&Outgoing { envelope: envelope.clone(), dedupe: dedupe.unwrap_or_default() }, now);
                envelope
            }
        };
        assert!(serde_json::from_slice::<serde_json::Value>(&envelope.data).is_ok(), "{message:?}");
    }
    assert!(read > executions / 20, "only {read} of {executions} messages were read");
    eprintln!("wire fuzzing: {executions} executions, {read} of them read, in {seconds} s");
}

//! Does what goes out come back, and does what others send come in?

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::envelope::TraceContext;

const ID: &str = "018f2c3e-1d2a-7c3b-8d4e-5f6a7b8c9d0e";

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

fn incoming(body: &str) -> Incoming {
    Incoming { event: "Event".into(), body: Bytes::copy_from_slice(body.as_bytes()), ..Incoming::default() }
}

fn with_attributes(attributes: &[(&str, &str)], body: &str) -> Incoming {
    let attributes = attributes.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    Incoming { attributes, ..incoming(body) }
}

fn of_type(content_type: &str, incoming: Incoming) -> Incoming {
    Incoming { content_type: Some(content_type.into()), ..incoming }
}

#[track_caller]
fn event(incoming: Incoming) -> Envelope {
    read(incoming, now()).unwrap().0
}

#[track_caller]
fn refused(incoming: Incoming) -> String {
    read(incoming, now()).unwrap_err().reason.to_string()
}

const REQUIRED: [(&str, &str); 4] =
    [("specversion", "1.0"), ("id", ID), ("source", "/shop"), ("type", "com.shop.placed")];

fn binary(more: &[(&str, &str)], body: &str) -> Incoming {
    with_attributes(&[&REQUIRED, more].concat(), body)
}

/// A document in structured mode with these members changed; `null` removes one.
fn document(changes: &Value) -> String {
    let mut document = json!({"specversion": "1.0", "id": ID, "source": "/shop", "type": "com.shop.placed", "data": 7});
    for (name, value) in changes.as_object().unwrap() {
        document[name] = value.clone();
    }
    document.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    document.to_string()
}

fn any_envelope() -> impl Strategy<Value = Envelope> {
    let data =
        prop_oneof![Just(json!({"total": 12.5, "note": "é\"\\\n"})), Just(json!([1, null])), Just(json!("text"))];
    let ids = (any::<u128>(), option::of(any::<u128>()), any::<[u8; 16]>(), any::<[u8; 8]>());
    let texts = (".{0,20}", option::of(".{0,20}"), "[A-Z][A-Za-z]{0,10}");
    (ids, texts, any::<u64>(), 1..u32::MAX, any::<u32>(), data).prop_map(|(ids, texts, nanos, version, hops, data)| {
        let (id, causation, mut trace_id, parent) = ids;
        trace_id[0] |= 1;
        Envelope {
            id: Uuid::from_u128(id),
            source: texts.0.into(),
            event: texts.2.into(),
            key: texts.1.map(Into::into),
            time: UNIX_EPOCH + Duration::from_nanos(nanos),
            data: data.to_string().into(),
            trace: TraceContext { trace_id, parent },
            causation: causation.map(Uuid::from_u128),
            version,
            hops,
        }
    })
}

/// Every way out, as it comes in again.
fn ways(outgoing: &Outgoing) -> Vec<(&'static str, Incoming)> {
    let own = |(name, value): (&str, std::borrow::Cow<'_, str>)| {
        (name.strip_prefix("ce-").unwrap_or(name).into(), value.into_owned().into())
    };
    let event = Arc::clone(&outgoing.envelope.event);
    let empty = Incoming { event, key: Some("the broker's".into()), ..Incoming::default() };
    let empty = if outgoing.envelope.key.is_some() { empty } else { Incoming { key: None, ..empty } };
    let binary = Incoming {
        attributes: attributes(outgoing).map(own).collect(),
        content_type: Some(JSON.into()),
        body: outgoing.envelope.data.clone(),
        ..empty.clone()
    };
    let structured = Incoming { body: structured(outgoing), ..empty.clone() };
    let original = Incoming { body: original(outgoing), ..empty };
    let compact = Incoming { attributes: compact(outgoing).into_iter().map(own).collect(), ..original.clone() };
    vec![("binary", binary), ("structured", structured), ("original", original), ("compact", compact)]
}

proptest! {
    #[test]
    fn what_goes_out_comes_back(envelope in any_envelope(), milliseconds in prop_oneof![Just(0), any::<u64>()]) {
        let outgoing = Outgoing { envelope, dedupe: Duration::from_millis(milliseconds) };
        for (way, incoming) in ways(&outgoing) {
            let back = read(incoming, now()).unwrap();
            prop_assert_eq!(back, (outgoing.envelope.clone(), Some(outgoing.dedupe)), "{}", way);
        }
    }

    #[test]
    fn no_message_is_too_much(
        body in vec(any::<u8>(), 0..64),
        attributes in vec(("(specversion|id|source|type|time|subject|rohas|rohashops|topic)", "(1\\.0|[0-9]{0,30}|.{0,8})"), 0..6),
        content_type in option::of("(application/(cloudevents)?[+/]?json|text/plain|.{0,8})"),
    ) {
        let attributes = attributes.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        let incoming = Incoming { event: "Event".into(), attributes, content_type: content_type.map(Into::into), body: body.into(), ..Incoming::default() };
        let envelope = read(incoming, now()).map_or_else(|unreadable| unreadable.envelope, |(envelope, _)| envelope);
        prop_assert!(serde_json::from_slice::<Value>(&envelope.data).is_ok());
    }
}

fn outgoing() -> Outgoing {
    let envelope = Envelope {
        id: ID.parse().unwrap(),
        source: "reserve stock".into(),
        event: "Event".into(),
        key: Some("k€y".into()),
        time: now(),
        data: r#"{"a": 1}"#.into(),
        trace: TraceContext { trace_id: [0x1a; 16], parent: [0x2b; 8] },
        causation: Some(Uuid::max()),
        version: 2,
        hops: 3,
    };
    Outgoing { envelope, dedupe: Duration::from_mins(10) }
}

const METADATA: &str = r#""specversion":"1.0","id":"018f2c3e-1d2a-7c3b-8d4e-5f6a7b8c9d0e","source":"reserve%20stock","type":"Event","subject":"k€y","time":"2023-11-14T22:13:20Z","traceparent":"00-1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a-2b2b2b2b2b2b2b2b-01","causationid":"ffffffff-ffff-ffff-ffff-ffffffffffff","rohasversion":"2","rohashops":"3","rohasdedupe":"600000""#;

#[test]
fn structured_mode_is_one_document() {
    let expected = format!(r#"{{{METADATA},"datacontenttype":"application/json","data":{{"a": 1}}}}"#);
    assert_eq!(structured(&outgoing()), expected);
}

#[test]
fn the_originals_form_has_the_attributes_as_metadata() {
    let expected =
        format!(r#"{{"topic":"Event","payload":{{"a": 1}},"timestamp":"1700000000","metadata":{{{METADATA}}}}}"#);
    assert_eq!(original(&outgoing()), expected);
}

#[test]
fn attributes_beside_the_originals_form_go_before_those_in_it() {
    let body = original(&outgoing());
    let message = |attributes: &[(&str, &str)]| Incoming {
        body: body.clone(),
        ..with_attributes(&[&[("topic", "Event")], attributes].concat(), "")
    };
    let envelope = event(message(&[("specversion", "1.0"), ("subject", "other")]));
    assert_eq!((envelope.key.as_deref(), envelope.id.to_string()), (Some("other"), ID.to_owned()));
    assert!(refused(message(&[("specversion", "0.3")])).contains("0.3"));
    assert_eq!(
        refused(of_type("", Incoming { body: "7".into(), ..message(&[("specversion", "1.0")]) })),
        "the attribute id is missing"
    );
}

#[test]
fn ten_attributes_are_enough() {
    let outgoing = outgoing();
    let compact = compact(&outgoing);
    let names: Vec<_> = compact.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        names,
        [
            "topic",
            "timestamp",
            "ce-specversion",
            "ce-id",
            "ce-source",
            "ce-type",
            "ce-subject",
            "ce-time",
            "traceparent",
            "rohas"
        ]
    );
    assert_eq!(compact[9].1, "causationid=ffffffff-ffff-ffff-ffff-ffffffffffff;version=2;hops=3;dedupe=600000");
    assert_eq!((&*compact[1].1, &*compact[6].1), ("1700000000", "k€y"));
    let unkeyed = Outgoing { envelope: Envelope { key: Some("".into()), ..outgoing.envelope.clone() }, ..outgoing };
    assert!(super::compact(&unkeyed).iter().all(|(name, value)| *name != "ce-subject" && !value.is_empty()));
}

#[test]
fn what_is_nothing_is_left_out() {
    let Outgoing { envelope, .. } = outgoing();
    let envelope = Envelope {
        key: None,
        causation: None,
        version: 0,
        source: "/some{thing}".into(),
        data: Bytes::new(),
        ..envelope
    };
    let outgoing = Outgoing { envelope, dedupe: Duration::ZERO };
    let names: Vec<_> = attributes(&outgoing).map(|(name, _)| name).collect();
    assert_eq!(names, ["specversion", "id", "source", "type", "time", "traceparent", "rohashops"]);
    assert_eq!(attributes(&outgoing).nth(2).unwrap().1, "/some{thing}", "others' sources stay as they came");
    let (envelope, dedupe) =
        read(Incoming { event: "Event".into(), body: structured(&outgoing), ..Incoming::default() }, now()).unwrap();
    assert_eq!((&envelope.data[..], envelope.version, dedupe), (&b"null"[..], 0, None));
    let short = Outgoing { dedupe: Duration::from_nanos(1), ..outgoing };
    assert_eq!(attributes(&short).last().unwrap(), ("rohasdedupe", "1".into()), "not never");
}

#[test]
fn the_examples_of_cloudevents_are_read() {
    let binary = r#"{
        "specversion" : "1.0", "type" : "com.example.someevent", "source" : "/mycontext", "id" : "D234-1234-1234",
        "time" : "2018-04-05T17:31:00Z", "comexampleextension1" : "value", "comexampleothervalue" : 5,
        "datacontenttype" : "application/vnd.apache.thrift.binary", "data_base64" : "AQID/w=="
    }"#;
    let xml = r#"{
        "specversion" : "1.0", "type" : "com.example.someevent", "source" : "/mycontext", "subject": null, "id" : "C234-1234-1234",
        "time" : "2018-04-05T17:31:00Z", "comexampleextension1" : "value", "comexampleothervalue" : 5,
        "datacontenttype" : "application/xml", "data" : "<much wow=\"xml\"/>"
    }"#;
    let json = r#"{
        "specversion" : "1.0", "type" : "com.example.someevent", "source" : "/mycontext", "subject": null, "id" : "C234-1234-1234",
        "time" : "2018-04-05T17:31:00Z", "comexampleextension1" : "value", "comexampleothervalue" : 5,
        "datacontenttype" : "application/json", "data" : { "appinfoA" : "abc", "appinfoB" : 123, "appinfoC" : true }
    }"#;
    let time = UNIX_EPOCH + Duration::from_secs(1_522_949_460);
    for (example, data) in [
        (binary, r#""AQID/w==""#),
        (xml, r#""<much wow=\"xml\"/>""#),
        (json, r#"{ "appinfoA" : "abc", "appinfoB" : 123, "appinfoC" : true }"#),
    ] {
        for incoming in [incoming(example), of_type("application/CloudEvents+JSON; charset=utf-8", incoming(example))] {
            let (envelope, dedupe) = read(incoming, now()).unwrap();
            assert_eq!(envelope.data, data);
            assert_eq!(
                (&*envelope.source, &*envelope.event, envelope.key, envelope.time),
                ("/mycontext", "Event", None, time)
            );
            assert_eq!((envelope.version, envelope.hops, envelope.causation, dedupe), (0, 0, None, None));
        }
    }
}

#[test]
fn the_originals_envelope_is_read() {
    let own = r#"{"topic": "Event", "payload": {"a" : 1}, "timestamp": "1500000000", "metadata": {}}"#;
    let documented = r#"{"topic": "Event", "payload": {"a" : 1}, "timestamp": "2017-07-14T02:40:00Z", "metadata": {"trace_id": "7", "source": "x"}}"#;
    let number = r#"{"timestamp": 1500000000, "payload": {"a" : 1}, "topic": "Event"}"#;
    for body in [own, documented, number] {
        let topic = [("topic", "Event"), ("timestamp", "1500000000")];
        for incoming in [incoming(body), with_attributes(&topic, body)] {
            let envelope = event(incoming);
            assert_eq!(envelope.data, r#"{"a" : 1}"#);
            assert_eq!((&*envelope.source, envelope.version), ("unknown", 0));
            assert_eq!(envelope.time, UNIX_EPOCH + Duration::from_secs(1_500_000_000));
        }
    }
    assert_eq!(event(incoming(r#"{"topic": "Event", "payload": null, "timestamp": "1"}"#)).data, "null");
    let late = r#"{"topic": "Event", "payload": 1, "timestamp": "tomorrow"}"#;
    assert_eq!(refused(incoming(late)), "timestamp is not the seconds since 1970 or a time as of RFC 3339");
}

#[test]
fn what_is_none_of_these_is_the_payload() {
    for body in [
        r#"{"topic": 7, "payload": 1, "timestamp": "1"}"#,
        r#"{"topic": "Event", "payload": 1, "timestamp": true}"#,
        r#"{"topic": "Event", "payload": 1}"#,
        r#"{"specversion": "1.0", "id": "1", "type": "t", "data": 1}"#,
        r#"{"id": 1, "id": 2}"#,
        " [1, 2]\n",
        "7",
        "\"text\"",
    ] {
        assert_eq!(event(incoming(body)).data, body.trim());
        assert_eq!(event(of_type("application/octet-stream", incoming(body))).data, body.trim());
    }
    assert_eq!(event(incoming("")).data, "null");
    let foreign = Incoming { key: Some("k".into()), time: Some(UNIX_EPOCH), ..incoming("7") };
    let envelope = event(foreign);
    assert_eq!((envelope.key.as_deref(), envelope.time, envelope.version), (Some("k"), UNIX_EPOCH, 0));
}

#[test]
fn the_body_of_binary_mode_is_the_data_whatever_it_looks_like() {
    for body in [document(&json!({})), r#"{"topic": "Event", "payload": 1, "timestamp": "1"}"#.to_owned()] {
        assert_eq!(event(binary(&[], &body)).data, body);
        assert_eq!(event(binary(&[("topic", "Other")], &body)).data, body);
    }
    let envelope = event(binary(&[("subject", "k"), ("time", "1970-01-01T00:00:00Z"), ("other", "x")], "7"));
    assert_eq!((envelope.key.as_deref(), envelope.time, &*envelope.source), (Some("k"), UNIX_EPOCH, "/shop"));
}

#[test]
fn data_that_is_not_json_becomes_a_string() {
    for (content_type, body, data) in [
        ("application/json; charset=utf-8", "[1]", "[1]"),
        ("application/vnd.shop+json", "[1]", "[1]"),
        ("text/json", "[1]", "[1]"),
        ("", "[1]", "[1]"),
        ("text/plain", "a \"text\"", r#""a \"text\"""#),
        ("TEXT/PLAIN ; charset=utf-8", "[1]", r#""[1]""#),
        ("application/atom+xml", "<a/>", r#""<a/>""#),
        ("text/plain", "", r#""""#),
        ("application/json", "", "null"),
        ("application/octet-stream", "[1]", r#""WzFd""#),
        ("nonsense", "[1]", r#""WzFd""#),
    ] {
        assert_eq!(event(of_type(content_type, binary(&[], body))).data, data, "{content_type}");
        let said = event(binary(&[("datacontenttype", content_type)], body));
        assert_eq!(said.data, data, "{content_type} as an attribute");
        let encoded = document(&json!({"data": null, "data_base64": base64(body), "datacontenttype": content_type}));
        assert_eq!(event(incoming(&encoded)).data, data, "{content_type} in base64");
    }
    let latin = Incoming { body: Bytes::from_static(b"\xe9"), ..binary(&[], "") };
    assert!(refused(of_type("text/plain", latin.clone())).contains("not UTF-8"));
    assert_eq!(event(of_type("image/png", latin)).data, r#""6Q==""#);
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_STANDARD.encode(text)
}

#[test]
fn what_breaks_the_rules_of_cloudevents_is_refused() {
    for (changes, reason) in [
        (json!({"specversion": "0.3"}), r#"specversion is "0.3", only "1.0" is understood"#),
        (json!({"specversion": "9".repeat(100)}), r#"specversion is "9999999999999999", only "1.0" is understood"#),
        (json!({"specversion": 1.0}), "specversion is not a string"),
        (json!({"id": 7}), "id is not a string"),
        (json!({"id": {"deep": []}}), "id is not a string"),
        (json!({"id": ""}), "the attribute id is missing"),
        (json!({"time": "yesterday"}), "time is not a time as of RFC 3339"),
        (json!({"time": 1_700_000_000}), "time is not a string"),
        (json!({"rohasversion": -1}), "rohasversion is not a version"),
        (json!({"rohasversion": "4294967296"}), "rohasversion is not a version"),
        (json!({"rohashops": "+1"}), "rohashops is not a number of events"),
        (json!({"rohashops": 1.5}), "rohashops is not a number of events"),
        (json!({"rohasdedupe": "18446744073709551616"}), "rohasdedupe is not a number of milliseconds"),
        (json!({"source": "x".repeat(MAX_ATTRIBUTE + 1)}), "the attribute source has 65537 bytes, the most is 65536"),
        (json!({"data_base64": "AA=="}), "it has both data and data_base64"),
        (json!({"data": null, "data_base64": "A"}), "data_base64 is not base64: Invalid input length: 1"),
        (json!({"data": null, "data_base64": 7}), "data_base64 is not a string"),
        (json!({"data": null, "data_base64": "Tm8="}), "it is not JSON: expected value at line 1 column 1"),
    ] {
        assert_eq!(refused(incoming(&document(&changes))), reason);
    }
    for missing in ["specversion", "id", "source", "type"] {
        let attributes: Vec<_> = REQUIRED.into_iter().filter(|(name, _)| *name != missing).collect();
        let document = document(&json!({missing: null}));
        let expected = format!("the attribute {missing} is missing");
        assert_eq!(refused(of_type(CLOUD_EVENTS_JSON, incoming(&document))), expected);
        if missing != "specversion" {
            assert_eq!(refused(with_attributes(&attributes, "7")), expected);
        }
    }
    assert_eq!(refused(binary(&[("id", "other")], "7")), "id is there twice");
    assert_eq!(event(binary(&[("id", ID)], "7")).id.to_string(), ID, "the same twice says one thing");
    let twice = document(&json!({})).replacen('{', r#"{"id": "other", "#, 1);
    assert_eq!(refused(incoming(&twice)), "id is there twice");
    for content_type in
        ["application/cloudevents-batch+json", "application/cloudevents+avro", "application/cloudevents"]
    {
        assert!(refused(of_type(content_type, incoming("[]"))).contains("only application/cloudevents+json"));
    }
    assert!(refused(of_type(CLOUD_EVENTS_JSON, incoming("[]"))).contains("expected an object"));
}

#[test]
fn numbers_are_understood_where_we_write_text() {
    let envelope = event(incoming(&document(&json!({"rohasversion": 2, "rohashops": 3}))));
    assert_eq!((envelope.version, envelope.hops), (2, 3));
}

#[test]
fn what_is_not_json_is_refused_wherever_it_stands() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    for data in ["NaN", "-Infinity", "1e999", "{]", &*deep, "\"\\ud800\"", "'a'", "{\"a\": 1,}"] {
        let structured = document(&json!({})).replace("7}", &format!("{data}}}"));
        let original = format!(r#"{{"topic": "Event", "payload": {data}, "timestamp": "1"}}"#);
        for incoming in [incoming(data), binary(&[], data), incoming(&structured), incoming(&original)] {
            assert!(refused(incoming).starts_with("it is not JSON"), "{data:.20}");
        }
    }
    let big = "123456789012345678901234567890";
    assert_eq!(event(incoming(big)).data, big, "numbers are passed on as they are");
}

#[test]
fn what_cannot_be_read_is_kept_as_a_string() {
    let unreadable = |body: &'static [u8]| {
        let place = Some("stream 7".into());
        let incoming = Incoming { body: Bytes::from_static(body), place, key: Some("k".into()), ..incoming("") };
        read(incoming, now()).unwrap_err()
    };
    let kept = unreadable(b"{\"a\": \x01");
    assert_eq!(kept.envelope.data, r#""{\"a\": \u0001""#);
    assert_eq!(unreadable(b"\xff").envelope.data, r#""/w==""#);
    assert_eq!((kept.envelope.key.as_deref(), kept.envelope.time, kept.envelope.version), (Some("k"), now(), 0));
    assert_eq!(kept.envelope.id, unreadable(b"\xff").envelope.id, "its id is that of its place");
    assert!(kept.to_string().starts_with("the message cannot be read: it is not JSON: "), "{kept}");
}

#[test]
fn ids_are_the_same_each_time_and_different_for_different_messages() {
    let id = |source: &str, id: &str| event(incoming(&document(&json!({"source": source, "id": id})))).id;
    assert_eq!(id("/a", "1"), id("/a", "1"));
    assert_ne!(id("/a", "1"), id("/a", "2"));
    assert_ne!(id("/a", "1"), id("/b", "1"));
    assert_ne!(id("/a\n1", "2"), id("/a", "1\n2"));
    assert_eq!(id("/a", ID).to_string(), ID);
    assert_eq!(id("/a", &ID.to_uppercase()).to_string(), ID);
    let placed = |event_name: &str, place: Option<&str>| {
        event(Incoming { place: place.map(Into::into), event: event_name.into(), ..incoming("7") }).id
    };
    assert_eq!(placed("A", Some("1")), placed("A", Some("1")));
    assert_ne!(placed("A", Some("1")), placed("A", Some("2")));
    assert_ne!(placed("A", Some("1")), placed("B", Some("1")));
    assert_ne!(placed("A", None), placed("A", None));
}

#[test]
fn a_message_without_a_trace_begins_one_that_it_keeps() {
    let trace = |more: &[(&str, &str)]| event(binary(more, "7")).trace;
    let own = TraceContext { trace_id: ID.parse::<Uuid>().unwrap().into_bytes(), parent: [0; 8] };
    for malformed in ["", "00-x", "00-00000000000000000000000000000000-00f067aa0ba902b7-01"] {
        assert_eq!(trace(&[("traceparent", malformed)]), own, "{malformed}");
    }
    let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    assert_eq!(trace(&[("traceparent", given)]).to_string(), given);
    let nil = event(incoming(&document(&json!({"id": Uuid::nil()}))));
    assert_ne!(nil.trace.trace_id, [0; 16]);
}

#[test]
fn causes_of_other_kinds_are_passed_over() {
    assert_eq!(event(binary(&[("causationid", "order 7")], "7")).causation, None);
    assert_eq!(event(binary(&[("causationid", ID)], "7")).causation, Some(ID.parse().unwrap()));
}

#[test]
fn data_is_not_copied() {
    let body = Bytes::from(document(&json!({"data": "x".repeat(100)})));
    let within = |data: &Bytes| body.as_ptr_range().contains(&data.as_ptr());
    let structured = Incoming { body: body.clone(), ..incoming("") };
    assert!(within(&event(structured).data));
    assert!(within(&event(Incoming { body: body.clone(), ..binary(&[], "") }).data));
}

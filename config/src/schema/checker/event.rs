//! Which event does an `event` declare, who handles it and how is it delivered?

use super::{Checker, Decl, api::is_scalar, handlers::Mention, properties::Properties};
use crate::{
    project::HandlerKind,
    schema::{
        diagnostic::{Code, Fault},
        model::{Backoff, Event, Retry, Transport, Type},
        suggest::did_you_mean,
        syntax::{Entry, ValueKind},
    },
};

const KNOWN: [&str; 11] = [
    "payload",
    "handler",
    "triggers",
    "key",
    "adapter",
    "type",
    "retry",
    "timeout",
    "concurrency",
    "dedupe",
    "version",
];

const RETRY: [&str; 4] = ["attempts", "backoff", "delay", "maxDelay"];

const BACKOFF: [(&str, Backoff); 3] =
    [("exponential", Backoff::Exponential), ("linear", Backoff::Linear), ("fixed", Backoff::Fixed)];

/// More messages in flight than this is a slip of the finger.
const MAX_CONCURRENCY: u32 = 100_000;

const MAX_ATTEMPTS: u32 = 1_000_000;

impl Checker<'_> {
    pub(super) fn event(&mut self, decl: Decl<'_>) {
        let given = self.properties(decl, &decl.node.entries, &KNOWN);
        let before = self.faults.len();
        let payload = given.get("payload").and_then(|entry| self.property_type(decl, entry, "Payload"));
        let payload = payload.unwrap_or(Type::Json);
        let understood = self.faults.len() == before;
        let handlers = self.event_handlers(decl, &given);
        let triggers = self.events(decl, given.get("triggers"));
        let key = given.get("key").and_then(|entry| self.word_or_text(decl, entry).map(|key| (key, entry)));
        let key = key.filter(|(key, entry)| !understood || self.is_key(decl, entry, key, &payload));
        let adapter = given.get("adapter").and_then(|entry| self.adapter(decl, entry));
        let transport = given.get("type").and_then(|entry| self.transport(decl, entry));
        let retry = given.get("retry").and_then(|entry| self.retry(decl, entry));
        let timeout = given.get("timeout").and_then(|entry| self.duration(decl, entry));
        let concurrency = given.get("concurrency").and_then(|entry| self.count(decl, entry, 1..=MAX_CONCURRENCY));
        let dedupe = given.get("dedupe").and_then(|entry| self.duration_or_zero(decl, entry));
        let version = given.get("version").and_then(|entry| self.count(decl, entry, 1..=u32::MAX));
        let location = self.location(decl.name_place());
        let name = decl.name().to_owned();
        let event = Event {
            name: name.clone(),
            doc: decl.node.doc.clone(),
            payload,
            handlers,
            triggers,
            key: key.map(|(key, _)| key.to_owned()),
            adapter,
            transport,
            retry,
            timeout,
            concurrency,
            dedupe,
            version: version.unwrap_or(1),
            location,
        };
        self.schema.events.insert(name, event);
    }

    fn event_handlers(&mut self, decl: Decl<'_>, given: &Properties<'_>) -> Vec<String> {
        let Some(entry) = given.get("handler") else { return Vec::new() };
        let mut handlers = Vec::new();
        for (name, place) in self.names(decl, entry) {
            let owner = decl.name().to_owned();
            self.mention(Mention { kind: HandlerKind::Event, owner, name: name.clone(), place });
            handlers.push(name);
        }
        handlers
    }

    /// Whether the key is a scalar field of the payload.
    fn is_key(&mut self, decl: Decl<'_>, entry: &Entry, key: &str, payload: &Type) -> bool {
        let place = decl.place(entry.value.as_ref().map_or(entry.span, |value| value.span));
        let Type::Record(record) = payload else {
            let message = format!("{} has a key, but its payload is {}", decl.describe(), payload);
            let fault = Fault::new(Code::BadKey, place, message);
            self.report(fault.help("the key is a field of the payload: declare a record for it"));
            return false;
        };
        let Some(declared) = self.schema.records.get(record) else { return false };
        let Some(field) = declared.fields.get(key) else {
            let names: Vec<&str> = declared.fields.keys().map(String::as_str).collect();
            let help = did_you_mean(key, names.iter().copied())
                .unwrap_or_else(|| format!("fields of `{record}` are {}", names.join(", ")));
            let fault = Fault::new(Code::BadKey, place, format!("the payload `{record}` has no field `{key}`"));
            self.report(fault.label("unknown field").help(help));
            return false;
        };
        if is_scalar(&field.ty) {
            return true;
        }
        let message = format!("the key `{key}` of {} is of the type {}", decl.describe(), field.ty);
        let mut fault = Fault::new(Code::BadKey, place, message);
        if let Some(field) = self.fields.get(&(record.clone(), key.to_owned())) {
            fault = fault.related(*field, "this field");
        }
        self.report(fault.help("the key is an Int, Float, String, Boolean, DateTime or enum"));
        false
    }

    fn adapter(&mut self, decl: Decl<'_>, entry: &Entry) -> Option<String> {
        let name = self.word_or_text(decl, entry)?;
        let Some(known) = &self.context.adapters else { return Some(name.to_owned()) };
        if !known.iter().any(|adapter| adapter == name) {
            let place = decl.place(entry.value.as_ref()?.span);
            let help = did_you_mean(name, known.iter().map(String::as_str))
                .unwrap_or_else(|| format!("add a section [adapters.{name}] to config/rohas.toml"));
            let fault = Fault::new(Code::UnknownAdapter, place, format!("the settings have no adapter `{name}`"));
            self.report(fault.label("unknown adapter").help(help));
        }
        Some(name.to_owned())
    }

    /// `type:`, the original's way to name a broker.
    fn transport(&mut self, decl: Decl<'_>, entry: &Entry) -> Option<Transport> {
        let name = self.word_or_text(decl, entry)?;
        match name.to_ascii_lowercase().as_str() {
            "sqs" => Some(Transport::Sqs),
            "eventbridge" => Some(Transport::EventBridge),
            _ => {
                let place = decl.place(entry.value.as_ref()?.span);
                let message =
                    format!("invalid adapter type `{name}` of {}. Must be 'sqs' or 'eventbridge'", decl.describe());
                let fault = Fault::new(Code::BadTransport, place, message);
                self.report(fault.help("other brokers are named with `adapter:` and configured in config/rohas.toml"));
                None
            }
        }
    }

    fn retry(&mut self, decl: Decl<'_>, entry: &Entry) -> Option<Retry> {
        let value = entry.value.as_ref()?;
        let ValueKind::Object(members) = &value.kind else {
            self.bad_value(decl, entry, "a block such as { attempts: 5, delay: 200ms }");
            return None;
        };
        let given = self.properties(decl, members, &RETRY);
        let retry = Retry {
            attempts: given.get("attempts").and_then(|entry| self.count(decl, entry, 1..=MAX_ATTEMPTS)),
            backoff: given.get("backoff").and_then(|entry| self.choice(decl, entry, &BACKOFF)),
            delay: given.get("delay").and_then(|entry| self.duration_or_zero(decl, entry)),
            max_delay: given.get("maxDelay").and_then(|entry| self.duration(decl, entry)),
        };
        if let (Some(delay), Some(max), Some(entry)) = (retry.delay, retry.max_delay, given.get("delay"))
            && delay > max
        {
            let message = format!("the `delay` of {} is above its `maxDelay`", decl.describe());
            let fault = Fault::new(Code::EmptyRange, decl.place(entry.span), message);
            let fault = match given.get("maxDelay") {
                Some(max) => fault.related(decl.place(max.span), "the upper bound"),
                None => fault,
            };
            self.report(fault.help("raise `maxDelay` or remove it"));
        }
        Some(retry)
    }
}

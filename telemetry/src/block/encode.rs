//! How do records become a block? Row by row into columns, then at once into bytes.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::columns::{Columns, CronRow, Details, EmitRow, ErrorRow, EventCode, LogRow};
use super::{CHECKED, Encoded, HEADER, Meta, VERSION, index};
use crate::record::nanos;
use crate::{EventId, Http, Record, Span, SpanId, TraceId};

/// Stores these records as one block.
pub(crate) fn encode(records: &[Record]) -> Encoded {
    let mut encoder = Encoder::for_rows(records);
    for (row, record) in (0..).zip(records) {
        encoder.row(row, record);
    }
    let index = index::encode(encoder.traces.list.iter().copied());
    let value = encoder.finish();
    let meta = Meta::of(records, value.len() + index.len());
    Encoded { value, index, meta }
}

#[derive(Default)]
struct Encoder<'a> {
    columns: Columns,
    details: Details<'a>,
    crons: Vec<CronRow>,
    spans: HashMap<SpanId, u32, Fast>,
    span_ids: Vec<u8>,
    traces: Table<TraceId>,
    foreign: Table<SpanId>,
    uuids: Table<Uuid>,
    texts: HashMap<&'a str, u32, Fast>,
    last_start: u64,
}

/// Things that occur several times, each stored once.
struct Table<T> {
    list: Vec<T>,
    places: HashMap<T, u32, Fast>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { list: Vec::new(), places: HashMap::default() }
    }
}

impl<T: Copy + Eq + Hash> Table<T> {
    /// The place of a thing, and whether it is new.
    fn place(&mut self, item: T) -> (u32, bool) {
        let next = self.len();
        let place = *self.places.entry(item).or_insert(next);
        if place == next {
            self.list.push(item);
        }
        (place, place == next)
    }

    fn len(&self) -> u32 {
        self.list.len() as u32
    }
}

impl<'a> Encoder<'a> {
    fn for_rows(records: &[Record]) -> Self {
        let mut encoder = Self::default();
        encoder.span_ids.reserve(records.len() * 8);
        for record in records {
            encoder.span_ids.extend_from_slice(record.span_id.as_bytes());
        }
        if records.iter().any(|record| record.parent.is_some()) {
            encoder.spans = records.iter().map(|record| record.span_id).zip(0..).collect();
        }
        encoder
    }

    fn row(&mut self, row: u32, record: &'a Record) {
        let trace = self.trace(record.trace_id);
        let parent = self.parent(row, record.parent);
        let name = self.text(&record.name);
        let handler = self.optional_text(record.handler.as_ref());
        let start = record.started_at.as_nanos();
        let columns = &mut self.columns;
        columns.traces.push(trace);
        columns.parents.push(parent);
        columns.kinds.push(record.kind.code());
        columns.names.push(name);
        columns.handlers.push(handler);
        columns.attempts.push(record.attempt);
        columns.statuses.push(record.status.code());
        columns.starts.push(start.wrapping_sub(self.last_start).cast_signed());
        columns.durations.push(nanos(record.duration));
        self.last_start = start;
        self.http(record.http.as_ref());
        let event = record.event_id.as_ref().map_or(0, |id| self.event(id));
        self.columns.events.push(event);
        self.parts(&record.spans);
        self.details(row, record);
    }

    fn trace(&mut self, trace: TraceId) -> u32 {
        let (place, new) = self.traces.place(trace);
        if new { 0 } else { self.traces.len() - place }
    }

    fn parent(&mut self, row: u32, parent: Option<SpanId>) -> u64 {
        let Some(parent) = parent else { return 0 };
        match self.spans.get(&parent) {
            Some(&of) => zigzag(i64::from(row) - i64::from(of)) << 1 | 1,
            None => (u64::from(self.foreign.place(parent).0) + 1) << 1,
        }
    }

    fn text(&mut self, text: &'a Arc<str>) -> u32 {
        let text: &'a str = text;
        let texts = &mut self.details.texts;
        *self.texts.entry(text).or_insert_with(|| {
            texts.push(text);
            texts.len() as u32
        })
    }

    fn optional_text(&mut self, text: Option<&'a Arc<str>>) -> u32 {
        text.map_or(0, |text| self.text(text))
    }

    fn event(&mut self, id: &'a EventId) -> EventCode {
        match id {
            EventId::Uuid(uuid) => match self.uuids.place(*uuid) {
                (_, true) => 1,
                (place, false) => {
                    self.details.places.push(place);
                    2
                }
            },
            EventId::Text(text) => {
                self.details.event_texts.push(text);
                3
            }
        }
    }

    fn http(&mut self, http: Option<&'a Http>) {
        let Some(http) = http else {
            self.columns.methods.push(0);
            return;
        };
        let (method, path) = (self.text(&http.method), self.text(&http.path));
        self.columns.methods.push(method);
        self.columns.paths.push(path);
        self.columns.answers.push(http.status);
    }

    fn parts(&mut self, spans: &'a [Span]) {
        self.columns.span_counts.push(spans.len() as u32);
        let mut end = Duration::ZERO;
        for span in spans {
            let name = self.optional_text(span.name.as_ref());
            let columns = &mut self.columns;
            columns.span_phases.push(span.phase.code());
            columns.span_names.push(name);
            columns.span_gaps.push(nanos(span.offset).wrapping_sub(nanos(end)).cast_signed());
            columns.span_durations.push(nanos(span.duration));
            end = span.offset.saturating_add(span.duration);
        }
    }

    fn details(&mut self, row: u32, record: &'a Record) {
        for emit in &record.emits {
            let (event, id) = (self.text(&emit.event), self.event(&emit.id));
            self.details.emits.push(EmitRow { row, event, id });
        }
        if let Some(cron) = &record.cron {
            let schedule = self.text(&cron.schedule);
            self.crons.push(CronRow { row, schedule, slot: cron.slot.as_nanos() });
        }
        if let Some(error) = &record.error {
            let kind = self.text(&error.kind);
            let traceback = error.traceback.as_deref();
            self.details.errors.push(ErrorRow { row, kind, message: &error.message, traceback });
        }
        self.details.logs.extend(record.logs.iter().map(|log| LogRow {
            row,
            offset: nanos(log.offset),
            level: log.level.code(),
            message: &log.message,
            fields: log.fields.as_deref(),
        }));
    }

    fn finish(mut self) -> Vec<u8> {
        self.details.traces = self.traces.len();
        self.details.foreign = self.foreign.len();
        self.details.uuids = self.uuids.len();
        let mut plain = Vec::with_capacity(self.columns.kinds.len() * 48);
        plain = postcard::to_extend(&self.details, plain).expect("a vector takes everything");
        plain = postcard::to_extend(&self.columns, plain).expect("a vector takes everything");
        if !self.crons.is_empty() {
            plain = postcard::to_extend(&self.crons, plain).expect("a vector takes everything");
        }

        let mut ids = self.span_ids;
        ids.extend(self.traces.list.iter().flat_map(TraceId::as_bytes));
        ids.extend(self.foreign.list.iter().flat_map(SpanId::as_bytes));
        ids.extend(self.uuids.list.iter().flat_map(Uuid::as_bytes));

        let most = lz4_flex::block::get_maximum_output_size(plain.len());
        let mut value = vec![0; HEADER + ids.len() + most];
        value[0] = VERSION;
        value[CHECKED..CHECKED + 4].copy_from_slice(&(ids.len() as u32).to_le_bytes());
        value[CHECKED + 4..HEADER].copy_from_slice(&(plain.len() as u32).to_le_bytes());
        value[HEADER..HEADER + ids.len()].copy_from_slice(&ids);
        let packed = lz4_flex::block::compress_into(&plain, &mut value[HEADER + ids.len()..])
            .expect("the output has the size that compression needs at most");
        value.truncate(HEADER + ids.len() + packed);
        let checksum = crc32fast::hash(&value[CHECKED..]);
        value[1..CHECKED].copy_from_slice(&checksum.to_le_bytes());
        value
    }
}

/// Small numbers of either sign as small numbers.
const fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63).cast_unsigned()
}

type Fast = BuildHasherDefault<Mix>;

/// A hash for tables that live for one block. An id that a caller chose to collide costs a few hundred comparisons at most.
#[derive(Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.write_u64(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.write_u64(u64::from_le_bytes(last));
    }

    fn write_u64(&mut self, word: u64) {
        let wide = u128::from(self.0 ^ word) * 0x9e37_79b9_7f4a_7c15_u128;
        self.0 = (wide as u64) ^ (wide >> 64) as u64;
    }

    fn write_usize(&mut self, length: usize) {
        self.write_u64(length as u64);
    }

    fn write_u8(&mut self, byte: u8) {
        self.write_u64(u64::from(byte));
    }
}

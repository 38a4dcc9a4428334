//! How does a block become records again? By walking all columns in step; whatever does not fit is damage, never a panic.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::columns::{Columns, CronRow, Details, EmitRow, ErrorRow, EventCode, LogRow};
use super::{CHECKED, HEADER, VERSION};
use crate::{
    Cron, Emit, EventId, Failure, Http, Kind, Level, Log, Phase, Record, Span, SpanId, Status, Timestamp, TraceId,
};

/// No block of ours is larger when unpacked; a length beyond it is damage and must not become an allocation.
const MAX_PLAIN: usize = 1 << 28;

/// Why a block cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Malformed {
    /// It ends before its header does.
    #[error("it is cut short")]
    Short,
    /// A newer rohas wrote it.
    #[error("its version is {0}, which this rohas does not know")]
    Version(u8),
    /// Bytes have changed.
    #[error("its checksum does not match")]
    Checksum,
    /// The compressed part is no LZ4.
    #[error("it cannot be decompressed")]
    Compression(#[from] lz4_flex::block::DecompressError),
    /// The columns are no postcard.
    #[error("its columns cannot be decoded")]
    Columns(#[from] postcard::Error),
    /// A column ends early or refers to nothing.
    #[error("its {0} do not fit the rest")]
    Inconsistent(&'static str),
}

/// Reads all records of a block.
pub(crate) fn decode(value: &[u8]) -> Result<Vec<Record>, Malformed> {
    let header = value.get(..HEADER).ok_or(Malformed::Short)?;
    if header[0] != VERSION {
        return Err(Malformed::Version(header[0]));
    }
    if crc32fast::hash(&value[CHECKED..]) != word(header, 1) {
        return Err(Malformed::Checksum);
    }
    let (ids, plain) = (word(header, CHECKED) as usize, word(header, CHECKED + 4) as usize);
    let (ids, packed) = value[HEADER..].split_at_checked(ids).ok_or(Malformed::Short)?;
    if plain > MAX_PLAIN {
        return Err(Malformed::Inconsistent("lengths"));
    }
    let plain = lz4_flex::block::decompress(packed, plain)?;
    let (details, rest) = postcard::take_from_bytes::<Details<'_>>(&plain)?;
    let (columns, rest) = postcard::take_from_bytes::<Columns>(rest)?;
    let crons: Vec<CronRow> = if rest.is_empty() { Vec::new() } else { postcard::from_bytes(rest)? };
    Decoder::new(ids, &columns, (&details, &crons))?.records()
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// The next value of each column.
struct Decoder<'a> {
    texts: Vec<Arc<str>>,
    spans: &'a [[u8; 8]],
    traces: &'a [[u8; 16]],
    foreign: &'a [[u8; 8]],
    uuids: &'a [[u8; 16]],
    columns: &'a Columns,
    seen_traces: usize,
    seen_uuids: usize,
    last_start: u64,
    places: std::slice::Iter<'a, u32>,
    event_texts: std::slice::Iter<'a, &'a str>,
    http: std::iter::Zip<std::slice::Iter<'a, u32>, std::slice::Iter<'a, u16>>,
    next_span: usize,
    errors: &'a [ErrorRow<'a>],
    logs: &'a [LogRow<'a>],
    emits: &'a [EmitRow],
    crons: &'a [CronRow],
}

impl<'a> Decoder<'a> {
    fn new(
        ids: &'a [u8],
        columns: &'a Columns,
        (details, crons): (&'a Details<'a>, &'a [CronRow]),
    ) -> Result<Self, Malformed> {
        let (spans, ids) = table::<8>(ids, columns.kinds.len())?;
        let (traces, ids) = table::<16>(ids, details.traces as usize)?;
        let (foreign, ids) = table::<8>(ids, details.foreign as usize)?;
        let (uuids, _) = table::<16>(ids, details.uuids as usize)?;
        Ok(Self {
            texts: details.texts.iter().map(|text| Arc::from(*text)).collect(),
            spans,
            traces,
            foreign,
            uuids,
            columns,
            seen_traces: 0,
            seen_uuids: 0,
            last_start: 0,
            places: details.places.iter(),
            event_texts: details.event_texts.iter(),
            http: columns.paths.iter().zip(&columns.answers),
            next_span: 0,
            errors: &details.errors,
            logs: &details.logs,
            emits: &details.emits,
            crons,
        })
    }

    fn records(mut self) -> Result<Vec<Record>, Malformed> {
        (0..self.spans.len()).map(|row| self.record(row)).collect()
    }

    fn record(&mut self, row: usize) -> Result<Record, Malformed> {
        let columns = self.columns;
        let start = self.last_start.wrapping_add_signed(at(&columns.starts, row, "starts")?);
        self.last_start = start;
        Ok(Record {
            trace_id: self.trace(at(&columns.traces, row, "traces")?)?,
            span_id: SpanId::from_bytes(self.spans[row]),
            parent: self.parent(row, at(&columns.parents, row, "parents")?)?,
            kind: Kind::from_code(at(&columns.kinds, row, "kinds")?).ok_or(Malformed::Inconsistent("kinds"))?,
            name: self.text(at(&columns.names, row, "names")?)?,
            handler: self.optional_text(at(&columns.handlers, row, "handlers")?)?,
            attempt: at(&columns.attempts, row, "attempts")?,
            status: Status::from_code(at(&columns.statuses, row, "statuses")?)
                .ok_or(Malformed::Inconsistent("statuses"))?,
            started_at: Timestamp::from_nanos(start),
            duration: Duration::from_nanos(at(&columns.durations, row, "durations")?),
            http: self.http(at(&columns.methods, row, "methods")?)?,
            cron: self.cron(row)?,
            event_id: self.event(at(&columns.events, row, "events")?)?,
            emits: self.emits(row)?,
            spans: self.parts(at(&columns.span_counts, row, "span counts")?)?,
            error: self.error(row)?,
            logs: self.logs(row)?,
        })
    }

    fn trace(&mut self, code: u32) -> Result<TraceId, Malformed> {
        let place = if code == 0 {
            self.seen_traces += 1;
            Some(self.seen_traces - 1)
        } else {
            self.seen_traces.checked_sub(code as usize)
        };
        let bytes = place.and_then(|place| self.traces.get(place)).ok_or(Malformed::Inconsistent("traces"))?;
        Ok(TraceId::from_bytes(*bytes))
    }

    fn parent(&self, row: usize, code: u64) -> Result<Option<SpanId>, Malformed> {
        let bytes = match code {
            0 => return Ok(None),
            odd if odd % 2 == 1 => {
                let of = (row as i64).wrapping_sub(unzigzag(odd >> 1));
                usize::try_from(of).ok().and_then(|of| self.spans.get(of))
            }
            even => self.foreign.get((even >> 1) as usize - 1),
        };
        Ok(Some(SpanId::from_bytes(*bytes.ok_or(Malformed::Inconsistent("parents"))?)))
    }

    fn text(&self, code: u32) -> Result<Arc<str>, Malformed> {
        self.optional_text(code)?.ok_or(Malformed::Inconsistent("names"))
    }

    fn optional_text(&self, code: u32) -> Result<Option<Arc<str>>, Malformed> {
        let Some(place) = (code as usize).checked_sub(1) else { return Ok(None) };
        self.texts.get(place).cloned().map(Some).ok_or(Malformed::Inconsistent("names"))
    }

    fn http(&mut self, method: u32) -> Result<Option<Http>, Malformed> {
        let Some(method) = self.optional_text(method)? else { return Ok(None) };
        let (path, status) = self.http.next().ok_or(Malformed::Inconsistent("paths"))?;
        Ok(Some(Http { method, path: self.text(*path)?, status: *status }))
    }

    fn cron(&mut self, row: usize) -> Result<Option<Cron>, Malformed> {
        let Some(cron) = split(&mut self.crons, |cron| cron.row as usize == row).first() else { return Ok(None) };
        Ok(Some(Cron { schedule: self.text(cron.schedule)?, slot: Timestamp::from_nanos(cron.slot) }))
    }

    fn event(&mut self, code: EventCode) -> Result<Option<EventId>, Malformed> {
        const DAMAGE: Malformed = Malformed::Inconsistent("event ids");
        let place = match code {
            0 => return Ok(None),
            1 => {
                self.seen_uuids += 1;
                self.seen_uuids - 1
            }
            2 => *self.places.next().ok_or(DAMAGE)? as usize,
            3 => return Ok(Some(EventId::Text((*self.event_texts.next().ok_or(DAMAGE)?).into()))),
            _ => return Err(DAMAGE),
        };
        let bytes = self.uuids.get(place).ok_or(DAMAGE)?;
        Ok(Some(EventId::Uuid(Uuid::from_bytes(*bytes))))
    }

    fn parts(&mut self, count: u32) -> Result<Vec<Span>, Malformed> {
        let mut end = 0_u64;
        let rows = self.next_span..self.next_span + count as usize;
        if rows.end > self.columns.span_phases.len() {
            return Err(Malformed::Inconsistent("spans"));
        }
        self.next_span = rows.end;
        rows.map(|row| self.part(row, &mut end)).collect()
    }

    fn part(&self, row: usize, end: &mut u64) -> Result<Span, Malformed> {
        let columns = self.columns;
        let offset = end.wrapping_add_signed(at(&columns.span_gaps, row, "spans")?);
        let duration = at(&columns.span_durations, row, "spans")?;
        *end = offset.saturating_add(duration);
        Ok(Span {
            phase: Phase::from_code(at(&columns.span_phases, row, "spans")?).ok_or(Malformed::Inconsistent("spans"))?,
            name: self.optional_text(at(&columns.span_names, row, "spans")?)?,
            offset: Duration::from_nanos(offset),
            duration: Duration::from_nanos(duration),
        })
    }

    fn emits(&mut self, row: usize) -> Result<Vec<Emit>, Malformed> {
        let rows = split(&mut self.emits, |emit| emit.row as usize == row);
        rows.iter()
            .map(|emit| {
                let id = self.event(emit.id)?.ok_or(Malformed::Inconsistent("emits"))?;
                Ok(Emit { event: self.text(emit.event)?, id })
            })
            .collect()
    }

    fn error(&mut self, row: usize) -> Result<Option<Failure>, Malformed> {
        let Some(error) = split(&mut self.errors, |error| error.row as usize == row).first() else { return Ok(None) };
        Ok(Some(Failure {
            kind: self.text(error.kind)?,
            message: error.message.into(),
            traceback: error.traceback.map(Into::into),
        }))
    }

    fn logs(&mut self, row: usize) -> Result<Vec<Log>, Malformed> {
        split(&mut self.logs, |log| log.row as usize == row)
            .iter()
            .map(|log| {
                Ok(Log {
                    offset: Duration::from_nanos(log.offset),
                    level: Level::from_code(log.level).ok_or(Malformed::Inconsistent("log levels"))?,
                    message: log.message.into(),
                    fields: log.fields.map(Into::into),
                })
            })
            .collect()
    }
}

fn at<T: Copy>(column: &[T], row: usize, name: &'static str) -> Result<T, Malformed> {
    column.get(row).copied().ok_or(Malformed::Inconsistent(name))
}

/// The rows at the front that belong to one record; they are taken off.
fn split<'a, T>(rows: &mut &'a [T], belongs: impl Fn(&T) -> bool) -> &'a [T] {
    let count = rows.iter().take_while(|row| belongs(row)).count();
    let (front, rest) = rows.split_at(count);
    *rows = rest;
    front
}

fn table<const N: usize>(ids: &[u8], count: usize) -> Result<(&[[u8; N]], &[u8]), Malformed> {
    let length = count.checked_mul(N).ok_or(Malformed::Inconsistent("ids"))?;
    let (table, rest) = ids.split_at_checked(length).ok_or(Malformed::Inconsistent("ids"))?;
    Ok((table.as_chunks().0, rest))
}

const fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -((number & 1).cast_signed())
}

//! How much of one record is kept? As much as a person reads; a handler that logs without end must not fill the disk.

use std::time::Duration;

use crate::{Level, Log, Record};

/// Log lines of one record are kept up to this many bytes.
const MAX_LOGS: usize = 1 << 20;
/// A message, a log line's fields or a traceback is kept up to this many bytes.
const MAX_TEXT: usize = 64 << 10;

/// Cuts what is beyond the limits, and says so where it was cut.
pub(crate) fn cut(record: &mut Record) {
    if record.weight() <= MAX_TEXT {
        return;
    }
    if let Some(error) = &mut record.error {
        cut_text(&mut error.message);
        error.traceback.iter_mut().for_each(cut_text);
    }
    cut_logs(&mut record.logs);
}

fn cut_logs(logs: &mut Vec<Log>) {
    let mut bytes = 0;
    let mut kept = 0;
    for log in logs.iter_mut() {
        cut_text(&mut log.message);
        if log.fields.as_ref().is_some_and(|fields| fields.len() > MAX_TEXT) {
            // Half a JSON object is no JSON any more.
            log.fields = Some(format!("{{\"rohas\":\"fields of more than {MAX_TEXT} bytes were not kept\"}}").into());
        }
        bytes += log.message.len() + log.fields.as_ref().map_or(0, |text| text.len());
        if bytes > MAX_LOGS {
            break;
        }
        kept += 1;
    }
    let gone = logs.len() - kept;
    if gone == 0 {
        return;
    }
    let offset = logs.last().map_or(Duration::ZERO, |log| log.offset);
    logs.truncate(kept);
    let message = format!("{gone} more log lines were not kept: one invocation's lines have {MAX_LOGS} bytes at most");
    logs.push(Log { offset, level: Level::Warn, message: message.into(), fields: None });
}

fn cut_text(text: &mut Box<str>) {
    if text.len() > MAX_TEXT {
        let end = text.floor_char_boundary(MAX_TEXT);
        *text = format!("{} [{} more bytes were not kept]", &text[..end], text.len() - end).into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Failure, Kind, SpanId, TraceId};

    fn record(logs: Vec<Log>) -> Record {
        Record { logs, ..Record::new(Kind::Request, "A".into(), TraceId::random(), SpanId::random()) }
    }

    fn log(message: &str) -> Log {
        Log { offset: Duration::ZERO, level: Level::Info, message: message.into(), fields: None }
    }

    #[test]
    fn usual_records_stay_as_they_are() {
        let before = record(vec![log("one"), log("two")]);
        let mut after = before.clone();
        cut(&mut after);
        assert_eq!(after, before);
    }

    #[test]
    fn endless_logs_end_with_a_line_that_says_so() {
        let line = "x".repeat(1000);
        let mut record = record(vec![log(&line); 5000]);
        cut(&mut record);
        assert!(record.weight() < 2 * MAX_LOGS);
        let last = record.logs.last().unwrap();
        assert!(last.message.contains("more log lines were not kept"), "{}", last.message);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let mut record = record(vec![log(&"ß".repeat(MAX_TEXT))]);
        let message: Box<str> = format!("x{}", "ß".repeat(MAX_TEXT)).into();
        record.error = Some(Failure { kind: "E".into(), message, traceback: None });
        cut(&mut record);
        assert!(record.logs[0].message.ends_with("more bytes were not kept]"));
        assert!(record.error.unwrap().message.len() < MAX_TEXT + 100);
    }
}

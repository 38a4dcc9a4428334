//! How is one invocation's record collected while it goes its way?

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rohas_adapters::TraceContext;
use rohas_handlers_host::{Finished, HandlerError, LogLevel};
use rohas_telemetry::{
    Cron, Emit, Failure, Handle, Http, Kind, Level, Log, Phase, Record, Span, SpanId, Status, TraceId,
};

/// Collects one [`Record`]. Whoever makes it must [`Recorder::finish`] it.
pub(crate) struct Recorder {
    record: Record,
    began: Instant,
    /// When the last part ended; the next one begins there.
    lap: Instant,
}

impl Recorder {
    /// Begins a record below the span that `context` names.
    pub(crate) fn begin(kind: Kind, name: &Arc<str>, context: TraceContext) -> Self {
        let mut record = Record::new(kind, Arc::clone(name), TraceId::from_bytes(context.trace_id), SpanId::random());
        record.parent = (context.parent != [0; 8]).then(|| SpanId::from_bytes(context.parent));
        let began = Instant::now();
        Self { record, began, lap: began }
    }

    /// A context for what this invocation causes.
    pub(crate) fn context(&self) -> TraceContext {
        TraceContext { trace_id: *self.record.trace_id.as_bytes(), parent: *self.record.span_id.as_bytes() }
    }

    pub(crate) fn trace_id(&self) -> TraceId {
        self.record.trace_id
    }

    /// Whether somebody waits for an answer, which a typed error can be.
    pub(crate) fn has_caller(&self) -> bool {
        matches!(self.record.kind, Kind::Request | Kind::WebSocketConnect | Kind::WebSocketMessage)
    }

    pub(crate) fn handler(&mut self, handler: &Arc<str>) {
        self.record.handler = Some(Arc::clone(handler));
    }

    pub(crate) fn attempt(&mut self, attempt: u32, event_id: uuid::Uuid) {
        self.record.attempt = attempt;
        self.record.event_id = Some(event_id.into());
    }

    /// Records the part that ends now; it began where the one before it ended.
    pub(crate) fn lap(&mut self, phase: Phase) {
        self.lap_named(phase, None);
    }

    /// As [`Recorder::lap`], for one of several parts of a phase.
    pub(crate) fn lap_named(&mut self, phase: Phase, name: Option<Arc<str>>) {
        let now = Instant::now();
        let (offset, duration) = (self.lap - self.began, now - self.lap);
        self.lap = now;
        self.record.spans.push(Span { phase, name, offset, duration });
    }

    pub(crate) fn emits(&mut self, emits: impl IntoIterator<Item = (Arc<str>, uuid::Uuid)>) {
        self.record.emits.extend(emits.into_iter().map(|(event, id)| Emit { event, id: id.into() }));
    }

    pub(crate) fn logs(&mut self, finished: &mut Finished) {
        let started_at = self.record.started_at.as_nanos();
        let lines = finished.logs.drain(..).map(|line| Log {
            offset: Duration::from_nanos(line.at.saturating_sub(started_at)),
            level: level(line.level),
            message: line.message.into_boxed_str(),
            fields: line.fields.map(String::into_boxed_str),
        });
        self.record.logs.extend(lines);
        if finished.dropped_logs > 0 {
            let message = format!("{} further lines are left out", finished.dropped_logs).into_boxed_str();
            self.record.logs.push(Log { offset: self.began.elapsed(), level: Level::Warn, message, fields: None });
        }
    }

    /// A line of the daemon's own, with its fields as JSON.
    pub(crate) fn note(&mut self, message: String, fields: String) {
        let (message, fields) = (message.into_boxed_str(), Some(fields.into_boxed_str()));
        self.record.logs.push(Log { offset: self.began.elapsed(), level: Level::Info, message, fields });
    }

    /// A handler's own error.
    pub(crate) fn handler_error(&mut self, status: Status, error: &HandlerError) {
        self.record.status = status;
        self.record.error = Some(Failure {
            kind: error.kind.as_str().into(),
            message: error.message.as_str().into(),
            traceback: error.traceback.as_deref().map(Into::into),
        });
    }

    /// An error of ours; `code` is the error body's.
    pub(crate) fn failure(&mut self, status: Status, code: &str, message: &str) {
        self.record.status = status;
        self.record.error = Some(Failure { kind: code.into(), message: message.into(), traceback: None });
    }

    /// Says on the record whose error it is, where that is not the handler's.
    pub(crate) fn blame(&mut self, culprit: &str) {
        if let Some(error) = &mut self.record.error {
            error.message = format!("{culprit}: {}", error.message).into_boxed_str();
        }
    }

    pub(crate) fn http(&mut self, method: &Arc<str>, path: &Arc<str>, status: u16) {
        self.record.http = Some(Http { method: Arc::clone(method), path: Arc::clone(path), status });
    }

    pub(crate) fn cron(&mut self, schedule: &Arc<str>, slot: SystemTime) {
        self.record.cron = Some(Cron { schedule: Arc::clone(schedule), slot: slot.into() });
    }

    pub(crate) fn finish(mut self, telemetry: &Handle) {
        self.record.duration = self.began.elapsed();
        telemetry.record(self.record);
    }
}

fn level(level: LogLevel) -> Level {
    match level {
        LogLevel::Trace => Level::Trace,
        LogLevel::Debug => Level::Debug,
        LogLevel::Info => Level::Info,
        LogLevel::Warn => Level::Warn,
        LogLevel::Error => Level::Error,
        LogLevel::Stdout => Level::Stdout,
        LogLevel::Stderr => Level::Stderr,
    }
}

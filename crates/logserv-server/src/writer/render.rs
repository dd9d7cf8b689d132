//! The stage `format`: from a record to its line, by the formatter that it names.
//!
//! In: a record, the formatter that it names among its session's. Out: a line without terminator, always: where the formatter fails, the message.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use logserv_disk::Clock;
use logserv_format::{Formatter, RenderError, TimeCache};
use logserv_wire::record::{Record, RecordKind};

/// Level of the server's own records: `logging.WARNING`.
const WARNING: i32 = 30;

/// Why a line is only the record's message.
#[derive(Debug, thiserror::Error)]
pub(super) enum FormatError {
    /// The record names a formatter that its session has not announced.
    #[error("formatter {0} was never announced")]
    Unknown(u32),
    /// The formatter does not fit the record.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// The formatter has a fault. It must not cost the file its writer, and other clients their lines.
    #[error("a fault in the formatter, please report it")]
    Panic,
}

#[derive(Debug)]
pub(super) struct Renderer {
    times: TimeCache,
    clock: Clock,
    /// The formatter of a late record: what the server's own records are rendered by.
    last: Arc<Formatter>,
    /// The next record's is to be remembered. Each of several rings has a formatter of its own, and counting who uses it costs
    /// more than a look at a short record.
    remembers: bool,
}

impl Default for Renderer {
    fn default() -> Self {
        Self {
            times: TimeCache::default(),
            clock: Clock::system(),
            last: Arc::default(),
            remembers: true,
        }
    }
}

impl Renderer {
    /// Appends the record's line. On an error, which is to be counted, the line is the message alone.
    pub(super) fn render(
        &mut self,
        record: &Record<'_>,
        formatter: Option<&Arc<Formatter>>,
        line: &mut String,
    ) -> Result<(), FormatError> {
        let result = match formatter {
            Some(formatter) => {
                if std::mem::take(&mut self.remembers) {
                    self.last = Arc::clone(formatter);
                }
                self.render_by(formatter, record, line)
            }
            // A line is complete without a formatter.
            None if record.kind == RecordKind::Line => {
                line.push_str(record.message.unwrap_or_default());
                Ok(())
            }
            None => Err(FormatError::Unknown(record.formatter)),
        };
        if result.is_err() {
            push_plain(record, line);
        }
        result
    }

    fn render_by(
        &mut self,
        formatter: &Formatter,
        record: &Record<'_>,
        line: &mut String,
    ) -> Result<(), FormatError> {
        let start = line.len();
        let (times, out) = (&mut self.times, &mut *line);
        // After a panic the line is cut back, and the times are thrown away.
        if let Ok(rendered) = catch_unwind(AssertUnwindSafe(|| formatter.render(record, times, out))) {
            return Ok(rendered?);
        }
        line.truncate(start);
        self.times = TimeCache::default();
        Err(FormatError::Panic)
    }

    /// A batch ends: the formatter of the next one's first record is remembered.
    pub(super) fn end_batch(&mut self) {
        self.remembers = true;
    }

    /// Appends the line of a warning of logger `logserv`; returns its time, in seconds since 1970.
    pub(super) fn render_own(&mut self, message: &str, line: &mut String) -> f64 {
        static START: OnceLock<Instant> = OnceLock::new();
        let created = self.clock.now_s();
        let record = Record {
            level_no: WARNING,
            created,
            msecs: (created.fract() * 1000.0).floor(),
            relative_created: START.get_or_init(Instant::now).elapsed().as_secs_f64() * 1000.0,
            thread: Some(0),
            process: Some(std::process::id()),
            name: Some("logserv"),
            message: Some(message),
            level_name: Some("WARNING"),
            // What Python's own logging says where there is no calling frame.
            path_name: Some("(unknown file)"),
            file_name: Some("(unknown file)"),
            module: Some("(unknown file)"),
            func_name: Some("(unknown function)"),
            thread_name: Some("writer"),
            process_name: Some("logserv"),
            ..Record::default()
        };
        if self.last.render(&record, &mut self.times, line).is_err() {
            push_plain(&record, line);
        }
        created
    }
}

/// The message, and what must not be lost with it.
fn push_plain(record: &Record<'_>, line: &mut String) {
    line.push_str(record.message.unwrap_or_default());
    for appendix in [record.exc_text, record.stack_info].into_iter().flatten() {
        line.push('\n');
        line.push_str(appendix);
    }
}

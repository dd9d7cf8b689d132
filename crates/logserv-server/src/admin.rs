//! The operator's commands, `status`, `stop` and `replace`, as they come in an Admin frame.
//!
//! In: the frame's JSON and who sent it. Out: the Report's JSON, or a refusal. Whoever asks is `ask.rs`.
//! `docs/server.md` has the table of the report's keys.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::context::Peer;
use crate::control::Control;
use crate::counters::{Counters, DropReason};
use crate::files::Files;
use crate::ingest::Sessions;
use crate::limits::REPORT_PART_LEN_MAX;
use crate::personal::Personal;
use crate::pipeline::Refusal;
use crate::rings::Rings;

/// Answers the operator's commands.
#[derive(Debug)]
pub struct Admin {
    pub(crate) control: Control,
    pub(crate) files: Files,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) rings: Arc<Rings>,
    pub(crate) listeners: Vec<String>,
    pub(crate) personal: Personal,
    pub(crate) started: Instant,
}

impl Admin {
    /// Carries out the command in an Admin frame's JSON and returns the Report's JSON. Does not wait for a drain that
    /// it starts. Refused: unknown commands, TCP peers, users other than the server's own and root.
    ///
    /// # Errors
    /// The refusal, to be sent as an Error frame.
    pub fn command(&self, json: &str, peer: &Peer) -> Result<String, Refusal> {
        let own = rustix::process::geteuid().as_raw();
        match peer {
            Peer::Unix { uid, .. } if *uid == own || *uid == 0 => {}
            _ => {
                let expected = format!("a command over a Unix socket from uid {own} or root");
                return Err(Refusal::lasting(expected, format!("one from {peer}")));
            }
        }
        let body: Value = serde_json::from_str(json)
            .map_err(|error| Refusal::lasting("an Admin frame with a JSON object", error.to_string()))?;
        let name = body.get("command").and_then(Value::as_str);
        let report = match name {
            Some("status") => {
                let mut report = self.status();
                if let Some(report) = report.as_object_mut() {
                    report.extend(self.personal.report(self.is_busy()));
                }
                report
            }
            Some(command @ ("stop" | "replace")) => {
                tracing::info!("leaving: {command} by {peer}");
                self.control.drain();
                json!({ "pid": std::process::id(), "leaving": true })
            }
            other => {
                let received = other.map_or_else(|| body.to_string(), |name| format!("{name:?}"));
                return Err(Refusal::lasting("the command status, stop or replace", received));
            }
        };
        Ok(report.to_string())
    }

    /// Whether somebody logs through the server, or has left something to be written.
    pub(crate) fn is_busy(&self) -> bool {
        self.rings.count() > 0 || self.rings.orphans() > 0 || self.files.is_busy()
    }

    fn status(&self) -> Value {
        let (files, files_left_off) = fitting(self.files.report());
        let (sessions, sessions_left_off) = fitting(self.sessions.report());
        json!({
            "pid": std::process::id(),
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_s": seconds(self.started.elapsed()),
            "draining": self.control.order() != crate::control::Order::Serve,
            "listeners": self.listeners,
            "roots": self.files.roots(),
            "connections": self.counters.connections.get().saturating_sub(self.counters.connections_ended.get()),
            "rings": self.rings.count(),
            "counters": counters(&self.counters),
            "files": files,
            "files_left_off": files_left_off,
            "sessions": sessions,
            "sessions_left_off": sessions_left_off,
        })
    }
}

/// As many as fit a report, and how many do not.
fn fitting(mut all: Vec<Value>) -> (Vec<Value>, usize) {
    let mut left = REPORT_PART_LEN_MAX;
    let fit = all
        .iter()
        .take_while(|one| {
            let len = one.to_string().len() + 1;
            let fits = len <= left;
            left = left.saturating_sub(len);
            fits
        })
        .count();
    let left_off = all.split_off(fit).len();
    (all, left_off)
}

fn counters(counters: &Counters) -> Value {
    let dropped: Map<String, Value> = DropReason::ALL
        .iter()
        .map(|reason| (reason.name().replace(' ', "_"), counters.dropped(*reason).into()))
        .collect();
    // Pending is what is left of the law; read last, so that it is never too small.
    let (written, filtered) = (counters.written.get(), counters.filtered.get());
    let dropped_total = counters.dropped_total();
    let received = counters.received.get();
    json!({
        "records_received": received,
        "records_written": written,
        "records_filtered": filtered,
        "records_dropped": dropped_total,
        "records_dropped_by_reason": dropped,
        "records_pending": received.saturating_sub(written + filtered + dropped_total),
        "format_errors": counters.format_errors.get(),
        "records_duplicate": counters.duplicates.get(),
        "sessions_expired": counters.expired_sessions.get(),
        "rings_broken": counters.broken_rings.get(),
        "records_cut": counters.cut.get(),
        "protocol_errors": counters.protocol_errors.get(),
        "refusals": counters.refusals.get(),
        "connections_total": counters.connections.get(),
    })
}

/// Seconds with milliseconds.
pub(crate) fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

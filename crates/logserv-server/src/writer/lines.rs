//! The line at hand: a record through its formatter, with the file's terminator, and what went wrong on the way.
//!
//! In: a record, its formatter. Out: one line, always; a formatter that fails is counted and warned of.
//! Not here: how a formatter renders (`render.rs`, `logserv-format`).

use std::sync::Arc;

use logserv_disk::{FileSettings, Newlines};
use logserv_format::Formatter;
use logserv_wire::record::Record;

use super::render::Renderer;
use crate::counters::Counters;
use crate::file_state::FileState;

#[derive(Debug)]
pub(super) struct Lines {
    renderer: Renderer,
    terminator: String,
    newlines: Newlines,
    line: String,
    state: Arc<FileState>,
    counters: Arc<Counters>,
}

impl Lines {
    pub(super) fn new(settings: &FileSettings, state: &Arc<FileState>, counters: &Arc<Counters>) -> Self {
        Self {
            renderer: Renderer::default(),
            terminator: settings.terminator.clone(),
            newlines: settings.newlines,
            line: String::new(),
            state: Arc::clone(state),
            counters: Arc::clone(counters),
        }
    }

    /// Takes over other settings of the file.
    pub(super) fn reconfigure(&mut self, settings: &FileSettings) {
        self.terminator.clone_from(&settings.terminator);
        self.newlines = settings.newlines;
    }

    /// What was made is written.
    pub(super) fn end_batch(&mut self) {
        self.renderer.end_batch();
    }

    /// Makes the record's line by the formatter that it names; `None`: that was never announced.
    pub(super) fn render(&mut self, record: &Record<'_>, formatter: Option<&Arc<Formatter>>) {
        self.line.clear();
        if let Err(error) = self.renderer.render(record, formatter, &mut self.line) {
            self.counters.format_errors.add(1);
            self.state.warn_format(&error);
        }
        self.end();
    }

    /// Makes the line of a record of the server's own; returns the record's time, in seconds since 1970.
    pub(super) fn render_own(&mut self, message: &str) -> f64 {
        self.line.clear();
        let created_s = self.renderer.render_own(message, &mut self.line);
        self.end();
        created_s
    }

    /// Whoever rendered it, here or in the client: the file's rule for line breaks holds for it.
    fn end(&mut self) {
        self.newlines.apply(&mut self.line);
        self.line.push_str(&self.terminator);
    }

    /// The line made last.
    pub(super) fn line(&self) -> &str {
        &self.line
    }
}

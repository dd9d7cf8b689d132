//! `logging.Formatter.format`: a compiled formatter, and the line it makes of a record.
//!
//! In: a [`Specification`] once, a [`Record`] for each line. Out: the line without its terminator, exception and stack
//! appended; or why only the producer's Python can make it.
//! Not here: how single conversions come out; those are the styles' files.

use logserv_wire::record::{Record, RecordKind};

use crate::attribute::{NameId, Names, Scope, from_json};
use crate::brace;
use crate::clock::{TimeCache, TimePlan};
use crate::dollar;
use crate::json::Json;
use crate::limits::{FMT_LEN_MAX, LINE_LEN_MAX};
use crate::piece::{Piece, compile_percent};
use crate::quick::Quick;
use crate::repr::Doubt;
use crate::specification::{Specification, SpecificationError, Style};
use crate::sure::Sure;

/// Whether the server's line is certain to be Python's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Support {
    /// `render` gives exactly the line of `handler.format(record)`.
    Yes,
    /// Python has to render this record, or raises.
    No(RenderError),
}

impl Support {
    /// Whether the answer is yes.
    #[must_use]
    pub fn is_yes(&self) -> bool {
        matches!(self, Self::Yes)
    }
}

/// Why a record has no line here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RenderError {
    /// The format refers to an attribute that neither the record nor the defaults have; Python raises.
    #[error("formatting field not found in record: {name:?}")]
    Missing {
        /// The attribute.
        name: String,
    },
    /// Python raises, or only the producer's Python knows the text.
    #[error("cannot be rendered here: {what}")]
    Unsupported {
        /// What it is about.
        what: &'static str,
    },
    /// The line would be over [`LINE_LEN_MAX`].
    #[error("line too long: expected at most {limit} bytes")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
}

/// Bytes reserved for a line that is only tried: most fit without growing.
const SCRATCH_LEN: usize = 512;

/// Bytes that one byte of a text may become in JSON (`\u001f`).
const ESCAPE_LEN_MAX: usize = 6;

/// A compiled formatter. Shared freely between threads.
#[derive(Debug)]
pub struct Formatter {
    pieces: Vec<Piece>,
    /// A shorter way to what most records give.
    quick: Option<Quick>,
    /// Instead of the pieces.
    json: Option<Json>,
    names: Names,
    /// How many of `names` the format and its time refer to; the rest are looked up for the appendices only.
    used: usize,
    time: Option<TimePlan>,
    /// What all times of one line may come to, in bytes.
    times_len_max: usize,
    exc_text: NameId,
    stack_info: NameId,
    /// Records need not be tried.
    sure: Option<Sure>,
}

impl Default for Formatter {
    /// `%(message)s`, as a `logging.Formatter()`.
    fn default() -> Self {
        let mut names = Names::default();
        let pieces = vec![Piece::Plain(names.id("message"))];
        let formatter = Self::assemble(pieces, names, None);
        let sure = Sure::of(&formatter.pieces, &formatter.names, None, 0);
        Self { sure, ..formatter }
    }
}

impl Formatter {
    /// Compiles `specification`.
    ///
    /// # Errors
    /// `TooLong`; `Unsupported` for a format on which Python raises or which only Python can render.
    pub fn compile(specification: &Specification) -> Result<Self, SpecificationError> {
        let unsupported = |why| SpecificationError::Unsupported { why };
        if specification.json.is_some() {
            return Self::compile_json(specification).map_err(unsupported);
        }
        let format = specification.fmt.as_deref().filter(|format| !format.is_empty());
        let style = specification.style;
        let format = format.unwrap_or(match style {
            Style::Percent => "%(message)s",
            Style::Brace => "{message}",
            Style::Dollar => "${message}",
        });
        if format.len() > FMT_LEN_MAX {
            return Err(SpecificationError::TooLong {
                what: "fmt",
                limit: FMT_LEN_MAX,
                received: format.len(),
            });
        }
        let mut names = Names::default();
        let pieces = match style {
            Style::Percent => compile_percent(format, &mut names),
            Style::Brace => brace::compile(format, &mut names),
            Style::Dollar => dollar::compile(format, &mut names),
        }
        .map_err(unsupported)?;
        let time = if uses_time(format, style) {
            names.id("asctime");
            Some(TimePlan::compile(specification, &mut names).map_err(unsupported)?)
        } else {
            None
        };
        for (name, value) in &specification.defaults {
            names.set_default(name, from_json(value));
        }
        let mut formatter = Self::assemble(pieces, names, time);
        if let Some(time) = &formatter.time {
            formatter.times_len_max = format.matches("asctime").count().saturating_mul(time.len_max());
        }
        formatter.sure = Sure::of(
            &formatter.pieces,
            &formatter.names,
            formatter.time.as_ref(),
            formatter.times_len_max,
        );
        Ok(formatter)
    }

    fn compile_json(specification: &Specification) -> Result<Self, String> {
        let mut names = Names::default();
        let json = specification.json.as_ref();
        let json = json.map(|json| Json::compile(json, &mut names)).transpose()?;
        let time = if names.iter().any(|name| name == "asctime") {
            Some(TimePlan::compile(specification, &mut names)?)
        } else {
            None
        };
        let mut formatter = Self::assemble(Vec::new(), names, time);
        if let Some(time) = &formatter.time {
            formatter.times_len_max = ESCAPE_LEN_MAX.saturating_mul(time.len_max());
        }
        // Of no pieces there would be a quick way, to nothing.
        Ok(Self {
            json,
            quick: None,
            ..formatter
        })
    }

    fn assemble(pieces: Vec<Piece>, mut names: Names, time: Option<TimePlan>) -> Self {
        let used = names.iter().count();
        let exc_text = names.id("exc_text");
        let stack_info = names.id("stack_info");
        Self {
            quick: Quick::of(&pieces, &names),
            pieces,
            json: None,
            names,
            used,
            time,
            times_len_max: 0,
            exc_text,
            stack_info,
            sure: None,
        }
    }

    /// The attributes it refers to, each once; with `asctime` also `created` and `msecs`, of which it is made.
    /// `exc_text` and `stack_info` are looked at in any case.
    pub fn uses(&self) -> impl Iterator<Item = &str> {
        self.names.iter().take(self.used)
    }

    /// Whether the line is JSON, of all attributes that [`shows_attribute`](Self::shows_attribute) says.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.json.is_some()
    }

    /// Whether the line may show this attribute, which is none that every record has.
    #[must_use]
    pub fn shows_attribute(&self, name: &str) -> bool {
        self.json.as_ref().is_some_and(|json| json.shows(name)) || self.uses().any(|used| used == name)
    }

    /// Whether an exception is to travel with an attribute `exc_info`: a dict of its `type` and `message`.
    #[must_use]
    pub fn wants_exception_head(&self) -> bool {
        self.json.as_ref().is_some_and(Json::wants_exception_head)
    }

    /// Whether the line depends on the name or the rules of the producer's zone (`%Z`, `%s`): never supported.
    #[must_use]
    pub fn uses_zone_name(&self) -> bool {
        self.time.as_ref().is_some_and(TimePlan::uses_zone_name)
    }

    /// Whether the line depends on the producer's `LC_TIME` (`%a`, `%c`, …): rendered in the C locale, so that a producer
    /// with another one has to render it.
    #[must_use]
    pub fn uses_locale_names(&self) -> bool {
        self.time
            .as_ref()
            .is_some_and(|time| time.directives.locale_names)
    }

    /// Whether the line contains a time, and so depends on the zone unless the formatter is for UTC.
    #[must_use]
    pub fn uses_time(&self) -> bool {
        self.time.is_some()
    }

    /// Whether [`render`](Self::render) gives exactly Python's line for `record`. Nothing is known here of the
    /// producer's locale; see [`uses_locale_names`](Self::uses_locale_names).
    #[must_use]
    pub fn supports(&self, record: &Record<'_>) -> Support {
        if record.kind == RecordKind::Line || self.sure.as_ref().is_some_and(|sure| sure.covers(record)) {
            return Support::Yes;
        }
        match self.try_support(record) {
            Ok(()) => Support::Yes,
            Err(error) => Support::No(error),
        }
    }

    /// Whether [`supports`](Self::supports) would say yes to any record of this time whose texts have at most so many bytes
    /// each, and which has a thread, a process, a zone's offset, and no attributes. A no may also mean that it is not known.
    #[inline]
    #[must_use]
    pub fn covers(&self, created: f64, text_len: usize) -> bool {
        self.sure
            .as_ref()
            .is_some_and(|sure| sure.covers_all(created, text_len))
    }

    fn try_support(&self, record: &Record<'_>) -> Result<(), RenderError> {
        let mut scope = Scope::new(record, &self.names, Doubt::Refuse);
        let asctime;
        if let Some(time) = &self.time {
            asctime = time.stand_in(&scope, record.utc_offset_s)?;
            scope.asctime = Some(&asctime);
        }
        let mut out = String::with_capacity(SCRATCH_LEN);
        self.push_line(&scope, record, &mut out)?;
        check_len(out.len().saturating_add(self.times_len_max))
    }

    /// Appends the line of `record` to `out`, without terminator. Where Python's text is not known for certain
    /// (`supports` says no, but the producer did not ask), it is the nearest.
    ///
    /// # Errors
    /// `Missing`, `Unsupported`, `TooLong`; `out` is then as before.
    pub fn render(
        &self,
        record: &Record<'_>,
        clock: &mut TimeCache,
        out: &mut String,
    ) -> Result<(), RenderError> {
        if record.kind == RecordKind::Line {
            out.push_str(record.message.unwrap_or_default());
            return Ok(());
        }
        let start = out.len();
        if self.try_quick(record, clock, out).is_some() {
            return Ok(());
        }
        out.truncate(start);
        let result = self.try_render(record, clock, out);
        if result.is_err() {
            out.truncate(start);
        }
        result
    }

    /// The line of a record that is what nearly all are: without attributes, exception and stack. `None`: another way it must
    /// be, with a part of it in `out`.
    #[inline]
    fn try_quick(&self, record: &Record<'_>, clock: &mut TimeCache, out: &mut String) -> Option<()> {
        let quick = self.quick.as_ref()?;
        if record.has_attributes() || record.exc_text.is_some() || record.stack_info.is_some() {
            return None;
        }
        let asctime = match &self.time {
            Some(time) => {
                if !clock.is_of(time, record) {
                    let scope = Scope::new(record, &self.names, Doubt::Guess);
                    clock.asctime(time, &scope, record.utc_offset_s).ok()?;
                }
                Some(clock.text(time))
            }
            None => None,
        };
        quick.push(record, asctime, out).then_some(())
    }

    fn try_render(
        &self,
        record: &Record<'_>,
        clock: &mut TimeCache,
        out: &mut String,
    ) -> Result<(), RenderError> {
        let mut scope = Scope::new(record, &self.names, Doubt::Guess);
        if let Some(time) = &self.time {
            scope.asctime = Some(clock.asctime(time, &scope, record.utc_offset_s)?);
        }
        self.push_line(&scope, record, out)
    }

    fn push_line(&self, scope: &Scope<'_>, record: &Record<'_>, out: &mut String) -> Result<(), RenderError> {
        let start = out.len();
        if let Some(json) = &self.json {
            let exc_text = scope.appendix(self.exc_text, record.exc_text)?;
            let stack_info = scope.appendix(self.stack_info, record.stack_info)?;
            return json.push(scope, record, (exc_text.as_deref(), stack_info.as_deref()), out);
        }
        let is_quick = !record.has_attributes()
            && self
                .quick
                .as_ref()
                .is_some_and(|quick| quick.push(record, scope.asctime, out));
        if !is_quick {
            out.truncate(start);
            for piece in &self.pieces {
                piece.push(scope, out)?;
                check_len(out.len() - start)?;
            }
        }
        for (id, field) in [
            (self.exc_text, record.exc_text),
            (self.stack_info, record.stack_info),
        ] {
            if let Some(text) = scope.appendix(id, field)? {
                if !out.get(start..).is_some_and(|line| line.ends_with('\n')) {
                    out.push('\n');
                }
                out.push_str(&text);
                check_len(out.len() - start)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
impl Formatter {
    /// Renders by the pieces from now on. Whether it would not have.
    pub(crate) fn forget_quick(&mut self) -> bool {
        self.quick.take().is_some()
    }
}

pub(crate) fn check_len(len: usize) -> Result<(), RenderError> {
    if len > LINE_LEN_MAX {
        return Err(RenderError::TooLong { limit: LINE_LEN_MAX });
    }
    Ok(())
}

/// `usesTime()` of the three style classes: a search for a text, no more.
fn uses_time(format: &str, style: Style) -> bool {
    match style {
        Style::Percent => format.contains("%(asctime)"),
        Style::Brace => format.contains("{asctime"),
        Style::Dollar => format.contains("$asctime") || format.contains("${asctime}"),
    }
}

#[cfg(test)]
mod tests;

//! Formats of which it is clear once and for all that the server's line is Python's, for every ordinary record: those
//! that all but everybody uses. A producer then need not try each record.
//!
//! In: the pieces of a format, once. Out: [`Sure`], and for each record a few comparisons. A "no" only means: try.

use logserv_wire::record::Record;

use crate::attribute::{NameId, Names, Standard};
use crate::clock::TimePlan;
use crate::limits::{CREATED_MAX_S, LINE_LEN_MAX};
use crate::percent::{Conversion, Kind};
use crate::piece::Piece;
use crate::repr::Text;

/// What such a format asks of a record.
#[derive(Debug, Default)]
pub(crate) struct Sure {
    needs_thread: bool,
    needs_process: bool,
    needs_time: bool,
    needs_offset: bool,
    /// Bytes of the line beyond the record's texts, at most.
    fixed_len: usize,
    /// How often one of the texts may be in the line.
    fields: usize,
}

/// Longest text of a number, of `None`, of a usual time.
const SHORT_LEN: usize = 400;

impl Sure {
    /// `None`: every record has to be tried.
    pub(crate) fn of(
        pieces: &[Piece],
        names: &Names,
        time: Option<&TimePlan>,
        times_len_max: usize,
    ) -> Option<Self> {
        let mut sure = Self {
            fixed_len: times_len_max,
            fields: 2, // exception and stack
            ..Self::default()
        };
        if let Some(time) = time {
            sure.needs_time = true;
            sure.needs_offset = time.needs_offset();
            if !time.is_sure() {
                return None;
            }
        }
        for piece in pieces {
            match piece {
                Piece::Literal(text) => sure.fixed_len += text.len(),
                Piece::Plain(id) => sure.see(*id, names, None)?,
                Piece::Percent(id, conversion) => sure.see(*id, names, Some(conversion))?,
                Piece::Brace(_) => return None,
            }
        }
        Some(sure)
    }

    /// One field; without a conversion it is the value's `str`.
    fn see(&mut self, id: NameId, names: &Names, conversion: Option<&Conversion>) -> Option<()> {
        let kind = conversion.map_or(Kind::Text(Text::Str), |conversion| conversion.kind);
        let is_text = kind == Kind::Text(Text::Str);
        if names.is_asctime(id) {
            is_text.then_some(())?;
        } else {
            let name = names.standard(id)?;
            let fits =
                is_text && (name.is_text() || name.is_whole()) || kind == Kind::Decimal && name.is_whole();
            fits.then_some(())?;
            // The two that may be None, of which there is no decimal.
            self.needs_thread |= name == Standard::Thread;
            self.needs_process |= name == Standard::Process;
        }
        self.fields += 1;
        if let Some(conversion) = conversion {
            let len = conversion.width.max(conversion.precision.unwrap_or_default());
            self.fixed_len += 4 * len; // a character has at most so many bytes
        }
        self.fixed_len += SHORT_LEN;
        Some(())
    }

    /// Whether this record's line is certain to be Python's.
    pub(crate) fn covers(&self, record: &Record<'_>) -> bool {
        !record.has_attributes()
            && (!self.needs_thread || record.thread.is_some())
            && (!self.needs_process || record.process.is_some())
            && (!self.needs_time || (0.0..1e3).contains(&record.msecs))
            && (!self.needs_offset || record.utc_offset_s.is_some())
            && self.covers_all(record.created, self.texts_len(record))
    }

    /// The same of all records of this time that have everything else, and texts of at most so many bytes.
    #[inline]
    pub(crate) fn covers_all(&self, created: f64, text_len: usize) -> bool {
        (!self.needs_time || (0.0..CREATED_MAX_S).contains(&created))
            && text_len.saturating_mul(self.fields) <= LINE_LEN_MAX - self.fixed_len.min(LINE_LEN_MAX)
    }

    fn texts_len(&self, record: &Record<'_>) -> usize {
        [
            record.name,
            record.message,
            record.level_name,
            record.path_name,
            record.file_name,
            record.module,
            record.func_name,
            record.thread_name,
            record.process_name,
            record.task_name,
            record.exc_text,
            record.stack_info,
        ]
        .into_iter()
        .flatten()
        .map(str::len)
        .max()
        .unwrap_or_default()
    }
}

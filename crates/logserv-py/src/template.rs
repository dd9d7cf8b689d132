//! What is the same in all records of one logger and level that go to one handler, encoded once.
//!
//! In: a logger, a level, the handler's formatter. Out: the record's bytes, of what else a call brings: the time, the caller, the
//! message. For records of which the line is certain to be Python's, and that have nothing but these.

use logserv_wire::record::{HEADER_LEN, Header, RecordKind, field_head, tag};
use pyo3::prelude::*;

use crate::caller::Caller;
use crate::encode::Compiled;
use crate::fast::OF_CALLER;
use crate::moment::Moment;
use crate::names::Standard;
use crate::text::Text;
use crate::{clock, surroundings};

/// See the file's head.
#[derive(Debug)]
pub(crate) struct Template {
    formatter: u32,
    level_no: i32,
    /// Which of the attributes that name the caller are wanted.
    pub(crate) caller: u32,
    /// Fields before the message, and behind it.
    before: Vec<u8>,
    behind: Vec<u8>,
}

/// What only a call knows.
pub(crate) struct Call<'a> {
    pub(crate) moment: Moment,
    pub(crate) caller: Option<&'a Caller>,
    pub(crate) message: &'a str,
}

impl Template {
    /// `None`: such records have more than that, or want a look at each.
    pub(crate) fn new(
        name: &Bound<'_, PyAny>,
        level: (i32, &Bound<'_, PyAny>),
        compiled: &Compiled,
    ) -> Option<Self> {
        let needs = compiled.needs.standard;
        let has = |standard: Standard| needs & standard.bit() != 0;
        if needs & OF_CALL != 0 || compiled.formatter.is_json() || !compiled.needs.others.is_empty() {
            return None;
        }
        let field = |bytes: &mut Vec<u8>, tag: u8, text: &Bound<'_, PyAny>| {
            let text = Text::exact(text).filter(|text| !text.is_escaped())?;
            let text = text.as_str();
            bytes.extend_from_slice(&field_head(tag, text.len()));
            bytes.extend_from_slice(text.as_bytes());
            Some(())
        };
        let (mut before, mut behind) = (Vec::new(), Vec::new());
        if has(Standard::Name) {
            field(&mut before, tag::NAME, name)?;
        }
        if has(Standard::LevelName) {
            field(&mut behind, tag::LEVEL_NAME, level.1)?;
        }
        // With the shortest of everything else: what is too long is seen in each call.
        compiled
            .formatter
            .covers(0.0, before.len().max(behind.len()))
            .then_some(())?;
        Some(Self {
            formatter: compiled.id,
            level_no: level.0,
            caller: needs & OF_CALLER,
            before,
            behind,
        })
    }

    /// Writes the record. Returns whether its line is certain, and it is no longer than `record_max` bytes.
    #[inline]
    pub(crate) fn write(
        &self,
        py: Python<'_>,
        call: &Call<'_>,
        compiled: &Compiled,
        record_max: usize,
        out: &mut Vec<u8>,
    ) -> bool {
        let moment = call.moment;
        let Some(utc_offset_s) = clock::utc_offset_s(py, moment.created) else {
            return false;
        };
        let of_caller = match call.caller {
            Some(caller) => caller.site.fields(py, self.caller),
            None => Some(&[][..]),
        };
        let Some(of_caller) = of_caller else { return false };
        let message = call.message;
        let len = HEADER_LEN + self.before.len() + 4 + message.len() + self.behind.len() + of_caller.len();
        if len > record_max || !compiled.formatter.covers(moment.created, len) {
            return false;
        }
        let header = Header {
            kind: RecordKind::Fields,
            formatter: self.formatter,
            level_no: self.level_no,
            created: moment.created,
            msecs: moment.msecs,
            relative_created: moment.relative_created,
            line_no: call.caller.map_or(0, |caller| caller.line_no),
            thread: Some(surroundings::thread()),
            process: Some(logserv_client::process_id()),
            utc_offset_s: Some(utc_offset_s),
        };
        out.clear();
        out.reserve(len);
        out.extend_from_slice(&header.encode(len));
        out.extend_from_slice(&self.before);
        out.extend_from_slice(&field_head(tag::MESSAGE, message.len()));
        out.extend_from_slice(message.as_bytes());
        out.extend_from_slice(&self.behind);
        out.extend_from_slice(of_caller);
        true
    }
}

/// Attributes that each call has its own of.
const OF_CALL: u32 = Standard::ExcInfo.bit()
    | Standard::ExcText.bit()
    | Standard::Msg.bit()
    | Standard::Args.bit()
    | Standard::ThreadName.bit()
    | Standard::ProcessName.bit()
    | Standard::TaskName.bit();

//! `Formatter.formatTime`: the text of `asctime`, with strftime's part remembered for each second.
//!
//! In: a [`TimePlan`] (compiled once), a record's time and offset. Out: text that lives in the [`TimeCache`].
//! Reads no clock: the time is always the record's.
//! Not here: where asctime stands in the line.

use std::ffi::CString;
use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;

use logserv_wire::record::Record;
use logserv_wire::value::Value;

use crate::attribute::{NameId, Names, Scope};
use crate::datefmt::{Directives, directives};
use crate::formatter::RenderError;
use crate::limits::{CREATED_MAX_S, DATEFMT_LEN_MAX, TIME_CACHE_SLOTS};
use crate::percent::{self, Conversion, Kind, Part};
use crate::percent_render;
use crate::repr::Text;
use crate::specification::Specification;
use crate::sys::{Calendar, strftime};

/// How one formatter writes `asctime`.
#[derive(Debug)]
pub(crate) struct TimePlan {
    /// Tells times apart in a cache. Those of formatters that write them alike are one: each client has its own formatter.
    id: u64,
    /// The format behind one character, so that what strftime writes is never empty.
    format: CString,
    is_ascii: bool,
    pub(crate) directives: Directives,
    utc: bool,
    milliseconds: Vec<MillisecondsPart>,
    created: NameId,
    msecs: NameId,
}

/// `default_msec_format`: text, and the conversions of the time and of `msecs`.
#[derive(Debug)]
enum MillisecondsPart {
    Literal(Box<str>),
    Time(Conversion),
    Milliseconds(Conversion),
}

/// In which zone a time is broken down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Zone {
    Utc,
    /// The producer's, in seconds east of UTC.
    Offset(i32),
    /// This process's.
    Local,
}

/// Remembers the text of the second for a few formatters. Each writer thread has its own; a busy stream calls strftime
/// once a second. Memory: [`TIME_CACHE_SLOTS`] texts.
#[derive(Debug, Default)]
pub struct TimeCache {
    slots: [Slot; TIME_CACHE_SLOTS],
    asctime: String,
    /// What `asctime` was made of: a text of the second, and the bits of `msecs`. A busy stream has many records in one.
    made_of: Option<(Key, u64)>,
}

/// Of which formatter, of which second and in which zone.
type Key = (u64, i64, Zone);

#[derive(Debug, Default)]
struct Slot {
    key: Option<Key>,
    text: String,
}

impl TimePlan {
    /// Reads the three texts that decide over `asctime`.
    pub(crate) fn compile(specification: &Specification, names: &mut Names) -> Result<Self, String> {
        let datefmt = specification.datefmt.as_deref().filter(|text| !text.is_empty());
        let format = datefmt.unwrap_or(&specification.default_time_format);
        let mut milliseconds = Vec::new();
        if let (None, Some(text)) = (datefmt, specification.default_msec_format.as_deref())
            && !text.is_empty()
        {
            milliseconds = compile_milliseconds(text)?;
        }
        let is_ascii = format.is_ascii()
            && milliseconds.iter().all(|part| match part {
                MillisecondsPart::Literal(text) => text.is_ascii(),
                _ => true,
            });
        Ok(Self {
            id: fingerprint(format, specification),
            directives: directives(format)?,
            format: CString::new(format!("x{format}")).map_err(|error| error.to_string())?,
            is_ascii,
            utc: specification.utc,
            milliseconds,
            created: names.id("created"),
            msecs: names.id("msecs"),
        })
    }

    /// Whether the time of this record comes out as in the producer; a stand-in of the same kind as its `asctime`.
    ///
    /// # Errors
    /// `Unsupported`, as [`TimeCache::asctime`], and where the record does not say what its zone was.
    pub(crate) fn stand_in(&self, scope: &Scope<'_>, offset_s: Option<i32>) -> Result<String, RenderError> {
        self.second(scope)?;
        if offset_s.is_none() && !self.utc {
            return Err(RenderError::Unsupported {
                what: "a local time without the producer's offset",
            });
        }
        self.check_names(offset_s.or(Some(0)))?;
        let mut out = String::new();
        self.push_milliseconds(
            if self.is_ascii { "2000-01-01" } else { "2000年" },
            scope,
            &mut out,
        )?;
        Ok(out)
    }

    /// Whether every record with a usual time has one here: `strftime` takes all of the format, and the milliseconds are
    /// text or a number.
    pub(crate) fn is_sure(&self) -> bool {
        let is_number = |kind| matches!(kind, Kind::Decimal | Kind::Float { .. } | Kind::Text(Text::Str));
        !self.directives.epoch
            && !self.directives.zone_name
            && self.milliseconds.iter().all(|part| match part {
                MillisecondsPart::Literal(_) => true,
                MillisecondsPart::Time(conversion) => conversion.is_plain(),
                MillisecondsPart::Milliseconds(conversion) => is_number(conversion.kind),
            })
    }

    /// Whether a record must say what its zone was.
    pub(crate) fn needs_offset(&self) -> bool {
        !self.utc
    }

    /// Longest time in bytes that strftime is let write; CPython gives up there too.
    pub(crate) fn len_max(&self) -> usize {
        256 * self.format.as_bytes().len()
    }

    fn check_names(&self, offset_s: Option<i32>) -> Result<(), RenderError> {
        if offset_s.is_some() && (self.directives.epoch || (self.directives.zone_name && !self.utc)) {
            return Err(RenderError::Unsupported {
                what: "%Z and %s, which need the producer's zone",
            });
        }
        Ok(())
    }

    /// `created` rounded down to seconds, as `time.localtime` does.
    fn second(&self, scope: &Scope<'_>) -> Result<i64, RenderError> {
        if let Some(created) = scope.float(self.created)
            && (0.0..CREATED_MAX_S).contains(&created)
        {
            // Cut off is rounded down, for it is not negative.
            #[expect(clippy::cast_possible_truncation, reason = "within the range just checked")]
            return Ok(created as i64);
        }
        match &*scope.get(self.created)? {
            #[expect(clippy::cast_possible_truncation, reason = "within the range just checked")]
            Value::Float(created) if (0.0..CREATED_MAX_S).contains(created) => Ok(created.floor() as i64),
            #[expect(
                clippy::cast_precision_loss,
                reason = "compared only; beyond 2^53 it is out of range either way"
            )]
            Value::Int(created) if (0.0..CREATED_MAX_S).contains(&(*created as f64)) => Ok(*created),
            _ => Err(RenderError::Unsupported {
                what: "a created outside the years 1970 to 9999",
            }),
        }
    }

    fn push_milliseconds(&self, time: &str, scope: &Scope<'_>, out: &mut String) -> Result<(), RenderError> {
        if self.milliseconds.is_empty() {
            out.push_str(time);
        }
        for part in &self.milliseconds {
            match part {
                MillisecondsPart::Literal(text) => out.push_str(text),
                MillisecondsPart::Time(conversion) if conversion.is_plain() => out.push_str(time),
                MillisecondsPart::Time(conversion) => {
                    percent_render::push(&Value::Str(time.into()), conversion, scope.doubt, out)?;
                }
                MillisecondsPart::Milliseconds(conversion) if conversion.is_plain_decimal() => {
                    match scope.whole(self.msecs) {
                        Some(msecs) => percent_render::push_decimal(msecs, conversion, out),
                        None => percent_render::push(&*scope.get(self.msecs)?, conversion, scope.doubt, out)?,
                    }
                }
                MillisecondsPart::Milliseconds(conversion) => {
                    percent_render::push(&*scope.get(self.msecs)?, conversion, scope.doubt, out)?;
                }
            }
        }
        Ok(())
    }
}

/// The same for all times that are written alike. Its key is drawn by each process anew, so that nobody can make two that
/// collide.
fn fingerprint(format: &str, specification: &Specification) -> u64 {
    static KEY: OnceLock<RandomState> = OnceLock::new();
    let milliseconds = specification.default_msec_format.as_deref();
    KEY.get_or_init(RandomState::new).hash_one((
        format,
        specification
            .datefmt
            .as_deref()
            .is_some_and(|text| !text.is_empty()),
        milliseconds,
        specification.utc,
    ))
}

/// `default_msec_format % (time, msecs)`: exactly two conversions without keys.
fn compile_milliseconds(format: &str) -> Result<Vec<MillisecondsPart>, String> {
    if format.len() > DATEFMT_LEN_MAX {
        return Err(format!(
            "{} bytes of default_msec_format, expected at most {DATEFMT_LEN_MAX}",
            format.len()
        ));
    }
    let mut parts = Vec::new();
    let mut items = 0;
    percent::parse(format, |part| {
        parts.push(match part {
            Part::Literal(text) => MillisecondsPart::Literal(text.into()),
            Part::Field(Some(key), _) => return Err(format!("key {key:?} in default_msec_format")),
            Part::Field(None, conversion) => {
                items += 1;
                match items {
                    1 => MillisecondsPart::Time(conversion),
                    _ => MillisecondsPart::Milliseconds(conversion),
                }
            }
        });
        Ok(())
    })?;
    if items != 2 {
        return Err(format!("{items} conversions in default_msec_format, expected 2"));
    }
    Ok(parts)
}

impl TimeCache {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// `formatTime` of the record in `scope`.
    ///
    /// # Errors
    /// `Unsupported`: a time out of range, or a zone's name or an epoch that only the producer knows.
    pub(crate) fn asctime(
        &mut self,
        plan: &TimePlan,
        scope: &Scope<'_>,
        offset_s: Option<i32>,
    ) -> Result<&str, RenderError> {
        let second = plan.second(scope)?;
        plan.check_names(offset_s)?;
        let zone = plan.zone(offset_s);
        let Some(slot) = self.slots.get_mut(plan.slot()) else {
            return Ok("");
        };
        let key = (plan.id, second, zone);
        if slot.key != Some(key) {
            slot.key = None;
            slot.text.clear();
            push_time(plan, second, zone, &mut slot.text)?;
            slot.key = Some(key);
        }
        if plan.milliseconds.is_empty() {
            return Ok(&slot.text);
        }
        let made_of = scope.float(plan.msecs).map(|msecs| (key, msecs.to_bits()));
        if made_of.is_none() || made_of != self.made_of {
            self.made_of = None;
            self.asctime.clear();
            plan.push_milliseconds(&slot.text, scope, &mut self.asctime)?;
            self.made_of = made_of;
        }
        Ok(&self.asctime)
    }

    /// Whether the [`text`](Self::text) at hand is that of a record without attributes.
    #[inline]
    pub(crate) fn is_of(&self, plan: &TimePlan, record: &Record<'_>) -> bool {
        if !(0.0..CREATED_MAX_S).contains(&record.created) {
            return false;
        }
        #[expect(clippy::cast_possible_truncation, reason = "within the range just checked")]
        let second = record.created as i64;
        let key = (plan.id, second, plan.zone(record.utc_offset_s));
        if plan.milliseconds.is_empty() {
            self.slots
                .get(plan.slot())
                .is_some_and(|slot| slot.key == Some(key))
        } else {
            self.made_of == Some((key, record.msecs.to_bits()))
        }
    }

    /// What [`asctime`](Self::asctime) gave last, of this plan.
    #[inline]
    pub(crate) fn text(&self, plan: &TimePlan) -> &str {
        if plan.milliseconds.is_empty() {
            self.slots.get(plan.slot()).map_or("", |slot| &slot.text)
        } else {
            &self.asctime
        }
    }
}

fn push_time(plan: &TimePlan, second: i64, zone: Zone, out: &mut String) -> Result<(), RenderError> {
    let calendar = match zone {
        Zone::Utc => Calendar::utc(second),
        Zone::Offset(offset_s) => Calendar::at_offset(second, offset_s),
        Zone::Local => Calendar::local(second),
    };
    let written = calendar.and_then(|calendar| strftime(&plan.format, &calendar, plan.len_max()));
    let text = written.and_then(|written| String::from_utf8(written).ok());
    match text.as_deref().and_then(|text| text.get(1..)) {
        Some(text) => {
            out.push_str(text);
            Ok(())
        }
        None => Err(RenderError::Unsupported {
            what: "a time that strftime cannot write",
        }),
    }
}

impl TimePlan {
    #[inline]
    fn zone(&self, offset_s: Option<i32>) -> Zone {
        match offset_s {
            _ if self.utc => Zone::Utc,
            Some(offset_s) => Zone::Offset(offset_s),
            None => Zone::Local,
        }
    }

    /// Its place in a cache.
    #[inline]
    fn slot(&self) -> usize {
        (self.id % TIME_CACHE_SLOTS as u64) as usize
    }

    /// `%s` and `%Z` of a record that says nothing about its zone are this process's guess.
    pub(crate) fn uses_zone_name(&self) -> bool {
        self.directives.epoch || (self.directives.zone_name && !self.utc)
    }
}

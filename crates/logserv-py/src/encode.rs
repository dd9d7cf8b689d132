//! Encodes one `LogRecord`: as fields where the server can render its line, as a finished line where only Python can.
//!
//! In: handler, record and the [`Plan`] that its formatter allows. Out: one wire record of at most the limit's length.
//! Runs user code (`getMessage`, `__str__`, `format`), so no lock may be held. Side effects on the record are those
//! of `Formatter.format`: `message` and `exc_text` are set.

use logserv_format::{Formatter, message_as_json};
use logserv_wire::record::{Record, RecordKind};
use logserv_wire::value::Value;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use crate::cut;
use crate::factory;
use crate::gather::{Gathered, Needs};
use crate::names::Standard;
use crate::originals::Originals;
use crate::percent;
use crate::sys::interpreter::{self, instance_dict};
use crate::text::Text;
use crate::watch::{dict_of, formatter_of};
use crate::write::{LongTexts, share, write};

/// Who makes the lines of a formatter.
#[derive(Debug)]
pub(crate) enum Plan {
    /// Python, in this process.
    Python,
    /// The server, for the records that it supports.
    Server(Box<Compiled>),
}

/// A formatter that the server knows.
#[derive(Debug)]
pub(crate) struct Compiled {
    /// Its number on the session.
    pub(crate) id: u32,
    /// The same code that the server will run.
    pub(crate) formatter: Formatter,
    /// What it refers to.
    pub(crate) needs: Needs,
}

impl Compiled {
    /// A compiled formatter under its number.
    pub(crate) fn new(formatter: Formatter, id: u32) -> Self {
        let mut needs = Needs::default();
        for name in formatter.uses() {
            match Standard::from_name(name) {
                Some(standard) => needs.standard |= standard.bit(),
                None => needs.others.push(name.to_owned()),
            }
        }
        if formatter.is_json() {
            // It shows the traceback in its place, and travels as that.
            needs.standard &= !Standard::ExcInfo.bit();
        }
        Self { id, formatter, needs }
    }
}

/// Bytes of all attributes of a record of at most so many.
pub(crate) fn attributes_max(record_max: usize) -> usize {
    record_max / share::ATTRIBUTES
}

/// The smallest limit of a record in bytes: header, field heads and the shares above fit.
pub(crate) const RECORD_MAX_MIN: usize = 1024;

/// Bytes of a line of JSON around its message.
const JSON_HEAD_LEN: usize = 16;

/// One record to encode.
pub(crate) struct Job<'a, 'py> {
    pub(crate) originals: &'a Originals,
    pub(crate) handler: &'a Bound<'py, PyAny>,
    pub(crate) record: &'a Bound<'py, PyAny>,
    /// Longest encoded record in bytes.
    pub(crate) record_max: usize,
    /// Whether whoever renders the line wants no more than is shown in it.
    pub(crate) only_shown: bool,
}

impl<'py> Job<'_, 'py> {
    /// Appends the record to `out`, which is empty. Tells whether something was cut.
    ///
    /// # Errors
    /// What rendering the record in Python raises.
    pub(crate) fn encode(&self, plan: &Plan, out: &mut Vec<u8>) -> PyResult<bool> {
        if let Plan::Server(compiled) = plan
            && let is_exact = self.originals.record_is_exact(self.record)
            && (is_exact || self.originals.record_is_plain(self.record))
            && let Some(dict) = self.dict(is_exact)?
            && let Some(was_cut) = self.encode_fields(compiled, is_exact, &dict, out)?
        {
            return Ok(was_cut);
        }
        out.clear();
        let is_json = matches!(plan, Plan::Server(compiled) if compiled.formatter.is_json());
        self.encode_line(is_json, out)
    }

    /// The record's attributes.
    fn dict(&self, is_exact: bool) -> PyResult<Option<Bound<'py, PyDict>>> {
        if is_exact {
            return Ok(instance_dict(self.record));
        }
        dict_of(self.record)
    }

    /// `is_exact`: of a record of the library's own class, which nobody has changed. `None`: the server cannot be sure of the
    /// line.
    fn encode_fields(
        &self,
        compiled: &Compiled,
        is_exact: bool,
        dict: &Bound<'py, PyDict>,
        out: &mut Vec<u8>,
    ) -> PyResult<Option<bool>> {
        let needs = &compiled.needs;
        let is_shown = |name: &str| compiled.formatter.shows_attribute(name);
        let shown = self.only_shown.then_some(&is_shown as &dyn Fn(&str) -> bool);
        let is_json = compiled.formatter.is_json();
        let mut gathered = Gathered::of_attributes(attributes_max(self.record_max));
        let is_known = is_exact
            && self.only_shown
            && !is_json
            && factory::gather(self.record, dict, needs, &mut gathered).is_some();
        if !is_known {
            gathered.read(dict, needs, shown);
        }
        let has_items = is_json && self.put_message_items(&mut gathered, needs);
        let Some(mut long) = self.check(&gathered, compiled)? else {
            return Ok(None);
        };
        let message = if has_items {
            PyString::new(dict.py(), "").into_any()
        } else {
            self.message(is_exact, &gathered)?
        };
        interpreter::put(dict, pyo3::intern!(dict.py(), "message"), &message)?;
        long.message = Text::exact(&message);
        match &long.message {
            Some(text) if text.is_escaped() => return Ok(None),
            Some(_) => {}
            None => gathered.put_attribute(Text::Static(Standard::Message.name()), &message),
        }
        if is_json {
            if !self.put_exception(compiled, &mut gathered, &mut long)? || long.is_escaped() {
                return Ok(None);
            }
        } else if long.exc_text.as_ref().is_none_or(|text| text.as_str().is_empty())
            && let Some(exc_info) = &gathered.exc_info
            && exc_info.is_truthy()?
        {
            if needs.has(Standard::ExcText) {
                return Ok(None); // the format sees it as it was before
            }
            let Some(text) = self.format_exception(exc_info)? else {
                return Ok(None);
            };
            long.exc_text = Some(text);
        }
        let is_supported = |record: &Record<'_>| compiled.formatter.supports(record).is_yes();
        let head = (RecordKind::Fields, compiled.id);
        Ok(self.write(head, &gathered, &long, is_supported, out))
    }

    /// The traceback and stack that the record already has; `None`: the record is not one that the server can render.
    fn check(&self, gathered: &Gathered<'py>, compiled: &Compiled) -> PyResult<Option<LongTexts<'py>>> {
        let needs = &compiled.needs;
        const ALWAYS: [Standard; 3] = [Standard::ExcInfo, Standard::ExcText, Standard::StackInfo];
        const MADE: [Standard; 2] = [Standard::Message, Standard::AscTime];
        let always = ALWAYS.iter().fold(needs.standard, |bits, each| bits | each.bit());
        let wanted = MADE.iter().fold(always, |bits, each| bits & !each.bit());
        let is_wanted = |name: &str| {
            Standard::from_name(name)
                .map_or_else(|| compiled.formatter.shows_attribute(name), |it| needs.has(it))
        };
        let is_opaque = |(name, value): &(Text<'_>, Value<'_>)| {
            matches!(value, Value::Opaque(_)) && is_wanted(name.as_str())
        };
        if compiled.formatter.is_json() && gathered.left_out {
            return Ok(None);
        }
        if gathered.odd || wanted & !gathered.present != 0 || gathered.attributes.iter().any(is_opaque) {
            return Ok(None);
        }
        let (Some(exc_text), Some(stack_info)) = (
            text_or_none(gathered.exc_text.as_ref()),
            text_or_none(gathered.stack_info.as_ref()),
        ) else {
            return Ok(None);
        };
        Ok(Some(LongTexts {
            message: None,
            exc_text,
            stack_info,
        }))
    }

    /// A message that is a dict travels with its items, to be fields of their own. Tells whether it is one.
    fn put_message_items(&self, gathered: &mut Gathered<'py>, needs: &Needs) -> bool {
        let Some(msg) = gathered.msg.clone().filter(|msg| msg.is_instance_of::<PyDict>()) else {
            return false;
        };
        if !needs.has(Standard::Msg) {
            gathered.put_attribute(Text::Static(Standard::Msg.name()), &msg);
        }
        // Where it is opaque, as one of a subclass is, only Python knows its items.
        gathered.odd |= !has_dict(gathered, Standard::Msg);
        true
    }

    /// The traceback of a record for a `JsonFormatter`, which remembers none; `false`: only Python can render it.
    fn put_exception(
        &self,
        compiled: &Compiled,
        gathered: &mut Gathered<'py>,
        long: &mut LongTexts<'py>,
    ) -> PyResult<bool> {
        let py = self.record.py();
        let Some(exc_info) = gathered.exc_info.clone().filter(|exc_info| !exc_info.is_none()) else {
            return Ok(true);
        };
        if compiled.needs.has(Standard::ExcText) || !exc_info.is_truthy()? {
            return Ok(false);
        }
        let text = self.originals.traceback(&exc_info)?;
        long.exc_text = Text::exact(&text);
        if compiled.formatter.wants_exception_head() {
            let formatter = formatter_of(self.handler, self.originals)?;
            let head = formatter.call_method1(pyo3::intern!(py, "_exception_head"), (&exc_info,))?;
            gathered.put_attribute(Text::Static(Standard::ExcInfo.name()), &head);
            gathered.odd |= !has_dict(gathered, Standard::ExcInfo);
        }
        let is_text = long
            .exc_text
            .as_ref()
            .is_some_and(|text| !text.as_str().is_empty());
        Ok(is_text && !gathered.odd)
    }

    /// `record.getMessage()`, without the call where that is the library's own and `msg` a text: what it does is one `%`.
    fn message(&self, is_exact: bool, gathered: &Gathered<'py>) -> PyResult<Bound<'py, PyAny>> {
        if let (Some(msg), Some(args)) = (&gathered.msg, &gathered.args)
            && is_exact
            && !gathered.overrides
            && let Ok(msg) = msg.cast_exact::<PyString>()
        {
            if args.cast_exact::<PyTuple>().is_ok_and(|args| args.is_empty()) || args.is_none() {
                return Ok(msg.clone().into_any());
            }
            if let Ok(args) = args.cast_exact::<PyTuple>()
                && let Some(text) = percent::of_tuple(msg, args)
            {
                return Ok(text.into_any());
            }
            // Neither has a `%` of its own for when it stands on the right.
            if args.is_exact_instance_of::<PyTuple>()
                || args.is_exact_instance_of::<PyDict>() && args.is_truthy()?
            {
                return interpreter::percent(msg, args);
            }
        }
        self.record
            .call_method0(pyo3::intern!(self.record.py(), "getMessage"))
    }

    /// `formatter.formatException(exc_info)`, remembered in the record as `Formatter.format` does; `None`: no `str`.
    fn format_exception(&self, exc_info: &Bound<'py, PyAny>) -> PyResult<Option<Text<'py>>> {
        let py = exc_info.py();
        let text = self.originals.traceback(exc_info)?;
        self.record.setattr(pyo3::intern!(py, "exc_text"), &text)?;
        Ok(Text::exact(&text))
    }

    /// `is_json`: the server knows the formatter as one of JSON; a line of it stays JSON, whatever is cut.
    fn encode_line(&self, is_json: bool, out: &mut Vec<u8>) -> PyResult<bool> {
        let py = self.record.py();
        let line = self
            .handler
            .call_method1(pyo3::intern!(py, "format"), (self.record,))?;
        let line = line.cast_into::<PyString>().map_err(|error| {
            let class = error.into_inner().get_type();
            PyTypeError::new_err(format!("format() must give a str, not {class}"))
        })?;
        let mut gathered = Gathered::default();
        if let Ok(dict) = self.record.getattr(pyo3::intern!(py, "__dict__"))
            && let Ok(dict) = dict.cast_into::<PyDict>()
        {
            gathered.read(&dict, &Needs::default(), None);
        }
        let long = LongTexts {
            message: Some(Text::new(line)),
            ..LongTexts::default()
        };
        let head = (RecordKind::Line, 0);
        let was_cut = self
            .write(head, &gathered, &long, |_| true, out)
            .unwrap_or_default();
        let line = long.message.as_ref().map_or("", Text::as_str);
        let room = Record::decode(out).map_or(0, |(record, _)| record.message.map_or(0, str::len));
        if was_cut
            && room < line.len()
            && let Some(shorter) = self.shorter_json(is_json, line, room)?
        {
            let long = LongTexts {
                message: Some(shorter),
                ..LongTexts::default()
            };
            out.clear();
            self.write(head, &gathered, &long, |_| true, out);
        }
        Ok(was_cut)
    }

    /// A line that is too long, in at most `room` bytes, where half of it would be no JSON: with all its fields, the texts in them cut;
    /// where that cannot be, as the message of an object of its own. `None`: it is no `JsonFormatter`'s.
    fn shorter_json(&self, is_json: bool, line: &str, room: usize) -> PyResult<Option<Text<'py>>> {
        let py = self.record.py();
        let formatter = formatter_of(self.handler, self.originals)?;
        let is_of_ours = match self.originals.json_formatter(py) {
            Some(class) => formatter.is_instance(class.class.bind(py))?,
            None => false,
        };
        if is_of_ours {
            let shorter = formatter.call_method1(pyo3::intern!(py, "_shortened"), (line, room))?;
            let shorter = Text::exact(&shorter).filter(|text| text.as_str().len() <= room);
            if shorter.is_some() {
                return Ok(shorter);
            }
        }
        // No escape is needed but those of quotes and backslashes, and what fits this share is not cut again.
        let len_max = (self.record_max / share::LONG_TEXT - JSON_HEAD_LEN) / 2;
        Ok(is_json.then(|| Text::Escaped(message_as_json(&cut::cut(line, len_max)))))
    }

    /// [`write`], within this job's limit.
    fn write(
        &self,
        head: (RecordKind, u32),
        gathered: &Gathered<'_>,
        long: &LongTexts<'_>,
        is_supported: impl Fn(&Record<'_>) -> bool,
        out: &mut Vec<u8>,
    ) -> Option<bool> {
        write(self.record_max, head, gathered, long, is_supported, out)
    }
}

/// Whether this attribute travels as a dict with all its items.
fn has_dict(gathered: &Gathered<'_>, standard: Standard) -> bool {
    let mut attributes = gathered.attributes.iter();
    attributes.any(|(name, value)| name.as_str() == standard.name() && matches!(value, Value::Dict(_)))
}

/// `None`: neither a `str` nor `None`, or no such attribute.
#[expect(clippy::option_option, reason = "unknown and none are different answers")]
fn text_or_none<'py>(object: Option<&Bound<'py, PyAny>>) -> Option<Option<Text<'py>>> {
    let object = object?;
    if object.is_none() {
        return Some(None);
    }
    Text::exact(object).map(Some)
}

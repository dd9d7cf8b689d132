//! The names that a format refers to, and their values in a record: Python's `defaults | record.__dict__`.
//!
//! In: names at compile time; a [`Record`] and the rendered `asctime` for each line. Out: a [`Value`] that borrows from
//! them, or that there is none. Pure.
//! Not here: what is done with the value.

use std::borrow::Cow;

use logserv_wire::record::Record;
use logserv_wire::value::Value;

use crate::formatter::RenderError;
use crate::integer::truncated;
use crate::repr::Doubt;

/// The attributes that every `LogRecord` has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standard {
    Name,
    Message,
    LevelName,
    LevelNo,
    PathName,
    FileName,
    Module,
    LineNo,
    FuncName,
    Created,
    Msecs,
    RelativeCreated,
    Thread,
    ThreadName,
    Process,
    ProcessName,
    TaskName,
    ExcInfo,
    ExcText,
    StackInfo,
    /// Known only where the producer has sent them as attributes.
    Unsent,
}

fn standard(name: &str) -> Option<Standard> {
    Some(match name {
        "name" => Standard::Name,
        "message" => Standard::Message,
        "levelname" => Standard::LevelName,
        "levelno" => Standard::LevelNo,
        "pathname" => Standard::PathName,
        "filename" => Standard::FileName,
        "module" => Standard::Module,
        "lineno" => Standard::LineNo,
        "funcName" => Standard::FuncName,
        "created" => Standard::Created,
        "msecs" => Standard::Msecs,
        "relativeCreated" => Standard::RelativeCreated,
        "thread" => Standard::Thread,
        "threadName" => Standard::ThreadName,
        "process" => Standard::Process,
        "processName" => Standard::ProcessName,
        "taskName" => Standard::TaskName,
        "exc_info" => Standard::ExcInfo,
        "exc_text" => Standard::ExcText,
        "stack_info" => Standard::StackInfo,
        "msg" | "args" => Standard::Unsent,
        _ => return None,
    })
}

impl Standard {
    /// Whether it is a text, or `None`.
    pub(crate) fn is_text(self) -> bool {
        matches!(
            self,
            Self::Name
                | Self::Message
                | Self::LevelName
                | Self::PathName
                | Self::FileName
                | Self::Module
                | Self::FuncName
                | Self::ThreadName
                | Self::ProcessName
                | Self::TaskName
        )
    }

    /// Whether it is a whole number, or `None`.
    pub(crate) fn is_whole(self) -> bool {
        matches!(self, Self::LevelNo | Self::LineNo | Self::Thread | Self::Process)
    }

    /// The record's own text.
    #[inline]
    pub(crate) fn text<'r>(self, record: &Record<'r>) -> Option<&'r str> {
        match self {
            Self::Message => record.message,
            Self::Name => record.name,
            Self::LevelName => record.level_name,
            Self::PathName => record.path_name,
            Self::FileName => record.file_name,
            Self::Module => record.module,
            Self::FuncName => record.func_name,
            Self::ThreadName => record.thread_name,
            Self::ProcessName => record.process_name,
            Self::TaskName => record.task_name,
            _ => None,
        }
    }

    /// The record's own whole number.
    #[inline]
    pub(crate) fn whole(self, record: &Record<'_>) -> Option<i64> {
        match self {
            Self::LevelNo => Some(record.level_no.into()),
            Self::LineNo => Some(record.line_no.into()),
            Self::Thread => i64::try_from(record.thread?).ok(),
            Self::Process => Some(record.process?.into()),
            _ => None,
        }
    }
}

/// Whether every `LogRecord` has an attribute of this name.
pub(crate) fn is_standard(name: &str) -> bool {
    name == "asctime" || standard(name).is_some()
}

/// The attributes that one formatter refers to, numbered in the order of their first use.
#[derive(Debug, Default)]
pub(crate) struct Names {
    names: Vec<Name>,
}

#[derive(Debug)]
struct Name {
    text: Box<str>,
    standard: Option<Standard>,
    is_asctime: bool,
    /// From `defaults`; not looked at for a standard attribute, which every record has.
    default: Option<Value<'static>>,
}

/// A name's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NameId(usize);

impl Names {
    /// The number of `text`, new or known.
    pub(crate) fn id(&mut self, text: &str) -> NameId {
        if let Some(id) = self.find(text) {
            return id;
        }
        let name = Name {
            text: text.into(),
            standard: standard(text),
            is_asctime: text == "asctime",
            default: None,
        };
        self.names.push(name);
        NameId(self.names.len() - 1)
    }

    /// Which attribute of every record it is.
    pub(crate) fn standard(&self, id: NameId) -> Option<Standard> {
        self.names.get(id.0)?.standard
    }

    pub(crate) fn is_asctime(&self, id: NameId) -> bool {
        self.names.get(id.0).is_some_and(|name| name.is_asctime)
    }

    fn find(&self, text: &str) -> Option<NameId> {
        self.names.iter().position(|name| &*name.text == text).map(NameId)
    }

    /// The value of `name` in records that do not have it; without effect where nothing refers to it.
    pub(crate) fn set_default(&mut self, text: &str, value: Value<'static>) {
        if let Some(name) = self.names.iter_mut().find(|name| &*name.text == text) {
            name.default = Some(value);
        }
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &*name.text)
    }
}

/// Everything that one line is rendered from.
pub(crate) struct Scope<'s> {
    record: &'s Record<'s>,
    names: &'s Names,
    /// By name; empty where the record has no attributes of these names.
    extras: Vec<Option<Value<'s>>>,
    /// What `formatTime` gave, where the format uses the time.
    pub(crate) asctime: Option<&'s str>,
    pub(crate) doubt: Doubt,
}

impl<'s> Scope<'s> {
    /// Looks through the record's attributes once.
    pub(crate) fn new(record: &'s Record<'s>, names: &'s Names, doubt: Doubt) -> Self {
        let extras = if record.has_attributes() {
            extras(record, names)
        } else {
            Vec::new()
        };
        Self {
            record,
            names,
            extras,
            asctime: None,
            doubt,
        }
    }

    #[inline]
    fn extra(&self, id: NameId) -> Option<&Value<'s>> {
        self.extras.get(id.0)?.as_ref()
    }

    /// The value of `id` where it is a text of the record's own: what most fields of most lines are.
    #[inline]
    pub(crate) fn text(&self, id: NameId) -> Option<&'s str> {
        let name = self.names.names.get(id.0)?;
        if name.is_asctime {
            return self.asctime;
        }
        let record = self.record;
        if name.standard == Some(Standard::Message) {
            return record.message;
        }
        if self.extra(id).is_some() {
            return None;
        }
        name.standard?.text(record)
    }

    /// The value of `id` where it is a float of the record's own.
    #[inline]
    pub(crate) fn float(&self, id: NameId) -> Option<f64> {
        let name = self.names.names.get(id.0)?;
        if self.extra(id).is_some() {
            return None;
        }
        match name.standard? {
            Standard::Created => Some(self.record.created),
            Standard::Msecs => Some(self.record.msecs),
            Standard::RelativeCreated => Some(self.record.relative_created),
            _ => None,
        }
    }

    /// `int()` of the value of `id` where it is a number of the record's own: what `%d` writes in most lines.
    #[inline]
    pub(crate) fn whole(&self, id: NameId) -> Option<i64> {
        if let Some(number) = self.float(id) {
            return truncated(number);
        }
        let name = self.names.names.get(id.0)?;
        if self.extra(id).is_some() {
            return None;
        }
        name.standard?.whole(self.record)
    }

    /// The value of `id`.
    ///
    /// # Errors
    /// `Missing` where Python raises a `KeyError`, `Unsupported` where the value is not known here.
    pub(crate) fn get(&self, id: NameId) -> Result<Cow<'_, Value<'s>>, RenderError> {
        let Some(name) = self.names.names.get(id.0) else {
            return Err(RenderError::Missing { name: String::new() });
        };
        // `format` sets asctime and message before it renders, whatever the record has.
        if let Some(text) = self.text(id) {
            return Ok(Cow::Owned(Value::Str(Cow::Borrowed(text))));
        }
        if let Some(value) = self.extra(id) {
            return Ok(Cow::Borrowed(value));
        }
        match name.standard {
            Some(standard) => self.standard(standard).map(Cow::Owned),
            None => match &name.default {
                Some(value) => Ok(Cow::Borrowed(value)),
                None => Err(RenderError::Missing {
                    name: name.text.to_string(),
                }),
            },
        }
    }

    fn standard(&self, standard: Standard) -> Result<Value<'s>, RenderError> {
        let record = self.record;
        let text =
            |text: Option<&'s str>| Ok(text.map_or(Value::None, |text| Value::Str(Cow::Borrowed(text))));
        let is_sure = record.exc_text.is_none() || self.doubt == Doubt::Guess;
        match standard {
            Standard::Name => text(record.name),
            Standard::Message => text(record.message),
            Standard::LevelName => text(record.level_name),
            Standard::LevelNo => Ok(Value::Int(record.level_no.into())),
            Standard::PathName => text(record.path_name),
            Standard::FileName => text(record.file_name),
            Standard::Module => text(record.module),
            Standard::LineNo => Ok(Value::Int(record.line_no.into())),
            Standard::FuncName => text(record.func_name),
            Standard::Created => Ok(Value::Float(record.created)),
            Standard::Msecs => Ok(Value::Float(record.msecs)),
            Standard::RelativeCreated => Ok(Value::Float(record.relative_created)),
            Standard::Thread => Ok(record.thread.map_or(Value::None, unsigned)),
            Standard::ThreadName => text(record.thread_name),
            Standard::Process => Ok(record
                .process
                .map_or(Value::None, |process| Value::Int(process.into()))),
            Standard::ProcessName => text(record.process_name),
            Standard::TaskName => text(record.task_name),
            Standard::StackInfo => text(record.stack_info),
            // Python renders the format before it makes `exc_text`: with an exception, whether the attribute was set
            // already depends on the handlers before.
            Standard::ExcText if is_sure => text(record.exc_text),
            Standard::ExcInfo if is_sure => Ok(Value::None),
            Standard::ExcText | Standard::ExcInfo => Err(RenderError::Unsupported {
                what: "exc_info and exc_text inside a format",
            }),
            Standard::Unsent => Err(RenderError::Unsupported {
                what: "msg or args, which the record lacks",
            }),
        }
    }

    /// `exc_text` or `stack_info` as `Formatter.format` appends it: `None` where it is empty.
    ///
    /// # Errors
    /// `Unsupported` where it is no text; Python raises.
    pub(crate) fn appendix(
        &self,
        id: NameId,
        field: Option<&'s str>,
    ) -> Result<Option<Cow<'_, str>>, RenderError> {
        match self.extra(id) {
            None => Ok(field.filter(|text| !text.is_empty()).map(Cow::Borrowed)),
            Some(Value::Str(text)) => Ok(Some(text)
                .filter(|text| !text.is_empty())
                .map(|text| Cow::Borrowed(&**text))),
            Some(Value::None) => Ok(None),
            Some(_) => Err(RenderError::Unsupported {
                what: "an exc_text or stack_info that is no text",
            }),
        }
    }
}

/// The record's attributes that are named, by the names' numbers; empty where there are none.
fn extras<'s>(record: &'s Record<'s>, names: &Names) -> Vec<Option<Value<'s>>> {
    let mut extras = Vec::new();
    for (text, value) in record.attributes() {
        if let Some(NameId(index)) = names.find(text) {
            if extras.is_empty() {
                extras.resize_with(names.names.len(), || None);
            }
            if let Some(place) = extras.get_mut(index) {
                *place = Some(value);
            }
        }
    }
    extras
}

fn unsigned(number: u64) -> Value<'static> {
    match i64::try_from(number) {
        Ok(number) => Value::Int(number),
        Err(_) => Value::BigInt(Cow::Owned(number.to_string())),
    }
}

/// A default of the specification as Python sees it. A number without fraction beyond 2^63 may have lost digits in JSON.
pub(crate) fn from_json(json: &serde_json::Value) -> Value<'static> {
    match json {
        serde_json::Value::Null => Value::None,
        serde_json::Value::Bool(value) => Value::Bool(*value),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(number), _, _) => Value::Int(number),
            (None, Some(number), _) => unsigned(number),
            (None, None, Some(number)) if number.abs() < 9_223_372_036_854_775_808.0 => Value::Float(number),
            _ => Value::Opaque(Cow::Owned(number.to_string())),
        },
        serde_json::Value::String(text) => Value::Str(Cow::Owned(text.clone())),
        serde_json::Value::Array(items) => Value::List(items.iter().map(from_json).collect()),
        serde_json::Value::Object(pairs) => Value::Dict(
            pairs
                .iter()
                .map(|(key, value)| (Value::Str(Cow::Owned(key.clone())), from_json(value)))
                .collect(),
        ),
    }
}

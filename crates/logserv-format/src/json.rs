//! `logserv.formatters.JsonFormatter.format`: a record as one JSON object on one line.
//!
//! In: a [`JsonSpecification`] once; a record and its names' values for each line. Out: the line. The law is that of `formatter.rs`, the
//! reference `python/logserv/formatters.py`; `tests/test_json_formatter.py` compares the two.
//! Not here: `asctime` (`clock.rs`), how values are written (`json/value.rs`).

mod specification;
mod table;
mod timestamp;
mod value;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use logserv_wire::record::Record;
use logserv_wire::value::Value;

pub use specification::{JsonSpecification, TimestampFormat};
use table::{Source, Table};
use value::{Writer, is_truthy};

use crate::attribute::{NameId, Names, Scope, from_json, is_standard};
use crate::formatter::{RenderError, check_len};
use crate::limits::FMT_LEN_MAX;
use crate::repr::Doubt;

/// The attribute that a message travels in where it is a dict.
const MSG: &str = "msg";
const EXC_INFO: &str = "exc_info";
const STACK_INFO: &str = "stack_info";

/// A compiled `JsonFormatter`.
#[derive(Debug)]
pub(crate) struct Json {
    /// What every line begins with, each name once.
    head: Vec<(Box<str>, Head)>,
    rename: HashMap<String, String>,
    /// The new names in their order, where those that are missing are to be null.
    kept: Vec<String>,
    skipped: HashSet<String>,
    specification: JsonSpecification,
    created: NameId,
}

/// A field at the beginning of a line.
#[derive(Debug)]
enum Head {
    Attribute(NameId),
    /// Overwritten where there is an exception.
    ExcInfo,
    Value(Value<'static>),
}

impl Json {
    /// Compiles `specification`; what it refers to is added to `names`.
    ///
    /// # Errors
    /// In words: it is longer than any real one.
    pub(crate) fn compile(specification: &JsonSpecification, names: &mut Names) -> Result<Self, String> {
        let len = specification.fields.iter().map(String::len).sum::<usize>() + specification.prefix.len();
        if len > FMT_LEN_MAX {
            return Err(format!("{len} bytes of fields, expected at most {FMT_LEN_MAX}"));
        }
        if value::has_line_end(&specification.prefix) {
            return Err("the end of a line in the prefix".to_owned());
        }
        let mut json = Self {
            head: Vec::new(),
            rename: specification.rename.iter().cloned().collect(),
            kept: Vec::new(),
            skipped: specification
                .skipped
                .iter()
                .chain(&specification.fields)
                .cloned()
                .collect(),
            specification: specification.clone(),
            created: names.id("created"),
        };
        let mut places = HashMap::new();
        let mut put = |name: &str, value: Head| {
            let name = json.rename.get(name).map_or(name, String::as_str);
            let place = *places.entry(name.to_owned()).or_insert(json.head.len());
            match json.head.get_mut(place) {
                Some((_, known)) => *known = value,
                None => json.head.push((name.into(), value)),
            }
        };
        for (name, value) in &specification.defaults {
            put(name, Head::Value(from_json(value)));
        }
        for name in &specification.fields {
            match name.as_str() {
                EXC_INFO => put(name, Head::ExcInfo),
                _ => put(name, Head::Attribute(names.id(name))),
            }
        }
        for (name, value) in &specification.static_fields {
            put(name, Head::Value(from_json(value)));
        }
        for (name, value) in &specification.defaults {
            names.set_default(name, from_json(value));
        }
        if specification.keep_missing {
            let mut seen = HashSet::new();
            let renamed = specification.rename.iter().map(|(old, _)| old);
            let current = renamed
                .filter(|old| seen.insert(*old))
                .filter_map(|old| json.rename.get(old));
            json.kept = current.cloned().collect();
        }
        Ok(json)
    }

    /// Whether an attribute of this name is in the line, as one of `extra`.
    pub(crate) fn shows(&self, name: &str) -> bool {
        !name.starts_with('_') && !self.skipped.contains(name) && !is_standard(name)
    }

    /// Whether it shows type and message of an exception.
    pub(crate) fn wants_exception_head(&self) -> bool {
        self.specification.exc_info_as_object
    }

    /// Appends the line of `record`.
    ///
    /// # Errors
    /// `Unsupported`, `TooLong`.
    pub(crate) fn push(
        &self,
        scope: &Scope<'_>,
        record: &Record<'_>,
        (exc_text, stack_info): (Option<&str>, Option<&str>),
        out: &mut String,
    ) -> Result<(), RenderError> {
        let writer = Writer {
            ensure_ascii: self.specification.ensure_ascii,
            doubt: scope.doubt,
        };
        let attributes: Vec<_> = record.attributes().collect();
        let message_items = attributes.iter().find_map(|attribute| match attribute {
            (MSG, Value::Dict(pairs)) => Some(pairs.as_slice()),
            _ => None,
        });
        let mut table = Table::default();
        self.put_head(scope, &attributes, exc_text.is_some(), &mut table)?;
        self.put_message_items(message_items.unwrap_or_default(), writer, &mut table)?;
        let has = |name: &str| has_item(message_items.unwrap_or_default(), name);
        if let Some(text) = exc_text
            && !has(EXC_INFO)
        {
            table.put(self.renamed(EXC_INFO), self.exception(text, &attributes));
        }
        if let Some(text) = stack_info
            && !has(STACK_INFO)
        {
            let source = text_or_lines(text, self.specification.stack_info_as_array);
            table.put(self.renamed(STACK_INFO), source);
        }
        self.put_extra(&attributes, &mut table);
        if let Some(name) = &self.specification.timestamp {
            let mut json = String::new();
            let created = scope.get(self.created)?;
            let format = self.specification.timestamp_format;
            match timestamp::push(&created, record.utc_offset_s, format, writer, &mut json) {
                Ok(()) => table.put(self.renamed(name), Source::Json(json.into())),
                Err(_) if scope.doubt == Doubt::Guess => table.put(self.renamed(name), Source::Null),
                Err(error) => return Err(error),
            }
        }
        self.put_missing(&attributes, &mut table);
        out.push_str(&self.specification.prefix);
        push_table(&table, writer, out, out.len())
    }

    fn put_head<'s>(
        &'s self,
        scope: &'s Scope<'_>,
        attributes: &'s [(&str, Value<'_>)],
        is_exception: bool,
        table: &mut Table<'s>,
    ) -> Result<(), RenderError> {
        for (name, head) in &self.head {
            let source = match head {
                Head::Value(value) => Source::Value(Cow::Borrowed(value)),
                Head::ExcInfo if is_exception => Source::Null,
                Head::ExcInfo => match attributes.iter().find(|(name, _)| *name == EXC_INFO) {
                    Some((_, value)) => Source::Value(Cow::Borrowed(value)),
                    None => Source::Null,
                },
                Head::Attribute(id) => match (scope.text(*id), scope.get(*id)) {
                    (Some(text), _) => Source::Text(Cow::Borrowed(text)),
                    (None, Ok(value)) => Source::Value(value),
                    (None, Err(RenderError::Missing { .. })) => Source::Null,
                    (None, Err(_)) if scope.doubt == Doubt::Guess => Source::Null,
                    (None, Err(error)) => return Err(error),
                },
            };
            table.put(Cow::Borrowed(name), source);
        }
        Ok(())
    }

    fn put_message_items<'s>(
        &'s self,
        items: &'s [(Value<'_>, Value<'_>)],
        writer: Writer,
        table: &mut Table<'s>,
    ) -> Result<(), RenderError> {
        for (key, value) in items {
            match key {
                Value::Str(name) => table.put(self.renamed(name), Source::Value(Cow::Borrowed(value))),
                _ if writer.doubt == Doubt::Guess => {}
                // 1 and "1" are two items to Python.
                _ => {
                    return Err(RenderError::Unsupported {
                        what: "a message of other keys than texts",
                    });
                }
            }
        }
        Ok(())
    }

    fn put_extra<'s>(&'s self, attributes: &'s [(&str, Value<'_>)], table: &mut Table<'s>) {
        let shown = attributes.iter().filter(|(name, _)| self.shows(name));
        let fields = shown.map(|(name, value)| (self.renamed(name), Source::Value(Cow::Borrowed(value))));
        match &self.specification.extra_key {
            None => fields.for_each(|(name, source)| table.put(name, source)),
            Some(key) => {
                let mut nested = Table::default();
                fields.for_each(|(name, source)| nested.put(name, source));
                if !nested.is_empty() {
                    table.put(self.renamed(key), Source::Nested(nested));
                }
            }
        }
    }

    /// Fields of `extra` are there, wherever they stand, and also where another field has taken their place.
    fn put_missing<'s>(&'s self, attributes: &[(&str, Value<'_>)], table: &mut Table<'s>) {
        for name in &self.kept {
            let mut shown = attributes.iter().filter(|(attribute, _)| self.shows(attribute));
            if !table.has(name) && !shown.any(|(attribute, _)| self.renamed(attribute) == *name) {
                table.put(Cow::Borrowed(name), Source::Null);
            }
        }
    }

    fn renamed<'s>(&'s self, name: &'s str) -> Cow<'s, str> {
        Cow::Borrowed(self.rename.get(name).map_or(name, String::as_str))
    }

    fn exception<'s>(&self, text: &'s str, attributes: &'s [(&str, Value<'_>)]) -> Source<'s> {
        let trace = text_or_lines(text, self.specification.exc_info_as_array);
        if !self.specification.exc_info_as_object {
            return trace;
        }
        let item = |wanted: &str| {
            let pairs = attributes.iter().find_map(|attribute| match attribute {
                (EXC_INFO, Value::Dict(pairs)) => Some(pairs),
                _ => None,
            });
            let found = pairs?
                .iter()
                .find(|(key, _)| matches!(key, Value::Str(key) if key == wanted));
            found.map(|(_, value)| value.clone())
        };
        Source::Exception(item("type"), item("message"), Box::new(trace))
    }
}

fn has_item(items: &[(Value<'_>, Value<'_>)], name: &str) -> bool {
    items
        .iter()
        .any(|(key, value)| matches!(key, Value::Str(key) if key == name) && is_truthy(value))
}

fn text_or_lines(text: &str, is_array: bool) -> Source<'_> {
    if is_array {
        Source::Lines(Cow::Borrowed(text))
    } else {
        Source::Text(Cow::Borrowed(text))
    }
}

/// One line of JSON that has a text as its message: for a line that had to be cut, which is JSON no more.
#[must_use]
pub fn message_as_json(text: &str) -> String {
    let writer = Writer {
        ensure_ascii: false,
        doubt: Doubt::Guess,
    };
    let mut line = "{\"message\": ".to_owned();
    writer.push_text(text, &mut line);
    line.push('}');
    line
}

/// `start`: where the line begins in `out`.
fn push_table(table: &Table<'_>, writer: Writer, out: &mut String, start: usize) -> Result<(), RenderError> {
    out.push('{');
    for (index, (name, source)) in table.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        writer.push_text(name, out);
        out.push_str(": ");
        push_source(source, writer, out, start)?;
        check_len(out.len() - start)?;
    }
    out.push('}');
    Ok(())
}

fn push_source(
    source: &Source<'_>,
    writer: Writer,
    out: &mut String,
    start: usize,
) -> Result<(), RenderError> {
    match source {
        Source::Null => out.push_str("null"),
        Source::Value(value) => writer.push(value, out)?,
        Source::Text(text) => writer.push_text(text, out),
        Source::Lines(text) => writer.push_lines(text, out),
        Source::Json(json) => out.push_str(json),
        Source::Nested(table) => push_table(table, writer, out, start)?,
        Source::Exception(kind, message, trace) => {
            out.push_str("{\"type\": ");
            writer.push(kind.as_ref().unwrap_or(&Value::None), out)?;
            out.push_str(", \"message\": ");
            writer.push(message.as_ref().unwrap_or(&Value::None), out)?;
            out.push_str(", \"traceback\": ");
            push_source(trace, writer, out, start)?;
            out.push('}');
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;

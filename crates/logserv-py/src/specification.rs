//! Describes a `logging.Formatter` to the server.
//!
//! In: a formatter that `watch.rs` found to be plain. Out: its [`Specification`], or `None` where only Python can tell
//! what it would print: a value that JSON or the server's clock cannot repeat.

use logserv_format::{Specification, Style};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyString};
use serde_json::{Map, Value};

use crate::originals::Originals;
use crate::sys;

/// `strftime` directives that print digits and punctuation in every locale.
const DIRECTIVES_WITHOUT_NAMES: &str = "YmdHMSjUWwyIDFTRuVGgCeklntz%";

/// The specification of `formatter`; `None`: render in Python.
///
/// # Errors
/// An attribute is missing.
pub(crate) fn describe(
    formatter: &Bound<'_, PyAny>,
    originals: &Originals,
) -> PyResult<Option<Specification>> {
    if let Some(class) = originals.json_formatter(formatter.py())
        && formatter.get_type().is(&class.class)
    {
        return describe_json(formatter, originals);
    }
    let style = formatter.getattr("_style")?;
    let Some(place) = originals
        .styles
        .iter()
        .position(|each| style.get_type().is(&each.class))
    else {
        return Ok(None);
    };
    let Some(utc) = utc(formatter, originals)? else {
        return Ok(None);
    };
    let fmt = style.getattr("_fmt")?;
    let (Some(fmt), Some(datefmt), Some(default_time_format), Some(default_msec_format), Some(defaults)) = (
        text(&fmt),
        optional_text(&formatter.getattr("datefmt")?),
        text(&formatter.getattr("default_time_format")?),
        optional_text(&formatter.getattr("default_msec_format")?),
        defaults(&style.getattr("_defaults")?),
    ) else {
        return Ok(None);
    };
    if place == 2 {
        // `string.Template` prints its own copy of the format.
        let template = style.getattr("_tpl")?.getattr("template")?;
        if text(&template).as_ref() != Some(&fmt) {
            return Ok(None);
        }
    }
    if uses_time(formatter)? && depends_on_place(datefmt.as_ref().unwrap_or(&default_time_format)) {
        return Ok(None);
    }
    let style = match place {
        0 => Style::Percent,
        1 => Style::Brace,
        _ => Style::Dollar,
    };
    Ok(Some(Specification {
        fmt: Some(fmt),
        datefmt,
        style,
        defaults,
        default_time_format,
        default_msec_format,
        utc,
        json: None,
    }))
}

/// The same of a `JsonFormatter`, which has its own words for all but the time.
fn describe_json(formatter: &Bound<'_, PyAny>, originals: &Originals) -> PyResult<Option<Specification>> {
    let Some(json) = text(&formatter.getattr("_specification")?) else {
        return Ok(None);
    };
    let Ok(json) = serde_json::from_str(&json) else {
        return Ok(None);
    };
    let json = Some(json);
    if !uses_time(formatter)? {
        return Ok(Some(Specification {
            json,
            ..Specification::default()
        }));
    }
    let (Some(utc), Some(datefmt), Some(default_time_format), Some(default_msec_format)) = (
        utc(formatter, originals)?,
        optional_text(&formatter.getattr("datefmt")?),
        text(&formatter.getattr("default_time_format")?),
        optional_text(&formatter.getattr("default_msec_format")?),
    ) else {
        return Ok(None);
    };
    if depends_on_place(datefmt.as_ref().unwrap_or(&default_time_format)) {
        return Ok(None);
    }
    Ok(Some(Specification {
        datefmt,
        default_time_format,
        default_msec_format,
        utc,
        json,
        ..Specification::default()
    }))
}

/// Whether the converter is `time.gmtime`; `None`: neither that nor `time.localtime`.
fn utc(formatter: &Bound<'_, PyAny>, originals: &Originals) -> PyResult<Option<bool>> {
    Ok(match formatter.getattr("converter")? {
        converter if converter.is(&originals.localtime) => Some(false),
        converter if converter.is(&originals.gmtime) => Some(true),
        _ => None,
    })
}

fn uses_time(formatter: &Bound<'_, PyAny>) -> PyResult<bool> {
    formatter
        .call_method0(pyo3::intern!(formatter.py(), "usesTime"))?
        .is_truthy()
}

/// Whether a time in this format depends on more than the offset from UTC.
fn depends_on_place(time_format: &str) -> bool {
    has_zone_name(time_format) || !sys::time_locale_is_c() && has_locale_names(time_format)
}

/// A `str` without lone surrogates.
fn text(object: &Bound<'_, PyAny>) -> Option<String> {
    object
        .cast_exact::<PyString>()
        .ok()?
        .to_str()
        .ok()
        .map(str::to_owned)
}

/// The same, or what is false to Python and so means "none".
fn optional_text(object: &Bound<'_, PyAny>) -> Option<Option<String>> {
    if object.is_none() {
        return Some(None);
    }
    text(object).map(|text| Some(text).filter(|text| !text.is_empty()))
}

/// Defaults of which each value is immutable and the same in JSON.
fn defaults(object: &Bound<'_, PyAny>) -> Option<Map<String, Value>> {
    if object.is_none() {
        return Some(Map::new());
    }
    let defaults: Vec<_> = object.cast_exact::<PyDict>().ok()?.iter().collect();
    defaults
        .into_iter()
        .map(|(name, value)| Some((text(&name)?, scalar(&value)?)))
        .collect()
}

fn scalar(object: &Bound<'_, PyAny>) -> Option<Value> {
    if object.is_none() {
        return Some(Value::Null);
    }
    if let Ok(value) = object.cast_exact::<PyBool>() {
        return Some(Value::Bool(value.is_true()));
    }
    if let Ok(number) = object.cast_exact::<PyInt>() {
        return number.extract::<i64>().ok().map(Value::from);
    }
    if let Ok(number) = object.cast_exact::<PyFloat>() {
        return serde_json::Number::from_f64(number.value()).map(Value::Number);
    }
    text(object).map(Value::String)
}

fn has_zone_name(format: &str) -> bool {
    directives(format).any(|letter| letter == 'Z')
}

fn has_locale_names(format: &str) -> bool {
    directives(format).any(|letter| !DIRECTIVES_WITHOUT_NAMES.contains(letter))
}

/// The letters after `%`, behind glibc's flags and width.
fn directives(format: &str) -> impl Iterator<Item = char> {
    let mut letters = format.chars();
    std::iter::from_fn(move || {
        letters.by_ref().find(|letter| *letter == '%')?;
        letters.find(|letter| !(letter.is_ascii_digit() || "-_^#+".contains(*letter)))
    })
}

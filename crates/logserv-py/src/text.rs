//! A Python `str` as UTF-8: lone surrogates become backslash escapes, and nothing raises.
//!
//! Not here: which attribute the text belongs to; cutting (`cut.rs`).

use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::sys::utf8::Utf8;

/// A text that came from Python.
#[derive(Debug)]
pub(crate) enum Text<'py> {
    /// A `str` whose UTF-8 form the object itself keeps.
    Whole(Utf8<'py>),
    /// The text with escapes in the place of lone surrogates (`\udc80`).
    Escaped(String),
    /// One that was made here.
    Made(String),
    /// One of our own.
    Static(&'static str),
}

impl<'py> Text<'py> {
    /// Takes any `str`, subclasses by their characters (their `__str__` is not called).
    pub(crate) fn new(text: Bound<'py, PyString>) -> Self {
        match Utf8::of(text) {
            Ok(text) => Text::Whole(text),
            Err(text) => Self::escape(&text),
        }
    }

    #[cold]
    fn escape(text: &Bound<'py, PyString>) -> Self {
        let escaped = text
            .call_method1(pyo3::intern!(text.py(), "encode"), ("utf-8", "backslashreplace"))
            .and_then(|bytes| bytes.extract::<Vec<u8>>());
        Text::Escaped(String::from_utf8_lossy(&escaped.unwrap_or_default()).into_owned())
    }

    /// Takes `object` if it is exactly a `str`.
    #[inline]
    pub(crate) fn exact(object: &Bound<'py, PyAny>) -> Option<Self> {
        object
            .cast_exact::<PyString>()
            .ok()
            .map(|text| Self::new(text.clone()))
    }

    /// The text itself.
    #[inline]
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Text::Whole(text) => text.as_str(),
            Text::Escaped(text) | Text::Made(text) => text,
            Text::Static(text) => text,
        }
    }

    /// Whether it had lone surrogates: its characters are not those that Python would count or quote.
    pub(crate) fn is_escaped(&self) -> bool {
        matches!(self, Text::Escaped(_))
    }
}

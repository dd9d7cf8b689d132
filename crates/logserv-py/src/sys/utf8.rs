//! A Python `str` whose UTF-8 form is asked for once.
//!
//! In: a `str`. Out: its text, as long as that is kept. A room of `unsafe`.

use std::ptr;

use pyo3::prelude::*;
use pyo3::types::PyString;

/// A `str` and its UTF-8 form, which is asked for once.
#[derive(Debug)]
pub(crate) struct Utf8<'py> {
    text: ptr::NonNull<str>,
    _owner: Bound<'py, PyString>,
}

impl<'py> Utf8<'py> {
    /// Gives the object back where it has none: it has lone surrogates, or there is no memory.
    #[inline]
    pub(crate) fn of(owner: Bound<'py, PyString>) -> Result<Self, Bound<'py, PyString>> {
        match owner.to_str().map(ptr::NonNull::from) {
            Ok(text) => Ok(Self { text, _owner: owner }),
            Err(_) => Err(owner),
        }
    }

    /// The text.
    #[inline]
    pub(crate) fn as_str(&self) -> &str {
        // SAFETY: the object keeps its UTF-8 form, at one place and unchanged, as long as it lives, and it is ours.
        unsafe { self.text.as_ref() }
    }
}

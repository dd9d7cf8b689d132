//! `msg % args` for what nearly all messages are made of: `%s` and `%d` of texts and whole numbers.
//!
//! In: a message and its arguments. Out: the text that Python would make; or nothing, where only Python can tell, above
//! all where it raises. Runs no code of the application.

use std::fmt::Write as _;

use pyo3::prelude::*;
use pyo3::types::{PyInt, PyString};

use crate::sys::interpreter::Arguments;

/// The text of `msg`, with the arguments from place `first` on.
#[inline]
pub(crate) fn render(msg: &str, arguments: &Arguments<'_, '_>, first: usize) -> Option<String> {
    let mut text = String::with_capacity(msg.len() + 64);
    let mut place = first;
    let mut rest = msg;
    while let Some(percent) = rest.find('%') {
        text.push_str(rest.get(..percent)?);
        let conversion = *rest.as_bytes().get(percent + 1)?;
        rest = rest.get(percent + 2..)?;
        if conversion == b'%' {
            text.push('%');
            continue;
        }
        let argument = arguments.get(place)?;
        place += 1;
        if conversion == b's'
            && let Ok(argument) = argument.cast_exact::<PyString>()
        {
            text.push_str(argument.to_str().ok()?);
        } else if matches!(conversion, b's' | b'd' | b'i') {
            let number: i64 = argument.cast_exact::<PyInt>().ok()?.extract().ok()?;
            write!(text, "{number}").ok()?;
        } else {
            return None;
        }
    }
    text.push_str(rest);
    (place == arguments.len()).then_some(text)
}

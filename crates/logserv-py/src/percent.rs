//! `msg % args` for what nearly all messages are made of: texts, numbers, `None`, `True` and `False`.
//!
//! In: a message and its arguments. Out: the text that Python would make; or nothing, where only Python can tell, above
//! all where it raises. Runs no code of the application. Not here: the conversions (`logserv-format`).

use logserv_format::{Argument, push_message};
use pyo3::Borrowed;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt, PyString, PyTuple};

use crate::sys::interpreter::{Arguments, small, utf8};

/// `msg % args`, where it is made of nothing else.
pub(crate) fn of_tuple<'py>(
    msg: &Bound<'py, PyString>,
    args: &Bound<'py, PyTuple>,
) -> Option<Bound<'py, PyString>> {
    let msg = utf8(msg.as_borrowed())?;
    let mut text = String::with_capacity(msg.len() + TEXT_LEN);
    let argument = |place| value(args.get_borrowed_item(place).ok()?);
    push_message(msg, argument, args.len(), &mut text).then(|| PyString::new(args.py(), &text))
}

/// Bytes that most arguments together add to a message.
const TEXT_LEN: usize = 128;

/// Appends the text of `msg`, with the arguments from place `first` on. Returns whether it is Python's.
#[inline]
pub(crate) fn render(msg: &str, arguments: &Arguments<'_, '_>, first: usize, out: &mut String) -> bool {
    let count = arguments.len() - first;
    push_message(msg, |place| value(arguments.get(first + place)?), count, out)
}

/// `None`: of another type, or beyond what its text is certain of.
#[inline]
fn value<'a>(argument: Borrowed<'a, '_, PyAny>) -> Option<Argument<'a>> {
    if let Ok(text) = argument.cast_exact::<PyString>() {
        return utf8(text).map(Argument::Str);
    }
    if let Ok(number) = argument.cast_exact::<PyInt>() {
        return small(number).map(Argument::Int);
    }
    if let Ok(number) = argument.cast_exact::<PyFloat>() {
        return Some(Argument::Float(number.value()));
    }
    if argument.is_none() {
        return Some(Argument::None);
    }
    if argument.is_exact_instance_of::<PyBool>() {
        return argument.is_truthy().ok().map(Argument::Bool);
    }
    None
}

//! The native `handle` of our handlers: what `logging.Handler.handle` comes to where nobody has a say in it.
//!
//! In: a handler and a record. Out: the record in the handler's session. Wherever a subclass, the class, the object or
//! a filter could make a difference, the library's `Handler.handle` is called instead.
//! The handler's own lock is not taken: what it guards in the library, a stream, is not here.

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::exceptions::{PyException, PyRecursionError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyType};
use pyo3::{Borrowed, intern};

use crate::originals::Originals;
use crate::role::{self, roles};
use crate::sender::Sender;
use crate::shape::HandlerShape;
use crate::sys::interpreter::{Arguments, entry, instance_dict, method, peek};

/// Whether a record may go without `python/logserv/_exit.py`'s being asked: this process is prepared for its end, which has
/// not begun.
static IS_DIRECT: AtomicBool = AtomicBool::new(false);

/// See [`IS_DIRECT`].
#[pyfunction]
pub(crate) fn set_direct(yes: bool) {
    IS_DIRECT.store(yes, Ordering::Relaxed); // written and read with the GIL
}

/// See [`IS_DIRECT`].
#[inline]
pub(crate) fn is_direct() -> bool {
    IS_DIRECT.load(Ordering::Relaxed)
}

/// Gives the base of our handlers its `handle`, and remembers what it is like.
///
/// # Errors
/// What Python raises.
#[pyfunction]
pub(crate) fn adopt_handlers(class: &Bound<'_, PyType>) -> PyResult<()> {
    let handle = method(
        class,
        c"handle",
        c"handle($self, record)\n--\n\nFilters and sends the record, as `logging.Handler.handle` would.",
        handle_entry,
    )?;
    class.setattr("handle", handle)?;
    role::adopt_handlers(class, Originals::get(class.py())?)
}

entry!(handle_entry, handle, library);

fn handle<'py>(
    handler: Borrowed<'_, 'py, PyAny>,
    arguments: Arguments<'_, 'py>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = handler.py();
    if arguments.len() == 1
        && !arguments.has_keywords()
        && let Some(record) = arguments.get(0)
        && let Some((sender, shape)) = direct_sender(&handler)
    {
        let record = record.to_owned();
        report(
            &handler,
            &record,
            sender.get().send(py, &handler, Some(shape), &record),
        )?;
        return Ok(Some(result(record, Originals::get(py)?)));
    }
    Ok(None)
}

/// The library's own.
fn library(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let logging = Originals::get(py)?.logging.bind(py);
    logging
        .getattr(intern!(py, "Handler"))?
        .getattr(intern!(py, "handle"))
}

/// The handler's sender, where a record goes to it without anybody's having a say.
#[inline]
fn direct_sender<'py>(handler: &Bound<'py, PyAny>) -> Option<(Bound<'py, Sender>, HandlerShape)> {
    let py = handler.py();
    if !is_direct() || !roles(py)?.handler.fits(&handler.get_type()) {
        return None;
    }
    let dict = instance_dict(handler)?;
    let sender = peek(&dict, intern!(py, "_sender"))?;
    let sender = sender.cast_exact::<Sender>().ok()?;
    let shape = HandlerShape::of(&dict, sender.get().memory());
    shape.is_direct(&dict).then(|| (sender.to_owned(), shape))
}

/// What `Handler.handle` gives of a record that was taken.
fn result<'py>(record: Bound<'py, PyAny>, originals: &Originals) -> Bound<'py, PyAny> {
    if originals.handle_returns_record {
        return record;
    }
    PyBool::new(record.py(), true).to_owned().into_any()
}

/// Tells the handler what came of a record, where that is anything: as `Handler.emit` does, all but a `RecursionError` goes
/// to its `handleError`.
///
/// # Errors
/// A `RecursionError`, what is no `Exception`, and what `handleError` raises.
pub(crate) fn report(
    handler: &Bound<'_, PyAny>,
    record: &Bound<'_, PyAny>,
    sent: PyResult<Option<(String, String)>>,
) -> PyResult<()> {
    let py = handler.py();
    match sent {
        Ok(None) => Ok(()),
        Ok(Some(refusal)) => handler
            .call_method1(intern!(py, "_tell_refusal"), (record, refusal.0, refusal.1))
            .map(drop),
        Err(error)
            if error.is_instance_of::<PyRecursionError>(py) || !error.is_instance_of::<PyException>(py) =>
        {
            Err(error)
        }
        Err(error) => handler
            .call_method1(intern!(py, "_tell_failure"), (record, error.into_value(py)))
            .map(drop),
    }
}

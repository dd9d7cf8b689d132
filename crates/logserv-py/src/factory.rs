//! The native record factory: a real `logging.LogRecord`, made without running its `__init__`.
//!
//! In: the arguments of `logging.LogRecord`. Out: an object of exactly that class with the same attributes in the same order.
//! Where anybody has changed the class, the clock or the flags, or an argument is unusual, the class itself is called.
//! Not here: what the records of one place have in common (`factory/places.rs`).

use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyInt, PyMapping, PyNone, PyString, PyTuple, PyType};
use pyo3::{Borrowed, intern};

use crate::moment::Moment;
use crate::originals::Originals;
use crate::surroundings::{self, Who};
use crate::sys::interpreter::{Arguments, bare_object, entry, function, put, set_instance_dict};
use crate::world::World;

mod newest;
mod places;
pub(crate) use newest::gather;
use places::Place;

/// `logserv.LogRecord`.
///
/// # Errors
/// `MemoryError`.
pub(crate) fn log_record<'py>(module: &Bound<'py, PyModule>) -> PyResult<Bound<'py, PyAny>> {
    function(
        module,
        c"LogRecord",
        c"LogRecord(name, level, pathname, lineno, msg, args, exc_info, func=None, sinfo=None, **kwargs)\n--\n\n\
        A `logging.LogRecord`, made natively; see `logserv.LogRecord`.",
        log_record_entry,
    )
}

entry!(log_record_entry, make, library);

/// What is called where this one does not know better: the class.
fn library(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let logging = Originals::get(py)?.logging.bind(py);
    logging.getattr(intern!(py, "LogRecord"))
}

/// `None`: something is unusual.
fn make<'py>(
    _: Borrowed<'_, 'py, PyAny>,
    arguments: Arguments<'_, 'py>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = arguments.py();
    if arguments.has_keywords() || arguments.len() > 9 {
        return Ok(None);
    }
    let get = |place| arguments.get(place);
    let (Some(name), Some(level), Some(path_name), Some(line_no)) = (get(0), get(1), get(2), get(3)) else {
        return Ok(None);
    };
    let (Some(msg), Some(args), Some(exc_info)) = (get(4), get(5), get(6)) else {
        return Ok(None);
    };
    let none = PyNone::get(py);
    let none: Borrowed<'_, 'py, PyAny> = none.as_any().as_borrowed();
    let (func_name, stack_info) = (get(7).unwrap_or(none), get(8).unwrap_or(none));
    let Some(world) = World::get(py) else {
        return Ok(None);
    };
    let is_plain = world.is_plain(py);
    if !(is_plain || world.has_plain_record_class(py) && world.is_unchanged(py)) {
        return Ok(None);
    }
    let level_no = match level.cast_exact::<PyInt>() {
        Ok(level) => level.extract::<i32>().ok(),
        Err(_) => None,
    };
    let level_name = match level_no {
        Some(level_no) if is_plain => world.level_name(level_no, &level),
        Some(_) => surroundings::level_name(world.logging(py), &level),
        None => None,
    };
    let (Some(level_name), Some(level_no), Ok(path_name)) =
        (level_name, level_no, path_name.cast_exact::<PyString>())
    else {
        return Ok(None);
    };
    // What runs code of the application comes first: afterwards nothing can change any more.
    let only = only_mapping(&args)?;
    let who = Who::now(py, world)?;
    let moment = Moment::now(world.start);
    let place = Place {
        name,
        level,
        level_no,
        level_name: &level_name,
        path_name,
        line_no,
        func_name,
        who: &who,
        has_task_name: world.has_task_name,
    };
    let Some((dict, found)) = place.attributes()? else {
        return Ok(None);
    };
    put(&dict, intern!(py, "msg"), &msg)?;
    match &only {
        Some(only) => put(&dict, intern!(py, "args"), only)?,
        None if args.cast_exact::<PyTuple>().is_ok_and(|args| args.is_empty()) => {}
        None => put(&dict, intern!(py, "args"), &args)?,
    }
    if !exc_info.is_none() {
        put(&dict, intern!(py, "exc_info"), &exc_info)?;
    }
    if !stack_info.is_none() {
        put(&dict, intern!(py, "stack_info"), &stack_info)?;
    }
    put(&dict, intern!(py, "created"), &PyFloat::new(py, moment.created))?;
    put(&dict, intern!(py, "msecs"), &PyFloat::new(py, moment.msecs))?;
    put(
        &dict,
        intern!(py, "relativeCreated"),
        &PyFloat::new(py, moment.relative_created),
    )?;
    let record = bare_object(world.record_class(py).cast::<PyType>()?)?;
    if !set_instance_dict(&record, &dict) {
        return Ok(None);
    }
    if let Some(found) = found
        && exc_info.is_none()
        && stack_info.is_none()
    {
        newest::remember(&record, &dict, found, moment);
    }
    Ok(Some(record))
}

/// The only argument, where it is a mapping that is not empty: it then stands for all of them.
fn only_mapping<'py>(args: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let only = match args.cast_exact::<PyTuple>() {
        Ok(tuple) if tuple.len() == 1 => tuple.get_item(0)?,
        Ok(_) => return Ok(None),
        Err(_) => {
            // Anything else that has a length: as the library does it, in its order.
            if !args.is_truthy()? || args.len()? != 1 {
                return Ok(None);
            }
            args.get_item(0)?
        }
    };
    if only.is_exact_instance_of::<PyString>() || only.is_exact_instance_of::<PyInt>() {
        return Ok(None); // most are, and asking whether they are mappings costs more than all else
    }
    Ok((only.cast::<PyMapping>().is_ok() && only.is_truthy()?).then_some(only))
}

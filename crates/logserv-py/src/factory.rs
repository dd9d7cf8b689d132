//! The native record factory: a real `logging.LogRecord`, made without running its `__init__`.
//!
//! In: the arguments of `logging.LogRecord`. Out: an object of exactly that class with the same attributes in the same order.
//! Where anybody has changed the class, the clock or the flags, the class itself is called.

use std::sync::Mutex;

use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyMapping, PyString, PyTuple, PyType};

use crate::caller::without_extension;
use crate::moment::Moment;
use crate::originals::Originals;
use crate::surroundings;
use crate::sys::interpreter::{bare_object, instance_dict};
use crate::world::World;

/// A `logging.LogRecord`, made natively; see `logserv.LogRecord`.
#[pyfunction(name = "LogRecord")]
#[pyo3(signature = (name, level, pathname, lineno, msg, args, exc_info, func = None, sinfo = None, **kwargs))]
#[expect(clippy::too_many_arguments, reason = "they are the library's")]
pub(crate) fn log_record<'py>(
    py: Python<'py>,
    name: &Bound<'py, PyAny>,
    level: &Bound<'py, PyAny>,
    pathname: &Bound<'py, PyAny>,
    lineno: &Bound<'py, PyAny>,
    msg: &Bound<'py, PyAny>,
    args: &Bound<'py, PyAny>,
    exc_info: &Bound<'py, PyAny>,
    func: Option<&Bound<'py, PyAny>>,
    sinfo: Option<&Bound<'py, PyAny>>,
    kwargs: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let world = World::get(py)
        .filter(|world| world.is_plain(py) || world.has_plain_record_class(py) && world.is_unchanged(py));
    let names = (pathname.cast_exact::<PyString>().ok()).and_then(names_of);
    let logging = Originals::get(py)?.logging_dict.bind(py);
    let level_name = if level.is_exact_instance_of::<pyo3::types::PyInt>() {
        surroundings::level_name(logging, level)
    } else {
        None
    };
    let (Some(world), Some((file_name, module)), Some(level_name)) = (world, names, level_name) else {
        let class = Originals::get(py)?
            .logging
            .bind(py)
            .getattr(intern!(py, "LogRecord"))?;
        let all = (name, level, pathname, lineno, msg, args, exc_info, func, sinfo);
        return class.call(all, kwargs);
    };
    let moment = Moment::now(world.start);
    let class = world.record_class(py).cast::<PyType>()?;
    let none = py.None().into_bound(py);
    let record = bare_object(class)?;
    let Some(dict) = instance_dict(&record) else {
        return Err(PyTypeError::new_err("expected a LogRecord to have a __dict__"));
    };
    dict.set_item(intern!(py, "name"), name)?;
    dict.set_item(intern!(py, "msg"), msg)?;
    dict.set_item(intern!(py, "args"), only_mapping(args)?.as_ref().unwrap_or(args))?;
    dict.set_item(intern!(py, "levelname"), level_name)?;
    dict.set_item(intern!(py, "levelno"), level)?;
    dict.set_item(intern!(py, "pathname"), pathname)?;
    dict.set_item(intern!(py, "filename"), file_name)?;
    dict.set_item(intern!(py, "module"), module)?;
    dict.set_item(intern!(py, "exc_info"), exc_info)?;
    dict.set_item(intern!(py, "exc_text"), &none)?;
    dict.set_item(intern!(py, "stack_info"), sinfo.unwrap_or(&none))?;
    dict.set_item(intern!(py, "lineno"), lineno)?;
    dict.set_item(intern!(py, "funcName"), func.unwrap_or(&none))?;
    dict.set_item(intern!(py, "created"), moment.created)?;
    dict.set_item(intern!(py, "msecs"), moment.msecs)?;
    dict.set_item(intern!(py, "relativeCreated"), moment.relative_created)?;
    dict.set_item(intern!(py, "thread"), surroundings::thread())?;
    dict.set_item(intern!(py, "threadName"), surroundings::thread_name(py, world)?)?;
    dict.set_item(intern!(py, "processName"), surroundings::process_name(py, world))?;
    dict.set_item(intern!(py, "process"), logserv_client::process_id())?;
    if world.has_task_name {
        let task = surroundings::task_name(py, world);
        dict.set_item(intern!(py, "taskName"), task.unwrap_or(none))?;
    }
    Ok(record)
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
    Ok((only.cast::<PyMapping>().is_ok() && only.is_truthy()?).then_some(only))
}

/// File name and module of a path, remembered for the last ones that differ in address.
fn names_of<'py>(path: &Bound<'py, PyString>) -> Option<(Bound<'py, PyString>, Bound<'py, PyString>)> {
    /// Paths remembered, in places that follow from their address.
    const PATHS_MAX: usize = 256;
    type Names = (Py<PyString>, Py<PyString>, Py<PyString>);
    static PATHS: Mutex<[Option<Names>; PATHS_MAX]> = Mutex::new([const { None }; PATHS_MAX]);
    let py = path.py();
    let place = (path.as_ptr().addr() >> 4) % PATHS_MAX;
    if let Ok(paths) = PATHS.try_lock()
        && let Some(Some((known, file_name, module))) = paths.get(place)
        && path.is(known)
    {
        return Some((file_name.bind(py).clone(), module.bind(py).clone()));
    }
    let text = path.to_str().ok()?;
    let file_name = text.rsplit_once('/').map_or(text, |(_, name)| name);
    let (file_name, module) = (
        PyString::new(py, file_name),
        PyString::new(py, without_extension(file_name)),
    );
    let names = (
        path.clone().unbind(),
        file_name.clone().unbind(),
        module.clone().unbind(),
    );
    let evicted = PATHS
        .try_lock()
        .ok()
        .and_then(|mut paths| paths.get_mut(place)?.replace(names));
    drop(evicted);
    Some((file_name, module))
}

//! Who logs: the thread, the process and the task, as `LogRecord.__init__` finds them.
//!
//! In: the thread that runs. Out: numbers and names. A name is looked up in the objects of `threading`, without calling
//! them where their class has the library's own `name`.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyInt, PyString};

use crate::role::roles;
use crate::sys;
use crate::sys::interpreter::{instance_dict, peek, peek_any};
use crate::world::World;

/// `threading.get_ident()`.
#[inline]
pub(crate) fn thread() -> u64 {
    sys::thread_id()
}

/// `threading.current_thread().name`.
///
/// # Errors
/// What Python raises.
pub(crate) fn thread_name<'py>(py: Python<'py>, world: &World) -> PyResult<Bound<'py, PyAny>> {
    let number = PyInt::new(py, thread());
    if let Some(thread) = peek_any(world.threads.bind(py), number.as_any())
        && let Some(roles) = roles(py)
    {
        let thread = thread.to_owned();
        if roles.thread.fits(&thread.get_type())
            && let Some(dict) = instance_dict(&thread)
            && let Some(name) = peek(&dict, intern!(py, "_name"))
        {
            return Ok(name.to_owned());
        }
    }
    let threading = py.import("threading")?;
    threading
        .call_method0(intern!(py, "current_thread"))?
        .getattr(intern!(py, "name"))
}

/// `multiprocessing.current_process().name`, where that module is loaded.
pub(crate) fn process_name<'py>(py: Python<'py>, world: &World) -> Bound<'py, PyAny> {
    let main = || intern!(py, "MainProcess").clone().into_any();
    let Some(module) = peek(world.modules.bind(py), intern!(py, "multiprocessing")) else {
        return main();
    };
    let module = module.to_owned();
    if module.is_none() {
        return main();
    }
    let name = module
        .call_method0(intern!(py, "current_process"))
        .and_then(|process| process.getattr(intern!(py, "name")));
    name.unwrap_or_else(|_| main())
}

/// The name of the running task of `asyncio`, or `None`.
pub(crate) fn task_name<'py>(py: Python<'py>, world: &World) -> Option<Bound<'py, PyAny>> {
    let module = peek(world.modules.bind(py), intern!(py, "asyncio"))?.to_owned();
    if !module.is_truthy().unwrap_or(false) {
        return None;
    }
    let task = module.call_method0(intern!(py, "current_task")).ok()?;
    task.call_method0(intern!(py, "get_name")).ok()
}

/// `logging.getLevelName(level)` of a level that has a name; `None`: it has none.
#[inline]
pub(crate) fn level_name<'py>(
    logging: &Bound<'py, pyo3::types::PyDict>,
    level: &Bound<'py, PyAny>,
) -> Option<Bound<'py, PyString>> {
    let names = peek(logging, intern!(logging.py(), "_levelToName"))?;
    let names = names.cast_exact::<pyo3::types::PyDict>().ok()?;
    peek_any(&names.to_owned(), level)?
        .to_owned()
        .cast_into_exact::<PyString>()
        .ok()
}

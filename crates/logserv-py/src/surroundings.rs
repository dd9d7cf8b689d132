//! Who logs: the thread, the process and the task, as `LogRecord.__init__` finds them.
//!
//! In: the thread that runs. Out: numbers and names. A name is looked up in the objects of `threading`, without calling
//! them where their class has the library's own `name`.

use pyo3::exceptions::PyException;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyInt, PyString};

use crate::role::roles;
use crate::sys::gil::WithGil;
use crate::sys::interpreter::{instance_dict, peek, peek_any};
use crate::world::World;
use crate::{stamp, sys};

/// All of it, as a record has it.
pub(crate) struct Who<'py> {
    pub(crate) thread: u64,
    pub(crate) thread_name: Bound<'py, PyAny>,
    pub(crate) process: u32,
    pub(crate) process_name: Bound<'py, PyAny>,
    pub(crate) task_name: Option<Bound<'py, PyAny>>,
}

impl<'py> Who<'py> {
    /// Who runs now.
    ///
    /// # Errors
    /// What Python raises.
    pub(crate) fn now(py: Python<'py>, world: &World) -> PyResult<Self> {
        Ok(Self {
            thread: thread(),
            thread_name: thread_name(py, world)?,
            process: logserv_client::process_id(),
            process_name: process_name(py, world)?,
            task_name: if world.has_task_name {
                task_name(py, world)?
            } else {
                None
            },
        })
    }
}

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
    let number = thread_number(py);
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

/// [`thread`] as Python has it, remembered for the thread that was the last to ask.
#[inline]
fn thread_number(py: Python<'_>) -> Bound<'_, PyInt> {
    static LAST: WithGil<Option<(u64, Py<PyInt>)>> = WithGil::new(None);
    let thread = thread();
    let known = LAST.try_with(py, |last| {
        let (of, number) = last.as_ref()?;
        (*of == thread).then(|| number.bind(py).clone())
    });
    if let Some(number) = known.flatten() {
        return number;
    }
    let number = PyInt::new(py, thread);
    LAST.try_with(py, |last| *last = Some((thread, number.clone().unbind())));
    number
}

/// Which modules that a record depends on are not loaded, as of a state of `sys.modules`.
#[derive(Clone, Copy)]
struct Absent {
    state: u64,
    multiprocessing: bool,
    asyncio: bool,
}

impl Absent {
    #[inline]
    fn now(py: Python<'_>, world: &World) -> Self {
        static LAST: WithGil<Option<Absent>> = WithGil::new(None);
        let modules = world.modules.bind(py);
        let known = LAST.try_with(py, |last| {
            last.filter(|absent| stamp::are_modules(py, absent.state, modules))
        });
        if let Some(absent) = known.flatten() {
            return absent;
        }
        let state = stamp::take_modules(py, modules);
        let absent = Absent {
            state: state.unwrap_or_default(),
            multiprocessing: peek(modules, intern!(py, "multiprocessing")).is_none(),
            asyncio: peek(modules, intern!(py, "asyncio")).is_none(),
        };
        if state.is_some() {
            LAST.try_with(py, |last| *last = Some(absent));
        }
        absent
    }
}

/// `multiprocessing.current_process().name`, where that module is loaded.
///
/// # Errors
/// What is no `Exception`: the library passes over those.
pub(crate) fn process_name<'py>(py: Python<'py>, world: &World) -> PyResult<Bound<'py, PyAny>> {
    let main = || intern!(py, "MainProcess").clone().into_any();
    if Absent::now(py, world).multiprocessing {
        return Ok(main());
    }
    let Some(module) = peek(world.modules.bind(py), intern!(py, "multiprocessing")) else {
        return Ok(main());
    };
    let module = module.to_owned();
    if module.is_none() {
        return Ok(main());
    }
    let name = module
        .call_method0(intern!(py, "current_process"))
        .and_then(|process| process.getattr(intern!(py, "name")));
    Ok(unless_exception(py, name)?.unwrap_or_else(main))
}

/// The name of the running task of `asyncio`, or `None`.
///
/// # Errors
/// What is no `Exception`.
pub(crate) fn task_name<'py>(py: Python<'py>, world: &World) -> PyResult<Option<Bound<'py, PyAny>>> {
    if Absent::now(py, world).asyncio {
        return Ok(None);
    }
    let Some(module) = peek(world.modules.bind(py), intern!(py, "asyncio")) else {
        return Ok(None);
    };
    let module = module.to_owned();
    if !module.is_truthy().unwrap_or(false) {
        return Ok(None);
    }
    let name = module
        .call_method0(intern!(py, "current_task"))
        .and_then(|task| task.call_method0(intern!(py, "get_name")));
    unless_exception(py, name)
}

/// `except Exception: pass`.
fn unless_exception<T>(py: Python<'_>, result: PyResult<T>) -> PyResult<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_instance_of::<PyException>(py) => Ok(None),
        Err(error) => Err(error),
    }
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

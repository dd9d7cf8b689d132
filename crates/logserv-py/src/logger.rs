//! The native methods of `logserv.Logger`: `debug` to `critical`, `exception` and `log`.
//!
//! In: a logger and the arguments of a call. Out: nothing where the logger is not enabled, else the record on its way by
//! `fast.rs`, or by the library's own method, which then does all of it, and finds the caller where it would have.

use std::ffi::CStr;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyInt, PyType};
use pyo3::{Borrowed, intern};

use crate::extra::Extra;
use crate::fast::{Call, Outcome};
use crate::handle::is_direct;
use crate::look::{self, Look};
use crate::originals::Originals;
use crate::role;
use crate::route::Route;
use crate::sys::interpreter::{Arguments, Entry, entry, method};
use crate::usual::{Gone, Usual};
use crate::world::World;

/// One of the methods.
#[derive(Debug, Clone, Copy)]
struct Method {
    name: &'static str,
    /// `None`: the first argument.
    level: Option<i32>,
    is_exception: bool,
}

impl Method {
    const fn of(name: &'static str, level: i32) -> Self {
        Self {
            name,
            level: Some(level),
            is_exception: false,
        }
    }
}

const DEBUG: Method = Method::of("debug", 10);
const INFO: Method = Method::of("info", 20);
const WARNING: Method = Method::of("warning", 30);
const ERROR: Method = Method::of("error", 40);
const CRITICAL: Method = Method::of("critical", 50);
const EXCEPTION: Method = Method {
    is_exception: true,
    ..Method::of("exception", 40)
};
const LOG: Method = Method {
    name: "log",
    level: None,
    is_exception: false,
};

macro_rules! methods {
    ($($entry:ident $body:ident $library:ident $method:ident),* $(,)?) => {
        $(
            fn $body<'py>(
                logger: Borrowed<'_, 'py, PyAny>,
                arguments: Arguments<'_, 'py>,
            ) -> PyResult<Option<Bound<'py, PyAny>>> {
                log(&logger, $method, &arguments)
            }
            fn $library(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
                library($method, py)
            }
            entry!($entry, $body, $library);
        )*
    };
}
methods! {
    debug_entry debug library_debug DEBUG,
    info_entry info library_info INFO,
    warning_entry warning library_warning WARNING,
    error_entry error library_error ERROR,
    critical_entry critical library_critical CRITICAL,
    exception_entry exception library_exception EXCEPTION,
    log_entry log_at library_log LOG,
}

/// Name, name for C, documentation with the signature, function.
const METHODS: &[(&str, &CStr, &CStr, Entry)] = &[
    (
        "debug",
        c"debug",
        c"debug($self, msg, *args, **kwargs)\n--\n\nAs `logging.Logger.debug`.",
        debug_entry,
    ),
    (
        "info",
        c"info",
        c"info($self, msg, *args, **kwargs)\n--\n\nAs `logging.Logger.info`.",
        info_entry,
    ),
    (
        "warning",
        c"warning",
        c"warning($self, msg, *args, **kwargs)\n--\n\nAs `logging.Logger.warning`.",
        warning_entry,
    ),
    (
        "error",
        c"error",
        c"error($self, msg, *args, **kwargs)\n--\n\nAs `logging.Logger.error`.",
        error_entry,
    ),
    (
        "critical",
        c"critical",
        c"critical($self, msg, *args, **kwargs)\n--\n\nAs `logging.Logger.critical`.",
        critical_entry,
    ),
    (
        "exception",
        c"exception",
        c"exception($self, msg, *args, **kwargs)\n--\n\nAs `logging.Logger.exception`.",
        exception_entry,
    ),
    (
        "log",
        c"log",
        c"log($self, level, msg, *args, **kwargs)\n--\n\nAs `logging.Logger.log`.",
        log_entry,
    ),
];

/// Gives a subclass of `logging.Logger` its native methods, and remembers what it is like.
///
/// # Errors
/// What Python raises.
#[pyfunction]
pub(crate) fn adopt_loggers(class: &Bound<'_, PyType>) -> PyResult<()> {
    let py = class.py();
    for (name, definition, documentation, entry) in METHODS {
        class.setattr(*name, method(class, definition, documentation, *entry)?)?;
    }
    role::adopt_loggers(class, Originals::get(py)?)?;
    World::learn(py);
    Ok(())
}

/// Looks whether clock, threads and flags are the standard library's; until they were found so once, every call goes the
/// library's way.
#[pyfunction]
pub(crate) fn knows_this_logging(py: Python<'_>) -> bool {
    World::learn(py)
}

/// Whether the way of the logger's records of this level is remembered, and as it was: for tests.
#[pyfunction]
pub(crate) fn is_remembered(logger: &Bound<'_, PyAny>, level: i32) -> PyResult<bool> {
    let py = logger.py();
    let originals = Originals::get(py)?;
    let is_followed = |route: &Route| route.follow(logger.as_borrowed(), originals).map(drop);
    Ok(World::get(py)
        .is_some_and(|world| world.is_plain(py) && Route::with(logger, level, world, is_followed).is_some()))
}

#[inline]
fn log<'py>(
    logger: &Bound<'py, PyAny>,
    method: Method,
    arguments: &Arguments<'_, 'py>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    Ok(match attempt(logger, method, arguments)? {
        Outcome::Done => Some(logger.py().None().into_bound(logger.py())),
        Outcome::Ordinary => None,
    })
}

/// The library's own.
#[cold]
fn library(method: Method, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let logging = Originals::get(py)?.logging.bind(py);
    logging.getattr(intern!(py, "Logger"))?.getattr(method.name)
}

/// What needs no record.
#[inline]
fn attempt<'py>(
    logger: &Bound<'py, PyAny>,
    method: Method,
    arguments: &Arguments<'_, 'py>,
) -> PyResult<Outcome> {
    let py = logger.py();
    let before = usize::from(method.level.is_none());
    let Some(msg) = arguments.get(before) else {
        return Ok(Outcome::Ordinary);
    };
    let Some((level_no, level)) = level_of(py, method, arguments) else {
        return Ok(Outcome::Ordinary);
    };
    let Some(world) = World::get(py) else {
        return Ok(Outcome::Ordinary);
    };
    if !is_direct() || !world.is_plain(py) {
        return Ok(Outcome::Ordinary);
    }
    let originals = Originals::get(py)?;
    let usual = Usual {
        py,
        world,
        originals,
        logger,
        level_no,
        msg,
        arguments: *arguments,
        first: before + 1,
    };
    let may_be_usual = !arguments.has_keywords() && !method.is_exception;
    let found = match Route::with(logger, level_no, world, |route| usual.go(route, may_be_usual)) {
        Some(Gone::Sent) => return Ok(Outcome::Done),
        Some(Gone::Refused(target)) => return usual.report_refusal(&target, level),
        Some(Gone::Known(targets)) => Look::Ours(targets),
        None => look::closely(logger, (level_no, &level), world, originals),
    };
    let targets = match found {
        Look::Disabled => return Ok(Outcome::Done),
        Look::Others => return Ok(Outcome::Ordinary),
        Look::Ours(targets) => targets,
    };
    let Some(extra) = Extra::of(arguments, method.is_exception, py) else {
        return Ok(Outcome::Ordinary);
    };
    if targets.is_empty() {
        // All are above the level; the library still looks at the names in `extra`.
        return Ok(if extra.dict.is_none() {
            Outcome::Done
        } else {
            Outcome::Ordinary
        });
    }
    Call {
        py,
        world,
        logger,
        level,
        level_no,
        msg,
        arguments: *arguments,
        first: before + 1,
        extra,
    }
    .run(&targets)
}

/// The level of a call, also as an object; `None`: it is no plain number.
#[inline]
fn level_of<'py>(
    py: Python<'py>,
    method: Method,
    arguments: &Arguments<'_, 'py>,
) -> Option<(i32, Bound<'py, PyAny>)> {
    if let Some(level) = method.level {
        return Some((level, constant(py, level)));
    }
    let level = arguments.get(0)?.to_owned();
    let number = level.cast_exact::<PyInt>().ok()?.extract().ok()?;
    Some((number, level))
}

/// The number as an object that is made once.
#[inline]
fn constant(py: Python<'_>, level: i32) -> Bound<'_, PyAny> {
    static LEVELS: PyOnceLock<[Py<PyInt>; 6]> = PyOnceLock::new();
    let levels = LEVELS.get_or_init(py, || {
        [0, 10, 20, 30, 40, 50].map(|level| PyInt::new(py, level).unbind())
    });
    let place = usize::try_from(level / 10).unwrap_or_default();
    levels
        .get(place)
        .map_or_else(|| PyInt::new(py, level), |level| level.bind(py).clone())
        .into_any()
}

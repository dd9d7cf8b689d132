//! Reads the attributes of loggers and handlers.
//!
//! In: a dictionary. Out: the attributes that matter; for a logger also that it has none with which it could go its own way. What
//! was found of a handler is remembered.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyInt, PyList};
use pyo3::{Borrowed, intern};

use crate::followed::Followed;
use crate::role::has_none;
use crate::sys::interpreter::{peek, peek_any};
use crate::sys::witness::Keep;

/// The attributes of a logger.
pub(crate) const LOGGER_OWN: &[&str; 8] = &[
    "filters",
    "name",
    "level",
    "parent",
    "propagate",
    "handlers",
    "disabled",
    "_cache",
];

/// What matters of a logger.
pub(crate) struct LoggerShape<'a, 'py> {
    pub(crate) filters: Borrowed<'a, 'py, PyAny>,
    pub(crate) name: Borrowed<'a, 'py, PyAny>,
    pub(crate) disabled: Borrowed<'a, 'py, PyAny>,
    pub(crate) cache: Borrowed<'a, 'py, PyAny>,
    pub(crate) above: Above<'a, 'py>,
}

/// What matters of a logger that a record goes through.
pub(crate) struct Above<'a, 'py> {
    pub(crate) parent: Borrowed<'a, 'py, PyAny>,
    pub(crate) propagate: Borrowed<'a, 'py, PyAny>,
    pub(crate) handlers: Borrowed<'a, 'py, PyAny>,
}

impl<'a, 'py> LoggerShape<'a, 'py> {
    /// Of the logger that was called; `None`: it lacks something, or has a method of its own.
    pub(crate) fn of(dict: &'a Bound<'py, PyDict>) -> Option<Self> {
        let py = dict.py();
        let overrides = [
            intern!(py, "isEnabledFor"),
            intern!(py, "_log"),
            intern!(py, "findCaller"),
            intern!(py, "makeRecord"),
            intern!(py, "handle"),
            intern!(py, "filter"),
            intern!(py, "callHandlers"),
            intern!(py, "getEffectiveLevel"),
            intern!(py, "error"),
        ];
        if !has_none(dict, &overrides) {
            return None;
        }
        Some(Self {
            filters: peek(dict, intern!(py, "filters"))?,
            name: peek(dict, intern!(py, "name"))?,
            disabled: peek(dict, intern!(py, "disabled"))?,
            cache: peek(dict, intern!(py, "_cache"))?,
            above: Above::of(dict)?,
        })
    }
}

impl<'a, 'py> Above<'a, 'py> {
    /// Of any logger.
    pub(crate) fn of(dict: &'a Bound<'py, PyDict>) -> Option<Self> {
        let py = dict.py();
        Some(Self {
            parent: peek(dict, intern!(py, "parent"))?,
            propagate: peek(dict, intern!(py, "propagate"))?,
            handlers: peek(dict, intern!(py, "handlers"))?,
        })
    }
}

/// `isEnabledFor(level)` of a logger that has nothing of its own in the way; `None`: the library has to say.
#[inline]
pub(crate) fn is_enabled<'py>(logger: &LoggerShape<'_, 'py>, level: &Bound<'py, PyAny>) -> Option<bool> {
    let py = level.py();
    if !logger.disabled.is(PyBool::new(py, false)) || !logger.filters.cast_exact::<PyList>().ok()?.is_empty()
    {
        return None;
    }
    let cache = logger.cache.cast_exact::<PyDict>().ok()?;
    let is_enabled = peek_any(&cache, level)?;
    if is_enabled.is(PyBool::new(py, true)) {
        Some(true)
    } else if is_enabled.is(PyBool::new(py, false)) {
        Some(false)
    } else {
        None
    }
}

/// What matters of a handler, beside its filters and its sender.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HandlerShape {
    /// `None`: no usual number.
    pub(crate) level: Option<i64>,
    /// Of the look at which this was found: the same number, the same attributes.
    pub(crate) look: u64,
    /// Whether it has no method of its own, and does not wait for each record.
    is_plain: bool,
}

/// What was found of a handler, and how to see that it still holds.
#[derive(Debug, Default)]
pub(crate) struct HandlerMemory(Mutex<Option<(Followed, HandlerShape)>>);

impl HandlerShape {
    /// Of a handler with these attributes, remembered in `memory`.
    #[inline]
    pub(crate) fn of(dict: &Bound<'_, PyDict>, memory: &HandlerMemory) -> Self {
        if let Ok(known) = memory.0.try_lock()
            && let Some((followed, shape)) = &*known
            && followed.holds(dict)
        {
            return *shape;
        }
        Self::look(dict, memory)
    }

    #[cold]
    fn look(dict: &Bound<'_, PyDict>, memory: &HandlerMemory) -> Self {
        let py = dict.py();
        // Before the look: what changes meanwhile makes it void.
        let followed = Followed::take(dict, Keep::Plain);
        let overrides = [
            intern!(py, "handle"),
            intern!(py, "emit"),
            intern!(py, "filter"),
            intern!(py, "format"),
            intern!(py, "acquire"),
            intern!(py, "release"),
        ];
        let is_sync =
            peek(dict, intern!(py, "_is_sync")).is_some_and(|sync| !sync.is(PyBool::new(py, false)));
        let level = peek(dict, intern!(py, "level"));
        let level = level.and_then(|level| level.cast_exact::<PyInt>().ok()?.extract().ok());
        static LOOKS: AtomicU64 = AtomicU64::new(0);
        let shape = Self {
            level,
            look: LOOKS.fetch_add(1, Ordering::Relaxed), // only its being different matters
            is_plain: has_none(dict, &overrides) && !is_sync,
        };
        let stale = memory
            .0
            .try_lock()
            .map(|mut known| known.replace((followed, shape)));
        drop(stale); // may run finalizers, so not under the lock
        shape
    }

    /// Whether a handler with these attributes sends each record that it is given, and no more.
    #[inline]
    pub(crate) fn is_direct(&self, dict: &Bound<'_, PyDict>) -> bool {
        self.is_plain
            && peek(dict, intern!(dict.py(), "filters")).is_some_and(|filters| {
                filters
                    .cast_exact::<PyList>()
                    .is_ok_and(|filters| filters.is_empty())
            })
    }
}

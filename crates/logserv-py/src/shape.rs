//! Reads the attributes of loggers and handlers in one pass over their dictionaries, where these are as `__init__` leaves them.
//!
//! In: a dictionary. Out: the attributes that matter; for a logger also that it has no others, with which it could go its
//! own way. What is not as expected is looked up by name.

use std::sync::Mutex;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString};
use pyo3::{Borrowed, intern};

use crate::role::has_none;
use crate::sys::dicts::for_each_pair;
use crate::sys::interpreter::peek;

/// The attributes of a logger, in the order in which `Logger.__init__` and `Manager.getLogger` make them.
const LOGGER: [&str; 9] = [
    "filters",
    "name",
    "level",
    "parent",
    "propagate",
    "handlers",
    "disabled",
    "_cache",
    "manager",
];

/// So many of them every logger has; `manager` is the class's where nobody has asked a manager for it.
const LOGGER_LEAST: usize = 8;

/// So many are wanted of a logger above the one that was called.
const PARENT_LEAST: usize = 6;

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
    #[inline]
    pub(crate) fn of(dict: &'a Bound<'py, PyDict>) -> Option<Self> {
        let (found, values) = in_order(dict, LOGGER.len());
        if found < LOGGER_LEAST || dict.len() != found {
            return Self::looked_up(dict);
        }
        let [filters, name, _, _, _, _, disabled, cache, _] = values;
        Some(Self {
            filters: filters?,
            name: name?,
            disabled: disabled?,
            cache: cache?,
            above: Above::of_values(&values)?,
        })
    }

    #[cold]
    fn looked_up(dict: &'a Bound<'py, PyDict>) -> Option<Self> {
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
            above: Above::looked_up(dict)?,
        })
    }
}

impl<'a, 'py> Above<'a, 'py> {
    /// Of any logger.
    #[inline]
    pub(crate) fn of(dict: &'a Bound<'py, PyDict>) -> Option<Self> {
        let (found, values) = in_order(dict, PARENT_LEAST);
        if found < PARENT_LEAST {
            return Self::looked_up(dict);
        }
        Self::of_values(&values)
    }

    fn of_values(values: &[Option<Borrowed<'a, 'py, PyAny>>; LOGGER.len()]) -> Option<Self> {
        let [_, _, _, parent, propagate, handlers, ..] = *values;
        Some(Self {
            parent: parent?,
            propagate: propagate?,
            handlers: handlers?,
        })
    }

    #[cold]
    fn looked_up(dict: &'a Bound<'py, PyDict>) -> Option<Self> {
        let py = dict.py();
        Some(Self {
            parent: peek(dict, intern!(py, "parent"))?,
            propagate: peek(dict, intern!(py, "propagate"))?,
            handlers: peek(dict, intern!(py, "handlers"))?,
        })
    }
}

/// How many of the first attributes, at most `most`, are those of a logger in their order, and what they are.
#[inline]
fn in_order<'a, 'py>(
    dict: &'a Bound<'py, PyDict>,
    most: usize,
) -> (usize, [Option<Borrowed<'a, 'py, PyAny>>; LOGGER.len()]) {
    static NAMES: PyOnceLock<[Py<PyString>; LOGGER.len()]> = PyOnceLock::new();
    let py = dict.py();
    let names = NAMES.get_or_init(py, || LOGGER.map(|name| PyString::intern(py, name).unbind()));
    let mut values = [None; LOGGER.len()];
    let mut found = 0;
    for_each_pair(dict, |key, value| {
        let (Some(name), Some(place)) = (names.get(found), values.get_mut(found)) else {
            return false;
        };
        if !key.is(name) {
            return false;
        }
        *place = Some(value);
        found += 1;
        found < most
    });
    (found, values)
}

/// What matters of a handler.
#[derive(Default)]
pub(crate) struct HandlerShape<'a, 'py> {
    pub(crate) level: Option<Borrowed<'a, 'py, PyAny>>,
    pub(crate) filters: Option<Borrowed<'a, 'py, PyAny>>,
    pub(crate) formatter: Option<Borrowed<'a, 'py, PyAny>>,
    pub(crate) sender: Option<Borrowed<'a, 'py, PyAny>>,
    pub(crate) is_sync: Option<Borrowed<'a, 'py, PyAny>>,
    /// Whether it has a method of its own.
    pub(crate) overrides: bool,
}

/// The names that are looked for in a handler: attributes, then methods.
const HANDLER: [&str; 11] = [
    "level",
    "filters",
    "formatter",
    "_sender",
    "_is_sync",
    "handle",
    "emit",
    "filter",
    "format",
    "acquire",
    "release",
];

/// Where a handler's names stand: its keys in their order, and for each which of [`HANDLER`] it is.
pub(crate) struct HandlerKeys(Vec<(Py<PyAny>, Option<usize>)>);

/// What a [`HandlerKeys`] is remembered in.
pub(crate) type HandlerKeysPlace = Mutex<Option<HandlerKeys>>;

impl<'a, 'py> HandlerShape<'a, 'py> {
    /// Of a handler that remembers in `place` where its names stand.
    #[inline]
    pub(crate) fn of(dict: &'a Bound<'py, PyDict>, place: &HandlerKeysPlace) -> Self {
        if let Ok(known) = place.try_lock()
            && let Some(HandlerKeys(keys)) = &*known
        {
            let mut shape = Self::default();
            let mut found = 0;
            for_each_pair(dict, |key, value| {
                let Some((_, which)) = keys.get(found).filter(|(known, _)| key.is(known)) else {
                    return false;
                };
                if let Some(which) = which {
                    shape.put(*which, value);
                }
                found += 1;
                true
            });
            if found == keys.len() && found == dict.len() {
                return shape;
            }
        }
        Self::searched(dict, place)
    }

    #[cold]
    fn searched(dict: &'a Bound<'py, PyDict>, place: &HandlerKeysPlace) -> Self {
        let mut shape = Self::default();
        let mut keys = Vec::with_capacity(dict.len());
        for_each_pair(dict, |key, value| {
            let text = key.cast_exact::<PyString>().ok();
            let text = text.and_then(|text| text.to_str().ok().map(str::to_owned));
            let which = text.and_then(|text| HANDLER.iter().position(|name| *name == text));
            if let Some(which) = which {
                shape.put(which, value);
            }
            keys.push((key.to_owned().unbind(), which));
            true
        });
        let stale = place.try_lock().ok().and_then(|mut place| place.replace(HandlerKeys(keys)));
        drop(stale); // may run finalizers, so not under the lock
        shape
    }

    fn put(&mut self, which: usize, value: Borrowed<'a, 'py, PyAny>) {
        match which {
            0 => self.level = Some(value),
            1 => self.filters = Some(value),
            2 => self.formatter = Some(value),
            3 => self.sender = Some(value),
            4 => self.is_sync = Some(value),
            _ => self.overrides = true,
        }
    }
}

//! What `logging` and the modules it asks hold, of all that a record depends on beside its logger and its handlers.
//!
//! In: their dictionaries. Out: whether all is as it was when somebody first found it so, and as the standard library has it:
//! clock, threads, processes, `_srcfile`, the flags `logThreads` and the like, the record factory.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyCFunction, PyDict, PyFloat, PyInt, PyString};

use crate::originals::{Originals, Part};
use crate::sys::interpreter::{holds, peek};
use crate::{role, stamp, surroundings};

/// See the file's head.
pub(crate) struct World {
    /// Whose name is to be which object.
    things: Vec<(Py<PyDict>, Py<PyString>, Py<PyAny>)>,
    /// `logging.LogRecord`, and ours.
    factories: [Py<PyAny>; 2],
    record: Py<PyAny>,
    logging: Py<PyDict>,
    /// `threading._active`: the threads by their identity.
    pub(crate) threads: Py<PyDict>,
    /// `sys.modules`.
    pub(crate) modules: Py<PyDict>,
    /// `logging._srcfile`.
    pub(crate) source: String,
    /// Those of the modules, and the names of levels.
    dicts: [Py<PyDict>; 5],
    /// The number of their state at the last look that was to our liking; 0: there was none.
    good: AtomicU64,
    /// Whether `logging.raiseExceptions` is true.
    raises: AtomicBool,
    /// The names of the levels from 0 to 50, by tens.
    level_names: Mutex<[Option<Py<PyString>>; 6]>,
    /// `logging._startTime`.
    pub(crate) start: Start,
    /// Whether records have a `taskName` (3.12).
    pub(crate) has_task_name: bool,
}

/// Since when `relativeCreated` counts: in seconds before Python 3.13, in nanoseconds from then on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Start {
    Seconds(f64),
    Nanoseconds(i64),
}

static WORLD: PyOnceLock<World> = PyOnceLock::new();

impl World {
    /// The world of this interpreter, once somebody has found it as the standard library has it.
    #[inline]
    pub(crate) fn get(py: Python<'_>) -> Option<&'static World> {
        WORLD.get(py)
    }

    /// Looks whether it is so now. Returns whether it is, or was once.
    pub(crate) fn learn(py: Python<'_>) -> bool {
        if WORLD.get(py).is_none()
            && let Ok(Some(world)) = Self::take(py)
        {
            let _ = WORLD.set(py, world); // another thread may have been faster
        }
        WORLD.get(py).is_some()
    }

    fn take(py: Python<'_>) -> PyResult<Option<Self>> {
        let originals = Originals::get(py)?;
        let logging = originals.logging.bind(py);
        let (os, sys) = (py.import("os")?, py.import("sys")?);
        let (time, threading) = (py.import("time")?, py.import("threading")?);
        let version = py.version_info();
        let (is_3_12, is_3_13) = (version >= (3, 12), version >= (3, 13));
        let mut things = Vec::new();
        for (name, module) in [
            ("time", &time),
            ("os", &os),
            ("sys", &sys),
            ("threading", &threading),
        ] {
            if !keep(&mut things, logging, name)?.is(module) {
                return Ok(None);
            }
        }
        let mut flags = vec!["logThreads", "logMultiprocessing", "logProcesses"];
        if is_3_12 {
            flags.push("logAsyncioTasks");
        }
        for name in flags {
            if !keep(&mut things, logging, name)?.is(PyBool::new(py, true)) {
                return Ok(None);
            }
        }
        let clock = if is_3_13 { "time_ns" } else { "time" };
        for (owner, name) in [(&time, clock), (&os, "getpid"), (&threading, "get_ident")] {
            if !keep(&mut things, owner, name)?.is_exact_instance_of::<PyCFunction>() {
                return Ok(None);
            }
        }
        let globals = originals.logging_dict.bind(py);
        for (owner, name) in [
            (logging, "getLevelName"),
            (logging, "_is_internal_frame"),
            (&threading, "current_thread"),
        ] {
            let globals = if owner.is(logging) {
                globals
            } else {
                &threading.dict()
            };
            if !Part::method(owner, name, globals).is_untouched(owner) {
                return Ok(None);
            }
            keep(&mut things, owner, name)?;
        }
        keep(&mut things, logging, "currentframe")?;
        keep(&mut things, logging, "_levelToName")?;
        keep(&mut things, &time, "strftime")?;
        let record = keep(&mut things, logging, "LogRecord")?;
        let (Ok(source), Ok(start)) = (
            keep(&mut things, logging, "_srcfile")?.cast_into_exact::<PyString>(),
            start_of(&keep(&mut things, logging, "_startTime")?),
        ) else {
            return Ok(None);
        };
        let threads = keep(&mut things, &threading, "_active")?.cast_into_exact::<PyDict>()?;
        let ours = py.import("logserv._native")?.getattr("LogRecord")?;
        let level_names = logging.getattr("_levelToName")?.cast_into_exact::<PyDict>()?;
        let dicts = [
            globals.clone(),
            os.dict(),
            time.dict(),
            threading.dict(),
            level_names,
        ];
        Ok(Some(Self {
            dicts: dicts.map(Bound::unbind),
            good: AtomicU64::new(0),
            raises: AtomicBool::new(true),
            level_names: Mutex::default(),
            things,
            factories: [record.clone().unbind(), ours.unbind()],
            record: record.unbind(),
            logging: globals.clone().unbind(),
            threads: threads.unbind(),
            modules: sys.getattr("modules")?.cast_into_exact::<PyDict>()?.unbind(),
            source: source.to_str()?.to_owned(),
            start,
            has_task_name: is_3_12,
        }))
    }

    /// Whether it is all as it was, and records are made by `logging.LogRecord`, or by ours, which makes the same.
    #[inline]
    pub(crate) fn is_plain(&self, py: Python<'_>) -> bool {
        let good = self.good.load(Ordering::Relaxed); // with the GIL
        if good != 0 && self.with_dicts(py, |dicts| stamp::is(py, good, dicts)) {
            return self.has_plain_record_class(py);
        }
        self.look(py)
    }

    #[cold]
    fn look(&self, py: Python<'_>) -> bool {
        // Before the look: what changes meanwhile makes it void.
        let number = self
            .with_dicts(py, |dicts| stamp::take(py, dicts))
            .unwrap_or_default();
        self.good.store(0, Ordering::Relaxed);
        if !(self.is_unchanged(py) && self.makes_plain_records(py)) {
            return false;
        }
        let logging = self.logging.bind(py);
        // Its truth could be code of the application.
        let raises = match peek(logging, intern!(py, "raiseExceptions")) {
            Some(raises) if raises.is(PyBool::new(py, true)) => true,
            Some(raises) if raises.is(PyBool::new(py, false)) => false,
            _ => return false,
        };
        self.raises.store(raises, Ordering::Relaxed); // with the GIL
        let names = [0, 10, 20, 30, 40, 50].map(|level| {
            let level = PyInt::new(py, level).into_any();
            Some(surroundings::level_name(logging, &level)?.unbind())
        });
        let Ok(mut place) = self.level_names.try_lock() else {
            return false;
        };
        let stale = std::mem::replace(&mut *place, names);
        drop(place);
        drop(stale);
        self.good.store(number, Ordering::Relaxed);
        true
    }

    #[inline]
    fn with_dicts<R>(&self, py: Python<'_>, ask: impl FnOnce(&[&Bound<'_, PyDict>]) -> R) -> R {
        let [first, second, third, fourth, fifth] = &self.dicts;
        ask(&[
            first.bind(py),
            second.bind(py),
            third.bind(py),
            fourth.bind(py),
            fifth.bind(py),
        ])
    }

    /// The state that [`is_plain`](Self::is_plain) has last found to be so: another number after each change.
    #[inline]
    pub(crate) fn state(&self) -> u64 {
        self.good.load(Ordering::Relaxed) // with the GIL
    }

    /// `logging.raiseExceptions`, where [`is_plain`](Self::is_plain) has just said yes.
    #[inline]
    pub(crate) fn raises(&self) -> bool {
        self.raises.load(Ordering::Relaxed) // with the GIL
    }

    /// `logging.getLevelName(level)`, where [`is_plain`](Self::is_plain) has just said yes; `None`: it has no name.
    #[inline]
    pub(crate) fn level_name<'py>(
        &self,
        level_no: i32,
        level: &Bound<'py, PyAny>,
    ) -> Option<Bound<'py, PyString>> {
        let py = level.py();
        let place = usize::try_from(level_no)
            .ok()
            .filter(|level| level % 10 == 0)
            .map(|level| level / 10);
        if let Some(place) = place
            && let Ok(names) = self.level_names.try_lock()
            && let Some(Some(name)) = names.get(place)
        {
            return Some(name.bind(py).clone());
        }
        surroundings::level_name(self.logging.bind(py), level)
    }

    /// Whether it is all as it was, the record factory aside.
    #[inline]
    pub(crate) fn is_unchanged(&self, py: Python<'_>) -> bool {
        self.things
            .iter()
            .all(|(dict, name, value)| holds(dict.bind(py), name.bind(py), value.bind(py)))
    }

    /// Whether records are made by `logging.LogRecord`, or by ours, which makes the same.
    #[inline]
    pub(crate) fn makes_plain_records(&self, py: Python<'_>) -> bool {
        let logging = self.logging.bind(py);
        let is_known = peek(logging, intern!(py, "_logRecordFactory"))
            .is_some_and(|factory| self.factories.iter().any(|known| factory.is(known)));
        is_known && self.has_plain_record_class(py)
    }

    /// Whether nobody has changed `logging.LogRecord`.
    #[inline]
    pub(crate) fn has_plain_record_class(&self, py: Python<'_>) -> bool {
        let class = self.record.bind(py).cast::<pyo3::types::PyType>();
        matches!((class, role::roles(py)), (Ok(class), Some(roles)) if roles.record.fits(class))
    }

    /// What the module `logging` holds.
    pub(crate) fn logging<'py>(&self, py: Python<'py>) -> &Bound<'py, PyDict> {
        self.logging.bind(py)
    }

    /// `logging.LogRecord`.
    pub(crate) fn record_class<'py>(&self, py: Python<'py>) -> &Bound<'py, PyAny> {
        self.record.bind(py)
    }
}

/// Notes what the module has under this name now.
fn keep<'py>(
    things: &mut Vec<(Py<PyDict>, Py<PyString>, Py<PyAny>)>,
    owner: &Bound<'py, PyModule>,
    name: &str,
) -> PyResult<Bound<'py, PyAny>> {
    let value = owner.getattr(name)?;
    let name = PyString::intern(owner.py(), name).unbind();
    things.push((owner.dict().unbind(), name, value.clone().unbind()));
    Ok(value)
}

fn start_of(value: &Bound<'_, PyAny>) -> PyResult<Start> {
    if value.is_exact_instance_of::<PyFloat>() {
        return value.extract().map(Start::Seconds);
    }
    value.cast::<PyInt>()?.extract().map(Start::Nanoseconds)
}

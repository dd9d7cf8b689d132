//! What the records of one place in the program have in common, kept as a dictionary to be copied.
//!
//! In: the place, and who logs. Out: a new record's attributes, all but those that each record has its own of. A copy of a
//! dictionary costs less than two of its twenty assignments.

use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt, PyString, PyTuple};
use pyo3::{Borrowed, intern};

use crate::caller::without_extension;
use crate::gather::{Gathered, Needs};
use crate::names::Standard;
use crate::surroundings::Who;
use crate::sys::gil::WithGil;
use crate::sys::interpreter::{peek, put};
use crate::text::Text;

/// See the file's head.
pub(super) struct Place<'a, 'py> {
    pub(super) name: Borrowed<'a, 'py, PyAny>,
    pub(super) level: Borrowed<'a, 'py, PyAny>,
    pub(super) level_no: i32,
    pub(super) level_name: &'a Bound<'py, PyString>,
    pub(super) path_name: Borrowed<'a, 'py, PyString>,
    pub(super) line_no: Borrowed<'a, 'py, PyAny>,
    pub(super) func_name: Borrowed<'a, 'py, PyAny>,
    pub(super) who: &'a Who<'py>,
    pub(super) has_task_name: bool,
}

/// Places remembered; some 1,500 bytes each.
const PLACES_MAX: usize = 256;

static PLACES: WithGil<[Option<Known>; PLACES_MAX]> = WithGil::new([const { None }; PLACES_MAX]);

/// A place, and what its records have in common: all but what is `None` in it.
struct Known {
    /// No two places ever have the same.
    serial: u64,
    /// Name, level, its name, path, function, thread's name and process's: the very objects.
    objects: [Py<PyAny>; 7],
    level_no: i32,
    line_no: i64,
    thread: u64,
    process: u32,
    attributes: Py<PyDict>,
}

/// Where a place is kept, until another one is kept there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    slot: usize,
    serial: u64,
}

impl<'py> Place<'_, 'py> {
    /// A new record's attributes in their order, without message, times, exception and stack, and with no arguments. `None`: the
    /// line's number is none, or the path no text. Also where the place is kept, if it is.
    ///
    /// # Errors
    /// `MemoryError`.
    #[inline]
    pub(super) fn attributes(&self) -> PyResult<Option<(Bound<'py, PyDict>, Option<Found>)>> {
        let py = self.name.py();
        let Some(line_no) = self.line_no() else {
            return Ok(None);
        };
        let slot = self.slot(line_no);
        let known = PLACES.try_with(py, |places| {
            let known = places.get(slot)?.as_ref()?;
            // A copy may collect garbage and so run a finalizer that logs: nothing is lent meanwhile.
            let found = Found {
                slot,
                serial: known.serial,
            };
            self.is(known, line_no)
                .then(|| (known.attributes.bind(py).clone(), found))
        });
        let (dict, found) = match known.flatten() {
            Some((known, found)) => (known.copy()?, Some(found)),
            None => match self.learn(line_no, slot)? {
                Some(dict) => (dict, None),
                None => return Ok(None),
            },
        };
        if let Some(task_name) = &self.who.task_name {
            put(&dict, intern!(py, "taskName"), task_name)?;
        }
        Ok(Some((dict, found)))
    }

    fn line_no(&self) -> Option<i64> {
        self.line_no.cast_exact::<PyInt>().ok()?.extract().ok()
    }

    fn objects(&self) -> [&Bound<'py, PyAny>; 7] {
        [
            &self.name,
            &self.level,
            self.level_name.as_any(),
            self.path_name.as_any(),
            &self.func_name,
            &self.who.thread_name,
            &self.who.process_name,
        ]
    }

    fn slot(&self, line_no: i64) -> usize {
        let address = |object: &Bound<'_, PyAny>| object.as_ptr().addr() >> 4;
        let path = address(self.path_name.as_any());
        let mix = path
            ^ (address(&self.name) << 2)
            ^ (address(&self.level) << 3)
            ^ (line_no as usize)
            ^ (self.who.thread >> 12) as usize;
        mix % PLACES_MAX
    }

    #[inline]
    fn is(&self, known: &Known, line_no: i64) -> bool {
        known.line_no == line_no
            && known.thread == self.who.thread
            && known.process == self.who.process
            && known
                .objects
                .iter()
                .zip(self.objects())
                .all(|(then, now)| now.is(then))
    }

    /// Makes the attributes, and remembers them where all that stays is of the interpreter's own types.
    #[cold]
    fn learn(&self, line_no: i64, slot: usize) -> PyResult<Option<Bound<'py, PyDict>>> {
        let py = self.name.py();
        let Ok(path) = self.path_name.to_str() else {
            return Ok(None);
        };
        let file_name = path.rsplit_once('/').map_or(path, |(_, name)| name);
        let none = py.None().into_bound(py);
        let dict = PyDict::new(py);
        for (name, value) in [
            (intern!(py, "name"), &*self.name),
            (intern!(py, "msg"), &none),
            (intern!(py, "args"), PyTuple::empty(py).as_any()),
            (intern!(py, "levelname"), self.level_name.as_any()),
            (intern!(py, "levelno"), &self.level),
            (intern!(py, "pathname"), self.path_name.as_any()),
            (intern!(py, "filename"), PyString::new(py, file_name).as_any()),
            (
                intern!(py, "module"),
                PyString::new(py, without_extension(file_name)).as_any(),
            ),
            (intern!(py, "exc_info"), &none),
            (intern!(py, "exc_text"), &none),
            (intern!(py, "stack_info"), &none),
            (intern!(py, "lineno"), &self.line_no),
            (intern!(py, "funcName"), &self.func_name),
            (intern!(py, "created"), &none),
            (intern!(py, "msecs"), &none),
            (intern!(py, "relativeCreated"), &none),
            (intern!(py, "thread"), PyInt::new(py, self.who.thread).as_any()),
            (intern!(py, "threadName"), &self.who.thread_name),
            (intern!(py, "processName"), &self.who.process_name),
            (intern!(py, "process"), PyInt::new(py, self.who.process).as_any()),
        ] {
            put(&dict, name, value)?;
        }
        if self.has_task_name {
            put(&dict, intern!(py, "taskName"), &none)?;
        }
        // Room for what formatters add: else the first of them would have each copy made larger.
        for name in [intern!(py, "message"), intern!(py, "asctime")] {
            put(&dict, name, &none)?;
            dict.del_item(name)?;
        }
        let is_text =
            |object: &Bound<'_, PyAny>| object.is_exact_instance_of::<PyString>() || object.is_none();
        let [name, _, _, _, func_name, thread_name, process_name] = self.objects();
        if [name, func_name, thread_name, process_name]
            .into_iter()
            .all(is_text)
        {
            static SERIAL: AtomicU64 = AtomicU64::new(0);
            let known = Known {
                serial: SERIAL.fetch_add(1, Ordering::Relaxed), // only its being different matters
                level_no: self.level_no,
                objects: self.objects().map(|object| object.clone().unbind()),
                line_no,
                thread: self.who.thread,
                process: self.who.process,
                attributes: dict.copy()?.unbind(),
            };
            let stale = PLACES.try_with(py, |places| places.get_mut(slot)?.replace(known));
            drop(stale);
        }
        Ok(Some(dict))
    }
}

/// What the records of this place show of what they have in common. `None`: another one is kept there, or a text is unusual.
#[inline]
pub(super) fn gather<'py>(
    py: Python<'py>,
    found: Found,
    needs: &Needs,
    gathered: &mut Gathered<'py>,
) -> Option<()> {
    PLACES
        .try_with(py, |places| {
            let known = places.get(found.slot)?.as_ref()?;
            (known.serial == found.serial).then_some(())?;
            known.gather(py, needs, gathered)
        })
        .flatten()
}

impl Known {
    #[inline]
    fn gather<'py>(&self, py: Python<'py>, needs: &Needs, gathered: &mut Gathered<'py>) -> Option<()> {
        let numbers = &mut gathered.numbers;
        numbers.level_no = self.level_no;
        numbers.line_no = u32::try_from(self.line_no).ok()?;
        numbers.thread = Some(self.thread);
        numbers.process = Some(self.process);
        let text = |object: &Bound<'py, PyAny>| -> Option<Option<Text<'py>>> {
            if object.is_none() {
                return Some(None);
            }
            Text::exact(object).filter(|text| !text.is_escaped()).map(Some)
        };
        let [
            name,
            _,
            level_name,
            path_name,
            func_name,
            thread_name,
            process_name,
        ] = &self.objects;
        let of_file = |name| peek(self.attributes.bind(py), name).map(|value| value.to_owned());
        if needs.has(Standard::Name) {
            gathered.name = text(name.bind(py))?;
        }
        if needs.has(Standard::LevelName) {
            gathered.level_name = text(level_name.bind(py))?;
        }
        if needs.has(Standard::PathName) {
            gathered.path_name = text(path_name.bind(py))?;
        }
        if needs.has(Standard::FileName) {
            gathered.file_name = text(&of_file(intern!(py, "filename"))?)?;
        }
        if needs.has(Standard::Module) {
            gathered.module = text(&of_file(intern!(py, "module"))?)?;
        }
        if needs.has(Standard::FuncName) {
            gathered.func_name = text(func_name.bind(py))?;
        }
        if needs.has(Standard::ThreadName) {
            gathered.thread_name = text(thread_name.bind(py))?;
        }
        if needs.has(Standard::ProcessName) {
            gathered.process_name = text(process_name.bind(py))?;
        }
        gathered.present = Standard::TaskName.bit() - 1; // all that come before it
        Some(())
    }
}

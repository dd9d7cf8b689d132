//! The attributes of a `logging.LogRecord`: their names, their numbers, and how a dictionary key is recognised fast.
//!
//! In: a key of a record's `__dict__`. Out: which standard attribute it is, or none.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyString;

macro_rules! standard {
    ($($variant:ident $name:literal),* $(,)?) => {
        /// A standard attribute, in the order in which `LogRecord.__init__` sets them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum Standard { $($variant),* }

        const ALL: &[(Standard, &str)] = &[$((Standard::$variant, $name)),*];
    };
}
standard! {
    Name "name",
    Msg "msg",
    Args "args",
    LevelName "levelname",
    LevelNo "levelno",
    PathName "pathname",
    FileName "filename",
    Module "module",
    ExcInfo "exc_info",
    ExcText "exc_text",
    StackInfo "stack_info",
    LineNo "lineno",
    FuncName "funcName",
    Created "created",
    Msecs "msecs",
    RelativeCreated "relativeCreated",
    Thread "thread",
    ThreadName "threadName",
    ProcessName "processName",
    Process "process",
    TaskName "taskName",
    Message "message",
    AscTime "asctime",
}

impl Standard {
    /// Its name in Python.
    pub(crate) fn name(self) -> &'static str {
        ALL.get(self as usize).map_or("", |(_, name)| name)
    }

    /// Its bit in a set of standard attributes.
    pub(crate) const fn bit(self) -> u32 {
        1 << self as u32
    }

    /// The attribute of this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        ALL.iter()
            .find(|(_, each)| *each == name)
            .map(|(standard, _)| *standard)
    }
}

/// The names as interned strings, so that most keys are recognised by their address.
pub(crate) struct Keys(Vec<Py<PyString>>);

impl Keys {
    /// The process's one table.
    pub(crate) fn get(py: Python<'_>) -> &'static Keys {
        static KEYS: PyOnceLock<Keys> = PyOnceLock::new();
        KEYS.get_or_init(py, || {
            Keys(
                ALL.iter()
                    .map(|(_, name)| PyString::intern(py, name).unbind())
                    .collect(),
            )
        })
    }

    /// Which attribute `key` names. `hint` is where to look first, and is moved behind the one found.
    #[inline]
    pub(crate) fn find(&self, key: &Bound<'_, PyString>, hint: &mut usize) -> Option<Standard> {
        let is_key = |name: &Py<PyString>| name.as_ptr() == key.as_ptr();
        if self.0.get(*hint).is_some_and(is_key) {
            *hint += 1;
            return ALL.get(*hint - 1).map(|(standard, _)| *standard);
        }
        self.search(key, hint)
    }

    #[cold]
    fn search(&self, key: &Bound<'_, PyString>, hint: &mut usize) -> Option<Standard> {
        let is_key = |name: &Py<PyString>| name.as_ptr() == key.as_ptr();
        if let Some(place) = self.0.iter().position(is_key) {
            *hint = place + 1;
            return ALL.get(place).map(|(standard, _)| *standard);
        }
        // A key that is not interned: a record made from a dictionary that was read from somewhere.
        Standard::from_name(key.to_str().ok()?)
    }
}

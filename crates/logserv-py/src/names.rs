//! The attributes of a `logging.LogRecord`: their names, their numbers, and how a dictionary key is recognised fast.
//!
//! In: a key of a record's `__dict__`. Out: which standard attribute it is, or none.

use pyo3::Borrowed;
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

    /// The attribute that `key` names, where it is the one that is expected next: at `hint`, which is moved behind it.
    #[inline]
    pub(crate) fn expected(&self, key: &Borrowed<'_, '_, PyAny>, hint: &mut usize) -> Option<Standard> {
        let name = self.0.get(*hint)?;
        if name.as_ptr() != key.as_ptr() {
            return None;
        }
        let (standard, _) = ALL.get(*hint)?;
        *hint += 1;
        Some(*standard)
    }

    /// Whether `key` is the interned name of this attribute.
    #[inline]
    pub(crate) fn is(&self, standard: Standard, key: &Bound<'_, PyAny>) -> bool {
        self.0.get(standard as usize).is_some_and(|name| key.is(name))
    }

    /// Which attribute `key` names, and `hint` is moved behind it. May run a finalizer, as a text with lone surrogates raises.
    #[cold]
    pub(crate) fn search<'py>(&self, key: Bound<'py, PyAny>, hint: &mut usize) -> Found<'py> {
        let is_key = |name: &Py<PyString>| name.as_ptr() == key.as_ptr();
        if let Some(place) = self.0.iter().position(is_key)
            && let Some((standard, _)) = ALL.get(place)
        {
            *hint = place + 1;
            return Found::Standard(*standard);
        }
        let Ok(key) = key.cast_into_exact::<PyString>() else {
            return Found::NoName;
        };
        // A key that is not interned: a record made from a dictionary that was read from somewhere.
        let standard = key.to_str().ok().and_then(Standard::from_name);
        standard.map_or(Found::Other(key), Found::Standard)
    }
}

/// What a key stands for.
pub(crate) enum Found<'py> {
    Standard(Standard),
    /// A name beyond the standard ones.
    Other(Bound<'py, PyString>),
    /// It is not exactly a `str`.
    NoName,
}

//! What a class must be like, so that what its methods would do can be done without calling them.
//!
//! In: a class. Out: whether it has the library's own methods, and nothing in the place of its objects' attributes. A
//! method that was replaced before this module was imported never counts as the library's own.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString, PyType};

use crate::originals::{Originals, Part};
use crate::shape::LOGGER_OWN;
use crate::tags::Seen;

/// See the file's head.
pub(crate) struct Role {
    fixed: Vec<Part>,
    absent: Vec<Py<PyString>>,
    seen: Seen,
}

/// What would let a class answer for its objects' attributes, or for their truth.
const HOOKS: [&str; 3] = ["__getattr__", "__bool__", "__len__"];

impl Role {
    fn new(py: Python<'_>, fixed: Vec<Part>, attributes: &[&str]) -> PyResult<Self> {
        let object = py.import("builtins")?.getattr("object")?;
        let mut role = Self {
            fixed,
            absent: HOOKS
                .iter()
                .chain(attributes)
                .map(|name| PyString::intern(py, name).unbind())
                .collect(),
            seen: Seen::default(),
        };
        role.fixed.push(Part::attribute(&object, "__getattribute__"));
        Ok(role)
    }

    /// Whether the class can be taken for granted.
    #[inline]
    pub(crate) fn fits(&self, class: &Bound<'_, PyType>) -> bool {
        self.seen.is_good(class, || self.look(class))
    }

    #[cold]
    fn look(&self, class: &Bound<'_, PyType>) -> bool {
        let py = class.py();
        self.fixed.iter().all(|part| part.is_untouched(class))
            && self
                .absent
                .iter()
                .all(|name| !class.hasattr(name.bind(py)).unwrap_or(true))
    }
}

/// The roles that classes play in `logging`.
pub(crate) struct Roles {
    /// Our own handlers: `handle` and `emit` are ours, the rest of the way is the library's.
    pub(crate) handler: Role,
    /// Somebody else's handler, of which only the level is wanted.
    pub(crate) leveled: Role,
    /// A logger above the one that was called.
    pub(crate) parent: Role,
    /// `logging.LogRecord`.
    pub(crate) record: Role,
    /// A thread whose name is where the library keeps it.
    pub(crate) thread: Role,
}

static ROLES: PyOnceLock<Roles> = PyOnceLock::new();

/// What every one of our handlers can do by itself. `class`: the base of all of them, with its `handle` in place.
///
/// # Errors
/// `logging` is not the standard library's.
pub(crate) fn adopt_handlers(class: &Bound<'_, PyType>, originals: &Originals) -> PyResult<()> {
    let py = class.py();
    let logging = originals.logging.bind(py);
    let globals = originals.logging_dict.bind(py);
    let handler = logging.getattr("Handler")?;
    let record = logging.getattr("LogRecord")?;
    let mut fixed = vec![Part::attribute(class, "handle"), Part::attribute(class, "emit")];
    fixed
        .extend(["filter", "format", "acquire", "release"].map(|name| Part::method(&handler, name, globals)));
    let roles = Roles {
        handler: Role::new(py, fixed, &["level", "filters", "formatter"])?,
        leveled: Role::new(py, Vec::new(), &["level"])?,
        parent: Role::new(py, Vec::new(), &["handlers", "propagate", "parent"])?,
        record: Role::new(
            py,
            vec![
                Part::method(&record, "__init__", globals),
                Part::method(&record, "getMessage", globals),
                Part::attribute(&py.import("builtins")?.getattr("object")?, "__setattr__"),
                Part::attribute(&py.import("builtins")?.getattr("object")?, "__new__"),
            ],
            &["name", "msg", "args"],
        )?,
        thread: Role::new(
            py,
            vec![Part::attribute(
                &py.import("threading")?.getattr("Thread")?,
                "name",
            )],
            &["_name"],
        )?,
    };
    let _ = ROLES.set(py, roles); // a second import of the package finds the same
    Ok(())
}

/// The roles, once there are handlers.
#[inline]
pub(crate) fn roles(py: Python<'_>) -> Option<&'static Roles> {
    ROLES.get(py)
}

static LOGGER: PyOnceLock<Role> = PyOnceLock::new();

/// Our logger, or a subclass that changes nothing of the way of a record.
///
/// # Errors
/// `logging` is not the standard library's.
pub(crate) fn adopt_loggers(class: &Bound<'_, PyType>, originals: &Originals) -> PyResult<()> {
    let py = class.py();
    let globals = originals.logging_dict.bind(py);
    let logger = originals.logging.bind(py).getattr("Logger")?;
    let own = [
        "isEnabledFor",
        "_log",
        "findCaller",
        "makeRecord",
        "handle",
        "filter",
        "callHandlers",
        "getEffectiveLevel",
    ];
    let mut fixed: Vec<Part> = own
        .iter()
        .map(|name| Part::method(&logger, name, globals))
        .collect();
    fixed.push(Part::attribute(class, "error")); // `exception` calls it
    let _ = LOGGER.set(py, Role::new(py, fixed, LOGGER_OWN)?);
    Ok(())
}

/// The role of our loggers, once there are such.
#[inline]
pub(crate) fn logger(py: Python<'_>) -> Option<&'static Role> {
    LOGGER.get(py)
}

/// Whether the dictionary of an object has none of these names, with which it would go its own way.
#[inline]
pub(crate) fn has_none(dict: &Bound<'_, PyDict>, names: &[&Bound<'_, PyString>]) -> bool {
    names
        .iter()
        .all(|name| crate::sys::interpreter::peek(dict, name).is_none())
}

//! The keyword arguments of a logging call, as far as they need no `LogRecord`.
//!
//! In: `exc_info`, `extra`, `stack_info`, `stacklevel`. Out: [`Extra`]; or nothing, where only the library does right by
//! them, above all where it raises.

use logserv_wire::value::Value;
use pyo3::exceptions::PyBaseException;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt, PyString, PyTuple};
use pyo3::{Borrowed, intern};

use crate::gather::Gathered;
use crate::names::Standard;
use crate::sys::interpreter::{Arguments, handled_exception};
use crate::text::Text;

/// See the file's head.
#[derive(Debug, Default)]
pub(crate) struct Extra<'py> {
    /// As the record would have it; `None`: it was false.
    pub(crate) exc_info: Option<Bound<'py, PyTuple>>,
    /// `None`: none, or an empty one.
    pub(crate) dict: Option<Bound<'py, PyDict>>,
    /// At least 1.
    pub(crate) stacklevel: u64,
}

/// Bytes of all attributes of `extra` together; with more of them the library's way cuts as it should.
pub(crate) const ATTRIBUTES_MAX: usize = 64 << 10;

impl<'py> Extra<'py> {
    /// Of a call with these arguments; `is_exception`: `exc_info` is true where it is not given. `None`: the library's affair.
    #[inline]
    pub(crate) fn of(arguments: &Arguments<'_, 'py>, is_exception: bool, py: Python<'py>) -> Option<Self> {
        let mut extra = Self {
            stacklevel: 1,
            ..Self::default()
        };
        let mut has_exc_info = false;
        if arguments.has_keywords() {
            for (name, value) in arguments.keywords() {
                let name = name.cast_into_exact::<PyString>().ok()?;
                match name.to_str().ok()? {
                    "exc_info" => {
                        has_exc_info = true;
                        extra.exc_info = exc_info(&value)?;
                    }
                    "extra" if value.is_none() => {}
                    "extra" => extra.dict = Some(value.to_owned().cast_into_exact::<PyDict>().ok()?),
                    "stack_info" if !is_true(&value)? => {}
                    "stacklevel" => {
                        let number = value.to_owned().cast_into_exact::<PyInt>().ok()?;
                        extra.stacklevel = number.extract().ok().filter(|level| *level >= 1)?;
                    }
                    _ => return None,
                }
            }
        }
        if is_exception && !has_exc_info {
            extra.exc_info = Some(exc_info_of(py, handled_exception(py))?);
        }
        extra.dict = extra.dict.filter(|dict| !dict.is_empty());
        Some(extra)
    }
}

/// Whether a value of a usual kind is true.
fn is_true(value: &Bound<'_, PyAny>) -> Option<bool> {
    let is_usual = value.is_none()
        || value.is_exact_instance_of::<pyo3::types::PyBool>()
        || value.is_exact_instance_of::<PyInt>();
    is_usual.then(|| value.is_truthy().unwrap_or(true))
}

/// What `Logger._log` makes of it.
#[expect(
    clippy::option_option,
    reason = "the library's affair, and none, are different answers"
)]
fn exc_info<'py>(value: &Borrowed<'_, 'py, PyAny>) -> Option<Option<Bound<'py, PyTuple>>> {
    let py = value.py();
    if value.is_instance_of::<PyBaseException>() {
        // Its class may have a truth of its own.
        let class = value.get_type();
        if class.hasattr(intern!(py, "__bool__")).ok()? || class.hasattr(intern!(py, "__len__")).ok()? {
            return None;
        }
        return exc_info_of(py, Some((**value).clone())).map(Some);
    }
    if let Ok(tuple) = value.cast_exact::<PyTuple>() {
        return Some((!tuple.is_empty()).then(|| tuple.to_owned()));
    }
    match is_true(value)? {
        true => exc_info_of(py, handled_exception(py)).map(Some),
        false => Some(None),
    }
}

/// As `sys.exc_info()` would give it.
fn exc_info_of<'py>(py: Python<'py>, exception: Option<Bound<'py, PyAny>>) -> Option<Bound<'py, PyTuple>> {
    let none = py.None().into_bound(py);
    let three = match exception {
        Some(exception) => {
            let traceback = exception.getattr(intern!(py, "__traceback__")).ok()?;
            [exception.get_type().into_any(), exception, traceback]
        }
        None => [none.clone(), none.clone(), none],
    };
    PyTuple::new(py, three).ok()
}

/// Puts those of the attributes that a formatter shows into `gathered`. `false`: one of them is the library's affair.
pub(crate) fn put<'py>(
    extra: &Extra<'py>,
    gathered: &mut Gathered<'py>,
    is_shown: impl Fn(&str) -> bool,
) -> bool {
    let Some(dict) = &extra.dict else { return true };
    let pairs: Vec<_> = dict.iter().collect(); // converting a value may run a finalizer, which may change the dictionary
    for (key, value) in pairs {
        let Ok(key) = key.cast_into_exact::<PyString>() else {
            return false;
        };
        let Ok(name) = key.to_str() else { return false };
        // The library raises, or the record would answer for itself.
        if Standard::from_name(name).is_some() || name == "getMessage" {
            return false;
        }
        if is_shown(name) {
            gathered.put_attribute(Text::new(key), &value);
        }
    }
    let is_opaque = |(_, value): &(Text<'_>, Value<'_>)| matches!(value, Value::Opaque(_));
    !gathered.odd && !gathered.left_out && !gathered.attributes.iter().any(is_opaque)
}

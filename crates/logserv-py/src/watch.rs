//! Notices when a handler's formatter, or anything it depends on, is no longer what it was at the record before.
//!
//! In: a handler. Out: an [`Observation`]: the identity of every object that `handler.format` would look at, in a fixed
//! order; equal observations mean equal lines. None: only Python can make the line.
//! Not here: what the formatter means; that is `specification.rs`.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict};

use crate::originals::Originals;
use crate::sys;

/// Everything that was looked at. Holding the objects keeps their addresses from being used again.
#[derive(Debug, Default)]
pub(crate) struct Observation<'py>(Vec<Bound<'py, PyAny>>);

/// A kept [`Observation`].
#[derive(Debug)]
pub(crate) struct Snapshot(Vec<Py<PyAny>>);

impl Snapshot {
    /// Whether nothing has changed since. Runs no Python code.
    pub(crate) fn matches(&self, now: &Observation<'_>) -> bool {
        self.0.len() == now.0.len() && self.0.iter().zip(&now.0).all(|(then, now)| now.is(then))
    }
}

impl<'py> Observation<'py> {
    /// Looks at `handler` and its formatter.
    ///
    /// # Errors
    /// What Python raises when an attribute is missing; rendering in Python will raise it again.
    pub(crate) fn take(handler: &Bound<'py, PyAny>, originals: &Originals) -> PyResult<Option<Self>> {
        let py = handler.py();
        let mut seen = Observation(Vec::with_capacity(32));
        if !originals.handler_format.is_untouched(&handler.get_type())
            || dict_of(handler)?.is_none_or(|dict| dict.contains(pyo3::intern!(py, "format")).unwrap_or(true))
            || !originals.strftime.is_untouched(originals.time.bind(py))
            || !seen.see_formatter(&formatter_of(handler, originals)?, originals)?
        {
            return Ok(None);
        }
        seen.0
            .push(PyBool::new(py, sys::time_locale_is_c()).to_owned().into_any());
        Ok(Some(seen))
    }

    fn see_formatter(&mut self, formatter: &Bound<'py, PyAny>, originals: &Originals) -> PyResult<bool> {
        let py = formatter.py();
        let Some(state) = dict_of(formatter)? else {
            return Ok(false);
        };
        let is_plain = originals.formatter.made(formatter, &state);
        let made_by = if is_plain {
            &originals.formatter
        } else {
            match originals.json_formatter(py) {
                Some(class) if class.made(formatter, &state) => class,
                _ => return Ok(false),
            }
        };
        self.0.push(formatter.clone());
        self.see_pairs(&state);
        let class = formatter.get_type();
        for part in &made_by.free {
            self.0.push(class.getattr(part.name.bind(py))?);
        }
        if !is_plain {
            return Ok(true); // its specification is one of the attributes, and it has no style that matters
        }
        self.see_style(&formatter.getattr(pyo3::intern!(py, "_style"))?, originals)
    }

    fn see_style(&mut self, style: &Bound<'py, PyAny>, originals: &Originals) -> PyResult<bool> {
        let py = style.py();
        let Some(state) = dict_of(style)? else {
            return Ok(false);
        };
        if !originals.styles.iter().any(|class| class.made(style, &state)) {
            return Ok(false);
        }
        self.see_pairs(&state);
        if let Some(defaults) = state.get_item(pyo3::intern!(py, "_defaults"))?
            && let Ok(defaults) = defaults.cast_exact::<PyDict>()
        {
            // Identity is enough: the specification refuses values that can change.
            self.see_pairs(defaults);
        }
        if let Some(template) = state.get_item(pyo3::intern!(py, "_tpl"))? {
            let Some(state) = dict_of(&template)? else {
                return Ok(false);
            };
            self.see_pairs(&state);
            return Ok(originals.template.made(&template, &state));
        }
        Ok(true)
    }

    fn see_pairs(&mut self, dict: &Bound<'py, PyDict>) {
        for (key, value) in dict {
            self.0.push(key);
            self.0.push(value);
        }
    }

    /// Keeps it.
    pub(crate) fn into_snapshot(self) -> Snapshot {
        Snapshot(self.0.into_iter().map(Bound::unbind).collect())
    }
}

/// The formatter that `Handler.format` would use.
///
/// # Errors
/// The handler has no such attribute.
pub(crate) fn formatter_of<'py>(
    handler: &Bound<'py, PyAny>,
    originals: &Originals,
) -> PyResult<Bound<'py, PyAny>> {
    let py = handler.py();
    let formatter = handler.getattr(pyo3::intern!(py, "formatter"))?;
    if formatter.is_none() {
        return originals
            .logging
            .bind(py)
            .getattr(pyo3::intern!(py, "_defaultFormatter"));
    }
    Ok(formatter) // its truth value matters only for classes that are not followed anyway
}

/// The object's own attributes; `None` where they are not in a plain dict.
pub(crate) fn dict_of<'py>(object: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyDict>>> {
    let dict = object.getattr(pyo3::intern!(object.py(), "__dict__"))?;
    Ok(dict.cast_into_exact::<PyDict>().ok())
}

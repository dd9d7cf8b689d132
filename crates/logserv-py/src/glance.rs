//! Whether a formatter is still the one that was looked at closely: a glance instead of an [`Observation`].
//!
//! In: a handler. Out: yes, where nothing that an observation would look at has changed: handler, formatter and style are
//! the same objects of classes in the same state, with the same objects in their dictionaries. A no only means: look.
//!
//! [`Observation`]: crate::watch::Observation

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::encode::Plan;
use crate::originals::Originals;
use crate::sys;
use crate::sys::dicts::for_each_pair;
use crate::sys::interpreter::{holds, instance_dict, peek};
use crate::watch::formatter_of;
use crate::tags;

/// An object, the state of its class, and what its dictionary held.
#[derive(Debug)]
struct Kept {
    object: Py<PyAny>,
    tag: u32,
    pairs: Vec<(Py<PyAny>, Py<PyAny>)>,
}

impl Kept {
    fn take(object: &Bound<'_, PyAny>) -> Option<Self> {
        let tag = tags::of(&object.get_type())?;
        let pairs = instance_dict(object)?.iter();
        Some(Self {
            object: object.clone().unbind(),
            tag,
            pairs: pairs.map(|(key, value)| (key.unbind(), value.unbind())).collect(),
        })
    }

    fn is(&self, object: &Bound<'_, PyAny>) -> bool {
        object.is(&self.object)
            && tags::of(&object.get_type()) == Some(self.tag)
            && instance_dict(object).is_some_and(|dict| {
                let mut pairs = self.pairs.iter();
                let mut are_same = dict.len() == pairs.len();
                for_each_pair(&dict, |key, value| {
                    are_same &= pairs.next().is_some_and(|kept| key.is(&kept.0) && value.is(&kept.1));
                    are_same
                });
                are_same
            })
    }
}

/// See the file's head.
#[derive(Debug)]
pub(crate) struct Glance {
    handler_tag: u32,
    formatter: Kept,
    /// What a `JsonFormatter` has matters not.
    style: Option<Kept>,
    locale_is_c: bool,
    /// Whether the lines differ where the locale does.
    uses_locale: bool,
}

impl Glance {
    /// Keeps what `handler` has now; `None`: this formatter is to be looked at closely for each record.
    pub(crate) fn take(
        handler: &Bound<'_, PyAny>,
        plan: &Plan,
        originals: &Originals,
    ) -> Option<Self> {
        let py = handler.py();
        let formatter = &formatter_of(handler, originals).ok()?;
        // What only Python can render may look at anything.
        let Plan::Server(compiled) = plan else { return None };
        let is_json = !formatter.get_type().is(&originals.formatter.class);
        let style = if is_json {
            None
        } else {
            let style = formatter.getattr(pyo3::intern!(py, "_style")).ok()?;
            let dict = instance_dict(&style)?;
            let defaults = dict.get_item(pyo3::intern!(py, "_defaults")).ok()?;
            let has_defaults = defaults.is_some_and(|defaults| !defaults.is_none());
            // These have more that can change.
            if has_defaults || dict.contains(pyo3::intern!(py, "_tpl")).unwrap_or(true) {
                return None;
            }
            Some(Kept::take(&style)?)
        };
        Some(Self {
            handler_tag: tags::of(&handler.get_type())?,
            formatter: Kept::take(formatter)?,
            style,
            locale_is_c: sys::time_locale_is_c(),
            uses_locale: compiled.formatter.uses_locale_names(),
        })
    }

    /// Whether it is all as it was. Runs no Python code.
    #[inline]
    pub(crate) fn holds_for(&self, handler: &Bound<'_, PyAny>, originals: &Originals) -> bool {
        tags::of(&handler.get_type()) == Some(self.handler_tag)
            && instance_dict(handler).is_some_and(|dict| self.holds_in(&dict, originals))
    }

    /// The same of a handler whose class is in the state that it was in; `dict`: its attributes.
    #[inline]
    fn holds_in(&self, dict: &Bound<'_, PyDict>, originals: &Originals) -> bool {
        let py = dict.py();
        let formatter = match peek(dict, pyo3::intern!(py, "formatter")) {
            Some(formatter) if formatter.is_none() => {
                peek(originals.logging_dict.bind(py), pyo3::intern!(py, "_defaultFormatter"))
            }
            other => other,
        };
        let Some(formatter) = formatter else { return false };
        peek(dict, pyo3::intern!(py, "format")).is_none()
            && self.formatter.is(&formatter)
            && self.style.as_ref().is_none_or(|style| style.is(style.object.bind(py)))
            && holds(
                originals.time_dict.bind(py),
                originals.strftime.name.bind(py),
                originals.strftime_function.bind(py),
            )
            && (!self.uses_locale || sys::time_locale_is_c() == self.locale_is_c)
    }
}

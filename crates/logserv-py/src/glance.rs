//! Whether a formatter is still the one that was looked at closely: a glance instead of an [`Observation`].
//!
//! In: a handler. Out: yes, where nothing that an observation would look at has changed: handler, formatter and style are
//! the same objects of classes in the same state, with the same objects in their dictionaries. A no only means: look.
//!
//! [`Observation`]: crate::watch::Observation

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBool;

use crate::encode::Plan;
use crate::followed::Followed;
use crate::originals::Originals;
use crate::shape::HandlerShape;
use crate::sys;
use crate::sys::interpreter::{holds, instance_dict, peek};
use crate::sys::witness::Keep;
use crate::watch::formatter_of;
use crate::{stamp, tags};

/// An object and the state of its class.
#[derive(Debug)]
struct Kept {
    object: Py<PyAny>,
    tag: u32,
}

impl Kept {
    fn take(object: &Bound<'_, PyAny>) -> Option<Self> {
        Some(Self {
            object: object.clone().unbind(),
            tag: tags::of(&object.get_type())?,
        })
    }

    #[inline]
    fn has_class_as_it_was(&self, py: Python<'_>) -> bool {
        tags::of(&self.object.bind(py).get_type()) == Some(self.tag)
    }
}

/// See the file's head.
#[derive(Debug)]
pub(crate) struct Glance {
    handler_tag: u32,
    formatter: Kept,
    /// What a `JsonFormatter` has matters not.
    style: Option<Kept>,
    /// The look at the handler's attributes, the dictionaries of formatter and style, and those of the modules `time` and
    /// `logging`.
    look: u64,
    dicts: [Followed; 2],
    modules: u64,
    locale_is_c: bool,
    /// Whether the lines differ where the locale does.
    uses_locale: bool,
    /// Whether `logging.raiseExceptions` is true.
    raises: bool,
}

impl Glance {
    /// Keeps what `handler` has now; `None`: this formatter is to be looked at closely for each record.
    ///
    /// Take it before the close look that it is to stand for: what changes meanwhile then makes it void.
    pub(crate) fn take(
        handler: &Bound<'_, PyAny>,
        shape: &HandlerShape,
        originals: &Originals,
    ) -> Option<Self> {
        let py = handler.py();
        let formatter = &formatter_of(handler, originals).ok()?;
        let is_json = !formatter.get_type().is(&originals.formatter.class);
        let style = if is_json {
            None
        } else {
            let style = formatter.getattr(intern!(py, "_style")).ok()?;
            let dict = instance_dict(&style)?;
            let defaults = dict.get_item(intern!(py, "_defaults")).ok()?;
            let has_defaults = defaults.is_some_and(|defaults| !defaults.is_none());
            // These have more that can change.
            if has_defaults || dict.contains(intern!(py, "_tpl")).unwrap_or(true) {
                return None;
            }
            Some(Kept::take(&style)?)
        };
        let (handler_dict, formatter_dict) = (instance_dict(handler)?, instance_dict(formatter)?);
        let style_dict = match &style {
            Some(style) => instance_dict(style.object.bind(py))?,
            None => formatter_dict.clone(),
        };
        let time = originals.time_dict.bind(py);
        let logging = originals.logging_dict.bind(py);
        // Its truth could be code of the application.
        let raises = peek(logging, intern!(py, "raiseExceptions"))?
            .cast_exact::<PyBool>()
            .ok()?
            .is_true();
        let is_format_own = peek(&handler_dict, intern!(py, "format")).is_some();
        if is_format_own
            || !holds(
                time,
                originals.strftime.name.bind(py),
                originals.strftime_function.bind(py),
            )
        {
            return None;
        }
        Some(Self {
            look: shape.look,
            dicts: [&formatter_dict, &style_dict].map(|dict| Followed::take(dict, Keep::AllButFollowed)),
            modules: stamp::take(py, &[time, logging])?,
            handler_tag: tags::of(&handler.get_type())?,
            formatter: Kept::take(formatter)?,
            style,
            locale_is_c: sys::time_locale_is_c(),
            uses_locale: true,
            raises,
        })
    }

    /// `logging.raiseExceptions`, as long as the glance [holds](Self::holds_for).
    pub(crate) fn raises(&self) -> bool {
        self.raises
    }

    /// The same for the plan that was made since; `None`: only Python can render, and may look at anything.
    pub(crate) fn of_plan(self, plan: &Plan) -> Option<Self> {
        let Plan::Server(compiled) = plan else { return None };
        Some(Self {
            uses_locale: compiled.formatter.uses_locale_names(),
            ..self
        })
    }

    /// Whether it is all as it was. Runs no Python code.
    #[inline]
    pub(crate) fn holds_for(
        &self,
        handler: &Bound<'_, PyAny>,
        shape: &HandlerShape,
        originals: &Originals,
    ) -> bool {
        let py = handler.py();
        shape.look == self.look
            && tags::of(&handler.get_type()) == Some(self.handler_tag)
            && self.formatter.has_class_as_it_was(py)
            && self
                .style
                .as_ref()
                .is_none_or(|style| style.has_class_as_it_was(py))
            && self.have_dicts_as_they_were(py, originals)
            && (!self.uses_locale || sys::time_locale_is_c() == self.locale_is_c)
    }

    #[inline]
    fn have_dicts_as_they_were(&self, py: Python<'_>, originals: &Originals) -> bool {
        let (time, logging) = (originals.time_dict.bind(py), originals.logging_dict.bind(py));
        let [of_formatter, of_style] = &self.dicts;
        let is_as_it_was = |followed: &Followed, object: &Bound<'_, PyAny>| {
            instance_dict(object).is_some_and(|dict| followed.holds(&dict))
        };
        stamp::is(py, self.modules, &[time, logging])
            && is_as_it_was(of_formatter, self.formatter.object.bind(py))
            && self
                .style
                .as_ref()
                .is_none_or(|style| is_as_it_was(of_style, style.object.bind(py)))
    }
}

//! Which handlers a record of a logger reaches, as `Logger.callHandlers` goes through them.
//!
//! In: a logger's attributes. Out: the handlers, where all of them are ours and have nobody who must see a record; others
//! may be there whose level is above the record's.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyInt, PyList};

use crate::handle::direct_sender_in;
use crate::role::Roles;
use crate::sender::Sender;
use crate::sys::interpreter::{instance_dict, peek};

/// A handler that takes the record, and its way.
pub(crate) struct Target<'py> {
    pub(crate) handler: Bound<'py, PyAny>,
    pub(crate) sender: Bound<'py, Sender>,
}

/// What was found.
pub(crate) enum Reach<'py> {
    /// These take the record; none of them where all have a higher level.
    Ours(Vec<Target<'py>>),
    /// Somebody else has a say, or there is no handler at all.
    Others,
}

/// All handlers on the way from a logger to its root.
#[inline]
pub(crate) fn of<'py>(logger: &Bound<'py, PyDict>, level: i32, roles: &Roles) -> Reach<'py> {
    let py = logger.py();
    let mut targets = Vec::new();
    let mut found = 0;
    let mut dict = logger.clone();
    loop {
        let Some(handlers) = peek(&dict, intern!(py, "handlers")) else {
            return Reach::Others;
        };
        let Ok(handlers) = handlers.cast_exact::<PyList>() else {
            return Reach::Others;
        };
        for handler in handlers.to_owned().iter() {
            found += 1;
            match look(handler, level, roles) {
                Some(target) => targets.extend(target),
                None => return Reach::Others,
            }
        }
        let Some(propagate) = peek(&dict, intern!(py, "propagate")) else {
            return Reach::Others;
        };
        if propagate.is(PyBool::new(py, false)) {
            break;
        }
        if !propagate.is(PyBool::new(py, true)) {
            return Reach::Others;
        }
        let Some(parent) = peek(&dict, intern!(py, "parent")).map(|parent| parent.to_owned()) else {
            return Reach::Others;
        };
        if parent.is_none() {
            break;
        }
        if !roles.parent.fits(&parent.get_type()) {
            return Reach::Others;
        }
        let Some(above) = instance_dict(&parent) else {
            return Reach::Others;
        };
        dict = above;
    }
    if found == 0 {
        return Reach::Others; // `logging.lastResort` is wanted
    }
    Reach::Ours(targets)
}

/// One handler: a target, or none as its level is above; `None`: not to be decided here.
#[expect(clippy::option_option, reason = "two kinds of no")]
#[inline]
fn look<'py>(handler: Bound<'py, PyAny>, level: i32, roles: &Roles) -> Option<Option<Target<'py>>> {
    let py = handler.py();
    let class = handler.get_type();
    let is_ours = roles.handler.fits(&class);
    if !is_ours && !roles.leveled.fits(&class) {
        return None;
    }
    let dict = instance_dict(&handler)?;
    let limit = peek(&dict, intern!(py, "level"))?;
    let limit: i64 = limit.cast_exact::<PyInt>().ok()?.extract().ok()?;
    if i64::from(level) < limit {
        return Some(None);
    }
    if !is_ours {
        return None;
    }
    let sender = direct_sender_in(&dict)?;
    Some(Some(Target { handler, sender }))
}

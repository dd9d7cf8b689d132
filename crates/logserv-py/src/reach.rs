//! Which handlers a record of a logger reaches, as `Logger.callHandlers` goes through them.
//!
//! In: a logger's attributes. Out: the handlers, where all of them are ours and have nobody who must see a record; others
//! may be there whose level is above the record's.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyInt, PyList};
use smallvec::SmallVec;

use crate::role::Roles;
use crate::sender::Sender;
use crate::shape::{Above, HandlerShape};
use crate::sys::interpreter::{instance_dict, peek};

/// A handler that takes the record, and its way.
pub(crate) struct Reached<'py> {
    pub(crate) handler: Bound<'py, PyAny>,
    pub(crate) sender: Bound<'py, Sender>,
    /// As it was found in this call.
    pub(crate) shape: HandlerShape,
}

/// Mostly one.
pub(crate) type AllReached<'py> = SmallVec<[Reached<'py>; 2]>;

/// What was found.
pub(crate) enum Reach<'py> {
    /// These take the record; none of them where all have a higher level.
    Ours(AllReached<'py>),
    /// Somebody else has a say, or there is no handler at all.
    Others,
}

/// All handlers on the way from a logger, of which this is known, to its root.
#[inline]
pub(crate) fn of<'py>(logger: &Above<'_, 'py>, level: i32, roles: &Roles) -> Reach<'py> {
    let mut reached = AllReached::new();
    let mut found = 0;
    let mut next = match see(logger, level, roles, &mut reached, &mut found) {
        Ok(next) => next,
        Err(Opaque) => return Reach::Others,
    };
    while let Some(parent) = next {
        if !roles.parent.fits(&parent.get_type()) {
            return Reach::Others;
        }
        let Some(dict) = instance_dict(&parent) else {
            return Reach::Others;
        };
        let above = Above::of(&dict);
        next = match above.map(|above| see(&above, level, roles, &mut reached, &mut found)) {
            Some(Ok(next)) => next,
            Some(Err(Opaque)) | None => return Reach::Others,
        };
    }
    if found == 0 {
        return Reach::Others; // `logging.lastResort` is wanted
    }
    Reach::Ours(reached)
}

/// Somebody else has a say.
struct Opaque;

/// The handlers of one logger, and the logger that comes next.
#[inline]
fn see<'py>(
    logger: &Above<'_, 'py>,
    level: i32,
    roles: &Roles,
    reached: &mut AllReached<'py>,
    found: &mut usize,
) -> Result<Option<Bound<'py, PyAny>>, Opaque> {
    let py = logger.parent.py();
    let handlers = logger.handlers.cast_exact::<PyList>().map_err(|_| Opaque)?;
    let (propagate, parent) = (logger.propagate, logger.parent.to_owned());
    let goes_on = if propagate.is(PyBool::new(py, true)) {
        !parent.is_none()
    } else if propagate.is(PyBool::new(py, false)) {
        false
    } else {
        return Err(Opaque);
    };
    if !handlers.is_empty() {
        for handler in handlers.to_owned().iter() {
            *found += 1;
            reached.extend(look(handler, level, roles)?);
        }
    }
    Ok(goes_on.then_some(parent))
}

/// One handler: a target, or none as its level is above.
#[inline]
fn look<'py>(handler: Bound<'py, PyAny>, level: i32, roles: &Roles) -> Result<Option<Reached<'py>>, Opaque> {
    let py = handler.py();
    let class = handler.get_type();
    // First: a look at a class may run code of its metaclass, and what is borrowed from the dictionary must not live then.
    let is_ours = roles.handler.fits(&class);
    if !is_ours && !roles.leveled.fits(&class) {
        return Err(Opaque);
    }
    let dict = instance_dict(&handler).ok_or(Opaque)?;
    if !is_ours {
        let limit = peek(&dict, intern!(py, "level")).ok_or(Opaque)?;
        return if is_below(level, &limit)? {
            Ok(None)
        } else {
            Err(Opaque)
        };
    }
    let sender = peek(&dict, intern!(py, "_sender")).ok_or(Opaque)?;
    let sender = sender.cast_exact::<Sender>().map_err(|_| Opaque)?.to_owned();
    let shape = HandlerShape::of(&dict, sender.get().memory());
    if i64::from(level) < shape.level.ok_or(Opaque)? {
        return Ok(None);
    }
    if !shape.is_direct(&dict) {
        return Err(Opaque);
    }
    Ok(Some(Reached {
        handler,
        sender,
        shape,
    }))
}

/// Whether a record of this level is below a handler's.
#[inline]
fn is_below(level: i32, limit: &Bound<'_, PyAny>) -> Result<bool, Opaque> {
    let limit = limit.cast_exact::<PyInt>().map_err(|_| Opaque)?;
    let limit: i64 = limit.extract().map_err(|_| Opaque)?;
    Ok(i64::from(level) < limit)
}

//! The close look at a logger: whether it is enabled, and whom its records reach. What it finds is remembered as a [`Route`].
//!
//! In: a logger and a level. Out: the handlers that take the record, with their plans; or that only the library can say.
//!
//! [`Route`]: crate::route::Route

use pyo3::prelude::*;

use crate::encode::Plan;
use crate::originals::Originals;
use crate::reach::{self, Reach, Reached};
use crate::role::{self, roles};
use crate::route::{Draft, End, Target, Targets};
use crate::shape::{LoggerShape, is_enabled};
use crate::sys::interpreter::instance_dict;
use crate::template::Template;
use crate::world::World;

/// What was found.
pub(crate) enum Look<'py> {
    /// The logger's level is higher.
    Disabled,
    /// These take the record; none where the levels of all are higher.
    Ours(Targets<'py>),
    /// Somebody else has a say.
    Others,
}

/// See the file's head.
#[cold]
pub(crate) fn closely<'py>(
    logger: &Bound<'py, PyAny>,
    level: (i32, &Bound<'py, PyAny>),
    world: &World,
    originals: &Originals,
) -> Look<'py> {
    let (found, _) = look(logger, level, world, originals);
    if matches!(found, Look::Others) || !Draft::is_worthwhile(logger, level.0) {
        return found;
    }
    // Followed first, then looked at: what changes meanwhile makes what is remembered void.
    let Some(draft) = Draft::take(logger, world, originals) else {
        return found;
    };
    let (found, end) = look(logger, level, world, originals);
    match &found {
        Look::Disabled => draft.remember_disabled(logger, level.0),
        Look::Ours(targets) => draft.remember(logger, level.0, targets, end),
        Look::Others => {}
    }
    found
}

fn look<'py>(
    logger: &Bound<'py, PyAny>,
    (level_no, level): (i32, &Bound<'py, PyAny>),
    world: &World,
    originals: &Originals,
) -> (Look<'py>, End) {
    let py = logger.py();
    let others = (Look::Others, End::Targets);
    let (Some(role), Some(roles)) = (role::logger(py), roles(py)) else {
        return others;
    };
    if !role.fits(&logger.get_type()) {
        return others;
    }
    let Some(dict) = instance_dict(logger) else {
        return others;
    };
    let Some(shape) = LoggerShape::of(&dict) else {
        return others;
    };
    match is_enabled(&shape, level) {
        Some(true) => {}
        Some(false) => return (Look::Disabled, End::Disabled),
        None => return others,
    }
    let name = shape.name.to_owned();
    let Reach::Ours(found) = reach::of(&shape.above, level_no, roles) else {
        return others;
    };
    let plan = |reached: Reached<'py>| Target {
        plan: reached
            .sender
            .get()
            .plan(&reached.handler, Some(reached.shape), originals),
        handler: reached.handler,
        sender: reached.sender,
    };
    let targets: Targets<'py> = found.into_iter().map(plan).collect();
    let template = match targets.as_slice() {
        [one] => match (&*one.plan, world.level_name(level_no, level)) {
            (Plan::Server(compiled), Some(level_name)) => {
                Template::new(&name, (level_no, level_name.as_any()), compiled)
            }
            _ => None,
        },
        _ => None,
    };
    let end = template.map_or(End::Targets, |template| End::Template(Box::new(template)));
    (Look::Ours(targets), end)
}

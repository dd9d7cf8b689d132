//! The whole way of a logger's records, remembered: whom they reach, and what their lines show.
//!
//! In: a logger and a level. Out: what a close look at the loggers above, their handlers and formatters has found, where
//! nothing of all that has changed since. Not here: the look itself (`reach.rs`, `sender.rs`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use pyo3::prelude::*;
use pyo3::types::PyDict;
use pyo3::{Borrowed, intern};
use smallvec::SmallVec;

use crate::encode::Plan;
use crate::originals::Originals;
use crate::sender::Sender;
use crate::sys::gil::WithGil;
use crate::sys::interpreter::{instance_dict, peek};
use crate::sys::witness::{Keep, Witness, is_list_of, items};
use crate::template::Template;
use crate::world::World;
use crate::{stamp, sys};

/// Ways that are remembered, of one logger and level each, in places that follow from these: of two that share one the newer
/// stays.
const ROUTES_MAX: usize = 1024;

/// One in so many close looks is remembered.
const LOOKS_PER_DRAFT: u8 = 8;

/// Loggers from one to its root, at most.
const DEPTH_MAX: usize = 32;

/// See the file's head. Keeps neither loggers nor handlers alive.
#[derive(Debug)]
pub(crate) struct Route {
    logger: usize,
    level: i32,
    /// State of the world, and of `logging`, `time` and the logger's `_cache`.
    world: u64,
    dicts: u64,
    steps: SmallVec<[Step; 4]>,
    handlers: SmallVec<[Taker; 2]>,
    pub(crate) end: End,
}

/// What becomes of the records.
#[derive(Debug)]
pub(crate) enum End {
    /// Nothing: the logger's level is higher.
    Disabled,
    /// Handlers take them, or none as the levels of all are higher.
    Targets,
    /// One handler takes them, and most of each is known.
    Template(Box<Template>),
}

/// One logger on the way.
#[derive(Debug)]
struct Step {
    witness: Witness,
    /// The handlers' addresses.
    handlers: SmallVec<[usize; 2]>,
    goes_on: bool,
}

/// One handler on the way.
#[derive(Debug)]
struct Taker {
    witness: Witness,
    /// `None`: its level is too high.
    way: Option<Way>,
}

#[derive(Debug)]
struct Way {
    /// The sender's number.
    sender: u64,
    /// The formatter, where the handler has none of its own.
    default: Option<Py<PyAny>>,
    formatter: Witness,
    style: Option<Witness>,
    plan: Arc<Plan>,
    locale_is_c: Option<bool>,
}

/// Numbers of the wanted attributes.
mod logger {
    pub(super) const FILTERS: usize = 0;
    pub(super) const PARENT: usize = 1;
    pub(super) const HANDLERS: usize = 2;
    pub(super) const CACHE: usize = 3;
}
mod handler {
    pub(super) const FILTERS: usize = 0;
    pub(super) const SENDER: usize = 1;
    pub(super) const FORMATTER: usize = 2;
}

/// Handlers that take a record. Mostly one.
pub(crate) type Targets<'py> = SmallVec<[Target<'py>; 2]>;

/// A handler that is seen to take a record. With references of its own: until Python 3.12 whatever makes an object, an exception
/// among them, may run a finalizer.
pub(crate) struct Found<'a, 'py> {
    pub(crate) handler: Bound<'py, PyAny>,
    pub(crate) sender: Bound<'py, Sender>,
    pub(crate) plan: &'a Arc<Plan>,
}

/// The same, to be kept.
pub(crate) struct Target<'py> {
    pub(crate) handler: Bound<'py, PyAny>,
    pub(crate) sender: Bound<'py, Sender>,
    pub(crate) plan: Arc<Plan>,
}

impl Route {
    /// Gives what is remembered of the logger's records of this level to `use_it`, to be [followed](Self::follow); `None`:
    /// nothing is, or somebody has it. What `use_it` says no to is to be looked at closely.
    #[inline]
    pub(crate) fn with<R>(
        logger: &Bound<'_, PyAny>,
        level: i32,
        world: &World,
        use_it: impl FnOnce(&Self) -> Option<R>,
    ) -> Option<R> {
        let address = logger.as_ptr().addr();
        let known = ROUTES.try_with(logger.py(), |routes| {
            let route = routes.get(place(address, level))?.as_ref()?;
            let is_it = route.logger == address && route.level == level && route.world == world.state();
            if is_it { use_it(route) } else { None }
        });
        known.flatten()
    }

    /// Goes the way, and finds everything as it was, or not. Runs no Python code.
    #[inline]
    pub(crate) fn follow<'a, 'py>(
        &'a self,
        logger: Borrowed<'a, 'py, PyAny>,
        originals: &Originals,
    ) -> Option<SmallVec<[Found<'a, 'py>; 2]>> {
        let py = logger.py();
        let mut targets = SmallVec::new();
        let mut takers = self.handlers.iter();
        let mut next = logger;
        for (number, step) in self.steps.iter().enumerate() {
            let seen = step.witness.see(next)?;
            if number == 0 {
                let cache = seen.get(logger::CACHE)?;
                let is_open = is_list_of(seen.get(logger::FILTERS)?, &[]);
                if !is_open || !are_dicts_in_state(self.dicts, cache.cast_exact::<PyDict>().ok()?, originals)
                {
                    return None;
                }
            }
            let handlers = seen.get(logger::HANDLERS)?;
            is_list_of(handlers, &step.handlers).then_some(())?;
            for handler in items(handlers)? {
                targets.extend(takers.next()?.take(handler, py)?);
            }
            if step.goes_on {
                next = seen.get(logger::PARENT)?;
            }
        }
        Some(targets)
    }

    /// Forgets the one that had its place.
    fn remember(self, py: Python<'_>) {
        let place = place(self.logger, self.level);
        let stale = ROUTES.try_with(py, |routes| routes.get_mut(place)?.replace(Box::new(self)));
        drop(stale); // may run finalizers
    }
}

static ROUTES: WithGil<[Option<Box<Route>>; ROUTES_MAX]> = WithGil::new([const { None }; ROUTES_MAX]);

#[inline]
fn place(logger: usize, level: i32) -> usize {
    ((logger >> 4) ^ (logger >> 14) ^ (level.cast_unsigned() as usize).wrapping_mul(37)) % ROUTES_MAX
}

fn are_dicts_in_state(state: u64, cache: Borrowed<'_, '_, PyDict>, originals: &Originals) -> bool {
    let py = cache.py();
    let (time, logging) = (originals.time_dict.bind(py), originals.logging_dict.bind(py));
    stamp::is(py, state, &[&cache, time, logging])
}

impl<'py> Found<'_, 'py> {
    /// To be kept while Python code runs.
    pub(crate) fn to_target(&self) -> Target<'py> {
        Target {
            handler: self.handler.clone(),
            sender: self.sender.clone(),
            plan: Arc::clone(self.plan),
        }
    }
}

impl Taker {
    /// `None`: it is not as it was. The answer to that: a target, unless its level is too high.
    #[inline]
    fn take<'a, 'py>(
        &'a self,
        handler: Borrowed<'a, 'py, PyAny>,
        py: Python<'py>,
    ) -> Option<Option<Found<'a, 'py>>> {
        let seen = self.witness.see(handler)?;
        let Some(way) = &self.way else {
            return Some(None);
        };
        is_list_of(seen.get(handler::FILTERS)?, &[]).then_some(())?;
        let sender = seen.get(handler::SENDER)?.cast_exact::<Sender>().ok()?;
        if sender.get().number() != way.sender {
            return None;
        }
        let formatter = match &way.default {
            Some(formatter) => formatter.bind_borrowed(py),
            None => seen.get(handler::FORMATTER)?,
        };
        let seen = way.formatter.see(formatter)?;
        if let Some(style) = &way.style {
            style.see(seen.get(0)?)?;
        }
        if way
            .locale_is_c
            .is_some_and(|is_c| is_c != sys::time_locale_is_c())
        {
            return None;
        }
        Some(Some(Found {
            handler: handler.to_owned(),
            sender: sender.to_owned(),
            plan: &way.plan,
        }))
    }
}

/// What is to be remembered, if the close look finds that it can be.
pub(crate) struct Draft {
    world: u64,
    dicts: u64,
    steps: SmallVec<[Step; 4]>,
    handlers: SmallVec<[(usize, Sketch); 2]>,
}

struct Sketch {
    witness: Witness,
    /// The formatter that is the library's default, the formatter, its style; `None`: a handler that is none of ours.
    formatter: Option<(Option<Py<PyAny>>, Witness, Option<Witness>)>,
}

impl Draft {
    /// Whether to take one: not at each look, so that where nothing can be remembered, or all changes all the time, a call
    /// costs no more than it must.
    pub(crate) fn is_worthwhile(logger: &Bound<'_, PyAny>, level: i32) -> bool {
        static LOOKS: [AtomicU8; ROUTES_MAX] = [const { AtomicU8::new(0) }; ROUTES_MAX];
        let place = place(logger.as_ptr().addr(), level);
        // Relaxed: counted with the GIL, and a rough number will do.
        LOOKS.get(place).is_some_and(|looks| {
            looks
                .fetch_add(1, Ordering::Relaxed)
                .is_multiple_of(LOOKS_PER_DRAFT)
        })
    }

    /// Takes what there is on the way from a logger. `None`: not all of it can be followed.
    ///
    /// Before the close look that it is to stand for: what changes meanwhile then makes it void.
    pub(crate) fn take(logger: &Bound<'_, PyAny>, world: &World, originals: &Originals) -> Option<Self> {
        let py = logger.py();
        let names = [
            intern!(py, "filters"),
            intern!(py, "parent"),
            intern!(py, "handlers"),
            intern!(py, "_cache"),
        ];
        let dict = instance_dict(logger)?;
        let cache = peek(&dict, intern!(py, "_cache"))?
            .to_owned()
            .cast_into_exact::<PyDict>()
            .ok()?;
        let (time, logging) = (originals.time_dict.bind(py), originals.logging_dict.bind(py));
        let mut draft = Self {
            world: world.state(),
            dicts: stamp::take(py, &[&cache, time, logging])?,
            steps: SmallVec::new(),
            handlers: SmallVec::new(),
        };
        let mut next = Some(logger.clone());
        while let Some(logger) = next {
            (draft.steps.len() < DEPTH_MAX).then_some(())?;
            let witness = Witness::take(&logger, &names, Keep::Plain)?;
            let dict = instance_dict(&logger)?;
            let list = peek(&dict, intern!(py, "handlers"))?.to_owned();
            let handlers: Vec<_> = items(list.as_borrowed())?
                .map(|handler| handler.to_owned())
                .collect();
            let propagates = peek(&dict, intern!(py, "propagate"))?.is(pyo3::types::PyBool::new(py, true));
            let parent = peek(&dict, intern!(py, "parent"))?.to_owned();
            next = (propagates && !parent.is_none()).then_some(parent);
            draft.steps.push(Step {
                witness,
                handlers: handlers.iter().map(|handler| handler.as_ptr().addr()).collect(),
                goes_on: next.is_some(),
            });
            for handler in handlers {
                draft
                    .handlers
                    .push((handler.as_ptr().addr(), Sketch::take(&handler, originals)?));
            }
        }
        Some(draft)
    }

    /// Remembers that the logger's records of this level go nowhere.
    pub(crate) fn remember_disabled(mut self, logger: &Bound<'_, PyAny>, level: i32) {
        self.steps.truncate(1);
        for step in &mut self.steps {
            step.goes_on = false;
        }
        // Whom it would reach does not matter, but the way is followed.
        self.remember(logger, level, &[], End::Disabled);
    }

    /// Remembers whom the logger's records of this level reach.
    pub(crate) fn remember(self, logger: &Bound<'_, PyAny>, level: i32, targets: &[Target<'_>], end: End) {
        let count = self.steps.iter().map(|step| step.handlers.len()).sum();
        let mut handlers = SmallVec::new();
        for (address, sketch) in self.handlers.into_iter().take(count) {
            let target = targets
                .iter()
                .find(|target| target.handler.as_ptr().addr() == address);
            let way = match (target, sketch.formatter) {
                (None, _) => None,
                (Some(target), Some((default, formatter, style))) => {
                    let Some(way) = Way::new(target, default, formatter, style) else {
                        return;
                    };
                    Some(way)
                }
                (Some(_), None) => return,
            };
            handlers.push(Taker {
                witness: sketch.witness,
                way,
            });
        }
        Route {
            logger: logger.as_ptr().addr(),
            level,
            world: self.world,
            dicts: self.dicts,
            steps: self.steps,
            handlers,
            end,
        }
        .remember(logger.py());
    }
}

impl Sketch {
    fn take(handler: &Bound<'_, PyAny>, originals: &Originals) -> Option<Self> {
        let py = handler.py();
        let names = [
            intern!(py, "filters"),
            intern!(py, "_sender"),
            intern!(py, "formatter"),
        ];
        let witness = Witness::take(handler, &names, Keep::Plain)?;
        let dict = instance_dict(handler)?;
        let has_sender =
            peek(&dict, intern!(py, "_sender")).is_some_and(|sender| sender.is_exact_instance_of::<Sender>());
        if !has_sender {
            return Some(Self {
                witness,
                formatter: None,
            });
        }
        let own = peek(&dict, intern!(py, "formatter"))?.to_owned();
        let is_default = own.is_none();
        let formatter = if is_default {
            peek(originals.logging_dict.bind(py), intern!(py, "_defaultFormatter"))?.to_owned()
        } else {
            own
        };
        let followed = Witness::take(&formatter, &[intern!(py, "_style")], Keep::AllButFollowed)?;
        let style = peek(&instance_dict(&formatter)?, intern!(py, "_style")).map(|style| style.to_owned());
        let style = match style {
            Some(style) => Some(Witness::take(&style, &[], Keep::AllButFollowed)?),
            None => None,
        };
        Some(Self {
            witness,
            formatter: Some((is_default.then(|| formatter.unbind()), followed, style)),
        })
    }
}

impl Way {
    /// `None`: the plan depends on more than is followed.
    fn new(
        target: &Target<'_>,
        default: Option<Py<PyAny>>,
        formatter: Witness,
        style: Option<Witness>,
    ) -> Option<Self> {
        let sender = target.sender.get();
        let Plan::Server(compiled) = &*target.plan else {
            return None;
        };
        sender.has_glance(target.handler.py()).then_some(())?;
        Some(Self {
            sender: sender.number(),
            default,
            formatter,
            style,
            plan: Arc::clone(&target.plan),
            locale_is_c: compiled.formatter.uses_locale_names().then(sys::time_locale_is_c),
        })
    }
}

//! The most usual call of a logger: its way is remembered, one handler takes the record, and its message is made of texts and
//! numbers. It is sent without an object's being made but the caller's frame.
//!
//! In: the call and the remembered way. Out: the record in the handler's session; or the targets, for `fast.rs`.

use pyo3::prelude::*;
use pyo3::types::PyString;
use pyo3::{Borrowed, Python};

use crate::caller::{self, Caller};
use crate::encode::Plan;
use crate::extra::Extra;
use crate::fast::{Call, Outcome};
use crate::handle::report;
use crate::moment::Moment;
use crate::originals::Originals;
use crate::percent;
use crate::route::{End, Found, Route, Target, Targets};
use crate::sys::gil::WithGil;
use crate::sys::interpreter::{Arguments, utf8};
use crate::template::{self, Template};
use crate::world::World;

/// See the file's head.
pub(crate) struct Usual<'a, 'py> {
    pub(crate) py: Python<'py>,
    pub(crate) world: &'static World,
    pub(crate) originals: &'static Originals,
    pub(crate) logger: &'a Bound<'py, PyAny>,
    pub(crate) level_no: i32,
    pub(crate) msg: Borrowed<'a, 'py, PyAny>,
    pub(crate) arguments: Arguments<'a, 'py>,
    pub(crate) first: usize,
}

/// What came of it.
pub(crate) enum Gone<'py> {
    /// The record is where it belongs, be that nowhere.
    Sent,
    /// So it is, and the server has refused an earlier one, of which the handler is to be told.
    Refused(Target<'py>),
    /// Nothing has been done: it is not so usual. These take it.
    Known(Targets<'py>),
}

/// Room to make a message and a record in, kept from call to call.
#[derive(Default)]
struct Scratch {
    text: String,
    bytes: Vec<u8>,
}

static SCRATCH: WithGil<Scratch> = WithGil::new(Scratch {
    text: String::new(),
    bytes: Vec::new(),
});

/// Room beyond this many bytes is given back after a long record.
const SCRATCH_KEPT_LEN: usize = 64 << 10;

impl<'py> Usual<'_, 'py> {
    /// `None`: the way is not as it was. `may_be_usual`: the call has no keywords, and none that it implies.
    #[inline]
    pub(crate) fn go(&self, route: &Route, may_be_usual: bool) -> Option<Gone<'py>> {
        let template = match &route.end {
            End::Template(template) if may_be_usual => Some(template),
            _ => None,
        };
        // Before anything is borrowed: a frame is an object, and making one may run a finalizer.
        let caller = match template {
            Some(template) if template.caller != 0 => caller::find(self.py, &self.world.source, 1),
            _ => None,
        };
        let found = route.follow(self.logger.as_borrowed(), self.originals)?;
        if matches!(route.end, End::Disabled) {
            return Some(Gone::Sent);
        }
        if let (Some(template), [one]) = (template, found.as_slice())
            && let Some(gone) = self.send(template, one, caller.as_ref())
        {
            return Some(gone);
        }
        Some(Gone::Known(found.iter().map(Found::to_target).collect()))
    }

    /// `None`: it is not so usual, and nothing has been done.
    #[inline]
    fn send(
        &self,
        template: &Template,
        target: &Found<'_, 'py>,
        caller: Option<&Caller>,
    ) -> Option<Gone<'py>> {
        let sender = target.sender.get();
        let Plan::Server(compiled) = &**target.plan else {
            return None;
        };
        let lacks_caller = template.caller != 0 && caller.is_none();
        if lacks_caller || !sender.wants_only_shown() || !sender.is_announced(self.level_no) {
            return None;
        }
        let msg = utf8(self.msg.cast_exact::<PyString>().ok()?)?;
        let is_sent = SCRATCH.try_with(self.py, |scratch| {
            let Scratch { text, bytes } = scratch;
            let message = if self.first >= self.arguments.len() {
                msg
            } else {
                text.clear();
                if !percent::render(msg, &self.arguments, self.first, text) {
                    return false;
                }
                text
            };
            let call = template::Call {
                moment: Moment::now(self.world.start),
                caller,
                message,
            };
            if !template.write(self.py, &call, compiled, sender.record_max(), bytes) {
                return false;
            }
            sender.mirror(self.world.raises());
            let is_sent = sender.push_at_once(bytes);
            if bytes.capacity() > SCRATCH_KEPT_LEN {
                *scratch = Scratch::default();
            }
            is_sent
        });
        if is_sent != Some(true) {
            return None; // also where there is no space: who waits runs others meanwhile
        }
        Some(if sender.has_refusal() {
            Gone::Refused(target.to_target())
        } else {
            Gone::Sent
        })
    }

    /// Tells the handler of a refusal, with the record that it is told at.
    ///
    /// # Errors
    /// What the handler raises.
    #[cold]
    pub(crate) fn report_refusal(&self, target: &Target<'py>, level: Bound<'py, PyAny>) -> PyResult<Outcome> {
        if let Some(refusal) = target.sender.get().take_refusal() {
            let call = Call {
                py: self.py,
                world: self.world,
                logger: self.logger,
                level,
                level_no: self.level_no,
                msg: self.msg,
                arguments: self.arguments,
                first: self.first,
                extra: Extra::default(),
            };
            report(&target.handler, &call.record()?, Ok(Some(refusal)))?;
        }
        Ok(Outcome::Done)
    }
}

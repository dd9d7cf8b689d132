//! A logger's call without a `LogRecord`: from the arguments straight to the rings of the handlers that it reaches.
//!
//! In: a logger of ours, a level, the arguments. Out: records in sessions; or [`Outcome::Ordinary`], and nothing done:
//! then the library's own method does all of it. Whatever could make a difference is looked at in every call, or what was
//! found of it before is known not to have changed since.
//! Not here: how the call begins (`logger.rs`), which handlers there are (`reach.rs`).

use logserv_wire::record::{Record, RecordKind};
use pyo3::exceptions::{PyException, PyRecursionError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt, PyString, PyTuple};
use pyo3::{Borrowed, intern};

use crate::caller::{self, Caller};
use crate::encode::{Plan, attributes_max};
use crate::extra::{self, Extra};
use crate::gather::Gathered;
use crate::handle::report;
use crate::moment::Moment;
use crate::names::Standard;
use crate::originals::Originals;
use crate::route::Target;
use crate::sys::interpreter::{self, Arguments};
use crate::text::Text;
use crate::world::World;
use crate::write::{LongTexts, write};
use crate::{clock, percent, surroundings};

/// What came of the attempt.
pub(crate) enum Outcome {
    /// The record is where it belongs.
    Done,
    /// Nothing has been done.
    Ordinary,
}

/// One call of a logger, of which is known that it is enabled and whom it reaches.
pub(crate) struct Call<'a, 'py> {
    pub(crate) py: Python<'py>,
    pub(crate) world: &'static World,
    pub(crate) logger: &'a Bound<'py, PyAny>,
    pub(crate) level: Bound<'py, PyAny>,
    pub(crate) level_no: i32,
    pub(crate) msg: Borrowed<'a, 'py, PyAny>,
    /// Those of the call, of which the message's begin at `first`.
    pub(crate) arguments: Arguments<'a, 'py>,
    pub(crate) first: usize,
    pub(crate) extra: Extra<'py>,
}

impl<'py> Call<'_, 'py> {
    /// Sends the record to all `targets`.
    ///
    /// # Errors
    /// What the application's own code raises that must come out of the call: a `RecursionError`, or what is no `Exception`.
    pub(crate) fn run(&self, targets: &[Target<'py>]) -> PyResult<Outcome> {
        let py = self.py;
        let mut needs = 0;
        for target in targets {
            let Plan::Server(compiled) = &*target.plan else {
                return Ok(Outcome::Ordinary);
            };
            if compiled.needs.has(Standard::ExcInfo)
                || compiled.needs.has(Standard::ExcText)
                || compiled.needs.has(Standard::Msg)
                || compiled.needs.has(Standard::Args)
                || compiled.formatter.is_json() && !self.suits_json()
            {
                return Ok(Outcome::Ordinary);
            }
            // A server of 2013 is sent the record, whatever its line shows.
            needs |= compiled.needs.standard;
            if !target.sender.get().wants_only_shown() {
                needs |= USUAL;
                if self.world.has_task_name {
                    needs |= Standard::TaskName.bit();
                }
            }
        }
        let is_simple = self.msg.is_exact_instance_of::<PyString>()
            && (self.first..self.arguments.len())
                .all(|place| self.arguments.get(place).is_some_and(|value| is_simple(&value)));
        // User code is to run as often as it would.
        if targets.len() > 1 && (!is_simple || self.extra.exc_info.is_some()) {
            return Ok(Outcome::Ordinary);
        }
        let moment = Moment::now(self.world.start);
        // Who does not show it does not need it; a record that is made after all looks for it again.
        let caller = if needs & OF_CALLER == 0 {
            None
        } else {
            match self.caller() {
                Some(caller) => Some(caller),
                None => return Ok(Outcome::Ordinary),
            }
        };
        let Some(mut gathered) = self.gather(needs, moment, caller.as_ref())? else {
            return Ok(Outcome::Ordinary);
        };
        let is_own = |name: &str| targets.iter().any(|target| shows(&target.plan, name));
        if !extra::put(&self.extra, &mut gathered, is_own) {
            return Ok(Outcome::Ordinary);
        }
        let has_room =
            |target: &Target<'_>| gathered.used <= attributes_max(target.sender.get().record_max());
        if !targets.iter().all(has_room) {
            return Ok(Outcome::Ordinary);
        }
        let message = match self.message() {
            Ok(message) => message,
            Err(_) if is_simple => return Ok(Outcome::Ordinary), // raises again, and nobody has noticed
            Err(error)
                if error.is_instance_of::<PyRecursionError>(py)
                    || !error.is_instance_of::<PyException>(py) =>
            {
                return Err(error);
            }
            Err(error) => {
                for target in targets {
                    let record = self.record()?;
                    report(&target.handler, &record, Err(error.clone_ref(py)))?;
                }
                return Ok(Outcome::Done);
            }
        };
        let Some(message) = message else {
            return Ok(Outcome::Ordinary);
        };
        let mut long = LongTexts {
            message: Some(message),
            ..LongTexts::default()
        };
        for target in targets {
            let Plan::Server(compiled) = &*target.plan else {
                continue;
            };
            if let Some(exc_info) = &self.extra.exc_info {
                match self.traceback(exc_info) {
                    Ok(Some(text)) => long.exc_text = Some(text),
                    Ok(None) => return Ok(Outcome::Ordinary),
                    Err(error) => {
                        let record = self.record()?;
                        report(&target.handler, &record, Err(error))?;
                        continue;
                    }
                }
            }
            let sender = target.sender.get();
            sender.mirror(self.world.raises());
            let mut bytes = sender.take_buffer(py);
            let head = (RecordKind::Fields, compiled.id);
            let is_supported = |record: &Record<'_>| compiled.formatter.supports(record).is_yes();
            let Some(was_cut) = write(
                sender.record_max(),
                head,
                &gathered,
                &long,
                is_supported,
                &mut bytes,
            ) else {
                if targets.len() == 1 {
                    return Ok(Outcome::Ordinary);
                }
                let record = self.record()?;
                report(
                    &target.handler,
                    &record,
                    sender.send(py, &target.handler, None, &record),
                )?;
                continue;
            };
            sender.count(was_cut, &bytes);
            sender.announce_level(&target.handler, self.level_no);
            sender.push(py, bytes);
            if let Some(refusal) = sender.take_refusal() {
                let record = self.record()?;
                report(&target.handler, &record, Ok(Some(refusal)))?;
            }
        }
        Ok(Outcome::Done)
    }

    /// Whether a line of JSON needs no more of this record than there is here.
    fn suits_json(&self) -> bool {
        self.extra.exc_info.is_none() && self.msg.is_exact_instance_of::<PyString>()
    }

    /// What the formatters show, and what the server needs; `None`: something is unusual.
    fn gather(&self, needs: u32, moment: Moment, caller: Option<&Caller>) -> PyResult<Option<Gathered<'py>>> {
        let py = self.py;
        let has = |standard: Standard| needs & standard.bit() != 0;
        let mut gathered = Gathered::of_attributes(extra::ATTRIBUTES_MAX);
        let numbers = &mut gathered.numbers;
        numbers.level_no = self.level_no;
        numbers.created = moment.created;
        numbers.msecs = moment.msecs;
        numbers.relative_created = moment.relative_created;
        numbers.line_no = caller.map_or(0, |caller| caller.line_no);
        numbers.utc_offset_s = clock::utc_offset_s(py, moment.created);
        numbers.thread = Some(surroundings::thread());
        numbers.process = Some(logserv_client::process_id());
        let text = |object: &Bound<'py, PyAny>| Text::exact(object).filter(|text| !text.is_escaped());
        macro_rules! put {
            ($standard:ident, $place:ident, $object:expr) => {
                if has(Standard::$standard) {
                    let Some(text) = text(&$object) else {
                        return Ok(None);
                    };
                    gathered.$place = Some(text);
                }
            };
        }
        put!(Name, name, self.name()?);
        put!(LevelName, level_name, {
            let Some(name) = self.world.level_name(self.level_no, &self.level) else {
                return Ok(None);
            };
            name.into_any()
        });
        if let Some(Caller { site, .. }) = caller {
            put!(PathName, path_name, site.path_name.bind(py).as_any());
            put!(FileName, file_name, site.file_name.bind(py).as_any());
            put!(Module, module, site.module.bind(py).as_any());
            put!(FuncName, func_name, site.func_name.bind(py).as_any());
        }
        put!(
            ThreadName,
            thread_name,
            surroundings::thread_name(py, self.world)?
        );
        put!(
            ProcessName,
            process_name,
            surroundings::process_name(py, self.world)?
        );
        if has(Standard::TaskName) && !self.world.has_task_name {
            return Ok(None); // the format raises
        }
        if has(Standard::TaskName)
            && let Some(name) = surroundings::task_name(py, self.world)?
        {
            let Some(text) = text(&name) else { return Ok(None) };
            gathered.task_name = Some(text);
        }
        Ok(Some(gathered))
    }

    /// The logger's name.
    fn name(&self) -> PyResult<Bound<'py, PyAny>> {
        self.logger.getattr(intern!(self.py, "name"))
    }

    /// Who called.
    #[inline]
    fn caller(&self) -> Option<Caller> {
        caller::find(self.py, &self.world.source, self.extra.stacklevel)
    }

    /// `record.getMessage()`; `None`: it is no usual text.
    fn message(&self) -> PyResult<Option<Text<'py>>> {
        let usual = |text: Bound<'py, PyAny>| Text::exact(&text).filter(|text| !text.is_escaped());
        let msg = match self.msg.cast_exact::<PyString>() {
            Ok(msg) => msg.to_owned(),
            Err(_) => self.msg.str()?,
        };
        if self.first >= self.arguments.len() {
            return Ok(usual(msg.into_any()));
        }
        if let Ok(text) = msg.to_str() {
            let mut made = String::with_capacity(text.len() + 64);
            if percent::render(text, &self.arguments, self.first, &mut made) {
                return Ok(Some(Text::Made(made)));
            }
        }
        let args = self.arguments.tuple_from(self.first)?;
        if args.len() == 1 {
            let only = args.get_item(0)?;
            if !is_simple(&only) && is_mapping(&only)? {
                return interpreter::percent(&msg, &only).map(usual);
            }
        }
        interpreter::percent(&msg, args.as_any()).map(usual)
    }

    /// The text of the exception; `None`: it is no ordinary `str`.
    fn traceback(&self, exc_info: &Bound<'py, PyTuple>) -> PyResult<Option<Text<'py>>> {
        let text = Originals::get(self.py)?.traceback(exc_info.as_any())?;
        Ok(Text::exact(&text).filter(|text| !text.is_escaped() && !text.as_str().is_empty()))
    }

    /// The record that the library would have made, for whoever has to see one.
    pub(crate) fn record(&self) -> PyResult<Bound<'py, PyAny>> {
        let py = self.py;
        let none = py.None().into_bound(py);
        let (path_name, line_no, func_name) = match self.caller() {
            Some(Caller { site, line_no }) => (
                site.path_name.bind(py).clone().into_any(),
                line_no,
                site.func_name.bind(py).clone().into_any(),
            ),
            None => (none.clone(), 0, none.clone()),
        };
        let exc_info = self.extra.exc_info.as_ref().map_or(&none, |info| info.as_any());
        let extra = self.extra.dict.as_ref().map_or(&none, |extra| extra.as_any());
        self.logger.call_method1(
            intern!(py, "makeRecord"),
            (
                self.name()?,
                &self.level,
                path_name,
                line_no,
                self.msg,
                self.arguments.tuple_from(self.first)?,
                exc_info,
                func_name,
                extra,
            ),
        )
    }
}

/// The texts and numbers that a record has in every version.
const USUAL: u32 = OF_CALLER
    | Standard::Name.bit()
    | Standard::LevelName.bit()
    | Standard::ThreadName.bit()
    | Standard::ProcessName.bit();

/// The attributes that say who called.
pub(crate) const OF_CALLER: u32 = Standard::PathName.bit()
    | Standard::FileName.bit()
    | Standard::Module.bit()
    | Standard::FuncName.bit()
    | Standard::LineNo.bit();

/// Whether making a text of this runs no code of the application.
fn is_simple(value: &Bound<'_, PyAny>) -> bool {
    value.is_exact_instance_of::<PyString>()
        || value.is_exact_instance_of::<PyInt>()
        || value.is_exact_instance_of::<PyFloat>()
        || value.is_none()
        || value.is_exact_instance_of::<PyBool>()
}

/// What makes `LogRecord` take the only argument for all of them: a mapping that is not empty.
fn is_mapping(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(value.cast::<pyo3::types::PyMapping>().is_ok() && value.is_truthy()?)
}

/// Whether the lines of this plan show an attribute of this name.
fn shows(plan: &Plan, name: &str) -> bool {
    matches!(plan, Plan::Server(compiled) if compiled.formatter.shows_attribute(name))
}

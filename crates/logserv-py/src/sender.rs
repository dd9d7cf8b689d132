//! What a handler holds: its share in a session, what it knows of its formatter, and a buffer to encode in.
//!
//! In: a handler and a record. Out: the record in the session's queue. No lock of ours is held while Python code runs, so
//! that a `__str__` that logs, a finalizer or another thread finds everything free.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::time::Duration;

use logserv_client::{Address, Launch, Personal, Push, Session, SessionConfig, WhenFull};
use logserv_format::{Formatter, Specification};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::arguments::{level_from, patience, seconds, when_full_from};
use crate::encode::{Compiled, Job, Plan, RECORD_MAX_MIN};
use crate::glance::Glance;
use crate::originals::Originals;
use crate::render;
use crate::sessions::Member;
use crate::shape::{HandlerMemory, HandlerShape};
use crate::specification::describe;
use crate::sys::gil::WithGil;
use crate::sys::interpreter::{instance_dict, peek};
use crate::watch::{Observation, Snapshot, formatter_of};

/// A buffer beyond this many bytes is given back after a long record.
const BUFFER_KEPT_LEN: usize = 64 << 10;

/// One handler's way to its server.
#[pyclass(frozen, module = "logserv._native")]
pub(crate) struct Sender {
    number: u64,
    member: Member,
    session: Arc<Session>,
    record_max: usize,
    /// How long one record may wait for space; `None`: not at all.
    patience: Option<Duration>,
    /// The lowest level that this handler has had announced.
    announced_level: AtomicI32,
    known: WithGil<Option<Known>>,
    buffer: WithGil<Vec<u8>>,
    /// What is known of the handler's attributes.
    memory: HandlerMemory,
    reports_trouble: AtomicBool,
    records_cut: AtomicU64,
    records_rendered: AtomicU64,
}

/// What was found out about the handler's formatter, and how to see that it still holds.
#[derive(Debug)]
struct Known {
    snapshot: Snapshot,
    glance: Option<Glance>,
    plan: Arc<Plan>,
}

#[pymethods]
impl Sender {
    #[new]
    #[pyo3(signature = (host, port, handler_class, arguments, *, configured_at_s, record_max_bytes, ring_bytes, when_full,
        block_timeout_s, connect_timeout_s, announce_drops, level, program, launch = None))]
    #[expect(
        clippy::too_many_arguments,
        reason = "all but four are keyword arguments, seen by one caller"
    )]
    fn new(
        py: Python<'_>,
        host: std::path::PathBuf,
        port: Option<u16>,
        handler_class: &str,
        arguments: &str,
        configured_at_s: f64,
        record_max_bytes: usize,
        ring_bytes: usize,
        when_full: &str,
        block_timeout_s: f64,
        connect_timeout_s: Option<f64>,
        announce_drops: bool,
        level: i32,
        program: &str,
        launch: Option<std::path::PathBuf>,
    ) -> PyResult<Self> {
        Originals::get(py)?;
        if record_max_bytes < RECORD_MAX_MIN {
            return Err(PyValueError::new_err(format!(
                "record_max_bytes must be at least {RECORD_MAX_MIN}"
            )));
        }
        // With the GIL, without which Python changes no variable. Nobody else may change one anyway.
        let variable = std::env::var_os;
        let address = match port {
            _ if launch.is_some() => Address::Personal(Personal::new(
                variable("LOGSERV_SOCKET"),
                variable("XDG_RUNTIME_DIR"),
            )),
            None => Address::Unix(host),
            Some(port) => Address::Tcp {
                host: host.to_string_lossy().into_owned(),
                port,
            },
        };
        let arguments =
            serde_json::from_str(arguments).map_err(|error| PyValueError::new_err(error.to_string()))?;
        let mut config = SessionConfig {
            level,
            configured_at_s,
            capacity_bytes: ring_bytes,
            announce_drops,
            program: program.to_owned(),
            render: Some(render::function()),
            launch: launch.map(|program| Arc::new(Launch::new(program, std::env::vars_os()))),
            ..SessionConfig::new(address, handler_class, arguments)
        };
        if let Some(timeout) = connect_timeout_s {
            config.connect_timeout = seconds(timeout)?;
        }
        // Each handler's own, where the session is everybody's.
        let patience = match when_full_from(when_full)? {
            WhenFull::Block => Some(seconds(block_timeout_s)?),
            WhenFull::DropNewest => None,
        };
        let member = Member::join(config);
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        Ok(Self {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed), // only its being different matters
            session: member.session(),
            member,
            record_max: record_max_bytes,
            patience,
            announced_level: AtomicI32::new(level),
            known: WithGil::default(),
            buffer: WithGil::default(),
            memory: HandlerMemory::default(),
            reports_trouble: AtomicBool::new(true),
            records_cut: AtomicU64::new(0),
            records_rendered: AtomicU64::new(0),
        })
    }

    fn emit(
        &self,
        py: Python<'_>,
        handler: &Bound<'_, PyAny>,
        record: &Bound<'_, PyAny>,
    ) -> PyResult<Option<(String, String)>> {
        self.send(py, handler, self.shape_of(handler), record)
    }

    fn announce(&self, py: Python<'_>, handler: &Bound<'_, PyAny>) -> PyResult<bool> {
        let plan = self.plan(handler, self.shape_of(handler), Originals::get(py)?);
        Ok(matches!(*plan, Plan::Server(_)))
    }

    pub(crate) fn take_refusal(&self) -> Option<(String, String)> {
        self.session
            .take_refusal()
            .map(|refusal| (refusal.expected, refusal.received))
    }

    fn flush(&self, py: Python<'_>, timeout_s: f64, level: &str) -> PyResult<bool> {
        let (timeout, level) = (patience(timeout_s), level_from(level)?);
        Ok(py.detach(|| self.session.flush(timeout, level)))
    }

    fn rollover(&self, py: Python<'_>, timeout_s: f64) -> PyResult<bool> {
        let timeout = seconds(timeout_s)?;
        Ok(py.detach(|| self.session.rollover(timeout)))
    }

    fn leave(&self, py: Python<'_>) {
        py.detach(|| self.member.leave());
    }

    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let statistics = self.session.statistics();
        let dict = PyDict::new(py);
        dict.set_item("emitted", statistics.emitted)?;
        dict.set_item("announced", statistics.announced)?;
        dict.set_item("written", statistics.written)?;
        dict.set_item("dropped", statistics.dropped)?;
        let reasons = PyDict::new(py);
        for (reason, count) in statistics.dropped_by_reason {
            reasons.set_item(reason.name(), count)?;
        }
        dict.set_item("dropped_by_reason", reasons)?;
        dict.set_item("pending_records", statistics.pending_records)?;
        dict.set_item("pending_bytes", statistics.pending_bytes)?;
        dict.set_item("connected", statistics.connected)?;
        dict.set_item("protocol", statistics.protocol.map(|protocol| protocol.version()))?;
        dict.set_item("connections", statistics.connections)?;
        dict.set_item("refusals", statistics.refusals)?;
        dict.set_item("ring_bytes", statistics.ring_bytes)?;
        let records_cut = self.records_cut.load(Ordering::Relaxed) + statistics.cut;
        dict.set_item("records_cut", records_cut)?;
        dict.set_item("records_rendered", self.records_rendered.load(Ordering::Relaxed))?;
        Ok(dict)
    }
}

impl Sender {
    /// Encodes the record and hands it to the session. Returns a refusal that nobody has been told yet.
    ///
    /// # Errors
    /// What rendering the record in Python raises.
    pub(crate) fn send(
        &self,
        py: Python<'_>,
        handler: &Bound<'_, PyAny>,
        shape: Option<HandlerShape>,
        record: &Bound<'_, PyAny>,
    ) -> PyResult<Option<(String, String)>> {
        let originals = Originals::get(py)?;
        let plan = match self.known_plan(handler, shape, originals) {
            Some((plan, raises)) => {
                self.mirror(raises);
                plan
            }
            None => {
                self.mirror_raise_exceptions(py, originals)?;
                self.look(handler, shape, originals)
            }
        };
        let mut bytes = self.take_buffer(py);
        let job = Job {
            originals,
            handler,
            record,
            record_max: self.record_max,
            only_shown: self.wants_only_shown(),
        };
        let was_cut = job.encode(&plan, &mut bytes)?;
        self.count(was_cut, &bytes);
        let level = bytes.get(LEVEL_AT).and_then(|bytes| bytes.try_into().ok());
        self.announce_level(handler, level.map_or(0, i32::from_le_bytes));
        self.push(py, bytes);
        Ok(self.take_refusal())
    }

    /// The buffer, empty, or another one where it is in use.
    #[inline]
    pub(crate) fn take_buffer(&self, py: Python<'_>) -> Vec<u8> {
        let mut bytes = self.buffer.try_with(py, std::mem::take).unwrap_or_default();
        bytes.clear();
        bytes
    }

    /// Counts an encoded record among those of this handler.
    pub(crate) fn count(&self, was_cut: bool, bytes: &[u8]) {
        if was_cut {
            self.records_cut.fetch_add(1, Ordering::Relaxed); // a number to look at; it orders nothing
        }
        if bytes.get(5) == Some(&2) {
            self.records_rendered.fetch_add(1, Ordering::Relaxed); // likewise
        }
    }

    /// Hands an encoded record to the session, which counts and tells what becomes of it, and keeps the buffer. Waits where
    /// there is no space, without the GIL.
    pub(crate) fn push(&self, py: Python<'_>, bytes: Vec<u8>) {
        match self.patience {
            None => drop(self.session.push_or_drop(&bytes)),
            Some(patience) => {
                if !self.push_at_once(&bytes) {
                    let _ = py.detach(|| self.session.push_within(&bytes, patience));
                }
            }
        }
        if bytes.capacity() <= BUFFER_KEPT_LEN {
            self.buffer.try_with(py, |buffer| *buffer = bytes);
        }
    }

    /// The same without waiting, or telling of a drop. Returns whether it has space.
    #[inline]
    pub(crate) fn push_at_once(&self, bytes: &[u8]) -> bool {
        self.session.push(bytes) != Push::Full
    }

    /// Its number, which no other one in this process has.
    #[inline]
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Whether its server has been told of records of this level.
    #[inline]
    pub(crate) fn is_announced(&self, level: i32) -> bool {
        level >= self.announced_level.load(Ordering::Relaxed) // a lone number
    }

    /// Whether there may be a [refusal](Self::take_refusal) that nobody has been told yet.
    #[inline]
    pub(crate) fn has_refusal(&self) -> bool {
        self.session.may_have_refusal()
    }

    /// Whether what the plan depends on is the handler's attributes, its formatter's and the style's, their classes, and what
    /// the modules `logging` and `time` hold.
    pub(crate) fn has_glance(&self, py: Python<'_>) -> bool {
        self.known
            .try_with(py, |known| {
                known.as_ref().is_some_and(|known| known.glance.is_some())
            })
            .unwrap_or_default()
    }

    /// What is known of the handler's attributes.
    #[inline]
    pub(crate) fn memory(&self) -> &HandlerMemory {
        &self.memory
    }

    /// Whether the server renders the lines, and needs no more of a record than they show.
    #[inline]
    pub(crate) fn wants_only_shown(&self) -> bool {
        self.session.renders()
    }

    /// The longest encoded record in bytes.
    pub(crate) fn record_max(&self) -> usize {
        self.record_max
    }

    /// Who renders the lines of `handler`, found anew whenever anything that it depends on has changed.
    #[inline]
    pub(crate) fn plan(
        &self,
        handler: &Bound<'_, PyAny>,
        shape: Option<HandlerShape>,
        originals: &Originals,
    ) -> Arc<Plan> {
        match self.known_plan(handler, shape, originals) {
            Some((plan, _)) => plan,
            None => self.look(handler, shape, originals),
        }
    }

    /// The plan where nothing has changed, and whether `logging.raiseExceptions` is true.
    #[inline]
    fn known_plan(
        &self,
        handler: &Bound<'_, PyAny>,
        shape: Option<HandlerShape>,
        originals: &Originals,
    ) -> Option<(Arc<Plan>, bool)> {
        let shape = shape?;
        let known = self.known.try_with(handler.py(), |known| {
            let known = known.as_ref()?;
            let glance = known.glance.as_ref()?;
            glance
                .holds_for(handler, &shape, originals)
                .then(|| (Arc::clone(&known.plan), glance.raises()))
        });
        known.flatten()
    }

    /// What is known of the handler's attributes.
    fn shape_of(&self, handler: &Bound<'_, PyAny>) -> Option<HandlerShape> {
        instance_dict(handler).map(|dict| HandlerShape::of(&dict, &self.memory))
    }

    /// The same without remembering, and remembers.
    #[cold]
    fn look(
        &self,
        handler: &Bound<'_, PyAny>,
        shape: Option<HandlerShape>,
        originals: &Originals,
    ) -> Arc<Plan> {
        let glance = shape.and_then(|shape| Glance::take(handler, &shape, originals));
        // What cannot be looked at raises again where Python renders the record, and is handled there.
        let Ok(Some(seen)) = Observation::take(handler, originals) else {
            return Arc::new(Plan::Python);
        };
        let py = handler.py();
        let mut glance = glance;
        let known = self.known.try_with(py, |known| {
            let known = known.as_mut().filter(|known| known.snapshot.matches(&seen))?;
            let plan = Arc::clone(&known.plan);
            let fresh = glance.take().and_then(|glance| glance.of_plan(&plan));
            Some((plan, std::mem::replace(&mut known.glance, fresh)))
        });
        // What is dropped here may run finalizers, and nothing is taken.
        if let Some((plan, _stale)) = known.flatten() {
            return plan;
        }
        let plan = Arc::new(make_plan(handler, originals, |json| {
            self.session.formatter_id(json)
        }));
        let fresh = Known {
            snapshot: seen.into_snapshot(),
            glance: glance.and_then(|glance| glance.of_plan(&plan)),
            plan: Arc::clone(&plan),
        };
        let stale = self.known.try_with(py, |known| known.replace(fresh));
        drop(stale); // may run finalizers, so not under the lock
        plan
    }

    /// Announces the handler's level anew where a record is below the one announced: it must have been lowered since.
    #[inline]
    pub(crate) fn announce_level(&self, handler: &Bound<'_, PyAny>, level: i32) {
        if !self.is_announced(level) {
            self.lower_level(handler, level);
        }
    }

    #[cold]
    fn lower_level(&self, handler: &Bound<'_, PyAny>, level: i32) {
        let set = handler
            .getattr(pyo3::intern!(handler.py(), "level"))
            .and_then(|level| level.extract::<i32>());
        let level = level.min(set.unwrap_or(level));
        self.announced_level.store(level, Ordering::Relaxed);
        self.member.lower_level(level);
    }

    /// Trouble is told on stderr while `logging.raiseExceptions` is true.
    #[inline]
    pub(crate) fn mirror(&self, raises: bool) {
        if self.reports_trouble.load(Ordering::Relaxed) != raises {
            self.reports_trouble.store(raises, Ordering::Relaxed); // lone flags, of which the latest counts
            self.session.report_trouble(raises);
        }
    }

    fn mirror_raise_exceptions(&self, py: Python<'_>, originals: &Originals) -> PyResult<()> {
        let raises = peek(
            originals.logging_dict.bind(py),
            pyo3::intern!(py, "raiseExceptions"),
        )
        .map_or(Ok(false), |raises| raises.to_owned().is_truthy())?;
        self.mirror(raises);
        Ok(())
    }
}

/// Where the level stands in an encoded record.
const LEVEL_AT: std::ops::Range<usize> = 12..16;

fn make_plan(
    handler: &Bound<'_, PyAny>,
    originals: &Originals,
    number: impl FnOnce(&str) -> Option<u32>,
) -> Plan {
    let compiled = || -> PyResult<Option<Compiled>> {
        let Some(specification) = describe(&formatter_of(handler, originals)?, originals)? else {
            return Ok(None);
        };
        let Ok(formatter) = Formatter::compile(&specification) else {
            return Ok(None);
        };
        let is_default = specification
            == Specification {
                fmt: Some("%(message)s".to_owned()),
                ..Specification::default()
            };
        let id = if is_default {
            Some(0)
        } else {
            number(&specification.to_json())
        };
        Ok(id.map(|id| Compiled::new(formatter, id)))
    };
    match compiled() {
        Ok(Some(compiled)) => Plan::Server(Box::new(compiled)),
        Ok(None) | Err(_) => Plan::Python,
    }
}

/// Encodes `record` as `handler` would send it; its formatter has the number 1.
#[pyfunction]
pub(crate) fn encode<'py>(
    py: Python<'py>,
    handler: &Bound<'py, PyAny>,
    record: &Bound<'py, PyAny>,
    record_max_bytes: usize,
) -> PyResult<Bound<'py, PyBytes>> {
    let originals = Originals::get(py)?;
    let plan = match Observation::take(handler, originals) {
        Ok(Some(_)) => make_plan(handler, originals, |_| Some(1)),
        _ => Plan::Python,
    };
    let mut bytes = Vec::new();
    Job {
        originals,
        handler,
        record,
        record_max: record_max_bytes,
        only_shown: false,
    }
    .encode(&plan, &mut bytes)?;
    Ok(PyBytes::new(py, &bytes))
}

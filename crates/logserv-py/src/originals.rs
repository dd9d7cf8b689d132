//! What `logging` looked like when this module was imported: the functions whose results the server can give.
//!
//! In: the modules `logging`, `string` and `time`. Out: [`Originals`], to be compared by identity. A function that
//! somebody had replaced before we came is not an original, so that its results are made in Python from the start.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString};

use crate::role::roles;

/// How the reading of a record could be intercepted, other than through its `__dict__`.
const RECORD_HOOKS: [&str; 10] = [
    "__getattribute__",
    "__getattr__",
    "__setattr__",
    "message",
    "asctime",
    "created",
    "msecs",
    "exc_info",
    "exc_text",
    "stack_info",
];

/// What makes a line of `JsonFormatter`.
const JSON_METHODS: [&str; 9] = [
    "format",
    "usesTime",
    "add_fields",
    "process_log_record",
    "serialize_log_record",
    "jsonify_log_record",
    "_exception",
    "_exception_head",
    "_timestamp",
];

/// A name and what an object had under it at first.
pub(crate) struct Part {
    pub(crate) name: Py<PyString>,
    /// `None`: nothing, or for a method: nothing of the library's own.
    original: Option<Py<PyAny>>,
}

impl Part {
    pub(crate) fn attribute(owner: &Bound<'_, PyAny>, name: &str) -> Self {
        let name = PyString::intern(owner.py(), name);
        Part {
            original: owner.getattr(&name).ok().map(Bound::unbind),
            name: name.unbind(),
        }
    }

    /// A function, if it was written in the module of these globals and under this name.
    pub(crate) fn method(owner: &Bound<'_, PyAny>, name: &str, globals: &Bound<'_, PyDict>) -> Self {
        let mut part = Self::attribute(owner, name);
        part.original.take_if(|method| {
            let method = method.bind(owner.py());
            let is_own = method.getattr("__globals__").is_ok_and(|its| its.is(globals))
                && method
                    .getattr("__name__")
                    .is_ok_and(|its| its.eq(name).unwrap_or(false));
            !is_own
        });
        part
    }

    /// Whether `owner` still has the original. A method that never was the library's is always touched.
    pub(crate) fn is_untouched(&self, owner: &Bound<'_, PyAny>) -> bool {
        let Some(original) = &self.original else {
            return false;
        };
        owner
            .getattr(self.name.bind(owner.py()))
            .is_ok_and(|now| now.is(original))
    }

    /// Whether `owner` has what it had at first, be that nothing.
    fn is_unchanged(&self, owner: &Bound<'_, PyAny>) -> bool {
        match (owner.getattr(self.name.bind(owner.py())), &self.original) {
            (Ok(now), Some(original)) => now.is(original),
            (Err(_), None) => true,
            _ => false,
        }
    }
}

/// A class and those of its parts that make a line.
pub(crate) struct Class {
    /// The class.
    pub(crate) class: Py<PyAny>,
    /// Parts that must be the library's own on the class, and absent on the instance.
    pub(crate) fixed: Vec<Part>,
    /// Parts that may change and are described to the server.
    pub(crate) free: Vec<Part>,
}

impl Class {
    fn new(class: &Bound<'_, PyAny>, methods: &[&str], globals: &Bound<'_, PyDict>) -> Self {
        Class {
            fixed: methods
                .iter()
                .map(|name| Part::method(class, name, globals))
                .collect(),
            free: Vec::new(),
            class: class.clone().unbind(),
        }
    }

    /// Whether `object` is exactly of this class, and neither class nor object has a fixed part changed.
    pub(crate) fn made(&self, object: &Bound<'_, PyAny>, state: &Bound<'_, PyDict>) -> bool {
        let py = object.py();
        let class = object.get_type();
        class.is(&self.class)
            && self
                .fixed
                .iter()
                .all(|part| part.is_untouched(&class) && !state.contains(part.name.bind(py)).unwrap_or(true))
    }
}

/// Everything that is compared.
pub(crate) struct Originals {
    /// The module `logging`.
    pub(crate) logging: Py<PyModule>,
    /// The module `time`.
    pub(crate) time: Py<PyModule>,
    /// `time.localtime`.
    pub(crate) localtime: Py<PyAny>,
    /// `time.gmtime`.
    pub(crate) gmtime: Py<PyAny>,
    /// `time.strftime`.
    pub(crate) strftime: Part,
    /// The same as an object.
    pub(crate) strftime_function: Py<PyAny>,
    /// What the module `time` holds.
    pub(crate) time_dict: Py<PyDict>,
    /// What the module `logging` holds.
    pub(crate) logging_dict: Py<PyDict>,
    /// `logging.Handler.format`.
    pub(crate) handler_format: Part,
    /// `logging.Formatter`.
    pub(crate) formatter: Class,
    /// `PercentStyle`, `StrFormatStyle`, `StringTemplateStyle`.
    pub(crate) styles: [Class; 3],
    /// `string.Template`, which the last of them uses.
    pub(crate) template: Class,
    /// `LogRecord.getMessage`.
    pub(crate) get_message: Part,
    /// Whether `Handler.handle` gives the record back (Python 3.12), or that it was taken.
    pub(crate) handle_returns_record: bool,
    record: Py<PyAny>,
    record_hooks: Vec<Part>,
}

impl Originals {
    /// Those of this interpreter, taken at the first call, which is the import of this module.
    ///
    /// # Errors
    /// `logging` is not the standard library's.
    pub(crate) fn get(py: Python<'_>) -> PyResult<&'static Originals> {
        static ORIGINALS: PyOnceLock<Originals> = PyOnceLock::new();
        ORIGINALS.get_or_try_init(py, || Self::take(py))
    }

    fn take(py: Python<'_>) -> PyResult<Self> {
        let logging = py.import("logging")?;
        let time = py.import("time")?;
        let string = py.import("string")?;
        let globals = logging.dict();
        let style = |name| -> PyResult<Class> {
            let class = logging.getattr(name)?;
            let mut style = Class::new(&class, &["format", "_format", "usesTime"], &globals);
            style
                .fixed
                .extend(["asctime_format", "asctime_search"].map(|name| Part::attribute(&class, name)));
            Ok(style)
        };
        let mut formatter = Class::new(
            &logging.getattr("Formatter")?,
            &[
                "format",
                "formatTime",
                "formatException",
                "formatStack",
                "formatMessage",
                "usesTime",
            ],
            &globals,
        );
        formatter.free = ["converter", "default_time_format", "default_msec_format"]
            .map(|name| Part::attribute(formatter.class.bind(py), name))
            .into();
        let mut template = Class::new(&string.getattr("Template")?, &["substitute"], &string.dict());
        template
            .fixed
            .push(Part::attribute(template.class.bind(py), "pattern"));
        let record = logging.getattr("LogRecord")?;
        Ok(Self {
            localtime: time.getattr("localtime")?.unbind(),
            gmtime: time.getattr("gmtime")?.unbind(),
            strftime: Part::attribute(&time, "strftime"),
            strftime_function: time.getattr("strftime")?.unbind(),
            time_dict: time.dict().unbind(),
            logging_dict: globals.clone().unbind(),
            handler_format: Part::method(&logging.getattr("Handler")?, "format", &globals),
            formatter,
            styles: [
                style("PercentStyle")?,
                style("StrFormatStyle")?,
                style("StringTemplateStyle")?,
            ],
            template,
            get_message: Part::method(&record, "getMessage", &globals),
            record_hooks: RECORD_HOOKS
                .iter()
                .map(|name| Part::attribute(&record, name))
                .collect(),
            handle_returns_record: py.version_info() >= (3, 12), // slow to ask
            record: record.unbind(),
            logging: logging.unbind(),
            time: time.unbind(),
        })
    }

    /// `logserv.formatters.JsonFormatter`, once somebody has imported it.
    pub(crate) fn json_formatter(&self, py: Python<'_>) -> Option<&'static Class> {
        static JSON_FORMATTER: PyOnceLock<Class> = PyOnceLock::new();
        if let Some(class) = JSON_FORMATTER.get(py) {
            return Some(class);
        }
        let modules = py.import("sys").ok()?.getattr("modules").ok()?;
        let module = modules
            .cast_into::<PyDict>()
            .ok()?
            .get_item("logserv.formatters")
            .ok()??;
        let module = module.cast_into::<PyModule>().ok()?;
        let class = module.getattr("JsonFormatter").ok()?; // absent while it is being imported
        let own = Class::new(&class, &JSON_METHODS, &module.dict());
        let inherited = ["formatTime", "formatException", "formatStack"];
        let globals = self.logging.bind(py).dict();
        let mut fixed = Class::new(&class, &inherited, &globals).fixed;
        fixed.extend(own.fixed);
        let free = ["converter", "default_time_format", "default_msec_format"];
        let class = Class {
            fixed,
            free: free.map(|name| Part::attribute(&class, name)).into(),
            ..own
        };
        Some(JSON_FORMATTER.get_or_init(py, || class))
    }

    /// Whether the record can be read through its `__dict__` alone, as `Formatter.format` would read it.
    pub(crate) fn record_is_plain(&self, record: &Bound<'_, PyAny>) -> bool {
        let class = record.get_type();
        class.is(&self.record)
            || class.is_subclass(self.record.bind(record.py())).unwrap_or(false)
                && self.record_hooks.iter().all(|hook| hook.is_unchanged(&class))
    }

    /// What `formatException` of a formatter that has the library's own would give, by `logserv._tracebacks`.
    ///
    /// # Errors
    /// What the exception's own code raises.
    pub(crate) fn traceback<'py>(&self, exc_info: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        static FORMAT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let py = exc_info.py();
        let format = FORMAT.get_or_try_init(py, || -> PyResult<Py<PyAny>> {
            Ok(py
                .import("logserv._tracebacks")?
                .getattr("format_exception")?
                .unbind())
        })?;
        format.bind(py).call1((exc_info,))
    }

    /// Whether the record is a plain `LogRecord` with the library's `getMessage`.
    pub(crate) fn record_is_exact(&self, record: &Bound<'_, PyAny>) -> bool {
        let class = record.get_type();
        class.is(&self.record)
            && match roles(record.py()) {
                Some(roles) => roles.record.fits(&class),
                None => self.get_message.is_untouched(&class),
            }
    }
}

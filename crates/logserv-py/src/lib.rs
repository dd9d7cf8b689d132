//! The binding, `logserv._native`: from a `logging.LogRecord` to a wire record in a session's queue.
//!
//! In: handlers and records of Python's `logging`. Out: encoded records, given to `logserv-client`.
//! Here is also decided who renders a line: the server where its result is certain to be Python's, else Python, now.
//! Not here: arguments, exits and everything else that users see (`python/logserv/`); sockets and threads
//! (`logserv-client`). What it offers is described in `python/logserv/_native.pyi`.

mod arguments;
mod caller;
mod clock;
mod cut;
mod encode;
mod exit;
mod extra;
mod factory;
mod fast;
mod followed;
mod gather;
mod glance;
mod handle;
mod logger;
mod look;
mod moment;
mod names;
mod originals;
mod percent;
mod reach;
mod render;
mod role;
mod route;
mod sender;
mod sessions;
mod shape;
mod specification;
mod stamp;
mod surroundings;
mod sys;
mod tags;
mod template;
mod text;
mod usual;
mod values;
mod watch;
mod world;
mod write;

use pyo3::prelude::*;

/// Encodes log records and hands them to the sender thread of their file's session. Private: see `logserv.client`.
#[pymodule(gil_used = true)]
mod _native {
    #[pymodule_export]
    use crate::exit::{begin_exit, flush_all, shutdown};
    #[pymodule_export]
    use crate::handle::{adopt_handlers, set_direct};
    #[pymodule_export]
    use crate::logger::{adopt_loggers, is_remembered, knows_this_logging};
    #[pymodule_export]
    use crate::sender::{Sender, encode};
    use pyo3::exceptions::PyImportError;
    use pyo3::prelude::*;

    use crate::originals::Originals;

    /// Remembers what `logging` looks like before anybody patches it.
    ///
    /// Refuses any interpreter but the first: those that share its lock could load the extension, and would then meet objects
    /// of another interpreter.
    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        if !crate::sys::is_main_interpreter(module.py()) {
            return Err(PyImportError::new_err(
                "logserv._native serves the first interpreter of a process only",
            ));
        }
        module.add(
            "RECORD_MAX_BYTES_DEFAULT",
            logserv_wire::limits::RECORD_LEN_MAX_DEFAULT,
        )?;
        module.add(
            "RECORD_MAX_BYTES_LIMITS",
            (
                crate::encode::RECORD_MAX_MIN,
                logserv_wire::limits::RECORD_LEN_MAX,
            ),
        )?;
        module.add(
            "RING_BYTES_DEFAULT",
            logserv_client::limits::CAPACITY_BYTES_DEFAULT,
        )?;
        module.add("LogRecord", crate::factory::log_record(module)?)?;
        Originals::get(module.py())?;
        crate::sessions::survive_forks();
        Ok(())
    }
}

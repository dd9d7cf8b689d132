//! What `python/logserv/_exit.py` asks for when a process ends, and flushing all that it has.
//!
//! In: limits in seconds. Out: whether all is done, or how much is left. All of it waits without the GIL.

use pyo3::prelude::*;

use crate::arguments::{level_from, seconds};
use crate::sessions;

/// Waits until every record of this process has reached `level`; see [`sessions::flush_all`].
#[pyfunction]
pub(crate) fn flush_all(py: Python<'_>, timeout_s: f64, level: &str) -> PyResult<bool> {
    let (timeout, level) = (seconds(timeout_s)?, level_from(level)?);
    Ok(py.detach(|| sessions::flush_all(timeout, level)))
}

/// Ends all sessions; see [`logserv_client::shutdown`].
#[pyfunction]
pub(crate) fn shutdown(py: Python<'_>, without_server_s: f64, with_server_s: f64) -> PyResult<u64> {
    let (without_server, with_server) = (seconds(without_server_s)?, seconds(with_server_s)?);
    Ok(py.detach(|| logserv_client::shutdown(without_server, with_server)))
}

/// From here on no call waits longer than this for space; see [`logserv_client::begin_exit`].
#[pyfunction]
pub(crate) fn begin_exit(py: Python<'_>, without_server_s: f64, with_server_s: f64) -> PyResult<()> {
    let (without_server, with_server) = (seconds(without_server_s)?, seconds(with_server_s)?);
    py.detach(|| logserv_client::begin_exit(without_server, with_server));
    Ok(())
}

//! Arguments of the functions that Python sees, as what they mean: numbers of seconds, and names.

use std::time::Duration;

use logserv_client::{Level, WhenFull};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// Any number as a time to wait: none below 0, and no end above what can be counted.
pub(crate) fn patience(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}

/// A limit in seconds.
///
/// # Errors
/// It is negative, no number, or too large.
pub(crate) fn seconds(number: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(number).map_err(|error| {
        PyValueError::new_err(format!(
            "expected a number of seconds, received {number}: {error}"
        ))
    })
}

/// How safe a record is to be.
///
/// # Errors
/// There is none of this name.
pub(crate) fn level_from(name: &str) -> PyResult<Level> {
    match name {
        "received" => Ok(Level::Received),
        "written" => Ok(Level::Written),
        "synced" => Ok(Level::Synced),
        other => Err(PyValueError::new_err(format!(
            "expected the level 'received', 'written' or 'synced', received {other:?}"
        ))),
    }
}

/// What becomes of a record for which there is no space.
///
/// # Errors
/// There is none of this name.
pub(crate) fn when_full_from(name: &str) -> PyResult<WhenFull> {
    match name {
        "block" => Ok(WhenFull::Block),
        "drop_newest" => Ok(WhenFull::DropNewest),
        other => Err(PyValueError::new_err(format!(
            "expected when_full 'block' or 'drop_newest', received {other:?}"
        ))),
    }
}

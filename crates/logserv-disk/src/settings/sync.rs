//! When a file's lines are made durable: the arguments `sync`, `sync_interval_s` and `sync_level`, which are ours.
//!
//! In: a handler's arguments. Out: a [`SyncPolicy`]. Pure.
//! Not here: the syncing (`log_file/durable.rs`), and when it is due: that is the server's, off the way of the lines.

use std::time::Duration;

use super::arguments::Arguments;
use crate::error::SettingsError;
use crate::limits::{SYNC_INTERVAL_DEFAULT_S, SYNC_INTERVAL_MAX_S};

/// When a file's lines are made durable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SyncPolicy {
    /// `never`: the kernel writes them to the disk when it sees fit, on Linux within half a minute.
    #[default]
    Never,
    /// `interval`: at the latest so long after they were written.
    Interval(Duration),
    /// `level`: after each record of this level or above, with all before it.
    Level(i32),
    /// `always`: after each batch.
    Always,
}

impl SyncPolicy {
    /// The names of the arguments.
    pub(super) const ARGUMENTS: [&'static str; 3] = ["sync", "sync_interval_s", "sync_level"];

    /// True if a record of `level_no` is to be made durable as soon as it is written.
    #[must_use]
    pub fn is_due_after(self, level_no: i32) -> bool {
        match self {
            Self::Never | Self::Interval(_) => false,
            Self::Level(least) => level_no >= least,
            Self::Always => true,
        }
    }

    pub(super) fn read(arguments: &Arguments<'_>) -> Result<Self, SettingsError> {
        let interval = read_interval(arguments)?;
        let level = read_level(arguments)?;
        match arguments.text("sync")? {
            None | Some("never") => Ok(Self::Never),
            Some("interval") => Ok(Self::Interval(interval)),
            Some("level") => Ok(Self::Level(level)),
            Some("always") => Ok(Self::Always),
            Some(_) => Err(arguments.wrong("sync", "\"never\", \"interval\", \"level\" or \"always\"")),
        }
    }
}

fn read_interval(arguments: &Arguments<'_>) -> Result<Duration, SettingsError> {
    let wanted = "a number of seconds above 0";
    let seconds = arguments
        .number("sync_interval_s", wanted)?
        .unwrap_or(SYNC_INTERVAL_DEFAULT_S);
    Some(seconds)
        .filter(|seconds| *seconds > 0.0 && *seconds <= SYNC_INTERVAL_MAX_S)
        .map(Duration::from_secs_f64)
        // One that is shorter than a nanosecond is none.
        .filter(|interval| !interval.is_zero())
        .ok_or_else(|| arguments.wrong("sync_interval_s", wanted))
}

/// Python's names for levels; other names are the client's, which sends their numbers.
fn read_level(arguments: &Arguments<'_>) -> Result<i32, SettingsError> {
    const ERROR: i32 = 40;
    arguments.level("sync_level").map(|level| level.unwrap_or(ERROR))
}

/// The number of one of Python's levels.
pub(super) fn level_of(name: &str) -> Option<i32> {
    match name {
        "NOTSET" => Some(0),
        "DEBUG" => Some(10),
        "INFO" => Some(20),
        "WARNING" | "WARN" => Some(30),
        "ERROR" => Some(40),
        "CRITICAL" | "FATAL" => Some(50),
        _ => None,
    }
}

//! What becomes of rotated files: the arguments `compress`, `retain_age_s` and `retain_bytes`.
//!
//! In: a handler's arguments. Out: how they are compressed, and what is kept. Pure.
//! Not here: `backupCount`, which is the library's (`settings.rs`).

use std::time::Duration;

use super::arguments::Arguments;
use crate::error::SettingsError;
use crate::form::Compression;
use crate::limits::RETAIN_AGE_MAX_S;
use crate::retention::Retention;

/// The names of the arguments, which only classes take that rotate.
pub(super) const ARGUMENTS: [&str; 3] = ["compress", "retain_age_s", "retain_bytes"];

pub(super) fn read_compress(arguments: &Arguments<'_>) -> Result<Option<Compression>, SettingsError> {
    match arguments.text("compress")? {
        None => Ok(None),
        Some("gzip") => Ok(Some(Compression::Gzip)),
        Some("zstd") => Ok(Some(Compression::Zstd)),
        Some(_) => Err(arguments.wrong("compress", "\"gzip\", \"zstd\" or nothing")),
    }
}

pub(super) fn read_retention(arguments: &Arguments<'_>) -> Result<Retention, SettingsError> {
    let wanted = "a number of seconds above 0";
    let age = match arguments.number("retain_age_s", wanted)? {
        None => None,
        Some(seconds) if seconds > 0.0 && seconds <= RETAIN_AGE_MAX_S => {
            Some(Duration::from_secs_f64(seconds))
        }
        Some(_) => return Err(arguments.wrong("retain_age_s", wanted)),
    };
    let bytes = arguments.count("retain_bytes", u64::MAX)?;
    if bytes == Some(0) {
        return Err(arguments.wrong("retain_bytes", "a number of bytes above 0"));
    }
    Ok(Retention { age, bytes })
}

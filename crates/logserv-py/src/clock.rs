//! Remembers the local zone's offset for one second, for most records share it with the one before.
//!
//! In: `record.created`. Out: seconds east of UTC, as `time.localtime(record.created)` would have it.
//! Not here: rendering a time; that is `logserv-format`.

use std::sync::Mutex;

use crate::sys::{self, ZoneMark};

/// One second and what libc said about it.
#[derive(Debug, Clone, Copy)]
struct Answer {
    second: i64,
    zone: ZoneMark,
    offset_s: Option<i32>,
}

static LAST: Mutex<Option<Answer>> = Mutex::new(None);

/// Seconds east of UTC at `created`; `None` for a time that libc cannot break down.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the cast saturates, and libc refuses such years"
)]
pub(crate) fn utc_offset_s(created: f64) -> Option<i32> {
    if !created.is_finite() {
        return None;
    }
    let second = created.floor() as i64; // Python rounds towards minus infinity too
    let zone = sys::zone_mark();
    // A poisoned or taken lock is no reason to wait: ask libc.
    if let Ok(last) = LAST.try_lock()
        && let Some(answer) = *last
        && answer.second == second
        && answer.zone == zone
    {
        return answer.offset_s;
    }
    let offset_s = sys::utc_offset_s(second);
    // The first localtime_r reads TZ and sets the zone globals: mark what is in force now.
    let zone = sys::zone_mark();
    if let Ok(mut last) = LAST.try_lock() {
        *last = Some(Answer {
            second,
            zone,
            offset_s,
        });
    }
    offset_s
}

//! Remembers the local zone's offset for one second, for most records share it with the one before.
//!
//! In: `record.created`. Out: seconds east of UTC, as `time.localtime(record.created)` would have it.
//! Not here: rendering a time; that is `logserv-format`.

use std::sync::atomic::{AtomicI64, Ordering};

use pyo3::Python;

use crate::sys;

/// When somebody asked last, for which second, with which mark of the zone in force, and the answer: written and read with the
/// GIL. Zones that differ only in when summer begins have the same mark: no answer is older than a second.
static LAST: [AtomicI64; 7] = [const { AtomicI64::new(UNKNOWN) }; 7];

/// No second, and no answer.
const UNKNOWN: i64 = i64::MIN;

/// Seconds east of UTC at `created`; `None` for a time that libc cannot break down.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the cast saturates, and libc refuses such years"
)]
#[inline]
pub(crate) fn utc_offset_s(_attached: Python<'_>, created: f64) -> Option<i32> {
    if !created.is_finite() {
        return None;
    }
    let second = created.floor() as i64; // Python rounds towards minus infinity too
    let [names, more_names, timezone, daylight] = sys::zone_mark();
    let now = sys::now_s();
    let question = [now, second, names, more_names, timezone, daylight];
    // Relaxed: with the GIL, here and below.
    let is_known = LAST
        .iter()
        .zip(question)
        .all(|(last, now)| last.load(Ordering::Relaxed) == now);
    let answer = if is_known {
        LAST[6].load(Ordering::Relaxed)
    } else {
        ask(now, second)
    };
    i32::try_from(answer).ok()
}

#[cold]
fn ask(now: i64, second: i64) -> i64 {
    let answer = sys::utc_offset_s(second).map_or(UNKNOWN, i64::from);
    // The first localtime_r reads TZ and sets the zone globals: mark what is in force now.
    let [names, more_names, timezone, daylight] = sys::zone_mark();
    let all = [now, second, names, more_names, timezone, daylight, answer];
    for (last, now) in LAST.iter().zip(all) {
        last.store(now, Ordering::Relaxed);
    }
    answer
}

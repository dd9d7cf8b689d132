//! The time of a record, as `LogRecord.__init__` of this Python version computes it.
//!
//! In: the system's clock, which is `time.time`'s. Out: `created`, `msecs` and `relativeCreated`.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::world::Start;

/// See the file's head.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// Seconds since 1970.
    pub(crate) created: f64,
    pub(crate) msecs: f64,
    /// Milliseconds since `logging` was imported.
    pub(crate) relative_created: f64,
}

const NANOSECONDS: i64 = 1_000_000_000;

impl Moment {
    /// Now.
    #[inline]
    pub(crate) fn now(start: Start) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::at(i64::try_from(now.as_nanos()).unwrap_or(i64::MAX), start)
    }

    /// At so many nanoseconds since 1970.
    #[expect(clippy::cast_precision_loss, reason = "as Python does")]
    fn at(now: i64, start: Start) -> Self {
        match start {
            Start::Seconds(start) => {
                let created = if now % NANOSECONDS == 0 {
                    (now / NANOSECONDS) as f64
                } else {
                    now as f64 / 1e9
                };
                Self {
                    created,
                    msecs: ((created - created.trunc()) * 1000.0).trunc(),
                    relative_created: (created - start) * 1000.0,
                }
            }
            Start::Nanoseconds(start) => {
                let created = now as f64 / 1e9;
                let mut msecs = (now % NANOSECONDS / 1_000_000) as f64;
                if now % NANOSECONDS / 1_000_000 == 999 && created.trunc() != (now / NANOSECONDS) as f64 {
                    msecs = 0.0; // rounded up to the next second
                }
                Self {
                    created,
                    msecs,
                    relative_created: (now - start) as f64 / 1e6,
                }
            }
        }
    }
}

//! When the next batch goes: records are gathered for a moment, for longer while batches are large.
//!
//! In: what was sent and when. Out: waits. Pure. Why it gathers at all: a system call, a frame and an acknowledgement for
//! each record cost more than the record.

use std::time::{Duration, Instant};

use crate::limits::{BUSY_BATCH_LEN, DOZE, LINGER_MAX, LINGER_MIN};

/// See the file's head.
#[derive(Debug)]
pub(crate) struct Pace {
    linger: Duration,
    next_send: Instant,
    last_activity: Instant,
}

impl Pace {
    /// At the start of a session.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            linger: LINGER_MIN,
            next_send: now,
            last_activity: now,
        }
    }

    /// A connection is open: what has waited for it goes at once.
    pub(crate) fn connected(&mut self, now: Instant) {
        self.next_send = now;
        self.last_activity = now;
    }

    /// A record has woken the sender: more may follow at once.
    pub(crate) fn woken(&mut self, now: Instant) {
        self.next_send = now + self.linger;
        self.last_activity = now;
    }

    /// A batch of `len` bytes goes out.
    pub(crate) fn sent(&mut self, len: usize, now: Instant) {
        self.linger = if len >= BUSY_BATCH_LEN {
            self.linger * 2
        } else {
            self.linger / 2
        };
        self.linger = self.linger.clamp(LINGER_MIN, LINGER_MAX);
        self.next_send = now + self.linger;
        self.last_activity = now;
    }

    /// Something else goes out.
    pub(crate) fn active(&mut self, now: Instant) {
        self.last_activity = now;
    }

    /// How long until the next batch may go.
    pub(crate) fn pause(&self, now: Instant) -> Duration {
        self.next_send.saturating_duration_since(now)
    }

    /// Whether something has gone out lately.
    pub(crate) fn is_lively(&self, now: Instant) -> bool {
        now < self.last_activity + DOZE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_batches_are_gathered_for_longer_up_to_the_limit_and_small_ones_for_less() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        assert_eq!(pace.pause(now), Duration::ZERO);
        for linger_ms in [2, 4, 5, 5] {
            pace.sent(BUSY_BATCH_LEN, now);
            assert_eq!(pace.pause(now), Duration::from_millis(linger_ms));
            now += pace.pause(now);
        }
        for linger_us in [2500, 1250, 1000, 1000] {
            pace.sent(100, now);
            assert_eq!(pace.pause(now), Duration::from_micros(linger_us));
        }
        assert!(pace.is_lively(now) && !pace.is_lively(now + DOZE));
    }
}

//! How long to wait before the next attempt to connect: doubled each time, with jitter, so that the clients of a server
//! that comes back do not all arrive in the same instant. Pure but for a seed.

use std::time::Duration;

use crate::limits::{REFUSED_RETRY_FIRST, REFUSED_RETRY_MAX, RETRY_FIRST, RETRY_MAX};

/// The waits of one session.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Option<Duration>,
    random: u64,
}

impl Backoff {
    /// From a seed that differs between processes.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            next: None,
            random: seed | 1,
        }
    }

    /// The wait after a failure; `refused`: the server was there and said no.
    pub(crate) fn after_failure(&mut self, refused: bool) -> Duration {
        let (first, max) = if refused {
            (REFUSED_RETRY_FIRST, REFUSED_RETRY_MAX)
        } else {
            (RETRY_FIRST, RETRY_MAX)
        };
        let wait = self.next.unwrap_or(first).clamp(first, max);
        self.next = Some((wait * 2).min(max));
        // Three quarters to the whole of it: the longest wait stays the longest.
        wait - wait.mul_f64(self.fraction() / 4.0)
    }

    /// A connection has done something useful.
    pub(crate) fn reset(&mut self) {
        self.next = None;
    }

    /// Between 0 and 1, by xorshift.
    fn fraction(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        f64::from((self.random >> 40) as u32) / f64::from(1_u32 << 24)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_their_limit_and_begin_again_after_success() {
        let mut backoff = Backoff::new(42);
        let mut nominal = RETRY_FIRST;
        for _ in 0..20 {
            let wait = backoff.after_failure(false);
            assert!(
                wait <= nominal && wait >= nominal.mul_f64(0.75),
                "{wait:?} of {nominal:?}"
            );
            nominal = (nominal * 2).min(RETRY_MAX);
        }
        assert!(backoff.after_failure(true) <= REFUSED_RETRY_MAX);
        backoff.reset();
        assert!(backoff.after_failure(false) <= RETRY_FIRST);
    }
}

//! What the state machine does for a session whose records go through a ring: the connection carries questions only, and
//! a word to the ring's reader where it sleeps.
//!
//! In: the time, the ring's numbers. Out: [`Step`]s. As pure as the rest of the state machine: the ring is memory.

use std::time::{Duration, Instant};

use super::{Sender, State, Step};
use crate::config::Protocol;
use crate::limits::{LINGER_MAX, RING_DOZE, RING_TICK, STALLED_TICK};
use crate::ring::Ring;

/// What is known of the ring on the present connection.
#[derive(Debug, Default)]
pub(crate) struct RingUse {
    /// The server reads it.
    is_attached: bool,
    /// Since when the reader is being woken, until it is seen awake; and for the first how many records.
    waking_since: Option<Instant>,
    woken_for: u64,
    /// Records that were in the ring at the last look, and when they became more.
    pushed: u64,
    pushed_at: Option<Instant>,
}

impl State {
    /// The server reads the ring from now on.
    pub(crate) fn attached(&mut self, now: Instant) {
        self.connected(Protocol::Two, now);
        self.ring_use = RingUse {
            is_attached: true,
            pushed_at: Some(now),
            ..RingUse::default()
        };
    }

    /// Whether it does.
    pub(crate) fn is_attached(&self) -> bool {
        self.ring_use.is_attached
    }

    /// No server takes the ring: the queue takes what is in it, and everything from here on.
    pub(crate) fn leave_ring(&mut self) {
        let shift = self.carrier.leave_ring();
        self.questions.renumber(shift);
    }

    /// Another ring takes the place of one that nobody has begun to read, or that is empty; the next connection names it.
    pub(crate) fn exchange_ring(&mut self, other: Box<Ring>) {
        let shift = self.carrier.exchange_ring(other);
        self.questions.renumber(shift);
    }

    /// The sender ends. A closed session leaves no empty ring behind.
    pub(crate) fn end_sender(&mut self, now: Instant) {
        self.disconnected(now);
        self.sender = Sender::None;
        self.retire_if_closed();
    }

    /// Removes the empty ring of a closed session that has no sender.
    pub(crate) fn retire_if_closed(&mut self) {
        if self.is_closing && self.sender == Sender::None {
            self.carrier.retire_ring();
        }
    }

    /// Somebody asks for the end.
    pub(crate) fn begin_close(&mut self) {
        self.is_closing = true;
        self.failures_at_close = self.failures;
    }

    /// Whether waiting for the end is in vain and not needed: what is left survives in the ring, and the server was just
    /// looked for.
    pub(crate) fn is_kept(&self) -> bool {
        let has_looked = self.failures > self.failures_at_close || self.sender == Sender::None;
        self.ring_survives() && !self.connection().0 && has_looked
    }

    /// Whether the end of this process leaves the ring to a server that comes later. A sealed one lives only as long as we,
    /// or a server that was passed it; with the first process of a container goes its memory.
    pub(crate) fn ring_survives(&self) -> bool {
        !self.is_last && self.carrier.ring().is_some_and(|ring| !ring.is_sealed())
    }

    /// Whether the ring's reader sleeps, and nobody has begun to wake it.
    pub(crate) fn reader_is_to_be_woken(&mut self) -> bool {
        let sleeps = self.is_attached()
            && self
                .carrier
                .ring()
                .is_some_and(|ring| ring.pushed() > self.ring_use.woken_for && ring.reader_sleeps());
        if !sleeps {
            self.ring_use.waking_since = None;
        }
        sleeps && self.ring_use.waking_since.is_none()
    }

    /// What to do on a connection to whose server the ring is attached, besides questions.
    pub(super) fn ring_step(&mut self, now: Instant) -> Step {
        self.look_for_pushes(now);
        let is_over = |since: Instant| now >= since + RING_TICK;
        if self.ring_use.waking_since.is_some_and(is_over) {
            self.ring_use.waking_since = None;
        }
        if self.reader_is_to_be_woken() {
            self.ring_use.waking_since = Some(now);
            self.ring_use.woken_for = self.carrier.last();
            return Step::Wake;
        }
        let is_lively = self.ring_use.pushed_at.is_some_and(|at| now < at + RING_DOZE);
        if self.questions.is_outstanding() {
            return Step::AwaitAnswer(if is_lively { LINGER_MAX } else { STALLED_TICK });
        }
        if self.is_closing {
            return if self.is_finished() {
                Step::Finish
            } else {
                Step::Doze(LINGER_MAX)
            };
        }
        if is_lively || self.carrier.pending_records() > 0 {
            Step::Doze(RING_TICK)
        } else {
            Step::Sleep(self.announcement_due_in(now))
        }
    }

    fn look_for_pushes(&mut self, now: Instant) {
        let pushed = self.carrier.last();
        if pushed != self.ring_use.pushed {
            self.ring_use.pushed = pushed;
            self.ring_use.pushed_at = Some(now);
        }
    }

    /// How often a call that waits for the server's progress must look for it; `None`: it is told.
    pub(crate) fn tick(&self, tick: Duration) -> Option<Duration> {
        self.carrier.ring().map(|_| tick)
    }
}

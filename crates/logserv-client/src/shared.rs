//! What a session's callers and its sender thread share: the [`State`] behind one mutex, and who wakes whom.
//!
//! The mutex is held for copying one record or taking one batch by reference, never over a system call but those that wake
//! somebody, start the thread, or make and remove the ring, and never over foreign code; a thread that holds it cannot
//! come here again.
//! (A signal handler of Python runs between instructions of Python, never inside; one of C must not log.)
//!
//! One [`Shared`] belongs to one process: a forked child finds its parent's `generation` in it and makes another one,
//! without touching the mutex, which a thread that the child does not have may hold.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config::{Push, Refusal, SessionConfig, Statistics};
use crate::configuration::{Change, Configuration, Configurations};
use crate::formatters::Formatters;
use crate::limits::{
    ASK_AGAIN, EXIT_WITH_SERVER, EXIT_WITHOUT_SERVER, FLUSH_WITHOUT_SERVER, SENDER_STACK_LEN, SPACE_TICK,
    WRITTEN_TICK,
};
use crate::questions::Ask;
use crate::ring::{self, Made};
use crate::state::{Sender, State, Verdict};
use crate::{exit, sender, sys, trouble};

/// What a session keeps over a fork.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) config: SessionConfig,
    /// Takes the place of what `config` says of class, arguments, level and time.
    pub(crate) configurations: Configurations,
    pub(crate) formatters: Formatters,
    pub(crate) tells_trouble: AtomicBool,
    /// Whether a server has ever welcomed this configuration: from then on nothing may truncate.
    pub(crate) was_welcomed: AtomicBool,
    /// Whether the last server that let us in speaks 2.0.
    pub(crate) renders: AtomicBool,
    /// Whether a refusal waits to be taken: a hint. In a forked child it may be the parent's.
    pub(crate) may_have_refusal: AtomicBool,
}

/// See the file's head.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) generation: u64,
    pub(crate) common: Arc<Common>,
    pub(crate) descriptor: sys::Descriptor,
    state: Mutex<State>,
    /// The sender waits here.
    work: Condvar,
    /// Callers wait here: for space, an answer, the end.
    news: Condvar,
}

impl Shared {
    /// For the present process. Starts nothing.
    pub(crate) fn new(common: Arc<Common>) -> Arc<Self> {
        let state = State::new(&common.config, Instant::now());
        let shared = Arc::new(Self {
            generation: sys::generation(),
            common,
            descriptor: sys::Descriptor::claim(),
            state: Mutex::new(state),
            work: Condvar::new(),
            news: Condvar::new(),
        });
        exit::register(&shared);
        shared
    }

    /// The state, locked. A panic elsewhere leaves it usable: every change of it is complete before anything can panic.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ---- for callers

    /// See [`Session::push`](crate::Session::push).
    pub(crate) fn push(self: &Arc<Self>, record: &[u8], may_wait: bool) -> Push {
        let mut state = self.lock();
        self.choose_carrier(&mut state);
        let push = state.push(record, may_wait);
        if push == Push::Stored {
            self.start_or_wake(&mut state, false);
        }
        push
    }

    /// Makes the ring before the first record, where there can be one.
    fn choose_carrier(&self, state: &mut State) {
        if !state.carrier.is_undecided() {
            return;
        }
        // What a question has left in the queue goes before anything else.
        let is_free = state.carrier.pending_records() == 0;
        let made = if is_free {
            ring::make(&self.common, state.carrier.limit())
        } else {
            Made::NotHere
        };
        let ring = match made {
            Made::Ring(ring) => Some(ring),
            Made::NotHere => None,
            Made::Failed(reason) => {
                self.tell_no_ring(&reason);
                None
            }
        };
        state.carrier.decide(ring);
    }

    fn tell_no_ring(&self, reason: &str) {
        static TOLD: AtomicBool = AtomicBool::new(false);
        // Relaxed: lone flags.
        if self.common.tells_trouble.load(Ordering::Relaxed) && !TOLD.swap(true, Ordering::Relaxed) {
            sys::write_stderr(&trouble::no_ring_line(&self.common.config, reason));
        }
    }

    /// See [`Session::reconfigure`](crate::Session::reconfigure).
    pub(crate) fn reconfigure(self: &Arc<Self>, new: &Configuration, configured_at_s: f64) {
        let is_newer = configured_at_s > self.common.configurations.configured_at_s();
        let change = self.common.configurations.adopt(new, configured_at_s);
        let mut state = self.lock();
        // A file that nobody here holds open is opened anew by a new handler, as the library's would; a handler that is
        // used again after it was closed goes on where it was.
        if is_newer && (change == Change::File || (change != Change::None && state.sender == Sender::None)) {
            self.common.was_welcomed.store(false, Ordering::Relaxed); // a lone flag; the mutex orders the rest
        }
        let needs_ring = change != Change::None
            && state.carrier.ring_mut().is_some_and(|ring| !ring.describe())
            && state.carrier.pending_records() == 0;
        if needs_ring {
            state.carrier.retire_ring(); // the next one has room to say what this one could not
        }
        if state.sender != Sender::None
            && (change == Change::File || change == Change::Level && state.is_1_0() || needs_ring)
        {
            state.reopens = true;
            state.tells_anew = state.carrier.ring().is_some();
            self.start_or_wake(&mut state, true);
        }
    }

    /// See [`Session::adopt_limits`](crate::Session::adopt_limits).
    pub(crate) fn adopt_limits(self: &Arc<Self>, capacity_bytes: usize, announce_drops: bool) {
        let mut state = self.lock();
        state.adopt(capacity_bytes, announce_drops);
        self.enlarge_ring(&mut state, capacity_bytes);
        drop(state);
        self.tell(); // there may be space now
    }

    /// Exchanges a ring that is too small for what a newer handler wants, where that can be done without two servers' or
    /// two rings' reading the same records: one that nobody has read yet, or an empty one. Any other stays as it is.
    fn enlarge_ring(self: &Arc<Self>, state: &mut State, wanted: usize) {
        let Some(ring) = state.carrier.ring().filter(|ring| ring.capacity() < wanted) else {
            return;
        };
        if !ring.is_known() {
            if let Made::Ring(larger) = ring::make(&self.common, wanted) {
                state.carrier.exchange_ring(larger);
            }
        } else if state.carrier.pending_records() == 0 {
            state.carrier.retire_ring();
        } else {
            return;
        }
        if state.sender != Sender::None {
            state.reopens = true;
            self.start_or_wake(state, true);
        }
    }

    /// Waits until `len` bytes fit, until `until` at most, or as long as the end of the process allows.
    pub(crate) fn wait_for_space(self: &Arc<Self>, len: usize, until: Instant) -> bool {
        let since = Instant::now();
        let mut state = self.lock();
        state.waiters += 1;
        self.start_or_wake(&mut state, true);
        let has_space = loop {
            match state.has_space(len) {
                Some(true) => break true,
                None => break false,
                Some(false) => {}
            }
            let now = Instant::now();
            let left = exit::limit_for_space(&state, since, until).saturating_duration_since(now);
            if left.is_zero() {
                state.give_up();
                self.news.notify_all(); // who waits here drops at once now
                break false;
            }
            state = self.wait_for_news(state, left, SPACE_TICK);
        };
        state.waiters -= 1;
        has_space
    }

    /// Asks and waits for the answer. `false` also: no server within 0.25 s, no time.
    pub(crate) fn ask(self: &Arc<Self>, ask: Ask, timeout: Duration) -> bool {
        let start = Instant::now();
        let mut state = self.lock();
        if let Ask::Flush(level) = ask
            && state.carrier.pending_records() == 0
            && (level <= crate::Level::Written || state.written() == 0)
        {
            return true;
        }
        self.choose_carrier(&mut state);
        let mut asked = state.ask(ask, start);
        state.waiters += 1;
        self.start_or_wake(&mut state, true);
        let answer = loop {
            let now = Instant::now();
            let verdict = state.verdict(&asked);
            if let Verdict::Final(answer) = verdict {
                break answer;
            }
            let limit = time_limit(&state, start, timeout, FLUSH_WITHOUT_SERVER);
            let mut left = limit.min(exit::limit(&state, now)).saturating_duration_since(now);
            if left.is_zero() {
                break false;
            }
            if verdict == Verdict::NotYet {
                let again = asked.at + ASK_AGAIN;
                if now >= again {
                    state.ask_again(&mut asked, now);
                    self.start_or_wake(&mut state, true);
                } else {
                    left = left.min(again - now);
                }
            }
            state = self.wait_for_news(state, left, WRITTEN_TICK);
        };
        state.questions.forget(asked.token);
        state.waiters -= 1;
        answer
    }

    /// Asks the sender to end once all is written.
    pub(crate) fn begin_close(self: &Arc<Self>) {
        let mut state = self.lock();
        state.begin_close();
        if !state.is_finished() {
            self.start_or_wake(&mut state, true);
        } else if state.sender != Sender::None {
            self.wake(&mut state);
        }
    }

    /// Waits until everything pushed before the call is written and the sender has ended, or somebody pushes again.
    pub(crate) fn finish_close(&self, start: Instant, timeout: Duration, without_server: Duration) -> bool {
        let mut state = self.lock();
        let target = state.written_or_pending();
        let without_server = if state.is_last { timeout } else { without_server };
        state.waiters += 1;
        if state.sender == Sender::Retrying {
            self.wake(&mut state);
        }
        let is_closed = loop {
            if state.sender == Sender::None && state.carrier.pending_records() == 0 {
                state.retire_if_closed();
                break true;
            }
            if !state.is_closing && state.written() >= target {
                break true;
            }
            if state.is_kept() {
                break false;
            }
            let now = Instant::now();
            let limit = time_limit(&state, start, timeout, without_server);
            let left = limit.min(exit::limit(&state, now)).saturating_duration_since(now);
            if left.is_zero() {
                break false;
            }
            state = self.wait_for_news(state, left, WRITTEN_TICK);
        };
        state.waiters -= 1;
        is_closed
    }

    /// Nobody holds the session any more: what is queued is sent within the limits of an exit, then the sender ends.
    pub(crate) fn abandon(&self) {
        let mut state = self.lock();
        state.begin_close();
        state.retire_if_closed();
        let limit = if state.connection().0 {
            EXIT_WITH_SERVER
        } else {
            EXIT_WITHOUT_SERVER
        };
        state.abandon_at = Some(Instant::now() + limit);
        self.wake(&mut state);
    }

    /// See [`Session::take_refusal`](crate::Session::take_refusal).
    pub(crate) fn take_refusal(&self) -> Option<Refusal> {
        // Relaxed: only a hint; the mutex orders the rest.
        self.common.may_have_refusal.store(false, Ordering::Relaxed);
        self.lock().take_refusal()
    }

    pub(crate) fn statistics(&self) -> Statistics {
        self.lock().statistics()
    }

    /// `tick`: how often to look at a ring, which tells nobody.
    fn wait_for_news<'a>(
        &self,
        state: MutexGuard<'a, State>,
        left: Duration,
        tick: Duration,
    ) -> MutexGuard<'a, State> {
        let pause = state.tick(tick).map_or(left, |tick| left.min(tick));
        self.news
            .wait_timeout(state, pause)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    /// Starts the sender, or wakes it where it would not notice by itself: asleep, or dozing and somebody is in a hurry.
    fn start_or_wake(self: &Arc<Self>, state: &mut State, is_hurry: bool) {
        match state.sender {
            Sender::Asleep => self.wake(state),
            Sender::Dozing => {
                if is_hurry || state.is_urgent() {
                    self.wake(state);
                }
            }
            Sender::Retrying if is_hurry => self.wake(state),
            Sender::Awake | Sender::Retrying => {}
            Sender::None => {
                let shared = Arc::clone(self);
                let start = || {
                    std::thread::Builder::new()
                        .name("logserv-send".to_owned())
                        .stack_size(SENDER_STACK_LEN)
                        .spawn(move || sender::run(&shared))
                };
                // Where the process may not have another thread, the records wait and the next push tries again.
                if sys::with_signals_blocked(start).is_ok() {
                    state.sender = Sender::Awake;
                }
            }
        }
    }

    fn wake(&self, state: &mut State) {
        if state.sender != Sender::None {
            state.sender = Sender::Awake;
        }
        self.work.notify_all();
    }

    // ---- for the sender

    /// The sender naps for `pause`, or sleeps until woken. Returns whether it was woken.
    pub(crate) fn nap<'a>(
        &self,
        mut state: MutexGuard<'a, State>,
        kind: Sender,
        pause: Option<Duration>,
    ) -> (MutexGuard<'a, State>, bool) {
        let until = pause.map(|pause| Instant::now() + pause);
        state.sender = kind;
        while state.sender == kind {
            state = match until {
                None => self.work.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        break;
                    }
                    self.work
                        .wait_timeout(state, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
        let was_woken = state.sender == Sender::Awake;
        state.sender = Sender::Awake;
        (state, was_woken)
    }

    /// The sender has changed something that callers may wait for.
    pub(crate) fn tell(&self) {
        self.news.notify_all();
    }

    /// A refusal waits for [`take_refusal`](Self::take_refusal).
    pub(crate) fn tell_refusal(&self) {
        self.common.may_have_refusal.store(true, Ordering::Relaxed);
    }
}

/// The end of a wait that began at `start`: after `timeout`, or when no server has been there for `without_server`.
fn time_limit(state: &State, start: Instant, timeout: Duration, without_server: Duration) -> Instant {
    let limit = start.checked_add(timeout);
    match state.connection() {
        (true, _) => limit.unwrap_or(start + EXIT_WITH_SERVER),
        // Whether there will be none is not known yet. An exit has its own limit.
        (false, _) if state.is_starting => limit.unwrap_or(start + EXIT_WITH_SERVER),
        (false, since) => {
            let without = since.max(start) + without_server;
            limit.map_or(without, |limit| limit.min(without))
        }
    }
}

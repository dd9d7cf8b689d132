//! The end of the process: all sessions are closed together, within one budget of time and not one each.
//!
//! In: [`shutdown`]. Out: what stays unsent, as a number and as a line on stderr. The list of sessions belongs to one
//! process; a forked child begins another one, without touching its parent's lock.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::limits::EXIT_WINDOW;
use crate::shared::Shared;
use crate::state::State;
use crate::{sys, trouble};

static REGISTERS: sys::AppendOnly<Register> = sys::AppendOnly::new();

#[derive(Debug)]
struct Register {
    generation: u64,
    content: Mutex<Content>,
}

#[derive(Debug, Default)]
struct Content {
    sessions: Vec<Weak<Shared>>,
    budget: Option<Budget>,
    leaving: Option<Leaving>,
}

/// Since when the process is ending, and what its calls may wait for space.
#[derive(Debug, Clone, Copy)]
struct Leaving {
    start: Instant,
    without_server: Duration,
    with_server: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Budget {
    without_server: Instant,
    with_server: Instant,
    over: Instant,
}

fn content() -> MutexGuard<'static, Content> {
    let generation = sys::generation();
    let register = REGISTERS.find_or_append(
        |register| register.generation == generation,
        || Register {
            generation,
            content: Mutex::default(),
        },
    );
    register.content.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Enters a session in this process's list.
pub(crate) fn register(session: &Arc<Shared>) {
    let mut content = content();
    content.sessions.retain(|session| session.strong_count() > 0);
    content.sessions.push(Arc::downgrade(session));
}

/// Until when `flush` and `close` may wait: shortly after [`shutdown`] no longer than it might have.
pub(crate) fn limit(state: &State, now: Instant) -> Instant {
    match content().budget {
        Some(budget) if now < budget.over => {
            if state.connection().0 || state.is_last {
                budget.with_server
            } else {
                budget.without_server
            }
        }
        _ => now + EXIT_WINDOW,
    }
}

/// Closes all sessions of this process together: waits at most `without_server` for those that have no server and
/// `with_server` for the others, in all and not each, and says on stderr what stays unsent. Returns the unsent records.
/// Those in a ring are among them and survive; nobody waits for a server to take them beyond one look for it.
///
/// For the end of the process. What `flush` and `close` wait in the ten seconds after the call is within the same two
/// limits, so that `logging.shutdown`, which flushes and closes every handler, adds nothing. Call it without the GIL.
pub fn shutdown(without_server: Duration, with_server: Duration) -> u64 {
    let start = Instant::now();
    let sessions: Vec<_> = {
        let mut content = content();
        content.budget = Some(Budget {
            without_server: start + without_server,
            with_server: start + with_server.max(without_server),
            over: start + EXIT_WINDOW,
        });
        content.sessions.iter().filter_map(Weak::upgrade).collect()
    };
    for session in &sessions {
        session.begin_close();
    }
    let mut unsent = 0;
    for session in &sessions {
        if session.finish_close(start, with_server, without_server) {
            continue;
        }
        let mut state = session.lock();
        let pending = state.carrier.pending_records();
        unsent += pending;
        let is_told = pending == 0 || std::mem::replace(&mut state.told_unsent, true);
        let (is_connected, obstacle) = (state.connection().0, state.obstacle.clone());
        let is_kept = state.ring_survives();
        drop(state);
        if !is_told && session.common.tells_trouble.load(Ordering::Relaxed) {
            let config = &session.common.config;
            let line = trouble::unsent_line(config, pending, is_kept, is_connected, obstacle.as_ref());
            sys::write_stderr(&line);
        }
    }
    unsent
}

/// The end of the process has begun: from here on no call waits for space longer than this, calls that wait already
/// included, whatever their own bound. Blocks: never. [`shutdown`] follows.
pub fn begin_exit(without_server: Duration, with_server: Duration) {
    let sessions: Vec<_> = {
        let mut content = content();
        content.leaving = Some(Leaving {
            start: Instant::now(),
            without_server,
            with_server,
        });
        content.sessions.iter().filter_map(Weak::upgrade).collect()
    };
    for session in sessions {
        drop(session.lock()); // who has just looked at the limit waits now
        session.tell();
    }
}

/// Until when a call that waits for space since `since` may go on.
pub(crate) fn limit_for_space(state: &State, since: Instant, until: Instant) -> Instant {
    match content().leaving {
        None => until,
        Some(leaving) => {
            let longest = if state.connection().0 {
                leaving.with_server
            } else {
                leaving.without_server
            };
            until.min(leaving.start.max(since) + longest)
        }
    }
}

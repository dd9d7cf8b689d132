//! The sessions of this process: one for each server address and server-side file, shared by all handlers that name it.
//!
//! In: what a handler was constructed with. Out: the [`Session`] to push to. A session outlives its last handler until
//! everything is written, so that a second `dictConfig` goes on where the first one ended.
//! The lock is held over no Python code and no waiting.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use logserv_client::{Address, Level, Session, SessionConfig};

use crate::sys;

/// What two handlers must have in common to share a session.
type Key = (Address, String);

struct Shared {
    session: Arc<Session>,
    members: usize,
    /// What the newest of its handlers was constructed with.
    newest: SessionConfig,
}

impl Shared {
    /// Takes a newer configuration. The level announced is the lowest of those who share, for a server of protocol 1.0
    /// filters by it, and each handler has applied its own already.
    fn adopt(&mut self, config: SessionConfig) {
        let level = if self.members == 0 {
            config.level
        } else {
            config.level.min(self.newest.level)
        };
        if config.configured_at_s >= self.newest.configured_at_s {
            self.session
                .adopt_limits(config.capacity_bytes, config.announce_drops);
            self.newest = config;
        }
        self.announce(level);
    }

    fn announce(&mut self, level: i32) {
        self.newest.level = level;
        let newest = &self.newest;
        self.session.reconfigure(
            &newest.handler_class,
            &newest.arguments,
            level,
            newest.configured_at_s,
        );
    }
}

type Table = BTreeMap<Key, Shared>;

static TABLE: Mutex<Table> = Mutex::new(BTreeMap::new());

thread_local! {
    /// The table's lock while this thread forks.
    static FORKING: RefCell<Option<MutexGuard<'static, Table>>> = const { RefCell::new(None) };
}

fn table() -> MutexGuard<'static, Table> {
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes sure that a child finds the table free, and whole: who forks takes the lock for that time. Nobody who has it
/// waits for anything, least of all for the GIL.
pub(crate) fn survive_forks() {
    sys::at_fork(before_fork, after_fork, after_fork);
}

extern "C" fn before_fork() {
    // Where the thread is about to end, its local values are gone: then the fork goes on without the lock.
    let _ = FORKING.try_with(|place| {
        if let Ok(mut place) = place.try_borrow_mut() {
            *place = Some(table());
        }
    });
}

extern "C" fn after_fork() {
    let guard = FORKING.try_with(|place| place.try_borrow_mut().ok().and_then(|mut place| place.take()));
    drop(guard);
}

/// A handler's share in a session.
#[derive(Debug)]
pub(crate) struct Member {
    key: Key,
    session: Arc<Session>,
    has_left: AtomicBool,
}

impl Member {
    /// Joins the session of `config`'s address and file, or opens it. Blocks: never.
    pub(crate) fn join(config: SessionConfig) -> Member {
        let file = config
            .arguments
            .get("filename")
            .and_then(|name| name.as_str())
            .unwrap_or_default();
        let key = (config.address.clone(), file.to_owned());
        let mut table = table();
        table.retain(|each, shared| {
            *each == key || shared.members > 0 || shared.session.statistics().pending_records > 0
        });
        let shared = match table.entry(key.clone()) {
            Entry::Occupied(entry) => {
                let shared = entry.into_mut();
                shared.adopt(config);
                shared
            }
            Entry::Vacant(entry) => {
                let session = Arc::new(Session::new(config.clone()));
                entry.insert(Shared {
                    session,
                    members: 0,
                    newest: config,
                })
            }
        };
        shared.members += 1;
        Member {
            key,
            session: Arc::clone(&shared.session),
            has_left: AtomicBool::new(false),
        }
    }

    /// The session.
    pub(crate) fn session(&self) -> Arc<Session> {
        Arc::clone(&self.session)
    }

    /// Announces a lower level, where a handler's has been lowered. Blocks: never.
    pub(crate) fn lower_level(&self, level: i32) {
        if let Some(shared) = table().get_mut(&self.key)
            && !self.has_left.load(Ordering::Relaxed)
            && level < shared.newest.level
        {
            shared.announce(level);
        }
    }

    /// Gives the share back; the last one to leave ends the connection, when everything is written, without waiting.
    pub(crate) fn leave(&self) {
        if self.has_left.swap(true, Ordering::Relaxed) {
            // a lone flag; the table's lock orders the rest
            return;
        }
        let is_last = {
            let mut table = table();
            table.get_mut(&self.key).is_some_and(|shared| {
                shared.members = shared.members.saturating_sub(1);
                shared.members == 0
            })
        };
        if is_last {
            self.session.close(Duration::ZERO);
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Waits until every record of this process has reached `level`, for all sessions at the same time. Call it without
/// the GIL.
pub(crate) fn flush_all(timeout: Duration, level: Level) -> bool {
    let sessions: Vec<_> = table()
        .values()
        .map(|shared| Arc::clone(&shared.session))
        .collect();
    thread::scope(|scope| {
        let waiting: Vec<_> = sessions
            .iter()
            .filter(|session| session.statistics().pending_records > 0)
            .map(|session| {
                thread::Builder::new()
                    .stack_size(64 << 10)
                    .spawn_scoped(scope, || session.flush(timeout, level))
            })
            .collect();
        // A thread that could not be started counts as "not in time".
        waiting.into_iter().fold(true, |all, each| {
            all & each.is_ok_and(|each| each.join().unwrap_or(false))
        })
    })
}

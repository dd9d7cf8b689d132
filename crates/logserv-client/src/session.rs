//! A session: what a process uses to send the records of one server-side file.
//!
//! In: encoded wire records and formatter specifications. Out: bytes on their way, by a thread of its own.
//! Nothing is connected and no thread started before the first record. Not here: how; that is `shared.rs` and `sender.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use logserv_wire::frame::Level;
use serde_json::{Map, Value};

use crate::config::{Push, Refusal, SessionConfig, Statistics};
use crate::configuration::{Configuration, Configurations};
use crate::formatters::Formatters;
use crate::limits::EXIT_WITHOUT_SERVER;
use crate::questions::Ask;
use crate::shared::{Common, Shared};
use crate::{ring, sys};

/// The sending side of one server-side file in this process. `Send` and `Sync`; share it in an `Arc`.
///
/// Never touches Python and holds no lock over foreign code. A forked child begins a session of its own with the same
/// configuration and formatters, and never sends what was stored before the fork.
#[derive(Debug)]
pub struct Session {
    common: Arc<Common>,
    /// What each process of a line of forks has; the last is this process's. What came over a fork is never freed: the
    /// mutex in it may be locked for ever, and it is no more than one queue for each generation.
    processes: sys::AppendOnly<Arc<Shared>>,
}

impl Session {
    /// A session that has done nothing yet. Blocks: never. Opens and starts nothing.
    #[must_use]
    pub fn new(config: SessionConfig) -> Session {
        sys::install();
        let common = Common {
            configurations: Configurations::new(&config),
            formatters: Formatters::new(ring::is_possible(&config)),
            config,
            tells_trouble: AtomicBool::new(true),
            was_welcomed: AtomicBool::new(false),
            renders: AtomicBool::new(false),
            may_have_refusal: AtomicBool::new(false),
        };
        Session {
            common: Arc::new(common),
            processes: sys::AppendOnly::new(),
        }
    }

    /// What it was made with.
    #[must_use]
    pub fn config(&self) -> &SessionConfig {
        &self.common.config
    }

    /// Opens the file with another class, other arguments or (protocol 1.0) another level, unless the configuration in
    /// force was made later than `configured_at_s`, in seconds since 1970. An open connection is ended when everything
    /// sent is written; what waits goes over the next one. The file's name and everything else stay. Blocks: never.
    pub fn reconfigure(
        &self,
        handler_class: &str,
        arguments: &Map<String, Value>,
        level: i32,
        configured_at_s: f64,
    ) {
        let new = Configuration {
            handler_class: handler_class.to_owned(),
            arguments: arguments.clone(),
            level,
        };
        self.shared().reconfigure(&new, configured_at_s);
    }

    /// Holds so many bytes from now on, and tells of drops or not: as a newer configuration has it. Blocks: never.
    /// A forked child begins with what the session was made with.
    pub fn adopt_limits(&self, capacity_bytes: usize, announce_drops: bool) {
        self.shared().adopt_limits(capacity_bytes, announce_drops);
    }

    /// The number of a formatter specification, to be put into the records it renders. The same JSON gives the same
    /// number, also in a forked child. `None`: over [`FORMATTERS_MAX`](crate::limits::FORMATTERS_MAX) different ones, longer
    /// than [`FORMATTER_LEN_MAX`](crate::limits::FORMATTER_LEN_MAX), or more than a ring can hold; render in the client
    /// then. Blocks: never; takes no lock. Searches linearly: keep the number.
    #[must_use]
    pub fn formatter_id(&self, json: &str) -> Option<u32> {
        self.common.formatters.number(json)
    }

    /// Stores one whole encoded record in the ring, or the queue. Blocks: for one short mutex; a system call only if the
    /// sender or the ring's reader sleeps, and for the first record, which makes the ring. Drops: as the answer says,
    /// counted. Durable: in a ring it survives this process; what the queue still holds dies with it.
    pub fn push(&self, record: &[u8]) -> Push {
        self.shared().push(record, true)
    }

    /// [`push`](Self::push) and, under `Block`, the waiting for space with one bound of `block_timeout` for all of it;
    /// never answers `Full`. Call it without the GIL.
    pub fn push_waiting(&self, record: &[u8]) -> Push {
        self.push_within(record, self.common.config.block_timeout)
    }

    /// [`push`](Self::push) that never answers `Full`, whatever `when_full` says: no space, no waiting.
    pub fn push_or_drop(&self, record: &[u8]) -> Push {
        self.shared().push(record, false)
    }

    /// [`push_waiting`](Self::push_waiting) with a bound of the caller's own.
    pub fn push_within(&self, record: &[u8], timeout: Duration) -> Push {
        let shared = self.shared();
        let until = Instant::now() + timeout;
        loop {
            match shared.push(record, true) {
                Push::Full if shared.wait_for_space(record.len(), until) => {}
                Push::Full => return shared.push(record, false),
                done => return done,
            }
        }
    }

    /// Waits until a record of `len` bytes fits, at most `block_timeout`; at once `false` after an earlier time-out
    /// until there is space again. Call it without the GIL and push again, whatever the answer.
    pub fn wait_for_space(&self, len: usize) -> bool {
        self.shared()
            .wait_for_space(len, Instant::now() + self.common.config.block_timeout)
    }

    /// Waits until every record pushed before has reached `level`. `false`: not in time, or no server within 0.25 s.
    /// In protocol 1.0, which has no acknowledgements: until the kernel has them. Call it without the GIL.
    pub fn flush(&self, timeout: Duration, level: Level) -> bool {
        self.shared().ask(Ask::Flush(level), timeout)
    }

    /// Asks the server to rotate the file once, after every record pushed before. At most once: `false` where the
    /// answer does not come (no server within 0.25 s, time-out, connection lost, protocol 1.0).
    pub fn rollover(&self, timeout: Duration) -> bool {
        self.shared().ask(Ask::Rollover, timeout)
    }

    /// Waits at most `timeout`, and at most 1 s where there is no server, until everything is written; then connection and
    /// thread end. Records in a ring are waited for only while a server takes them: they need nobody here. Idempotent. `false`: not in time; the sender goes on trying while the process lives. Pushing again
    /// afterwards opens the session again.
    pub fn close(&self, timeout: Duration) -> bool {
        let shared = self.shared();
        shared.begin_close();
        shared.finish_close(Instant::now(), timeout, EXIT_WITHOUT_SERVER)
    }

    /// The latest refusal, once per refusal (for `handleError` with a `ProtocolError`). Costs one atomic load if none.
    #[must_use]
    pub fn take_refusal(&self) -> Option<Refusal> {
        self.may_have_refusal()
            .then(|| self.shared().take_refusal())
            .flatten()
    }

    /// Whether there may be one to [take](Self::take_refusal). Costs one atomic load.
    #[must_use]
    pub fn may_have_refusal(&self) -> bool {
        self.common.may_have_refusal.load(Ordering::Relaxed) // a hint
    }

    /// The session's numbers.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.shared().statistics()
    }

    /// Whether the last server that let us in speaks 2.0, and so renders the lines: it needs no more of a record than its
    /// formatter shows. Costs one atomic load.
    #[must_use]
    pub fn renders(&self) -> bool {
        self.common.renders.load(Ordering::Relaxed) // a lone flag
    }

    /// Whether lines about trouble go to stderr (mirrors `logging.raiseExceptions`; at first: yes).
    pub fn report_trouble(&self, yes: bool) {
        self.common.tells_trouble.store(yes, Ordering::Relaxed); // a lone flag
    }

    /// What belongs to this process.
    fn shared(&self) -> &Arc<Shared> {
        let generation = sys::generation();
        self.processes.find_or_append(
            |shared| shared.generation == generation,
            || Shared::new(Arc::clone(&self.common)),
        )
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let generation = sys::generation();
        for shared in self.processes.iter() {
            if shared.generation == generation {
                shared.abandon();
            } else {
                std::mem::forget(Arc::clone(shared));
            }
        }
    }
}

//! What has happened to how many records and connections, as numbers that only grow.
//!
//! In: everybody's additions. Out: `logserv status`. The law: received = written + filtered + dropped + pending,
//! so that every record that is counted as received is later counted once more.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why records were dropped. Each has its own counter and its own line in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DropReason {
    /// A wire record or a pickle that could not be read.
    Malformed,
    /// A `SocketHandler` frame over the limit that is decoded: skipped.
    TooLong,
    /// A `SocketHandler` record while no `--socket-handler-file` is set.
    NoFile,
    /// The file could not be written, its queue was full, and the protocol has no acknowledgements.
    Unwritable,
    /// The file could not be written until the server had to leave.
    Shutdown,
    /// The file of a dead process's records was refused until they were too old, or too many.
    Refused,
    /// Nobody has come for a dead process's records that are for another server.
    ServerGone,
}

impl DropReason {
    /// How many reasons there are.
    pub(crate) const COUNT: usize = 7;

    /// All, in the order of [`name`](Self::name)s shown.
    pub const ALL: [Self; DropReason::COUNT] = [
        Self::Malformed,
        Self::TooLong,
        Self::NoFile,
        Self::Unwritable,
        Self::Shutdown,
        Self::Refused,
        Self::ServerGone,
    ];

    /// The reason as it is shown in files and by `logserv status`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLong => "too long",
            Self::NoFile => "no file",
            Self::Unwritable => "file cannot be written",
            Self::Shutdown => "shutdown",
            Self::Refused => "file refused",
            Self::ServerGone => "server gone",
        }
    }
}

/// One number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `count`.
    pub fn add(&self, count: u64) {
        // Relaxed: a statistic, nothing is read on the strength of it.
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// The number now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One `T` for each reason.
#[derive(Debug, Default)]
pub(crate) struct ByReason<T> {
    malformed: T,
    too_long: T,
    no_file: T,
    unwritable: T,
    shutdown: T,
    refused: T,
    server_gone: T,
}

impl<T> ByReason<T> {
    pub(crate) fn of(&self, reason: DropReason) -> &T {
        match reason {
            DropReason::Malformed => &self.malformed,
            DropReason::TooLong => &self.too_long,
            DropReason::NoFile => &self.no_file,
            DropReason::Unwritable => &self.unwritable,
            DropReason::Shutdown => &self.shutdown,
            DropReason::Refused => &self.refused,
            DropReason::ServerGone => &self.server_gone,
        }
    }

    pub(crate) fn of_mut(&mut self, reason: DropReason) -> &mut T {
        match reason {
            DropReason::Malformed => &mut self.malformed,
            DropReason::TooLong => &mut self.too_long,
            DropReason::NoFile => &mut self.no_file,
            DropReason::Unwritable => &mut self.unwritable,
            DropReason::Shutdown => &mut self.shutdown,
            DropReason::Refused => &mut self.refused,
            DropReason::ServerGone => &mut self.server_gone,
        }
    }
}

/// The counters of the whole server.
#[derive(Debug, Default)]
pub struct Counters {
    /// Records taken in: by [`FileRef::submit`](crate::FileRef::submit), and by [`discard`](Self::discard).
    pub received: Counter,
    /// Records whose line is in a file.
    pub written: Counter,
    /// Records below the level that their 1.0 client announced.
    pub filtered: Counter,
    /// Records dropped, by reason.
    dropped: ByReason<Counter>,
    /// Records whose formatter failed: written with their plain message.
    pub format_errors: Counter,
    /// Records that a session sent again after a reconnect: skipped, not counted as received.
    pub duplicates: Counter,
    /// Sessions that came back after this server had forgotten them: what they sent again may be doubled.
    pub expired_sessions: Counter,
    /// Rings that were given up because their bytes were not those of a ring.
    pub broken_rings: Counter,
    /// Pickled records of which something was cut or left out because they were over a limit.
    pub cut: Counter,
    /// Connections that were closed because their peer broke its protocol.
    pub protocol_errors: Counter,
    /// Requests to open a file that were refused.
    pub refusals: Counter,
    /// Connections accepted.
    pub connections: Counter,
    /// Connections ended.
    pub connections_ended: Counter,
}

impl Counters {
    /// Records that were received and dropped before they belonged to any file. Where a file is known, use
    /// [`FileRef::discard`](crate::FileRef::discard) instead, so that the drop is told in the file.
    pub fn discard(&self, reason: DropReason, count: u64) {
        self.received.add(count);
        self.drop_received(reason, count);
    }

    /// Records counted as received before, and now dropped.
    pub(crate) fn drop_received(&self, reason: DropReason, count: u64) {
        self.dropped.of(reason).add(count);
    }

    /// Records dropped, for all reasons together.
    #[must_use]
    pub fn dropped_total(&self) -> u64 {
        DropReason::ALL.iter().map(|reason| self.dropped(*reason)).sum()
    }

    /// Records dropped for `reason`.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped.of(reason).get()
    }
}

//! What everybody may know about one open file: its numbers, its trouble, its untold drops.
//!
//! Written by its writer and by connections that discard, read by `logserv status`.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use logserv_disk::{Clock, FileKey, Status};
use serde_json::{Value, json};

use crate::admin::seconds;
use crate::counters::{ByReason, Counter, DropReason};
use crate::limits::WARN_EVERY;

/// The law of the counters holds for each file: received = written + filtered + dropped + pending.
#[derive(Debug, Default)]
pub(crate) struct FileState {
    pub(crate) path: String,
    pub(crate) received: Counter,
    pub(crate) written: Counter,
    pub(crate) filtered: Counter,
    pub(crate) dropped: Counter,
    /// Bytes of lines written, as UTF-8.
    pub(crate) bytes: Counter,
    /// Bytes in the file's rings that are not written, as of the writer's last look.
    ring_len: AtomicU64,
    /// Records of protocols without acknowledgements are dropped until there is space.
    dropping: AtomicBool,
    /// A rotated file is being compressed.
    compressing: AtomicBool,
    /// There are drops that the file has not been told of: what the writer asks at every look.
    has_untold: AtomicBool,
    shared: Mutex<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    trouble: Option<(String, Instant)>,
    /// The last trouble, healed or not.
    last_error: Option<String>,
    untold: ByReason<Option<Tally>>,
    format_warned: Option<Instant>,
    /// As of the last commit.
    file: Option<Status>,
    rotation_warned: Option<Instant>,
    /// Where the file is, as of then: it follows its path when the directory is replaced.
    place: Option<FileKey>,
}

/// Drops of one reason that the file has not been told of.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) count: u64,
    /// Seconds since 1970.
    pub(crate) first_s: f64,
    /// Seconds since 1970.
    pub(crate) last_s: f64,
}

impl FileState {
    pub(crate) fn new(path: String) -> Self {
        Self {
            path,
            ..Self::default()
        }
    }

    /// Records received and not yet written, filtered or dropped.
    pub(crate) fn pending(&self) -> u64 {
        let done = self.written.get() + self.filtered.get() + self.dropped.get();
        self.received.get().saturating_sub(done)
    }

    pub(crate) fn set_ring_len(&self, len: u64) {
        self.ring_len.store(len, Ordering::Relaxed);
    }

    pub(crate) fn is_dropping(&self) -> bool {
        // Relaxed, here and below: a hint; the queue's budget decides.
        self.dropping.load(Ordering::Relaxed)
    }

    pub(crate) fn set_dropping(&self, is_dropping: bool) {
        self.dropping.store(is_dropping, Ordering::Relaxed);
    }

    pub(crate) fn is_compressing(&self) -> bool {
        self.compressing.load(Ordering::Relaxed)
    }

    pub(crate) fn set_compressing(&self, is_compressing: bool) {
        self.compressing.store(is_compressing, Ordering::Relaxed);
    }

    pub(crate) fn set_trouble(&self, error: &impl Display) {
        let mut shared = self.shared();
        let since = shared
            .trouble
            .as_ref()
            .map_or_else(Instant::now, |(_, since)| *since);
        shared.last_error = Some(error.to_string());
        shared.trouble = Some((error.to_string(), since));
    }

    /// What the file looks like after a commit. Warns, now and then, of rotations that fail: the file grows meanwhile.
    pub(crate) fn set_file(&self, status: Status, place: &FileKey) {
        let mut shared = self.shared();
        let failed_before = shared.file.as_ref().map_or(0, |file| file.rotations_failed);
        if status.rotations_failed > failed_before {
            shared.last_error.clone_from(&status.last_error);
            if shared.rotation_warned.is_none_or(|at| at.elapsed() > WARN_EVERY) {
                shared.rotation_warned = Some(Instant::now());
                let why = status.last_error.as_deref().unwrap_or("?");
                tracing::warn!("{}: cannot be rotated, and grows: {why}", self.path);
            }
        }
        shared.file = Some(status);
        if shared.place.as_ref() != Some(place) {
            shared.place = Some(place.clone());
        }
    }

    /// Whether the file is at that place.
    pub(crate) fn is_at(&self, place: &FileKey) -> bool {
        self.shared().place.as_ref() == Some(place)
    }

    /// Whether it is the file with that device and inode, whatever it is called.
    pub(crate) fn is_file(&self, identity: (u64, u64)) -> bool {
        self.shared().file.as_ref().and_then(|file| file.identity) == Some(identity)
    }

    pub(crate) fn clear_trouble(&self) {
        self.shared().trouble = None;
    }

    /// What is wrong now.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.shared().trouble.as_ref().map(|(text, _)| text.clone())
    }

    /// Warns of a formatter that failed, now and then.
    pub(crate) fn warn_format(&self, error: &impl Display) {
        let mut shared = self.shared();
        if shared.format_warned.is_none_or(|at| at.elapsed() > WARN_EVERY) {
            shared.format_warned = Some(Instant::now());
            tracing::warn!("{}: a record is written as its message alone: {error}", self.path);
        }
    }

    /// Adds to what the file will be told.
    pub(crate) fn note_drop(&self, reason: DropReason, count: u64) {
        let now_s = Clock::system().now_s();
        let mut shared = self.shared();
        let tally = shared.untold.of_mut(reason).get_or_insert(Tally {
            first_s: now_s,
            ..Tally::default()
        });
        tally.count += count;
        tally.last_s = now_s;
        self.has_untold.store(true, Ordering::Relaxed); // under the lock; so is the other store
    }

    /// Whether there is something to tell.
    pub(crate) fn has_untold(&self) -> bool {
        self.has_untold.load(Ordering::Relaxed) // who has not seen it yet sees it at the next look
    }

    /// Reasons of which there is something to tell.
    pub(crate) fn untold_reasons(&self) -> impl Iterator<Item = DropReason> + use<> {
        let shared = self.shared();
        let untold = DropReason::ALL.map(|reason| shared.untold.of(reason).map(|_| reason));
        untold.into_iter().flatten()
    }

    /// Takes what is to be told.
    pub(crate) fn take_tally(&self, reason: DropReason) -> Tally {
        let mut shared = self.shared();
        let tally = shared.untold.of_mut(reason).take().unwrap_or_default();
        let is_any = DropReason::ALL
            .iter()
            .any(|reason| shared.untold.of(*reason).is_some());
        self.has_untold.store(is_any, Ordering::Relaxed);
        tally
    }

    /// The file's part of the status report.
    pub(crate) fn report(&self) -> Value {
        let shared = self.shared();
        let file = shared.file.as_ref();
        let trouble = shared.trouble.as_ref().map(|(_, since)| seconds(since.elapsed()));
        json!({
            "path": self.path,
            "records_received": self.received.get(),
            "records_written": self.written.get(),
            "records_filtered": self.filtered.get(),
            "records_dropped": self.dropped.get(),
            "records_pending": self.pending(),
            "ring_bytes_pending": self.ring_len.load(Ordering::Relaxed),
            "bytes_written": self.bytes.get(),
            "size_bytes": file.and_then(|file| file.size_bytes),
            "rollovers": file.map(|file| file.rollovers),
            "rotations_failed": file.map(|file| file.rotations_failed),
            "files_compressed": file.map(|file| file.compressed),
            "compressions_failed": file.map(|file| file.compressions_failed),
            "deletions_failed": file.map(|file| file.deletions_failed),
            "recovered_batches": file.map(|file| file.recovered_batches),
            "torn_lines": file.map(|file| file.torn_lines),
            "sync_failed": file.map(|file| file.sync_failed),
            "in_trouble_for_s": trouble,
            "last_error": shared.last_error,
        })
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! The registry's care for files that are open: closing idle ones, reopening, draining, reporting.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Files;
use super::entry::{Entry, Slot};
use crate::limits::RETRY_MIN;

impl Files {
    /// Closes files that nobody has held for a while, for ever.
    pub(crate) async fn close_idle_ones(self) {
        let idle_close = self.inner.options.idle_close;
        let every = (idle_close / 4).clamp(Duration::from_millis(10), Duration::from_secs(5));
        loop {
            tokio::time::sleep(every).await;
            let slots: Vec<Arc<Slot>> = {
                let mut slots = self.slots();
                drop_unused(&mut slots);
                slots.values().map(Arc::clone).collect()
            };
            for slot in slots {
                if slot.idle_for().is_some_and(|idle| idle >= idle_close) {
                    let files = self.clone();
                    // On its own: a hung disk keeps this one only.
                    tokio::spawn(async move { files.close_if_idle(&slot, idle_close).await });
                }
            }
        }
    }

    /// Closes the file that nobody has held for the longest time. `false`: all are held, or cannot be closed now.
    pub(super) async fn close_longest_idle(&self) -> bool {
        let longest = {
            let slots = self.slots();
            slots
                .values()
                .filter(|slot| slot.is_closable())
                .filter_map(|slot| Some((slot.idle_for()?, Arc::clone(slot))))
                .max_by_key(|(idle, _)| *idle)
        };
        match longest {
            Some((_, slot)) => {
                self.close_if_idle(&slot, Duration::ZERO).await;
                true
            }
            None => false,
        }
    }

    pub(super) async fn close_if_idle(&self, slot: &Arc<Slot>, idle_close: Duration) {
        // Taken already: it is being opened or closed.
        let Ok(_gate) = slot.gate.try_lock() else {
            return tokio::time::sleep(RETRY_MIN).await;
        };
        if slot.idle_for().is_none_or(|idle| idle < idle_close) {
            return;
        }
        if let Some(entry) = slot.entry() {
            // Closing would wait until it heals, and all who come to open it with us: they may join it instead.
            if entry.is_in_trouble() {
                return;
            }
            self.close(slot, &entry).await;
        }
        self.forget(slot);
    }

    /// Ends an entry's writer, which nobody holds; the gate is the caller's. Waits for the disk.
    pub(super) async fn close(&self, slot: &Slot, entry: &Entry) {
        entry.queue.leave(Instant::now() + Duration::from_secs(3600));
        entry.ended().await;
        slot.set(None);
    }

    /// Removes a slot without an entry, unless others wait at its gate: they will, or the next round does.
    pub(super) fn forget(&self, slot: &Arc<Slot>) {
        let mut slots = self.slots();
        // One here, one in the map.
        if slot.entry().is_none() && Arc::strong_count(slot) <= 2 {
            slots.remove(&slot.path);
        }
    }

    /// Whether somebody holds a file, or one has records that are not written.
    pub(crate) fn is_busy(&self) -> bool {
        self.entries().iter().any(|entry| entry.idle_for().is_none())
    }

    /// Has every file opened anew under its name, soon, by its writer. Does not block.
    pub fn reopen(&self) {
        for entry in self.entries() {
            entry.queue.reopen();
        }
    }

    /// Writes everything and closes all files, within `time`; what could not be written then is counted as dropped.
    pub async fn drain(&self, time: Duration) {
        let deadline = Instant::now() + time;
        self.inner.doors.close();
        let entries = self.entries();
        for entry in &entries {
            entry.queue.leave(deadline);
        }
        // A writer that sits in a system call of a hung disk does not see the deadline.
        let margin = Duration::from_millis(200);
        let all_ended = async {
            for entry in &entries {
                entry.ended().await;
            }
        };
        if tokio::time::timeout(time + margin, all_ended).await.is_err() {
            tracing::error!("the drain's time is up, {}", self.unwritten_text());
        }
    }

    /// What a message at the end says of records that are not in their files.
    pub(crate) fn unwritten_text(&self) -> String {
        let counters = &self.inner.counters;
        let done = counters.written.get() + counters.filtered.get() + counters.dropped_total();
        format!(
            "{} records unwritten",
            counters.received.get().saturating_sub(done)
        )
    }

    /// The roots, canonical.
    pub(crate) fn roots(&self) -> Vec<String> {
        self.inner
            .roots
            .directories()
            .map(Path::display)
            .map(|path| path.to_string())
            .collect()
    }

    /// One JSON object per open file, for `logserv status`.
    #[must_use]
    pub fn report(&self) -> Vec<Value> {
        let mut reports: Vec<Value> = self.entries().iter().map(|entry| entry.report()).collect();
        reports.sort_by_key(|report| report.get("path").map(ToString::to_string));
        reports
    }
}

/// Removes slots that hold no file and that nobody is about to use.
pub(super) fn drop_unused(slots: &mut HashMap<PathBuf, Arc<Slot>>) {
    slots.retain(|_, slot| slot.entry().is_some() || Arc::strong_count(slot) > 1);
}

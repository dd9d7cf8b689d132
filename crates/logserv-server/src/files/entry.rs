//! One open file: its queue, its writer's thread, and the shares that sessions hold in it.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use logserv_disk::{Location, LogFile};
use serde_json::Value;
use tokio::sync::watch;

use super::FileRef;
use super::configuration::Configuration;
use crate::config::Sink;
use crate::counters::{Counters, DropReason};
use crate::file_state::FileState;
use crate::queue::Queue;
use crate::writer::compress::Places;
use crate::writer::{Ledger, Writer};

/// The place of a file in the registry.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) path: PathBuf,
    /// As the first to open it named it.
    pub(super) filename: String,
    /// Held while the file is opened or closed.
    pub(super) gate: tokio::sync::Mutex<()>,
    entry: Mutex<Option<Arc<Entry>>>,
}

impl Slot {
    pub(super) fn new(location: &Location) -> Self {
        Self {
            path: location.path().to_owned(),
            filename: location.filename().to_owned(),
            gate: tokio::sync::Mutex::default(),
            entry: Mutex::default(),
        }
    }

    pub(super) fn entry(&self) -> Option<Arc<Entry>> {
        self.entry.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, entry: Option<Arc<Entry>>) {
        *self.entry.lock().unwrap_or_else(PoisonError::into_inner) = entry;
    }

    /// Whether nobody opens or closes it at the moment, and closing it would not have to wait for its disk to heal.
    pub(super) fn is_closable(&self) -> bool {
        self.gate.try_lock().is_ok() && self.entry().is_some_and(|entry| !entry.is_in_trouble())
    }

    /// How long nobody has held the file; `None` while somebody does, or it is not open.
    pub(super) fn idle_for(&self) -> Option<Duration> {
        self.entry()?.idle_for()
    }
}

/// An open file.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) queue: Arc<Queue>,
    pub(super) state: Arc<FileState>,
    pub(super) counters: Arc<Counters>,
    pub(super) ledger: Ledger,
    configuration: Mutex<Configuration>,
    holders: AtomicUsize,
    released: Mutex<Instant>,
    /// Closed when the thread has ended, however it ended.
    ended: watch::Receiver<()>,
}

impl Entry {
    /// Starts the writer of `file`.
    pub(super) fn start(
        path: String,
        file: LogFile,
        ledger: Ledger,
        configuration: Configuration,
        options: &Sink,
        counters: &Arc<Counters>,
        places: &Places,
    ) -> io::Result<Self> {
        let queue = Arc::new(Queue::new(options.queue_bytes));
        let state = Arc::new(FileState::new(path));
        state.set_file(file.status(), file.key());
        let (running, ended) = watch::channel(());
        let writer = Writer::new(
            file,
            Arc::clone(&queue),
            Arc::clone(&state),
            Arc::clone(counters),
            ledger.clone(),
            places,
            options.announce_drops,
        );
        let guard = Guard {
            queue: Arc::clone(&queue),
            state: Arc::clone(&state),
            counters: Arc::clone(counters),
            _running: running,
        };
        // Shown by `ps -L` and in a debugger; the kernel keeps 15 bytes.
        std::thread::Builder::new()
            .name("logserv-writer".into())
            .spawn(move || {
                let _guard = guard;
                writer.run();
            })?;
        Ok(Self {
            queue,
            state,
            counters: Arc::clone(counters),
            ledger,
            configuration: Mutex::new(configuration),
            holders: AtomicUsize::new(0),
            released: Mutex::new(Instant::now()),
            ended,
        })
    }

    /// A new share.
    pub(super) fn hold(self: &Arc<Self>) -> FileRef {
        // Relaxed, here and below: the registry's gate orders what matters.
        self.holders.fetch_add(1, Ordering::Relaxed);
        FileRef::new(Share {
            entry: Arc::clone(self),
        })
    }

    /// Whether it cannot be written now.
    pub(super) fn is_in_trouble(&self) -> bool {
        self.state.trouble().is_some()
    }

    /// How long nobody has held the file; `None` while somebody does, or it has records that are not written, or rotated files
    /// that are being compressed.
    pub(super) fn idle_for(&self) -> Option<Duration> {
        let is_held = self.holders.load(Ordering::Relaxed) > 0;
        let is_busy = is_held || self.state.pending() > 0 || self.state.is_compressing();
        let released = *self.released.lock().unwrap_or_else(PoisonError::into_inner);
        (!is_busy).then(|| released.elapsed())
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.has_changed().is_err()
    }

    /// Waits until the thread has ended.
    pub(super) async fn ended(&self) {
        let mut ended = self.ended.clone();
        while ended.changed().await.is_ok() {}
    }

    pub(super) fn path(&self) -> &str {
        &self.state.path
    }

    pub(super) fn configuration(&self) -> MutexGuard<'_, Configuration> {
        self.configuration.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file's part of the status report.
    pub(super) fn report(&self) -> Value {
        let mut report = self.state.report();
        if let Some(report) = report.as_object_mut() {
            report.insert("settings".into(), self.configuration().text().into());
            report.insert("sessions".into(), self.holders.load(Ordering::Relaxed).into());
            report.insert("queue_bytes".into(), self.queue.len().into());
        }
        report
    }
}

/// Lives as long as the thread: tells that it has ended, and that nothing more is taken in, also after a panic.
#[derive(Debug)]
struct Guard {
    queue: Arc<Queue>,
    state: Arc<FileState>,
    counters: Arc<Counters>,
    _running: watch::Sender<()>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.queue.leave(Instant::now());
        // Those who wait for an answer get none.
        while self.queue.try_next().is_some() {}
        // Some are left after a panic only.
        let lost = self.state.pending();
        self.state.dropped.add(lost);
        self.counters.drop_received(DropReason::Shutdown, lost);
    }
}

/// What a [`FileRef`] and its clones hold together.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) entry: Arc<Entry>,
}

impl Drop for Share {
    fn drop(&mut self) {
        *self.entry.released.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.entry.holders.fetch_sub(1, Ordering::Relaxed);
    }
}

//! When what is written is made durable: the file's sync policy, and those who wait for it. The disk is waited for by a
//! thread of its own, so that lines are written meanwhile.
//!
//! In: commits, the policy, questions, the time. Out: jobs for the thread, answers, acknowledgements that name their level.
//! A failed sync is never tried again as if nothing had happened: the file is replaced where its class rotates, and
//! whoever waits is told. Not here: what is synced (`logserv_disk`).

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::time::Instant;

use logserv_disk::{LogFile, SyncJob, SyncOutcome, SyncPolicy};
use tokio::sync::oneshot;

use crate::file_state::FileState;
use crate::queue::Queue;

use super::Ledger;

/// See the file's head.
#[derive(Debug)]
pub(super) struct Syncer {
    queue: Arc<Queue>,
    state: Arc<FileState>,
    ledger: Ledger,
    /// The thread, from the first job on.
    thread: Option<Thread>,
    /// When the next sync is due; in the past: as soon as the thread is free.
    due: Option<Instant>,
    waiting: Vec<Waiting>,
}

/// Somebody who waits for everything up to a commit.
#[derive(Debug)]
struct Waiting {
    commits: u64,
    reply: oneshot::Sender<bool>,
}

#[derive(Debug)]
struct Thread {
    jobs: SyncSender<SyncJob>,
    outcomes: Receiver<SyncOutcome>,
    is_busy: bool,
}

impl Syncer {
    pub(super) fn new(queue: &Arc<Queue>, state: &Arc<FileState>, ledger: &Ledger) -> Self {
        Self {
            queue: Arc::clone(queue),
            state: Arc::clone(state),
            ledger: ledger.clone(),
            thread: None,
            due: None,
            waiting: Vec::new(),
        }
    }

    /// Something has been written; `level_max`: the highest level among it.
    pub(super) fn committed(&mut self, policy: SyncPolicy, level_max: i32, now: Instant) {
        let due = match policy {
            SyncPolicy::Interval(interval) => Some(now + interval),
            _ if policy.is_due_after(level_max) => Some(now),
            _ => None,
        };
        if let Some(due) = due {
            self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
        }
    }

    /// Somebody waits for all that is written so far.
    pub(super) fn ask(&mut self, commits: u64, reply: oneshot::Sender<bool>, now: Instant) {
        self.waiting.push(Waiting { commits, reply });
        self.due = Some(now);
    }

    /// When to [`turn`](Self::turn) again, unless something comes before.
    pub(super) fn due(&self) -> Option<Instant> {
        // A busy thread pokes the queue when it is free.
        let is_busy = self.thread.as_ref().is_some_and(|thread| thread.is_busy);
        self.due.filter(|_| !is_busy)
    }

    /// Takes what the thread has done, and gives it what is due.
    pub(super) fn turn(&mut self, file: &mut LogFile, now: Instant) {
        self.take_outcome(file);
        if self.due().is_none_or(|due| due > now) {
            return;
        }
        self.due = None;
        match file.begin_sync() {
            Some(job) => self.begin(job, file),
            None => {
                // Nothing is left to be synced, or nothing can be.
                self.ledger.synced(file.commits(), file.commits_lost());
                self.answer(file.commits(), file.commits_lost());
            }
        }
    }

    /// Syncs in this thread what is left at the end. Blocks: on the disk.
    pub(super) fn finish(&mut self, policy: SyncPolicy, file: &mut LogFile) {
        if policy != SyncPolicy::Never || !self.waiting.is_empty() {
            if let Err(error) = file.sync() {
                tracing::error!("cannot sync {}: {error}", self.state.path);
            }
            self.ledger.synced(file.commits(), file.commits_lost());
            self.answer(file.commits(), file.commits_lost());
        }
    }

    fn begin(&mut self, job: SyncJob, file: &mut LogFile) {
        if self.thread.is_none() {
            self.thread = Thread::start(Arc::clone(&self.queue));
        }
        let job = match &mut self.thread {
            Some(thread) => match thread.jobs.try_send(job) {
                Ok(()) => {
                    thread.is_busy = true;
                    return;
                }
                Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => job,
            },
            None => job,
        };
        // No thread is to be had: slower, and as safe.
        let outcome = job.run();
        self.conclude(file, outcome);
    }

    fn take_outcome(&mut self, file: &mut LogFile) {
        let Some(thread) = &mut self.thread else { return };
        match thread.outcomes.try_recv() {
            Ok(outcome) => {
                thread.is_busy = false;
                self.conclude(file, outcome);
            }
            Err(TryRecvError::Empty) => {}
            // It has died of a fault; the next job starts another.
            Err(TryRecvError::Disconnected) => self.thread = None,
        }
    }

    fn conclude(&mut self, file: &mut LogFile, outcome: SyncOutcome) {
        let synced = outcome.commits();
        if let Err(error) = file.finish_sync(outcome) {
            tracing::error!(
                "{}: what was written last may not survive a loss of power: {error}",
                self.state.path
            );
            match file.replace_after_failed_sync() {
                Ok(true) => tracing::warn!("{}: goes on in a new file", self.state.path),
                Ok(false) => tracing::error!("{}: stays so until the file is replaced", self.state.path),
                Err(error) => tracing::error!("{}: cannot be replaced: {error}", self.state.path),
            }
        }
        self.ledger.synced(synced, file.commits_lost());
        self.answer(synced, file.commits_lost());
        if !self.waiting.is_empty() {
            self.due = Some(Instant::now());
        }
    }

    /// Answers those who wait for no more than `synced` commits. Those that are lost never will be durable.
    fn answer(&mut self, synced: u64, lost: u64) {
        for each in std::mem::take(&mut self.waiting) {
            if each.commits <= synced {
                let _ = each.reply.send(lost == 0 || each.commits > lost);
            } else {
                self.waiting.push(each);
            }
        }
    }
}

impl Thread {
    fn start(queue: Arc<Queue>) -> Option<Self> {
        let (jobs, to_do) = sync_channel::<SyncJob>(1);
        let (done, outcomes) = sync_channel(1);
        let work = move || {
            while let Ok(job) = to_do.recv() {
                if done.send(job.run()).is_err() {
                    return;
                }
                queue.poke();
            }
        };
        std::thread::Builder::new()
            .name("logserv-sync".into())
            .spawn(work)
            .ok()
            .map(|_| Self {
                jobs,
                outcomes,
                is_busy: false,
            })
    }
}

//! What waits for one file's writer: commands in order, within a budget of bytes.
//!
//! In: commands from many connections, who wait (async) while the budget is used up. Out: one command at a time, to
//! one thread, which may sleep here. A few wishes go beside the queue, so that they are heard while a file is in trouble.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use logserv_disk::FileSettings;
use logserv_wire::frame::Level;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::pipeline::Batch;
use crate::rings::Attached;

/// What a writer is told, in order.
#[derive(Debug)]
pub(crate) enum Command {
    /// Write these records.
    Batch(Batch),
    /// Say when everything before is at that level.
    Flush(Level, oneshot::Sender<bool>),
    /// Rotate once.
    Rollover(oneshot::Sender<bool>),
    /// Read this ring from now on.
    Attach(Box<Attached>),
}

/// A command, and its share of the budget, given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) command: Command,
    pub(crate) permit: OwnedSemaphorePermit,
}

/// What comes next for the writer.
#[derive(Debug)]
pub(crate) enum Next {
    /// A command.
    Command(Queued),
    /// Open the file anew under its name.
    Reopen,
    /// Other settings have won.
    Reconfigure(FileSettings),
    /// Nothing before the given time.
    Timeout,
    /// Nothing more will come, or the drain's time is up.
    Leave,
}

/// Why a wait in trouble ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wake {
    /// The pause is over.
    Retry,
    /// The operator wants the file opened anew.
    Reopen,
    /// The drain's time is up.
    GiveUp,
}

#[derive(Debug)]
pub(crate) struct Queue {
    budget: Arc<Semaphore>,
    budget_len: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    commands: VecDeque<Queued>,
    reopen: bool,
    reconfigure: Option<FileSettings>,
    poked: bool,
    /// Set once: leave when the queue is empty, or at this time in any case.
    leave: Option<Instant>,
}

impl Queue {
    /// An empty queue for commands of `budget_len` bytes together.
    pub(crate) fn new(budget_len: usize) -> Self {
        Self {
            budget: Arc::new(Semaphore::new(budget_len)),
            budget_len,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Waits for `len` bytes of the budget; for one that is larger than the whole budget, until it is alone.
    /// Cancellation-safe, and fair: who waits first is first.
    pub(crate) async fn reserve(&self, len: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.budget)
            .acquire_many_owned(self.share(len))
            .await
            .ok()
    }

    /// The same without waiting; `None`: somebody has to wait.
    pub(crate) fn try_reserve(&self, len: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.budget)
            .try_acquire_many_owned(self.share(len))
            .ok()
    }

    fn share(&self, len: usize) -> u32 {
        u32::try_from(len.min(self.budget_len)).unwrap_or(u32::MAX)
    }

    /// Appends a command with its share of the budget. Calls `taken` once it is sure to be obeyed, and before the
    /// writer sees it. `false`: the writer leaves and nothing was taken.
    pub(crate) fn append(
        &self,
        command: Command,
        permit: OwnedSemaphorePermit,
        taken: impl FnOnce(),
    ) -> bool {
        let mut state = self.state();
        let is_open = state.leave.is_none();
        if is_open {
            taken();
            state.commands.push_back(Queued { command, permit });
            drop(state);
            self.changed.notify_all();
        }
        is_open
    }

    /// Bytes that wait, or are being written.
    pub(crate) fn len(&self) -> usize {
        self.budget_len.saturating_sub(self.budget.available_permits())
    }

    /// Has the file opened anew, also while it is in trouble.
    pub(crate) fn reopen(&self) {
        self.state().reopen = true;
        self.changed.notify_all();
    }

    /// Hands other settings over; of two before the writer looks, the later wins.
    pub(crate) fn reconfigure(&self, settings: FileSettings) {
        self.state().reconfigure = Some(settings);
        self.changed.notify_all();
    }

    /// Has the writer look around.
    pub(crate) fn poke(&self) {
        self.state().poked = true;
        self.changed.notify_all();
    }

    /// Takes nothing more in; the writer leaves when everything is written, at the latest at `deadline`. The earlier
    /// of two deadlines counts.
    pub(crate) fn leave(&self, deadline: Instant) {
        let mut state = self.state();
        state.leave = Some(state.leave.map_or(deadline, |earlier| earlier.min(deadline)));
        drop(state);
        self.changed.notify_all();
    }

    /// The next command if one is there, without waiting.
    pub(crate) fn try_next(&self) -> Option<Queued> {
        self.state().commands.pop_front()
    }

    /// Waits for whatever comes next, at most until `until`. Blocks the thread.
    pub(crate) fn next(&self, until: Option<Instant>) -> Next {
        let mut state = self.state();
        loop {
            let now = Instant::now();
            if state.leave.is_some_and(|deadline| now >= deadline) {
                return Next::Leave;
            }
            if std::mem::take(&mut state.reopen) {
                return Next::Reopen;
            }
            if let Some(settings) = state.reconfigure.take() {
                return Next::Reconfigure(settings);
            }
            if let Some(queued) = state.commands.pop_front() {
                return Next::Command(queued);
            }
            if state.leave.is_some() {
                return Next::Leave;
            }
            if std::mem::take(&mut state.poked) || until.is_some_and(|until| now >= until) {
                return Next::Timeout;
            }
            state = self.sleep(state, until.map(|until| until - now));
        }
    }

    /// Waits until a file in trouble shall be tried again. Blocks the thread, for `pause` at most.
    pub(crate) fn pause(&self, pause: Duration) -> Wake {
        let until = Instant::now() + pause;
        let mut state = self.state();
        loop {
            let now = Instant::now();
            if state.leave.is_some_and(|deadline| now >= deadline) {
                return Wake::GiveUp;
            }
            if std::mem::take(&mut state.reopen) {
                return Wake::Reopen;
            }
            if now >= until {
                return Wake::Retry;
            }
            let end = state.leave.map_or(until, |deadline| deadline.min(until));
            state = self.sleep(state, Some(end - now));
        }
    }

    fn sleep<'s>(&self, state: MutexGuard<'s, State>, pause: Option<Duration>) -> MutexGuard<'s, State> {
        match pause {
            Some(pause) => {
                self.changed
                    .wait_timeout(state, pause)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
            None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Nothing is left half-done under this lock, so that a panic elsewhere does not matter.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flush() -> Command {
        Command::Flush(Level::Written, oneshot::channel().0)
    }

    async fn push(queue: &Queue, len: usize) -> bool {
        let permit = queue.reserve(len).await.unwrap();
        queue.append(flush(), permit, || {})
    }

    #[tokio::test]
    async fn a_sender_waits_while_the_budget_is_used_up_and_only_then() {
        let queue = Queue::new(100);
        assert!(push(&queue, 60).await);
        assert!(queue.try_reserve(60).is_none());
        assert!(
            tokio::time::timeout(Duration::from_millis(20), push(&queue, 60))
                .await
                .is_err()
        );
        assert_eq!(queue.len(), 60);
        drop(queue.try_next());
        // Larger than everything: alone, but not for ever outside.
        assert!(push(&queue, 1000).await);
        assert_eq!(queue.len(), 100);
        let Next::Command(queued) = queue.next(None) else {
            panic!()
        };
        assert_eq!(
            queue.len(),
            100,
            "given back when it is written, not when it is taken"
        );
        drop(queued);
        assert_eq!(queue.len(), 0);
    }

    #[tokio::test]
    async fn a_leaving_queue_is_emptied_first_and_takes_nothing_more() {
        let queue = Queue::new(100);
        assert!(push(&queue, 1).await);
        queue.leave(Instant::now() + Duration::from_secs(60));
        assert!(!push(&queue, 1).await);
        assert!(matches!(queue.next(None), Next::Command(_)));
        assert!(matches!(queue.next(None), Next::Leave));
    }

    #[test]
    fn a_pause_ends_early_for_the_operator_and_for_the_end_of_the_drain() {
        let queue = Queue::new(100);
        let long = Duration::from_secs(60);
        assert_eq!(queue.pause(Duration::ZERO), Wake::Retry);
        queue.reopen();
        assert_eq!(queue.pause(long), Wake::Reopen);
        queue.leave(Instant::now() + Duration::from_millis(20));
        assert_eq!(queue.pause(long), Wake::GiveUp);
    }
}

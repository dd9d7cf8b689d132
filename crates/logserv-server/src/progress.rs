//! How far a session's records have got: the one thing that a writer tells a connection.
//!
//! In: the writer's [`advance`](Progress::advance). Out: [`written`](Progress::written), and a wait for more.
//! It outlives the connection: a session that resumes asks it what has been written.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// The highest sequence number of a session that is written (L2). Only grows.
#[derive(Debug)]
pub struct Progress {
    written_seq: AtomicU64,
    synced_seq: AtomicU64,
    changed: Notify,
}

impl Progress {
    /// A session of which everything up to `written_seq` is written; 0 for a new one.
    #[must_use]
    pub fn new(written_seq: u64) -> Self {
        Self {
            written_seq: AtomicU64::new(written_seq),
            synced_seq: AtomicU64::new(0),
            changed: Notify::new(),
        }
    }

    /// Everything up to here is written. Does not block.
    #[must_use]
    pub fn written(&self) -> u64 {
        // Acquire, partner of `advance`: whoever acknowledges has the write before it.
        self.written_seq.load(Ordering::Acquire)
    }

    /// Everything up to `seq` is written; wakes all who wait. A lower number than before changes nothing.
    pub fn advance(&self, seq: u64) {
        // Release, partner of `written`.
        if self.written_seq.fetch_max(seq, Ordering::Release) < seq {
            self.changed.notify_waiters();
        }
    }

    /// Everything up to here is durable (L3). Does not block.
    #[must_use]
    pub fn synced(&self) -> u64 {
        self.synced_seq.load(Ordering::Acquire) // pairs with `advance_synced`
    }

    /// Everything up to `seq` is durable; say so before [`advance`](Self::advance), so that one acknowledgement does for
    /// both.
    pub fn advance_synced(&self, seq: u64) {
        self.synced_seq.fetch_max(seq, Ordering::Release); // pairs with `synced`
    }

    /// Waits until more than `than` is written and returns how far. Cancellation-safe.
    pub async fn changed(&self, than: u64) -> u64 {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before the number is read, so that an advance between the two is not missed.
            changed.as_mut().enable();
            let written = self.written();
            if written > than {
                return written;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn a_waiter_sees_every_advance_and_never_a_step_back() {
        let progress = Arc::new(Progress::new(3));
        let waiter = tokio::spawn({
            let progress = Arc::clone(&progress);
            async move { progress.changed(3).await }
        });
        progress.advance(2);
        progress.advance(9);
        assert_eq!(waiter.await.unwrap(), 9);
        progress.advance(5);
        assert_eq!(progress.written(), 9);
    }
}

//! Who may hold how much received and not yet submitted: large buffers are leased before they are filled.
//!
//! In: a connection's wish for a buffer of a [`Size`]. Out: a [`Lease`], given back when it is dropped.
//! Every connection has [`BUFFER_FREE_LEN`](crate::limits::BUFFER_FREE_LEN) bytes for nothing, so that small records never
//! wait for large ones; and the connections of one file have a share of all leases, so that a file that cannot be written
//! leaves the others theirs. Nobody waits for ever on each other: who holds a lease waits only for one of a later size.
//! Not here: the buffers (`inbox.rs`, `draft.rs`), and the queues of the files, which have their own budgets.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::{
    DRAFTS_MAX, DRAFTS_OF_A_FILE_MAX, LARGE_BUFFERS_MAX, LARGE_BUFFERS_OF_A_FILE_MAX, NORMAL_BUFFERS_MAX,
    NORMAL_BUFFERS_OF_A_FILE_MAX,
};

/// What a lease is for, in the order in which one connection may wait for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    /// A receive buffer of `BUFFER_NORMAL_LEN`.
    Normal,
    /// The same of `BUFFER_LEN_MAX`, in addition.
    Large,
    /// A batch made of pickles.
    Draft,
}

/// Permits of each size, and who waits for them.
#[derive(Debug)]
struct Pool {
    normal: Arc<Semaphore>,
    large: Arc<Semaphore>,
    drafts: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl Pool {
    fn new(normal: usize, large: usize, drafts: usize) -> Arc<Self> {
        Arc::new(Self {
            normal: Arc::new(Semaphore::new(normal)),
            large: Arc::new(Semaphore::new(large)),
            drafts: Arc::new(Semaphore::new(drafts)),
            waiting: AtomicUsize::new(0),
        })
    }

    fn of(&self, size: Size) -> Arc<Semaphore> {
        Arc::clone(match size {
            Size::Normal => &self.normal,
            Size::Large => &self.large,
            Size::Draft => &self.drafts,
        })
    }

    async fn lease(&self, size: Size) -> Option<OwnedSemaphorePermit> {
        let _waiting = Waiting::new(&self.waiting);
        // Never closed, so that this is always a permit.
        self.of(size).acquire_owned().await.ok()
    }

    fn is_contended(&self) -> bool {
        // Relaxed: a hint, looked at again within a second.
        self.waiting.load(Ordering::Relaxed) > 0
    }
}

/// The leases of all connections. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    all: Arc<Pool>,
    /// The pools of the files that connections have open, by path.
    of_files: Arc<Mutex<HashMap<String, Weak<Pool>>>>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            all: Pool::new(NORMAL_BUFFERS_MAX, LARGE_BUFFERS_MAX, DRAFTS_MAX),
            of_files: Arc::default(),
        }
    }
}

impl Memory {
    /// What the connections of the file at `path` share. Those without a file yet have the empty path.
    pub(super) fn share(&self, path: &str) -> Share {
        let mut of_files = self.of_files.lock().unwrap_or_else(PoisonError::into_inner);
        let known = of_files.get(path).and_then(Weak::upgrade);
        let of_file = known.unwrap_or_else(|| {
            of_files.retain(|_, pool| pool.strong_count() > 0);
            let pool = Pool::new(
                NORMAL_BUFFERS_OF_A_FILE_MAX,
                LARGE_BUFFERS_OF_A_FILE_MAX,
                DRAFTS_OF_A_FILE_MAX,
            );
            of_files.insert(path.to_owned(), Arc::downgrade(&pool));
            pool
        });
        Share {
            all: Arc::clone(&self.all),
            of_file,
        }
    }
}

/// What the connections of one file may lease.
#[derive(Debug, Clone)]
pub(super) struct Share {
    all: Arc<Pool>,
    of_file: Arc<Pool>,
}

impl Share {
    /// Waits for a lease. Cancelled while it waits: nothing is held.
    pub(super) async fn lease(&self, size: Size) -> Lease {
        // The file's first: who waits for its own file holds nothing that others wait for.
        let of_file = self.of_file.lease(size).await;
        Lease {
            _of_file: of_file,
            _all: self.all.lease(size).await,
        }
    }

    /// A lease, if it can be had without waiting.
    pub(super) fn try_lease(&self, size: Size) -> Option<Lease> {
        let of_file = self.of_file.of(size).try_acquire_owned().ok()?;
        let all = self.all.of(size).try_acquire_owned().ok()?;
        Some(Lease {
            _of_file: Some(of_file),
            _all: Some(all),
        })
    }

    /// Whether somebody waits for what connections of this file hold: slow peers are then given less time, and nobody
    /// keeps what he does not need at the moment.
    pub(super) fn is_contended(&self) -> bool {
        self.of_file.is_contended() || self.all.is_contended()
    }
}

/// The right to a buffer, until it is dropped.
#[derive(Debug)]
pub(super) struct Lease {
    _of_file: Option<OwnedSemaphorePermit>,
    _all: Option<OwnedSemaphorePermit>,
}

/// Counts its own lifetime, cancelled or not.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn the_connections_of_one_file_leave_the_others_their_memory() {
        let memory = Memory::default();
        let shares = [memory.share("/stuck.log"), memory.share("/stuck.log")];
        let stuck: Vec<_> = (0..1000)
            .map_while(|number| shares[number % 2].try_lease(Size::Normal))
            .collect();
        assert_eq!(stuck.len(), NORMAL_BUFFERS_OF_A_FILE_MAX);
        assert!(memory.share("/other.log").try_lease(Size::Normal).is_some());
        drop(stuck);
        assert!(
            memory.share("/stuck.log").try_lease(Size::Normal).is_some(),
            "given back"
        );
    }

    #[tokio::test]
    async fn all_leases_together_keep_their_limit_and_a_waiter_gets_the_next() {
        let memory = Memory::default();
        let files = NORMAL_BUFFERS_MAX / NORMAL_BUFFERS_OF_A_FILE_MAX;
        let shares: Vec<_> = (0..files)
            .map(|number| memory.share(&number.to_string()))
            .collect();
        let mut leases = Vec::new();
        for share in &shares {
            leases.extend((0..NORMAL_BUFFERS_OF_A_FILE_MAX).map_while(|_| share.try_lease(Size::Normal)));
        }
        assert_eq!(leases.len(), NORMAL_BUFFERS_MAX);
        let other = memory.share("other");
        {
            let more = other.lease(Size::Normal);
            tokio::pin!(more);
            assert!(timeout(Duration::from_millis(20), &mut more).await.is_err());
            assert!(other.is_contended());
            leases.pop();
            let _lease = more.await;
        }
        assert!(!other.is_contended());
        assert!(other.try_lease(Size::Large).is_some(), "each size has its own");
    }
}

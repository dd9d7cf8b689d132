//! The consumer's descriptor, and the tail that is written through it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use crate::file;
use crate::layout::{PROOF_AT, TAIL_AT};

/// What can move a ring's tail. Cheap to clone; shares the consumer's descriptor, because a second one would look like
/// a living producer.
#[derive(Debug, Clone)]
pub struct Publisher {
    shared: Arc<Shared>,
}

impl Publisher {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Tells the producer that everything before `tail`, `consumed_records` records in all since the ring was made, may
    /// be overwritten. A tail never moves back: an older one than the last is ignored. Blocks: never.
    ///
    /// # Errors
    /// Those of `pwrite(2)`; the tail counts as unpublished, here as there.
    pub fn publish(&self, tail: u64, consumed_records: u64) -> io::Result<()> {
        let mut published = self.shared.published();
        if tail < published.tail {
            return Ok(());
        }
        let mut bytes = [0; 24];
        for (word, value) in bytes.chunks_exact_mut(8).zip([tail, !tail, consumed_records]) {
            word.copy_from_slice(&value.to_le_bytes());
        }
        // Through the kernel, whose copy is not cut by a kill: it lies within one page.
        self.shared.write(TAIL_AT as u64, &bytes)?;
        *published = Published {
            tail,
            consumed: consumed_records,
        };
        Ok(())
    }

    /// Whether the producer has copied this challenge into the ring: [`Consumer::has_proof`](crate::Consumer::has_proof)
    /// for who does not have the consumer.
    ///
    /// # Errors
    /// Those of `pread(2)`.
    pub fn has_proof(&self, challenge: &[u8; 16]) -> io::Result<bool> {
        let mut proof = [0; 16];
        Ok(self.shared.read(PROOF_AT as u64, &mut proof)? && proof == *challenge)
    }

    /// The number of records before the published tail.
    ///
    /// # Errors
    /// None at present.
    pub fn consumed(&self) -> io::Result<u64> {
        Ok(self.shared.published().consumed)
    }
}

/// What a consumer and its publishers share. The tail is kept here, too: what stands in the ring, its producer can write.
#[derive(Debug)]
pub(super) struct Shared {
    file: OwnedFd,
    published: Mutex<Published>,
}

#[derive(Debug, Clone, Copy)]
struct Published {
    tail: u64,
    consumed: u64,
}

impl Shared {
    pub(super) fn new(file: OwnedFd, tail: u64, consumed: u64) -> Self {
        Self {
            file,
            published: Mutex::new(Published { tail, consumed }),
        }
    }

    pub(super) fn tail(&self) -> u64 {
        self.published().tail
    }

    pub(super) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Fills `into`. Returns false if the file ends before.
    pub(super) fn read(&self, at: u64, into: &mut [u8]) -> Result<bool, Errno> {
        file::read(self.file(), at, into)
    }

    pub(super) fn write(&self, at: u64, bytes: &[u8]) -> Result<(), Errno> {
        match rustix::io::retry_on_intr(|| rustix::io::pwrite(&self.file, bytes, at))? {
            len if len == bytes.len() => Ok(()),
            _ => Err(Errno::IO),
        }
    }

    fn published(&self) -> MutexGuard<'_, Published> {
        // Two plain numbers are as good as they were before whoever panicked.
        self.published.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

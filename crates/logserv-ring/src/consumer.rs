//! The reading end of a ring, in a server that trusts no byte of it.
//!
//! In: a file that anybody may have written. Out: records copied out of it, or an error that says what was wrong. The
//! ring is written through the kernel only, and read so too until many looks at it are to come ([`Consumer::watch`]). A file
//! that is cut short is an error, and no signal.
//! Every loop is bounded by the capacity, which is checked when the ring is opened.

mod inspect;
mod publisher;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{Ordering, compiler_fence};

use rustix::io::Errno;

use crate::commit::{self, Line, Look};
use crate::directory::Directory;
use crate::error::RingError;
use crate::layout::{
    DATA_AT, HEAD_AT, HEAD_CHECK_AT, META_AT, META_CAPACITY, META_LEN_AT, PROOF_AT, RECORD_HEAD_LEN,
    SLEEPING_AT, meta_entry, record_len, record_size,
};
use crate::limits::LOOKS_MAX;
use crate::name::RingName;
use crate::sys::{Lease, Window, try_lease};

pub use publisher::Publisher;
use publisher::Shared;

/// One record among the bytes that [`Consumer::read`] appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Where the record begins in `bytes`.
    pub start: usize,
    /// Its length in bytes.
    pub len: usize,
    /// The position behind it: what to publish when it, and all before it, may be forgotten.
    pub end: u64,
}

/// The reading end of a ring. One at a time: whoever opens a second one reads the same records again.
#[derive(Debug)]
pub struct Consumer {
    shared: Arc<Shared>,
    name: RingName,
    owner: u32,
    capacity: u64,
    /// Its bytes, where they lie.
    window: Option<Window>,
    /// Behind the last record that was read.
    position: u64,
    /// Behind the last record that is known to be committed.
    head: u64,
    /// Bytes of the meta area that were read.
    meta_read: usize,
    /// Whether the descriptor is an open description of its own, so that a lease tells of others.
    leasable: bool,
}

impl Consumer {
    /// Opens a ring at the tail that stands in it. Blocks: never, whatever the file is; but a few milliseconds while somebody
    /// asks whether its producer is dead.
    ///
    /// # Errors
    /// `Gone`, `Refused` (not a regular file, more than one link, another mode, owner, length, header), `OtherBoot`,
    /// `Corrupt` (an impossible head or tail), `Io`.
    pub fn open(directory: &Directory, name: &RingName) -> Result<Self, RingError> {
        inspect::open(directory, name)
    }

    /// Opens a ring whose descriptor somebody has passed to us: the same checks, except those of the directory; and its
    /// length must be sealed. Whose it is, is the caller's to ask ([`owner`](Self::owner)).
    ///
    /// # Errors
    /// As [`open`](Self::open); `Refused` also where the seals are others.
    pub fn from_fd(fd: OwnedFd, name: &RingName) -> Result<Self, RingError> {
        inspect::adopt(fd, name)
    }

    /// Prepares for many looks: from here on the ring is read where it lies, where the kernel lets us, and neither a look nor a
    /// read takes a system call. A page that somebody cuts off is noticed; what is cut off within a page reads as zeros.
    pub fn watch(&mut self) {
        let len = usize::try_from(self.capacity)
            .ok()
            .and_then(|len| len.checked_add(DATA_AT));
        self.window = len.and_then(|len| Window::new(self.shared.file(), len));
    }

    /// Whether it is read where it lies: then reading little at a time costs nothing.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.window.is_some()
    }

    /// The uid that owns the file: on whose behalf its records speak.
    #[must_use]
    pub fn owner(&self) -> u32 {
        self.owner
    }

    /// The ring's name.
    #[must_use]
    pub fn name(&self) -> &RingName {
        &self.name
    }

    /// Whether the producer has copied this challenge into the ring.
    ///
    /// # Errors
    /// `Corrupt` if the file was cut short; `Io`.
    pub fn has_proof(&self, challenge: &[u8; 16]) -> Result<bool, RingError> {
        let mut proof = [0; 16];
        self.read_at(PROOF_AT as u64, &mut proof)?;
        Ok(proof == *challenge)
    }

    /// The entries of the meta area that are new since the last call. Ask after reading records: what they need was
    /// there before them.
    ///
    /// # Errors
    /// `Corrupt`, `Io`. What was returned before stays true.
    pub fn meta(&mut self) -> Result<Vec<(u32, Vec<u8>)>, RingError> {
        let mut entries = Vec::new();
        let len = self.meta_len()?;
        let mut bytes = vec![0; len - self.meta_read];
        self.read_at((META_AT + self.meta_read) as u64, &mut bytes)?;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let Some((kind, content, size)) = meta_entry(rest) else {
                return Err(self.corrupt("whole entries in the meta area", "a part of one".into()));
            };
            entries.push((kind, content.to_vec()));
            rest = rest.get(size..).unwrap_or_default();
        }
        self.meta_read = len;
        Ok(entries)
    }

    /// Looks for news. Returns the bytes that are committed and not read. Blocks: never.
    ///
    /// # Errors
    /// `Corrupt` if the head went back, beyond what fits, or is not at a record's end; `Io`.
    pub fn poll(&mut self) -> Result<u64, RingError> {
        if let Some(line) = commit::look(self)? {
            let low = self.head.max(self.position);
            let high = self.tail().saturating_add(self.capacity);
            if !(low..=high).contains(&line.head) || !line.head.is_multiple_of(RECORD_HEAD_LEN as u64) {
                let received = format!(
                    "a head of {}, with a tail of {} and {low} read",
                    line.head,
                    self.tail()
                );
                return Err(self.corrupt("a head between what was read and what fits", received));
            }
            self.head = line.head;
        }
        Ok(self.head.saturating_sub(self.position))
    }

    /// Copies whole records from where the last call ended, about `max` bytes with their heads and padding, but at least
    /// one record, whatever its length. Appends them to `bytes`, and where they are to `out`. Nothing new: nothing is
    /// appended. Blocks: never.
    ///
    /// # Errors
    /// `Corrupt` if the very next record is none; records before it were returned by the calls before. `Io`. On an error
    /// nothing is appended.
    pub fn read(&mut self, max: usize, out: &mut Vec<Entry>, bytes: &mut Vec<u8>) -> Result<(), RingError> {
        if self.head <= self.position && self.poll()? == 0 {
            return Ok(());
        }
        let start = bytes.len();
        let result = self.read_records(max, out, bytes);
        if result.is_err() {
            bytes.truncate(start);
        }
        result
    }

    fn read_records(
        &mut self,
        max: usize,
        out: &mut Vec<Entry>,
        bytes: &mut Vec<u8>,
    ) -> Result<(), RingError> {
        let mut at = bytes.len();
        let mut position = self.position;
        let available = usize::try_from(self.head - position).unwrap_or(usize::MAX);
        self.append(position, max.max(RECORD_HEAD_LEN).min(available), bytes)?;
        while let Some(head) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
            let Some(len) = record_len(*head, position, self.head) else {
                break;
            };
            let size = record_size(len).unwrap_or(RECORD_HEAD_LEN);
            let have = bytes.len() - at;
            if have < size {
                if position > self.position {
                    break;
                }
                self.append(position + have as u64, size - have, bytes)?;
            }
            position += size as u64;
            out.push(Entry {
                start: at + RECORD_HEAD_LEN,
                len,
                end: position,
            });
            at += size;
        }
        if position == self.position {
            let head = bytes
                .get(at..)
                .map(|rest| rest.iter().take(RECORD_HEAD_LEN).collect::<Vec<_>>());
            return Err(self.corrupt("the head of a record", format!("{head:02x?}")));
        }
        bytes.truncate(at);
        self.position = position;
        Ok(())
    }

    /// Behind the last record that was read.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The published tail: what is before it may be forgotten.
    #[must_use]
    pub fn tail(&self) -> u64 {
        self.shared.tail()
    }

    /// Bytes of the data area; between [`CAPACITY_MIN`](crate::limits::CAPACITY_MIN) and
    /// [`CAPACITY_MAX`](crate::limits::CAPACITY_MAX).
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// What can move the tail, also in another thread. Keeps the file open for as long as it lives.
    #[must_use]
    pub fn publisher(&self) -> Publisher {
        Publisher::new(Arc::clone(&self.shared))
    }

    /// Reads again from the published tail.
    pub fn rewind(&mut self) {
        self.position = self.tail();
    }

    /// Tells the producer whether it must wake us. After `true`, [`poll`](Self::poll) once more, and sleep only if
    /// nothing is new: whatever is committed after that look sees the flag.
    ///
    /// # Errors
    /// `Io`.
    pub fn set_sleeping(&self, yes: bool) -> Result<(), RingError> {
        self.shared
            .write(SLEEPING_AT as u64, &u64::from(yes).to_le_bytes())
            .map_err(|errno| RingError::io(errno, "write to"))?;
        // SeqCst: pairs with the producer's fence between its commit and its look at the flag.
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
        Ok(())
    }

    /// Whether nobody has the ring mapped or open but this consumer and its publishers: then nothing will be committed
    /// any more, and a [`poll`](Self::poll) after this sees all there ever will be. Blocks: never.
    ///
    /// # Errors
    /// `NoLease` where that cannot be known: another user's file without `CAP_LEASE`, a passed descriptor that could not
    /// be opened anew, a file system without leases.
    pub fn producer_is_gone(&self) -> Result<bool, RingError> {
        let unavailable = |errno: Errno| RingError::NoLease { source: errno.into() };
        if !self.leasable {
            return Err(unavailable(Errno::ACCESS));
        }
        match try_lease(self.shared.file()) {
            Lease::Granted => Ok(true),
            Lease::InUse => Ok(false),
            Lease::Unavailable(errno) => Err(unavailable(errno)),
        }
    }

    /// The meta area's length, read twice alike, and possible.
    fn meta_len(&self) -> Result<usize, RingError> {
        let mut before = None;
        for _ in 0..LOOKS_MAX {
            let len = usize::try_from(self.line()?.meta_len).unwrap_or(usize::MAX);
            if before == Some(len) {
                if (self.meta_read..=META_CAPACITY).contains(&len) && len.is_multiple_of(8) {
                    return Ok(len);
                }
                break;
            }
            before = Some(len);
        }
        let received = format!("{before:?} bytes of it, after {}", self.meta_read);
        Err(self.corrupt("a meta area that only grows", received))
    }

    /// Appends `len` bytes of the data area to `bytes`, from a position on; they may go on at its start.
    fn append(&self, position: u64, len: usize, bytes: &mut Vec<u8>) -> Result<(), RingError> {
        let start = bytes.len();
        bytes.resize(start + len, 0);
        let place = position % self.capacity;
        let first = usize::try_from(self.capacity - place).unwrap_or(len).min(len);
        let into = bytes.get_mut(start..).unwrap_or_default();
        let (before, behind) = into.split_at_mut(first);
        self.read_at(DATA_AT as u64 + place, before)?;
        self.read_at(DATA_AT as u64, behind)
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> Result<(), RingError> {
        let read = match &self.window {
            Some(window) => Ok(usize::try_from(at).is_ok_and(|at| window.read(at, into))),
            None => self.shared.read(at, into),
        };
        match read {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.corrupt("a file of unchanging length", "one that was cut short".into())),
            Err(errno) => Err(RingError::io(errno, "read")),
        }
    }

    fn corrupt(&self, expected: &'static str, received: String) -> RingError {
        RingError::Corrupt {
            position: self.position,
            expected,
            received,
        }
    }
}

impl Look for Consumer {
    type Error = RingError;

    fn line(&self) -> Result<Line, RingError> {
        if let Some(window) = &self.window {
            let line = Line {
                head_check: window.load(HEAD_CHECK_AT),
                head: window.load(HEAD_AT),
                meta_len: window.load(META_LEN_AT),
            };
            // The handler has run in between, in this thread.
            compiler_fence(Ordering::SeqCst);
            // No head is so large that its complement begins with zeros; what is cut off does.
            if line.head_check >> 56 == 0 || !window.is_whole() {
                return Err(self.corrupt("a file of unchanging length", "one that was cut short".into()));
            }
            return Ok(line);
        }
        let mut bytes = [0; META_LEN_AT + 8 - HEAD_CHECK_AT];
        self.read_at(HEAD_CHECK_AT as u64, &mut bytes)?;
        Line::parse(&bytes).ok_or_else(|| self.corrupt("a header", "a part of one".into()))
    }
}

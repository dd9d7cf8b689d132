//! The records of a session from the call that made them until the server has written them: bounded, in order, numbered.
//!
//! In: encoded records, acknowledgements. Out: batches to send, each with the number of its first record. Pure: no lock,
//! no clock, no I/O; `session.rs` puts a mutex around it. Not here: what happens to a record that does not fit.
//!
//! Records lie in chunks of one batch each. The sender takes a chunk by reference count and encodes it outside the lock,
//! so that a logging call never waits for a copy of more than its own record.

use std::collections::VecDeque;
use std::sync::Arc;

use logserv_wire::limits::{BATCH_LEN_TARGET, RECORD_LEN_MAX};
use logserv_wire::record::split_first;

/// Records to be sent in one batch.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    /// Number of the first record; a session's first has 1.
    pub(crate) first_seq: u64,
    /// Number of records, at least 1.
    pub(crate) count: u32,
    chunk: Arc<Vec<u8>>,
    start: usize,
}

impl Batch {
    /// The encoded records, one behind the other.
    pub(crate) fn records(&self) -> &[u8] {
        self.chunk.get(self.start..).unwrap_or_default()
    }
}

#[derive(Debug)]
struct Chunk {
    records: Arc<Vec<u8>>,
    count: u32,
}

/// The server has acknowledged a number that was never given: it speaks of another session.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NeverSent;

/// See the file's head. Memory: at most twice the capacity and one batch.
#[derive(Debug)]
pub(crate) struct Queue {
    capacity: usize,
    /// Chunks that take no more records, oldest first.
    sealed: VecDeque<Chunk>,
    /// The chunk that takes records.
    open: Vec<u8>,
    open_count: u32,
    /// Sealed chunks that have been handed out on this connection.
    handed_out: usize,
    /// Records and bytes of the first sealed chunk that are acknowledged already.
    front_done: u32,
    front_done_len: usize,
    /// Number of the last record acknowledged.
    acknowledged: u64,
    pending_records: u64,
    pending_len: usize,
    /// An empty buffer, kept so that not every chunk grows from nothing.
    spare: Vec<u8>,
}

impl Queue {
    /// An empty queue for `capacity` bytes of records.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            sealed: VecDeque::new(),
            open: Vec::new(),
            open_count: 0,
            handed_out: 0,
            front_done: 0,
            front_done_len: 0,
            acknowledged: 0,
            pending_records: 0,
            pending_len: 0,
            spare: Vec::new(),
        }
    }

    /// What is queued beyond a smaller capacity stays.
    pub(crate) fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity;
    }

    /// Whether a record of `len` bytes has space. One longer than the capacity has it when nothing else is there.
    pub(crate) fn fits(&self, len: usize) -> bool {
        self.pending_len == 0 || self.pending_len.saturating_add(len) <= self.capacity
    }

    /// Takes one whole record; the caller has asked [`fits`](Self::fits).
    pub(crate) fn push(&mut self, record: &[u8]) {
        if !self.open.is_empty() && self.open.len() + record.len() > BATCH_LEN_TARGET {
            self.seal();
        }
        self.open.extend_from_slice(record);
        self.open_count += 1;
        self.pending_records += 1;
        self.pending_len += record.len();
    }

    /// Closes the open chunk: what is pushed later goes into a later batch.
    pub(crate) fn seal(&mut self) {
        if self.open_count > 0 {
            let records = std::mem::replace(&mut self.open, std::mem::take(&mut self.spare));
            self.sealed.push_back(Chunk {
                records: Arc::new(records),
                count: self.open_count,
            });
            self.open_count = 0;
        }
    }

    /// The next batch not yet handed out on this connection, the open chunk included.
    pub(crate) fn next_batch(&mut self) -> Option<Batch> {
        if self.handed_out == self.sealed.len() {
            self.seal();
        }
        let before: u64 = self
            .sealed
            .iter()
            .take(self.handed_out)
            .map(|chunk| u64::from(chunk.count))
            .sum();
        let (skip, start) = if self.handed_out == 0 {
            (self.front_done, self.front_done_len)
        } else {
            (0, 0)
        };
        let chunk = self.sealed.get(self.handed_out)?;
        self.handed_out += 1;
        Some(Batch {
            first_seq: self.first_in_front() + before + u64::from(skip),
            count: chunk.count - skip,
            chunk: Arc::clone(&chunk.records),
            start,
        })
    }

    /// Number of the first sealed chunk's first record.
    fn first_in_front(&self) -> u64 {
        self.acknowledged - u64::from(self.front_done) + 1
    }

    /// Forgets the records up to and including number `seq`. Returns whether that made space.
    ///
    /// # Errors
    /// [`NeverSent`] for a number that no record has; nothing is forgotten then.
    pub(crate) fn acknowledge(&mut self, seq: u64) -> Result<bool, NeverSent> {
        if seq > self.last_sealed() {
            return Err(NeverSent);
        }
        let before = self.acknowledged;
        while self.acknowledged < seq {
            let Some(chunk) = self.sealed.front() else { break };
            let left = u64::from(chunk.count - self.front_done);
            let wanted = seq - self.acknowledged;
            if wanted < left {
                self.acknowledge_in_front(wanted);
                break;
            }
            self.pending_len -= chunk.records.len() - self.front_done_len;
            self.pending_records -= left;
            self.acknowledged += left;
            (self.front_done, self.front_done_len) = (0, 0);
            self.handed_out = self.handed_out.saturating_sub(1);
            if let Some(chunk) = self.sealed.pop_front() {
                self.keep_spare(chunk.records);
            }
        }
        Ok(self.acknowledged > before)
    }

    fn acknowledge_in_front(&mut self, count: u64) {
        let Some(chunk) = self.sealed.front() else { return };
        for _ in 0..count {
            let rest = chunk.records.get(self.front_done_len..).unwrap_or_default();
            let len = split_first(rest).map_or(rest.len(), |(record, _)| record.len());
            self.front_done += 1;
            self.front_done_len += len;
            self.acknowledged += 1;
            self.pending_records -= 1;
            self.pending_len -= len;
        }
    }

    fn keep_spare(&mut self, records: Arc<Vec<u8>>) {
        if let Ok(mut buffer) = Arc::try_unwrap(records)
            && buffer.capacity() > self.spare.capacity()
            && buffer.capacity() <= 2 * BATCH_LEN_TARGET
        {
            buffer.clear();
            self.spare = buffer;
        }
    }

    /// A new connection: hands out again from the first record that is not acknowledged.
    pub(crate) fn rewind(&mut self) {
        self.handed_out = 0;
    }

    /// A new session: numbers what is left from 1.
    pub(crate) fn renumber(&mut self) {
        self.rewind();
        self.acknowledged = 0;
        if self.front_done > 0
            && let Some(chunk) = self.sealed.front_mut()
        {
            let rest = chunk
                .records
                .get(self.front_done_len..)
                .unwrap_or_default()
                .to_vec();
            chunk.records = Arc::new(rest);
            chunk.count -= self.front_done;
            (self.front_done, self.front_done_len) = (0, 0);
        }
    }

    /// Number of the last record acknowledged.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Number of the last record that could have been handed out.
    fn last_sealed(&self) -> u64 {
        self.last() - u64::from(self.open_count)
    }

    /// Number of the last record pushed.
    pub(crate) fn last(&self) -> u64 {
        self.acknowledged + self.pending_records
    }

    /// Records not yet acknowledged.
    pub(crate) fn pending_records(&self) -> u64 {
        self.pending_records
    }

    /// Their bytes.
    pub(crate) fn pending_len(&self) -> usize {
        self.pending_len
    }

    /// Bytes not yet handed out on this connection.
    pub(crate) fn waiting_len(&self) -> usize {
        let sealed = self
            .sealed
            .iter()
            .skip(self.handed_out)
            .map(|chunk| chunk.records.len());
        self.open.len() + sealed.sum::<usize>()
    }

    /// Whether records have been handed out on this connection that are not acknowledged.
    pub(crate) fn is_outstanding(&self) -> bool {
        self.handed_out > 0
    }

    /// Number of the last record handed out on this connection, or acknowledged.
    pub(crate) fn last_handed_out(&self) -> u64 {
        let counts = self
            .sealed
            .iter()
            .take(self.handed_out)
            .map(|chunk| u64::from(chunk.count));
        let handed_out: u64 = counts.sum();
        if handed_out == 0 {
            self.acknowledged
        } else {
            self.first_in_front() + handed_out - 1
        }
    }
}

// A batch with one record more than the target still is a frame.
const _: () = assert!(BATCH_LEN_TARGET <= RECORD_LEN_MAX);

#[cfg(test)]
mod tests;

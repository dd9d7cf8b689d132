//! What carries the records of a session: a ring in shared memory, or the process's own queue and a socket.
//!
//! In: records; what has become of them. Out: numbers, the same for both, and batches of the queue. Pure but for the
//! ring's memory. A session begins with a ring where it can, and may move to the queue once, never back.
//! Not here: the choice (`shared.rs`), the ring (`ring.rs`), the queue (`queue.rs`).

use std::path::Path;

use logserv_wire::record::split_first;

use crate::queue::{NeverSent, Queue};
use crate::ring::Ring;

/// See the file's head.
#[derive(Debug)]
pub(crate) struct Carrier {
    way: Way,
    queue: Queue,
    /// Bytes of records to hold.
    limit: usize,
    /// Records that were written through the queue, and through rings that are gone.
    written_before: u64,
    cut: u64,
}

#[derive(Debug)]
enum Way {
    /// No record has come yet; a question alone goes the queue's way.
    Undecided,
    Ring(Box<Ring>),
    /// For the life of the process.
    Queue,
}

impl Carrier {
    /// Nothing yet, for `limit` bytes of records.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            way: Way::Undecided,
            queue: Queue::new(limit),
            limit,
            written_before: 0,
            cut: 0,
        }
    }

    // ---- which

    /// Whether the next record is the first, and decides.
    pub(crate) fn is_undecided(&self) -> bool {
        matches!(self.way, Way::Undecided)
    }

    /// From here on the records go through this ring, or (`None`) through the queue.
    pub(crate) fn decide(&mut self, ring: Option<Box<Ring>>) {
        self.way = ring.map_or(Way::Queue, Way::Ring);
    }

    /// The ring.
    pub(crate) fn ring(&self) -> Option<&Ring> {
        match &self.way {
            Way::Ring(ring) => Some(ring),
            Way::Undecided | Way::Queue => None,
        }
    }

    /// The ring, to be changed.
    pub(crate) fn ring_mut(&mut self) -> Option<&mut Ring> {
        match &mut self.way {
            Way::Ring(ring) => Some(ring),
            Way::Undecided | Way::Queue => None,
        }
    }

    /// What the ring holds unread goes through the queue, and so does everything from here on. The ring is removed before
    /// any of it can be sent: at no moment could both ways bring it. Returns by how much the records' numbers are less.
    pub(crate) fn leave_ring(&mut self) -> u64 {
        let Way::Ring(ring) = std::mem::replace(&mut self.way, Way::Queue) else {
            return 0;
        };
        let unread = ring.unread();
        let mut rest = unread.as_slice();
        let mut count = 0;
        while let Ok((record, behind)) = split_first(rest) {
            self.queue.push(record);
            rest = behind;
            count += 1;
        }
        let shift = ring.pushed() - count;
        self.written_before += shift;
        ring.remove();
        shift
    }

    /// What a ring holds that no server has begun to read goes into this one, which is no smaller; that one is removed. Also
    /// where a server has read all of it. Returns by how much the records' numbers are less.
    pub(crate) fn exchange_ring(&mut self, mut other: Box<Ring>) -> u64 {
        let Way::Ring(ring) = &mut self.way else { return 0 };
        let unread = ring.unread();
        let mut rest = unread.as_slice();
        while let Ok((record, behind)) = split_first(rest) {
            other.push(record);
            rest = behind;
        }
        let shift = ring.pushed() - other.pushed();
        self.written_before += shift;
        std::mem::replace(ring, other).remove();
        shift
    }

    /// Has the ring found by the server at this socket, when its process is dead. What goes wrong leaves it where it is.
    pub(crate) fn move_ring(&mut self, socket: &Path) {
        if let Way::Ring(ring) = &mut self.way {
            ring.move_to(socket);
        }
    }

    /// Removes a ring in which nothing is left; the next record decides anew.
    pub(crate) fn retire_ring(&mut self) {
        if self.pending_records() > 0 {
            return;
        }
        if matches!(self.way, Way::Ring(_))
            && let Way::Ring(ring) = std::mem::replace(&mut self.way, Way::Undecided)
        {
            self.written_before += ring.pushed();
            ring.remove();
        }
    }

    // ---- records in

    /// Bytes of records to hold from now on. A ring that is there does not grow by this.
    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
        self.queue.set_capacity(limit);
    }

    /// Bytes of records to hold.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes of the longest record that can ever have space; longer ones are to be cut.
    pub(crate) fn longest(&self) -> usize {
        self.ring().map_or(usize::MAX, Ring::longest)
    }

    /// Whether a record of `len` bytes has space.
    pub(crate) fn fits(&self, len: usize) -> bool {
        match &self.way {
            Way::Ring(ring) => ring.fits(len, self.limit),
            Way::Undecided | Way::Queue => self.queue.fits(len),
        }
    }

    /// Takes one whole record, if it has space.
    pub(crate) fn push(&mut self, record: &[u8]) -> bool {
        match &mut self.way {
            Way::Ring(ring) => ring.fits(record.len(), self.limit) && ring.push(record),
            Way::Undecided | Way::Queue => {
                let fits = self.queue.fits(record.len());
                if fits {
                    self.queue.push(record);
                }
                fits
            }
        }
    }

    /// Counts a record that was cut before it was pushed.
    pub(crate) fn count_cut(&mut self) {
        self.cut += 1;
    }

    // ---- numbers

    /// Records cut.
    pub(crate) fn cut(&self) -> u64 {
        self.cut
    }

    /// Number of the last record pushed.
    pub(crate) fn last(&self) -> u64 {
        self.ring().map_or_else(|| self.queue.last(), Ring::pushed)
    }

    /// Number of the last record that the server has, or will have without our doing.
    pub(crate) fn last_handed_out(&self) -> u64 {
        self.ring()
            .map_or_else(|| self.queue.last_handed_out(), Ring::pushed)
    }

    /// Records written, and records not yet written, at one moment.
    pub(crate) fn written_and_pending(&self) -> (u64, u64) {
        match self.ring() {
            Some(ring) => {
                let written = ring.written();
                (self.written_before + written, ring.pushed() - written)
            }
            None => (self.written_before, self.queue.pending_records()),
        }
    }

    /// Records not yet written.
    pub(crate) fn pending_records(&self) -> u64 {
        self.written_and_pending().1
    }

    /// Their bytes.
    pub(crate) fn pending_len(&self) -> usize {
        self.ring()
            .map_or_else(|| self.queue.pending_len(), Ring::pending_len)
    }

    // ---- the queue's

    /// The queue, for what is only its own: batches.
    pub(crate) fn queue(&mut self) -> &mut Queue {
        &mut self.queue
    }

    /// The queue, to look at.
    pub(crate) fn queued(&self) -> &Queue {
        &self.queue
    }

    /// The queue's records up to and including `seq` are written. Returns whether that made space.
    ///
    /// # Errors
    /// [`NeverSent`].
    pub(crate) fn acknowledge(&mut self, seq: u64) -> Result<bool, NeverSent> {
        let before = self.queue.acknowledged();
        let made_space = self.queue.acknowledge(seq)?;
        self.written_before += self.queue.acknowledged() - before;
        Ok(made_space)
    }
}

//! The writing end of a ring, mapped into the process whose records it carries.
//!
//! In: encoded records. Out: records that another process reads, whatever becomes of this one. No call but those that
//! make and remove it makes a system call. What the consumer's side of the header says is checked before it is believed.
//! Not here: what to do when the ring is full, and whom to wake.

use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;

use rustix::io::Errno;

use crate::boot::boot_id;
use crate::commit;
use crate::directory::Directory;
use crate::error::CreateError;
use crate::file;
use crate::layout::{
    BOOT_AT, CAPACITY_AT, DATA_AT, HEAD_CHECK_AT, ID_AT, MAGIC, MAGIC_AT, META_AT, META_CAPACITY,
    META_CAPACITY_AT, META_HEAD_LEN, META_LEN_AT, PROOF_AT, RECORD_HEAD_LEN, TAIL_CHECK_AT, VERSION,
    VERSION_AT, padded, record_head, record_len, record_size,
};
use crate::limits::{CAPACITY_MAX, CAPACITY_MIN};
use crate::name::{RingId, RingName};
use crate::sys::{Map, View};

/// The writing end of a ring. May move between threads; its owner lets one at a time write.
///
/// Dropping it leaves the file and what is in it, as a crash does. A forked child does not have the memory: there,
/// nothing fits, and nothing is written.
#[derive(Debug)]
pub struct Producer {
    name: RingName,
    map: Map,
    capacity: usize,
    head: u64,
    /// `head % capacity`, kept beside it: a division costs more than the copy of a short record.
    place: usize,
    records: u64,
    meta_len: usize,
    /// The newest tail that made sense, and the consumer's count of records with it.
    tail: Cell<u64>,
    consumed: Cell<u64>,
}

impl Producer {
    /// Makes a ring for the server of `key`, with a data area of `capacity` bytes, rounded up to a multiple of 4096 and
    /// kept between [`CAPACITY_MIN`] and [`CAPACITY_MAX`]. All of its memory is allocated. No descriptor stays open.
    ///
    /// # Errors
    /// `NoSpace` if there is not enough memory for this size; `Io` if no size would help. Nothing is left behind.
    pub fn create(directory: &Directory, key: u64, capacity: usize) -> Result<Self, CreateError> {
        let (name, capacity, len) = plan(key, capacity)?;
        let failed = |(errno, doing): file::Failed| CreateError::new(errno, doing, len);
        let file = file::make(directory, len).map_err(failed)?;
        let producer = Self::over(file.as_fd(), name, capacity, len)?;
        file::give_name(file.as_fd(), directory, &producer.name.to_string()).map_err(failed)?;
        Ok(producer)
    }

    /// Makes a ring that is in no directory, to be passed: who holds its descriptor can neither cut nor lengthen it. It is
    /// gone with its last descriptor and mapping. Else as [`create`](Self::create).
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn create_sealed(key: u64, capacity: usize) -> Result<(Self, OwnedFd), CreateError> {
        let (name, capacity, len) = plan(key, capacity)?;
        let failed = |(errno, doing): file::Failed| CreateError::new(errno, doing, len);
        let file = file::make_sealable(&name.to_string(), len).map_err(failed)?;
        let producer = Self::over(file.as_fd(), name, capacity, len)?;
        file::seal(file.as_fd()).map_err(failed)?;
        Ok((producer, file))
    }

    /// Maps a new file of `len` bytes, and fills its header.
    fn over(file: BorrowedFd<'_>, name: RingName, capacity: usize, len: u64) -> Result<Self, CreateError> {
        let failed = |errno| CreateError::new(errno, "map", len);
        let map = Map::new(file, DATA_AT + capacity).map_err(failed)?;
        let view = map.view().ok_or_else(|| failed(Errno::NOMEM))?;
        fill_header(view, &name, capacity);
        Ok(Self {
            name,
            map,
            capacity,
            head: 0,
            place: 0,
            records: 0,
            meta_len: 0,
            tail: Cell::new(0),
            consumed: Cell::new(0),
        })
    }

    /// The ring's name.
    #[must_use]
    pub fn name(&self) -> &RingName {
        &self.name
    }

    /// Makes it another server's: its name gets the key of that one's address, its id stays. Whoever reads it goes on
    /// reading it; whoever looks for it by the old name finds nothing. Not for one that is in no directory.
    ///
    /// # Errors
    /// Those of `rename(2)`; the name is as it was.
    pub fn move_to(&mut self, directory: &Directory, key: u64) -> std::io::Result<()> {
        let name = RingName {
            key,
            id: self.name.id,
        };
        directory.rename(&self.name, &name)?;
        self.name = name;
        Ok(())
    }

    /// Bytes of the data area. The longest record has 8 less.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Whether a record of `len` bytes would fit now. No system call.
    #[must_use]
    pub fn fits(&self, len: usize) -> bool {
        match (record_size(len), self.map.view()) {
            (Some(size), Some(view)) => self.has_room(view, size),
            _ => false,
        }
    }

    /// Commits one record. Returns false, and changes nothing, if it does not fit. From the return on the record is
    /// safe from the death of this process. Blocks: never; no system call. Drops: never.
    #[inline]
    pub fn push(&mut self, record: &[u8]) -> bool {
        let (Some(view), Some(size)) = (self.map.view(), record_size(record.len())) else {
            return false;
        };
        if !self.has_room(view, size) {
            return false;
        }
        // It fits, so its length does: CAPACITY_MAX is far below 4 GiB.
        let head = record_head(self.head, record.len() as u32);
        view.store(DATA_AT + self.place, head, Ordering::Relaxed);
        let mut place = self.place + RECORD_HEAD_LEN;
        let len = size - RECORD_HEAD_LEN;
        let first = self.capacity - place;
        if len <= first {
            if record.len() < len {
                // The padding; the record's last bytes then overwrite what of this word is theirs.
                view.store(DATA_AT + place + len - 8, 0, Ordering::Relaxed);
            }
            view.write(DATA_AT + place, record);
            place += len;
        } else {
            place = self.write_around(view, place, record, len);
        }
        self.place = if place == self.capacity { 0 } else { place };
        self.head += size as u64;
        self.records += 1;
        commit::commit(&view, self.head, self.records);
        true
    }

    /// Writes a record that goes on at the start of the data area. Returns the place behind its padding.
    #[cold]
    fn write_around(&self, view: View<'_>, place: usize, record: &[u8], len: usize) -> usize {
        let first = self.capacity - place;
        let end = len - first;
        let (before, behind) = record.split_at_checked(first).unwrap_or((record, &[]));
        if before.len() < first {
            view.store(DATA_AT + self.capacity - 8, 0, Ordering::Relaxed);
        }
        view.write(DATA_AT + place, before);
        if behind.len() < end {
            view.store(DATA_AT + end - 8, 0, Ordering::Relaxed);
        }
        view.write(DATA_AT, behind);
        end
    }

    /// Whether the consumer must be woken for what was pushed before. A fence and a load, no system call.
    #[must_use]
    pub fn consumer_sleeps(&self) -> bool {
        self.map.view().is_some_and(|view| commit::consumer_sleeps(&view))
    }

    /// Appends an entry, the `bytes` one behind the other, to the meta area: whoever reads a record that is pushed later
    /// finds it. Returns false, and changes nothing, if there is no room left.
    pub fn append_meta(&mut self, kind: u32, bytes: &[&[u8]]) -> bool {
        let len: usize = bytes.iter().map(|part| part.len()).sum();
        let size = META_HEAD_LEN.checked_add(len).and_then(padded);
        let (Some(view), Some(size), Ok(len)) = (self.map.view(), size, u32::try_from(len)) else {
            return false;
        };
        let end = self.meta_len.saturating_add(size);
        if end > META_CAPACITY {
            return false;
        }
        let mut at = META_AT + self.meta_len;
        view.store(META_AT + end - 8, 0, Ordering::Relaxed); // the padding
        view.store(at, u64::from(kind) | u64::from(len) << 32, Ordering::Relaxed);
        at += META_HEAD_LEN;
        for part in bytes {
            view.write(at, part);
            at += part.len();
        }
        self.meta_len = end;
        // Release: pairs with the acquire of a consumer's look; and a record that needs the entry is committed later.
        view.store(META_LEN_AT, end as u64, Ordering::Release);
        true
    }

    /// Copies the server's challenge into the ring: who can do that is the one who mapped it.
    pub fn prove(&mut self, challenge: [u8; 16]) {
        if let Some(view) = self.map.view() {
            view.write(PROOF_AT, &challenge);
            // The message that tells the server to look goes through the kernel, behind this.
            view.fence();
        }
    }

    /// Bytes of the data area that the consumer had not released when it was last looked: without a load from what another
    /// processor writes.
    #[inline]
    #[must_use]
    pub fn pending_len_at_most(&self) -> usize {
        usize::try_from(self.head - self.tail.get()).unwrap_or(usize::MAX)
    }

    /// Bytes of the data area that the consumer has not released yet.
    #[must_use]
    pub fn pending_len(&self) -> usize {
        self.refresh();
        self.pending_len_at_most()
    }

    /// Records that the consumer has not released yet.
    #[must_use]
    pub fn pending_records(&self) -> u64 {
        self.records - self.consumed_records()
    }

    /// Records that were committed.
    #[must_use]
    pub fn pushed_records(&self) -> u64 {
        self.records
    }

    /// Records that the consumer has released.
    #[must_use]
    pub fn consumed_records(&self) -> u64 {
        self.refresh();
        self.consumed.get()
    }

    /// The records that the consumer has not released, one behind the other: for whoever gives the ring up and carries
    /// them another way. In a forked child: nothing, they are its parent's.
    #[must_use]
    pub fn unread(&self) -> Vec<u8> {
        self.refresh();
        let mut records = Vec::new();
        let Some(view) = self.map.view() else {
            return records;
        };
        let mut position = self.tail.get();
        while position < self.head {
            let mut bytes = [0; RECORD_HEAD_LEN];
            self.copy_out(view, position, &mut bytes);
            // A tail inside of a record, or another process of this user, can make it something else.
            let Some(len) = record_len(bytes, position, self.head) else {
                break;
            };
            let start = records.len();
            records.resize(start + len, 0);
            if let Some(into) = records.get_mut(start..) {
                self.copy_out(view, position + RECORD_HEAD_LEN as u64, into);
            }
            position += record_size(len).unwrap_or(RECORD_HEAD_LEN) as u64;
        }
        records
    }

    /// Everything before `position` is written, as the server says whose predecessor could not say so here: what is
    /// [`unread`](Self::unread) begins there. A position that no tail can have changes nothing.
    pub fn released(&self, position: u64) {
        self.refresh();
        if (self.tail.get()..=self.head).contains(&position)
            && position.is_multiple_of(RECORD_HEAD_LEN as u64)
        {
            self.tail.set(position);
        }
    }

    /// Removes the ring and what is in it. One that is in no directory is removed by dropping it and its descriptor.
    ///
    /// Where it is not in `directory`, it is in that of another user, whom this process was before: see
    /// [`withdraw`](Self::withdraw).
    pub fn remove(self, directory: &Directory) {
        if !directory
            .unlink(&self.name.to_string())
            .is_ok_and(|was_there| was_there)
        {
            self.withdraw();
        }
    }

    /// Takes back what the consumer has not released, for a ring whose name stays: whoever finds it is to find nothing, since
    /// its records go another way. Only where nobody reads it, for the head goes back.
    pub fn withdraw(self) {
        self.refresh();
        if let Some(view) = self.map.view() {
            commit::commit(&view, self.tail.get(), self.consumed.get());
        }
    }

    #[inline]
    fn has_room(&self, view: View<'_>, size: usize) -> bool {
        // Head minus tail is at most the capacity: `refresh` takes no other tail.
        let fits = |tail: u64| size as u64 <= (self.capacity as u64).saturating_sub(self.head - tail);
        fits(self.tail.get()) || {
            self.refresh_in(view);
            fits(self.tail.get())
        }
    }

    fn refresh(&self) {
        if let Some(view) = self.map.view() {
            self.refresh_in(view);
        }
    }

    /// Takes the consumer's tail, if it makes sense: it neither goes back nor beyond the head. Else the last one stays.
    fn refresh_in(&self, view: View<'_>) {
        if let Some((tail, consumed)) = commit::tail(&view)
            && (self.tail.get()..=self.head).contains(&tail)
            && tail.is_multiple_of(RECORD_HEAD_LEN as u64)
        {
            self.tail.set(tail);
            self.consumed
                .set(consumed.clamp(self.consumed.get(), self.records));
        }
    }

    /// Copies bytes of the data area, which begin at a position and may go on at its start.
    fn copy_out(&self, view: View<'_>, position: u64, into: &mut [u8]) {
        let place = (position % self.capacity as u64) as usize;
        let first = into.len().min(self.capacity - place);
        let (before, behind) = into.split_at_mut(first);
        view.read(DATA_AT + place, before);
        view.read(DATA_AT, behind);
    }
}

/// A new ring's name, the capacity that is granted, and the length of its file.
fn plan(key: u64, capacity: usize) -> Result<(RingName, usize, u64), CreateError> {
    let capacity = capacity
        .clamp(CAPACITY_MIN, CAPACITY_MAX)
        .next_multiple_of(CAPACITY_MIN);
    let len = (DATA_AT + capacity) as u64;
    let id = random_id().map_err(|errno| CreateError::new(errno, "name", len))?;
    Ok((RingName { key, id }, capacity, len))
}

fn random_id() -> Result<RingId, Errno> {
    let mut id = [0; 16];
    let len = rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty())?;
    if len == id.len() {
        Ok(RingId(id))
    } else {
        Err(Errno::IO)
    }
}

/// Writes the header of a ring that has no name yet, hence no reader; its other bytes are zeros.
fn fill_header(view: View<'_>, name: &RingName, capacity: usize) {
    view.write(MAGIC_AT, &MAGIC);
    view.write(VERSION_AT, &VERSION.to_le_bytes());
    view.store(CAPACITY_AT, capacity as u64, Ordering::Relaxed);
    view.store(META_CAPACITY_AT, META_CAPACITY as u64, Ordering::Relaxed);
    view.write(ID_AT, &name.id.0);
    view.write(BOOT_AT, &boot_id());
    view.store(HEAD_CHECK_AT, !0, Ordering::Relaxed);
    view.store(TAIL_CHECK_AT, !0, Ordering::Relaxed);
}

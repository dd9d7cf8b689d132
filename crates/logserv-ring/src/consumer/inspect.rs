//! Whether a file is a ring at all: asked once, before the first byte of it is believed.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::publisher::Shared;
use super::{Consumer, RingError};
use crate::boot::is_this_boot;
use crate::directory::{Directory, descriptor_path, type_name};
use crate::file::{self, MODE};
use crate::layout::{
    BOOT_AT, CAPACITY_AT, CONSUMED_AT, DATA_AT, ID_AT, MAGIC, MAGIC_AT, META_CAPACITY, META_CAPACITY_AT,
    RECORD_HEAD_LEN, SLEEPING_AT, TAIL_AT, TAIL_CHECK_AT, VERSION, VERSION_AT, u32_at, u64_at,
};
use crate::limits::{CAPACITY_MAX, CAPACITY_MIN, LEASE_WAIT, LEASE_WAITS_MAX};
use crate::name::RingName;

/// Nonblocking, so that neither a FIFO nor somebody's lease on the file holds us up.
const FLAGS: OFlags = OFlags::RDWR
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

pub(super) fn open(directory: &Directory, name: &RingName) -> Result<Consumer, RingError> {
    let flags = FLAGS | OFlags::NOFOLLOW;
    let mut opened = rustix::fs::openat(directory, name.to_string(), flags, Mode::empty());
    for _ in 0..LEASE_WAITS_MAX {
        // Somebody asks at this moment whether its producer is dead: for that he holds a lease, for microseconds.
        if !matches!(opened, Err(Errno::AGAIN)) {
            break;
        }
        std::thread::sleep(LEASE_WAIT);
        opened = rustix::fs::openat(directory, name.to_string(), flags, Mode::empty());
    }
    let file = match opened {
        Ok(file) => file,
        Err(Errno::NOENT) => return Err(RingError::Gone),
        Err(Errno::LOOP) => return Err(RingError::refused("a regular file", "a symbolic link")),
        Err(Errno::ISDIR) => return Err(RingError::refused("a regular file", "a directory")),
        Err(Errno::NXIO) => return Err(RingError::refused("a regular file", "a socket, or a device")),
        Err(errno) => return Err(RingError::io(errno, "open")),
    };
    let stat = stat(file.as_fd())?;
    if stat.st_uid != directory.uid() {
        let expected = format!("a file of uid {}", directory.uid());
        return Err(RingError::refused(
            expected,
            format!("one of uid {}", stat.st_uid),
        ));
    }
    if stat.st_dev != directory.device() {
        return Err(RingError::refused(
            "a file of its directory's file system",
            "one of another",
        ));
    }
    consumer(file, &stat, name, true)
}

pub(super) fn adopt(fd: OwnedFd, name: &RingName) -> Result<Consumer, RingError> {
    let stat = stat(fd.as_fd())?;
    require_ring_file(&stat)?;
    require_seals(fd.as_fd(), &stat)?;
    // A passed descriptor is the same open description as the sender's mapping: a lease on it would be granted while the
    // sender lives. Our own description tells.
    match rustix::fs::open(descriptor_path(fd.as_fd()), FLAGS, Mode::empty()) {
        Ok(own) => {
            let stat = self::stat(own.as_fd())?;
            consumer(own, &stat, name, true)
        }
        Err(_) => consumer(fd, &stat, name, false),
    }
}

fn stat(file: BorrowedFd<'_>) -> Result<Stat, RingError> {
    rustix::fs::fstat(file).map_err(|errno| RingError::io(errno, "look at"))
}

/// A file that we could cut short would make its producer's life ours to end: who passes such a one shall notice.
fn require_seals(file: BorrowedFd<'_>, stat: &Stat) -> Result<(), RingError> {
    let seals = rustix::fs::fcntl_get_seals(file)
        .map_err(|errno| RingError::refused("a file in memory", errno.to_string()))?;
    if seals.contains(file::LENGTH_SEALS) && !seals.intersects(file::WRITE_SEALS) && stat.st_nlink == 0 {
        return Ok(());
    }
    Err(RingError::refused(
        "a nameless file whose length is sealed, and nothing else of it",
        format!("{} names, {seals:?}", stat.st_nlink),
    ))
}

fn require_ring_file(stat: &Stat) -> Result<(), RingError> {
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind != FileType::RegularFile {
        return Err(RingError::refused("a regular file", type_name(kind)));
    }
    // One that is being removed has lost its name; a passed one never had any.
    if stat.st_nlink > 1 {
        return Err(RingError::refused(
            "a file of one name",
            format!("{} names", stat.st_nlink),
        ));
    }
    let mode = stat.st_mode & 0o7777;
    if mode != MODE {
        return Err(RingError::refused(
            format!("mode {MODE:04o}"),
            format!("{mode:04o}"),
        ));
    }
    let len = u64::try_from(stat.st_size).unwrap_or(0);
    let (min, max) = ((DATA_AT + CAPACITY_MIN) as u64, (DATA_AT + CAPACITY_MAX) as u64);
    if !(min..=max).contains(&len) {
        let expected = format!("a file of {min} to {max} bytes");
        return Err(RingError::refused(expected, format!("{len} bytes")));
    }
    Ok(())
}

fn consumer(file: OwnedFd, stat: &Stat, name: &RingName, own: bool) -> Result<Consumer, RingError> {
    require_ring_file(stat)?;
    let mut header = [0; SLEEPING_AT + 8];
    match file::read(file.as_fd(), 0, &mut header) {
        Ok(true) => {}
        Ok(false) => return Err(RingError::refused("a header", "a file that was cut short")),
        Err(errno) => return Err(RingError::io(errno, "read")),
    }
    let capacity = capacity(&header, stat, name)?;
    let (tail, consumed) = tail(&header, capacity)?;
    let mut consumer = Consumer {
        shared: std::sync::Arc::new(Shared::new(file, tail, consumed)),
        name: name.clone(),
        owner: stat.st_uid,
        capacity,
        window: None,
        position: tail,
        head: tail,
        meta_read: 0,
        leasable: own,
    };
    consumer.poll()?;
    Ok(consumer)
}

/// The capacity, if the fixed part of the header is that of the ring `name`.
fn capacity(header: &[u8], stat: &Stat, name: &RingName) -> Result<u64, RingError> {
    let field = |at: usize, len: usize| header.get(at..at + len).unwrap_or_default();
    if field(MAGIC_AT, MAGIC.len()) != MAGIC || u32_at(header, VERSION_AT) != Some(VERSION) {
        let received = format!("{:02x?}", field(MAGIC_AT, VERSION_AT + 4));
        return Err(RingError::refused(
            format!("a ring of version {VERSION}"),
            received,
        ));
    }
    if field(ID_AT, 16) != name.id.0 {
        return Err(RingError::refused(format!("the id {}", name.id), "another"));
    }
    let boot = field(BOOT_AT, 16).first_chunk().copied().unwrap_or_default();
    if !is_this_boot(boot) {
        return Err(RingError::OtherBoot);
    }
    let capacity = u64_at(header, CAPACITY_AT).unwrap_or(0);
    let fits = capacity.is_multiple_of(CAPACITY_MIN as u64)
        && capacity.checked_add(DATA_AT as u64) == u64::try_from(stat.st_size).ok();
    let meta_capacity = u64_at(header, META_CAPACITY_AT).unwrap_or(0);
    if !fits || meta_capacity != META_CAPACITY as u64 {
        let expected = format!(
            "areas of {META_CAPACITY} bytes and of the rest of {} bytes",
            stat.st_size
        );
        return Err(RingError::refused(
            expected,
            format!("{meta_capacity} and {capacity}"),
        ));
    }
    Ok(capacity)
}

/// The tail that the last consumer left, and its count of records.
fn tail(header: &[u8], capacity: u64) -> Result<(u64, u64), RingError> {
    let word = |at: usize| u64_at(header, at).unwrap_or(0);
    let tail = word(TAIL_AT);
    // That the head is at most a lap ahead is checked by the first poll.
    let possible = word(TAIL_CHECK_AT) == !tail
        && tail.is_multiple_of(RECORD_HEAD_LEN as u64)
        && tail.checked_add(capacity).is_some();
    if !possible {
        return Err(RingError::Corrupt {
            position: 0,
            expected: "a tail at a record's end, and its complement",
            received: format!("{tail} and {}", word(TAIL_CHECK_AT)),
        });
    }
    Ok((tail, word(CONSUMED_AT)))
}

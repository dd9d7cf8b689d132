//! Files of memory: made without a name, allocated to the last byte, then named; so nobody ever finds half of one. Those that
//! are for somebody else's hands never get a name, and are sealed.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FallocateFlags, MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use crate::directory::{Directory, descriptor_path};
use crate::limits::{ALLOCATE_ATTEMPTS_MAX, ALLOCATE_STEP};

/// Mode of every file: its owner's alone.
pub(crate) const MODE: u32 = 0o600;

/// A failed step, and what it was.
pub(crate) type Failed = (Errno, &'static str);

/// A file of `len` bytes without a name; it is gone with its last descriptor and mapping.
pub(crate) fn make(directory: &Directory, len: u64) -> Result<OwnedFd, Failed> {
    let mode = Mode::from_raw_mode(MODE);
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = rustix::fs::openat(directory, c".", flags, mode).map_err(|errno| (errno, "make"))?;
    // The umask may have taken the owner's own bits.
    rustix::fs::fchmod(&file, mode).map_err(|errno| (errno, "set the mode of"))?;
    allocate(file.as_fd(), 0, len).map_err(|errno| (errno, "allocate"))?;
    Ok(file)
}

/// What keeps whoever holds a descriptor from ending a process that has the file mapped: pages that were cut off are SIGBUS.
pub(crate) const LENGTH_SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW);
/// What would keep the consumer from moving the tail.
pub(crate) const WRITE_SEALS: SealFlags = SealFlags::WRITE.union(SealFlags::FUTURE_WRITE);

/// A file of `len` bytes that is in no directory, and can be sealed; `name` is for the eyes of people.
pub(crate) fn make_sealable(name: &str, len: u64) -> Result<OwnedFd, Failed> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Some hosts allow no other kind; kernels before 6.3 do not know it.
    let file = match rustix::fs::memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => rustix::fs::memfd_create(name, flags),
        other => other,
    };
    let file = file.map_err(|errno| (errno, "make"))?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(MODE)).map_err(|errno| (errno, "set the mode of"))?;
    allocate(file.as_fd(), 0, len).map_err(|errno| (errno, "allocate"))?;
    // The kernel does not count the description that it makes here among the file's writers, and would grant a lease on
    // the file while it is mapped; one that was opened it does count.
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::open(descriptor_path(file.as_fd()), flags, Mode::empty()).map_err(|errno| (errno, "open"))
}

/// Seals the file's length, and the seals.
pub(crate) fn seal(file: BorrowedFd<'_>) -> Result<(), Failed> {
    rustix::fs::fcntl_add_seals(file, LENGTH_SEALS | SealFlags::SEAL).map_err(|errno| (errno, "seal"))
}

/// Gives the file a name; fails with `EXIST` if it is taken.
pub(crate) fn give_name(file: BorrowedFd<'_>, directory: &Directory, name: &str) -> Result<(), Failed> {
    let from = descriptor_path(file);
    rustix::fs::linkat(rustix::fs::CWD, from, directory, name, AtFlags::SYMLINK_FOLLOW)
        .map_err(|errno| (errno, "name"))
}

/// Makes sure that the bytes `from..to` exist: a page that is missing when it is touched would end the process.
/// Blocks: never for long. Signals do not keep it from getting on.
pub(crate) fn allocate(file: BorrowedFd<'_>, from: u64, to: u64) -> Result<(), Errno> {
    // The kernel would end a process that asks for more by SIGXFSZ.
    if getrlimit(Resource::Fsize).current.is_some_and(|limit| to > limit) {
        return Err(Errno::FBIG);
    }
    let mut at = from;
    let mut attempts = 0;
    while at < to {
        let len = ALLOCATE_STEP.min(to - at);
        match rustix::fs::fallocate(file, FallocateFlags::empty(), at, len) {
            Ok(()) => {
                at += len;
                attempts = 0;
            }
            Err(Errno::INTR) if attempts < ALLOCATE_ATTEMPTS_MAX => attempts += 1,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Fills `into` with the bytes of `file` at `at`. Returns false if the file ends before.
pub(crate) fn read(file: BorrowedFd<'_>, at: u64, into: &mut [u8]) -> Result<bool, Errno> {
    let mut done = 0;
    while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match rustix::io::retry_on_intr(|| rustix::io::pread(file, &mut *rest, at + done as u64))? {
            0 => return Ok(false),
            len => done += len,
        }
    }
    Ok(true)
}

//! The only room of `unsafe` in this crate: what the kernel and `fork` ask for beyond the standard library.
//!
//! In: safe arguments. Out: safe values; each `unsafe` block says why it is sound. Not here: any decision.
#![expect(
    unsafe_code,
    reason = "system calls and lock-free lists that survive a fork; each block argues its safety"
)]

mod append;
mod fork;
mod launch;
mod passing;
mod socket;

pub(crate) use append::AppendOnly;
pub use fork::process_id;
pub(crate) use fork::{Descriptor, generation, install, with_signals_blocked};
pub(crate) use launch::{Command, Ending, run};
pub(crate) use passing::{Kept, Passed};
pub(crate) use socket::Socket;

/// Sixteen random bytes from the kernel; `None` where it has none to give (it is not seeded yet, or the call is
/// forbidden). Blocks: only before the kernel's generator is seeded, early at boot.
pub(crate) fn random() -> Option<[u8; 16]> {
    let mut bytes = [0_u8; 16];
    // SAFETY: the pointer and the length describe `bytes`, which lives through the call.
    let len = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    (len == 16).then_some(bytes)
}

/// Writes one line to descriptor 2, if it takes it at once; a full pipe must not hold the sender up. Takes no lock: the
/// standard library's stderr has one that a forked child might find held.
pub(crate) fn write_stderr(line: &str) {
    let mut poll = libc::pollfd {
        fd: 2,
        events: libc::POLLOUT,
        revents: 0,
    };
    // SAFETY: one valid pollfd; a time-out of 0 returns at once.
    let ready = unsafe { libc::poll(&raw mut poll, 1, 0) };
    if ready == 1 && poll.revents & libc::POLLOUT != 0 {
        // SAFETY: the pointer and the length describe `line`. A short or failed write loses a courtesy, nothing else.
        let _ = unsafe { libc::write(2, line.as_ptr().cast(), line.len()) };
    }
}

/// Whether the process, or the host, has as many descriptors open as it may.
pub(crate) fn is_out_of_descriptors(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// Whether everything that this process leaves behind ends with it, the memory of its host included: it is the first one of a
/// container.
pub(crate) fn is_first_process() -> bool {
    std::process::id() == 1
}

/// The user on whose behalf this process makes files.
pub(crate) fn effective_uid() -> u32 {
    // SAFETY: takes nothing, cannot fail.
    unsafe { libc::geteuid() }
}

//! The one place of the program where a number becomes a descriptor, and where what a process has inherited is put away.
#![expect(
    unsafe_code,
    reason = "descriptors that are inherited are numbers; the standard library resets no signals"
)]

use std::fs::File;
use std::os::fd::FromRawFd;
use std::sync::atomic::{AtomicBool, Ordering};

/// The highest signal's number on Linux.
const SIGNAL_MAX: libc::c_int = 64;

/// Takes over a descriptor that our parent has opened for us; `None` if it is one of the standard three, is not open,
/// or one was taken before.
pub(crate) fn take_descriptor(number: i32) -> Option<File> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let is_open = || std::fs::symlink_metadata(format!("/proc/self/fd/{number}")).is_ok();
    if number <= 2 || !is_open() || TAKEN.swap(true, Ordering::Relaxed) {
        return None;
    }
    // SAFETY: it is open, and nobody else owns it: it is none of the standard streams, this runs first in `serve`,
    // before the process has opened anything that it keeps, and only once.
    Some(unsafe { File::from_raw_fd(number) })
}

/// Closes every descriptor but the standard three. Call it first of all: nothing that this process has opened may be there.
pub(crate) fn close_inherited() {
    // SAFETY: nobody owns one of them: the process has opened nothing yet. The call itself touches no memory.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
    if closed == 0 {
        return;
    }
    // Kernels before 5.9 do not know the call.
    let listed = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let numbers: Vec<libc::c_int> = listed
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    for number in numbers.into_iter().filter(|number| *number > 2) {
        // SAFETY: as above; the listing's own descriptor is closed already, and closing it again is an error that we ignore:
        // there is no other thread that could have opened another under its number.
        unsafe { libc::close(number) };
    }
}

/// Gives every signal its usual effect, but for SIGPIPE, which the standard library ignores on purpose, and lets all through.
/// Call it before any handler is installed and any thread started.
pub(crate) fn reset_signals() {
    for signal in (1..=SIGNAL_MAX).filter(|signal| *signal != libc::SIGPIPE) {
        // SAFETY: no handler of ours is replaced: none is installed. Numbers that cannot be set are an error and no more.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: the set is a local, made whole by sigemptyset before it is read; zeros are a valid value of it.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

//! The first page of a ring that is not ours, read where it lies: a look at it costs a load, and no system call.
//!
//! Its owner may cut the file short, and the next load would end this process by SIGBUS. So all windows lie in one reserved range
//! of addresses, and a handler of that signal puts a page of zeros in the place of the one that is gone: a look at it finds
//! a header that is none. A fault anywhere else is left to whoever handled the signal before.
//! Not here: what the words mean (`commit.rs`), and the records, which are copied through the kernel.

use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous};
use rustix::param::page_size;

use crate::limits::WINDOWS_MAX;

/// One page of a file, read-only and shared, until it is dropped.
#[derive(Debug)]
pub(crate) struct Window {
    place: usize,
    base: NonNull<u8>,
}

// SAFETY: it is read with atomic loads only, by whichever thread, and its page stays mapped until the drop.
unsafe impl Send for Window {}
// SAFETY: as above.
unsafe impl Sync for Window {}

/// The reserved addresses, and the places in them that are free.
#[derive(Debug)]
struct Range {
    base: usize,
    free: Mutex<Vec<usize>>,
}

/// `None`: there are none to be had, or no handler could be set.
static RANGE: OnceLock<Option<Range>> = OnceLock::new();
/// Where the range begins, for the handler, which may not wait for anything; 0: nowhere.
static BASE: AtomicUsize = AtomicUsize::new(0);
/// How the signal was handled before.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

impl Window {
    /// The first page of `file`. `None`: none is free, or the kernel gives none; then it must be read another way.
    pub(crate) fn new(file: BorrowedFd<'_>) -> Option<Self> {
        let range = RANGE.get_or_init(Range::reserve).as_ref()?;
        let place = range.take()?;
        let at = range.base + place * page_size();
        // SAFETY: the page is within the range, which is ours, and nobody else has its place.
        let mapped = unsafe {
            let flags = MapFlags::SHARED | MapFlags::FIXED;
            mmap(
                ptr::with_exposed_provenance_mut(at),
                page_size(),
                ProtFlags::READ,
                flags,
                file,
                0,
            )
        };
        match mapped.ok().and_then(|base| NonNull::new(base.cast())) {
            Some(base) => Some(Self { place, base }),
            None => {
                range.give_back(place);
                None
            }
        }
    }

    /// The word at `at`, a multiple of 8; 0 beyond the page, and where the file has no bytes any more. Relaxed: with a fence behind
    /// it, it acquires.
    #[inline]
    pub(crate) fn load(&self, at: usize) -> u64 {
        if !at.is_multiple_of(8) || at + 8 > PAGE_LEN_MIN {
            return 0;
        }
        // SAFETY: within the page and aligned. It may change under us: other processes write it with stores of the machine or
        // through the kernel. A relaxed load of a word does not write: a read-only page is enough. Where the page is gone, the
        // handler puts another one in its place, and the load is done again.
        u64::from_le(
            unsafe { AtomicU64::from_ptr(self.base.as_ptr().add(at).cast()) }.load(Ordering::Relaxed),
        )
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        if let Some(range) = RANGE.get().and_then(Option::as_ref)
            && cover(self.base.as_ptr().cast(), page_size(), ProtFlags::empty())
        {
            range.give_back(self.place);
        }
    }
}

/// Bytes of the smallest page: what is read of any.
const PAGE_LEN_MIN: usize = 4096;

impl Range {
    fn reserve() -> Option<Self> {
        let len = WINDOWS_MAX * page_size();
        // SAFETY: a new private mapping at a place of the kernel's choice overlaps nothing.
        let base = unsafe {
            mmap_anonymous(
                ptr::null_mut(),
                len,
                ProtFlags::empty(),
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )
        };
        let base = base.ok()?.expose_provenance();
        BASE.store(base, Ordering::Release); // pairs with the handler's load
        set_handler()?;
        Some(Self {
            base,
            free: Mutex::new((0..WINDOWS_MAX).rev().collect()),
        })
    }

    fn take(&self) -> Option<usize> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn give_back(&self, place: usize) {
        self.free
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(place);
    }
}

/// Puts pages of nobody's in the place of those at `at`, which are of the range.
fn cover(at: *mut c_void, len: usize, protection: ProtFlags) -> bool {
    let flags = MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE;
    // SAFETY: the addresses are the range's, which is never given back, so that nothing else is replaced.
    unsafe { mmap_anonymous(at, len, protection, flags) }.is_ok()
}

fn set_handler() -> Option<()> {
    let mut before = MaybeUninit::<libc::sigaction>::zeroed();
    let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_bus_error;
    // SAFETY: all zeros is a valid `sigaction`; the sets and structures live in this frame, and the handler for as long as the
    // process. It does nothing that is not safe in a signal's handler.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        libc::sigemptyset(&raw mut action.sa_mask);
        if libc::sigaction(libc::SIGBUS, &raw const action, before.as_mut_ptr()) != 0 {
            return None;
        }
        let _ = BEFORE.set(before.assume_init());
    }
    Some(())
}

/// Makes the page that is gone one of zeros. A fault elsewhere happens again, under whatever handled the signal before.
extern "C" fn on_bus_error(signal: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    // SAFETY: the kernel gives a handler that asks for it a structure that lives until the handler returns.
    let at = unsafe { (*info).si_addr() }.addr();
    let base = BASE.load(Ordering::Acquire); // pairs with `reserve`
    let page = at & !(page_size() - 1);
    if base != 0
        && (base..base + WINDOWS_MAX * page_size()).contains(&page)
        && cover(
            ptr::with_exposed_provenance_mut(page),
            page_size(),
            ProtFlags::READ,
        )
    {
        return;
    }
    match BEFORE.get() {
        // SAFETY: what was there before is put back as it was.
        Some(before) => unsafe {
            libc::sigaction(signal, before, ptr::null_mut());
        },
        // SAFETY: as above: between the setting of ours and the remembering of it there is nothing else to go back to.
        None => unsafe {
            libc::signal(signal, libc::SIG_DFL);
        },
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_file_that_is_cut_short_reads_as_zeros_and_ends_nobody() {
        let mut file = tempfile::tempfile_in("/dev/shm").unwrap();
        file.write_all(&[0x55; 8192]).unwrap();
        let window = Window::new(file.as_fd()).unwrap();
        assert_eq!(window.load(128), 0x5555_5555_5555_5555);
        assert_eq!(window.load(4) + window.load(4096), 0);
        file.set_len(0).unwrap();
        assert_eq!(window.load(128), 0);
        drop(window);
        // Its place serves the next one.
        file.write_all(&[0x66; 4096]).unwrap();
        file.set_len(1 << 16).unwrap();
        let again: Vec<_> = (0..3).map(|_| Window::new(file.as_fd()).unwrap()).collect();
        assert_eq!(again[2].load(4096), 0);
    }
}

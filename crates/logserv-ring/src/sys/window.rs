//! A ring that is not ours, read where it lies: a look at it costs a few loads, and no system call.
//!
//! Its owner may cut the file short, and the next load would end this process by SIGBUS. So all windows stand in a table, and a
//! handler of that signal puts a page of zeros in the place of one that is gone, and notes it. A fault anywhere else is
//! left to whoever handled the signal before. What is cut off within a page reads as zeros without a signal: as if the ring's
//! owner had written them.
//! Not here: what the bytes mean; none of them is believed.

use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, compiler_fence};

use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};
use rustix::param::page_size;

use crate::limits::WINDOWS_MAX;

/// The first bytes of a file, read-only and shared, until it is dropped.
#[derive(Debug)]
pub(crate) struct Window {
    base: NonNull<u8>,
    len: usize,
    place: &'static Place,
}

// SAFETY: it is only read, with copies and atomic loads, by whichever thread, and stays mapped until the drop.
unsafe impl Send for Window {}
// SAFETY: as above.
unsafe impl Sync for Window {}

/// A window as the handler knows it, which may not wait for anything.
#[derive(Debug)]
struct Place {
    is_taken: AtomicBool,
    /// Where the window begins; 0: nowhere.
    base: AtomicUsize,
    len: AtomicUsize,
    /// A page of it was missing.
    is_torn: AtomicBool,
}

static PLACES: [Place; WINDOWS_MAX] = [const {
    Place {
        is_taken: AtomicBool::new(false),
        base: AtomicUsize::new(0),
        len: AtomicUsize::new(0),
        is_torn: AtomicBool::new(false),
    }
}; WINDOWS_MAX];
/// How the signal was handled before; `None`: no handler could be set, and there are no windows.
static BEFORE: OnceLock<Option<libc::sigaction>> = OnceLock::new();

impl Window {
    /// The first `len` bytes of `file`. `None`: there are too many windows, or the kernel gives none; then it must be read another
    /// way.
    pub(crate) fn new(file: BorrowedFd<'_>, len: usize) -> Option<Self> {
        BEFORE.get_or_init(set_handler).as_ref()?;
        let place = PLACES
            .iter()
            .find(|place| !place.is_taken.swap(true, Ordering::AcqRel))?; // pairs with the drop's store
        // SAFETY: a new mapping at a place of the kernel's choice overlaps nothing.
        let mapped = unsafe { mmap(ptr::null_mut(), len, ProtFlags::READ, MapFlags::SHARED, file, 0) };
        let Some(base) = mapped.ok().and_then(|base| NonNull::new(base.cast::<u8>())) else {
            place.is_taken.store(false, Ordering::Release);
            return None;
        };
        place.is_torn.store(false, Ordering::Relaxed);
        place.len.store(len, Ordering::Relaxed);
        // Release: pairs with the handler's load, which reads the length behind it.
        place
            .base
            .store(base.as_ptr().expose_provenance(), Ordering::Release);
        Some(Self { base, len, place })
    }

    /// The word at `at`, a multiple of 8; 0 beyond the end, and where the file has no bytes any more. Relaxed: with a fence behind
    /// it, it acquires.
    #[inline]
    pub(crate) fn load(&self, at: usize) -> u64 {
        if !at.is_multiple_of(8) || at.checked_add(8).is_none_or(|end| end > self.len) {
            return 0;
        }
        // SAFETY: inside of the mapping and aligned. It may change under us: other processes write it with stores of the machine
        // or through the kernel. A relaxed load of a word does not write: a read-only page is enough. Where the page is gone,
        // the handler puts another one in its place, and the load is done again.
        u64::from_le(
            unsafe { AtomicU64::from_ptr(self.base.as_ptr().add(at).cast()) }.load(Ordering::Relaxed),
        )
    }

    /// Copies the bytes at `at` into `into`. False where they are not all there: beyond the end, or cut off.
    pub(crate) fn read(&self, at: usize, into: &mut [u8]) -> bool {
        if at.checked_add(into.len()).is_none_or(|end| end > self.len) {
            return false;
        }
        // SAFETY: inside of the mapping, and `into` is ours alone. Bytes that somebody changes meanwhile are copied in some
        // mixture; every one of them is a valid u8, and the callers believe none of them unchecked.
        unsafe { ptr::copy_nonoverlapping(self.base.as_ptr().add(at), into.as_mut_ptr(), into.len()) };
        // The handler has run in the middle of the copy, in this thread.
        compiler_fence(Ordering::SeqCst);
        self.is_whole()
    }

    /// Whether no page was found to be missing.
    #[inline]
    pub(crate) fn is_whole(&self) -> bool {
        !self.place.is_torn.load(Ordering::Relaxed)
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.place.base.store(0, Ordering::Relaxed);
        // SAFETY: mapped by `new`, and nobody else has it; pages of the handler's are a part of it.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), self.len) };
        self.place.is_taken.store(false, Ordering::Release); // pairs with `new`
    }
}

/// How the signal was handled before; `None`: it cannot be.
fn set_handler() -> Option<libc::sigaction> {
    let mut before = MaybeUninit::<libc::sigaction>::zeroed();
    let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_bus_error;
    // SAFETY: all zeros is a valid `sigaction`; the structures live in this frame, and the handler for as long as the process. It
    // does nothing that is not safe in a signal's handler.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        let done = libc::sigaction(libc::SIGBUS, &raw const action, before.as_mut_ptr());
        (done == 0).then(|| before.assume_init())
    }
}

/// Makes the page that is gone one of zeros. A fault elsewhere happens again, under whatever handled the signal before.
extern "C" fn on_bus_error(signal: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    // SAFETY: the kernel gives a handler that asks for it a structure that lives until the handler returns.
    let (at, is_sent) = unsafe { ((*info).si_addr().addr(), (*info).si_code <= 0) };
    let mut is_mended = false;
    // All places: one may just have been given back and taken again, between the two loads.
    for place in PLACES.iter().filter(|_| !is_sent) {
        let base = place.base.load(Ordering::Acquire); // pairs with `new`
        if base != 0 && at >= base && at - base < place.len.load(Ordering::Relaxed) {
            place.is_torn.store(true, Ordering::Relaxed);
            let page = ptr::with_exposed_provenance_mut(at & !(page_size() - 1));
            let flags = MapFlags::PRIVATE | MapFlags::FIXED;
            // SAFETY: the page is one of that window, whose reader is interrupted here, so that it stays mapped.
            is_mended |= unsafe { mmap_anonymous(page, page_size(), ProtFlags::READ, flags) }.is_ok();
        }
    }
    if is_mended {
        return;
    }
    // SAFETY: what was there before is put back as it was; without that the signal's default ends the process.
    unsafe {
        match BEFORE.get().and_then(Option::as_ref) {
            Some(before) => {
                libc::sigaction(signal, before, ptr::null_mut());
            }
            None => {
                libc::signal(signal, libc::SIG_DFL);
            }
        }
        if is_sent {
            libc::raise(signal); // a fault comes again by itself, what somebody sent does not
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_file_that_is_cut_short_reads_as_zeros_is_noticed_and_ends_nobody() {
        let mut file = tempfile::tempfile_in("/dev/shm").unwrap();
        file.write_all(&[0x55; 3 * 65536]).unwrap();
        let (window, other) = (
            Window::new(file.as_fd(), 2 * 65536).unwrap(),
            Window::new(file.as_fd(), 65536).unwrap(),
        );
        let mut bytes = [0; 70_000];
        assert!(window.read(65536 * 2 - 70_000, &mut bytes) && bytes == [0x55; 70_000]);
        assert!(!window.read(65536 * 2 - 69_999, &mut bytes), "beyond its end");
        assert_eq!(window.load(65536 * 2 - 8), 0x5555_5555_5555_5555);
        assert_eq!(window.load(4) + window.load(65536 * 2), 0);
        file.set_len(65536).unwrap();
        assert!(window.is_whole());
        assert!(!window.read(65536 * 2 - 70_000, &mut bytes));
        assert_eq!((bytes[0], bytes[69_999]), (0x55, 0));
        assert!(!window.is_whole());
        assert!(
            other.is_whole() && other.read(0, &mut bytes[..65536]),
            "it has what it had"
        );
        drop(window);
        assert!(
            Window::new(file.as_fd(), 65536).unwrap().is_whole(),
            "whoever has its place now"
        );
    }
}

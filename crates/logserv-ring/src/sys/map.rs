//! A file's bytes in our address space, shared with whoever else has the file.
//!
//! Every access is by value and within bounds. Two things can go wrong with memory that is not ours alone, and both are
//! excluded here: the file is allocated before it is mapped, so that no page can be missing (what is cut off behind our
//! back, only a process of the same user can do, which could as well kill us); and a forked child, in which the mapping
//! does not exist, is recognised before each use.

use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering, fence};

use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};

/// Bytes of the page that tells a child from its parent; the kernel rounds up to what it has.
const PAGE_LEN: usize = 4096;

/// A shared mapping of the first bytes of a file.
#[derive(Debug)]
pub(crate) struct Map {
    base: NonNull<u8>,
    len: usize,
    /// A private page whose first byte is 1 here, and 0 in a forked child.
    page: NonNull<u8>,
}

// SAFETY: the mapping belongs to the value alone and to no thread; `View` borrows it. Not `Sync`: two threads that copy
// into it at once would be a data race of our own making.
unsafe impl Send for Map {}

/// A mapping that exists: what [`Map::view`] has made sure of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    map: &'a Map,
}

impl Map {
    /// Maps the first `len` bytes of `file`, which must be allocated. A child forked later does not have the mapping.
    pub(crate) fn new(file: BorrowedFd<'_>, len: usize) -> Result<Self, Errno> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new private mapping at a place of the kernel's choice overlaps nothing.
        let page = unsafe { mmap_anonymous(ptr::null_mut(), PAGE_LEN, protection, MapFlags::PRIVATE)? };
        // SAFETY: as above.
        let base = unsafe { mmap(ptr::null_mut(), len, protection, MapFlags::SHARED, file, 0) };
        let base = match base {
            Ok(base) => base,
            Err(errno) => {
                // SAFETY: made above, known to nobody else.
                let _ = unsafe { munmap(page, PAGE_LEN) };
                return Err(errno);
            }
        };
        let (Some(base), Some(page)) = (NonNull::new(base.cast()), NonNull::new(page.cast())) else {
            return Err(Errno::NOMEM); // not at 0: the kernel gives that only to who asks for it
        };
        let map = Self { base, len, page };
        // SAFETY: the page is ours and at least one byte long.
        unsafe { AtomicU8::from_ptr(page.as_ptr()) }.store(1, Ordering::Relaxed);
        // SAFETY: both only change what a fork does with whole mappings made above; dropping `map` undoes everything.
        unsafe {
            madvise(page.as_ptr().cast(), PAGE_LEN, Advice::LinuxWipeOnFork)?;
            madvise(base.as_ptr().cast(), len, Advice::LinuxDontFork)?;
        }
        Ok(map)
    }

    /// The mapping, or `None` in a child of the process that made it.
    #[inline]
    pub(crate) fn view(&self) -> Option<View<'_>> {
        // SAFETY: the page is mapped until the drop, in a child too, and only `new` writes to it. Relaxed: the kernel
        // clears it before the child runs.
        let here = unsafe { AtomicU8::from_ptr(self.page.as_ptr()) }.load(Ordering::Relaxed);
        (here == 1).then_some(View { map: self })
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        if self.view().is_some() {
            // SAFETY: mapped by `new`, and every `View` is gone. In a child something else may be at this place.
            let _ = unsafe { munmap(self.base.as_ptr().cast(), self.len) };
        }
        // SAFETY: as above; this page exists in a child, too.
        let _ = unsafe { munmap(self.page.as_ptr().cast(), PAGE_LEN) };
    }
}

impl View<'_> {
    /// The word at `at`, a multiple of 8; 0 beyond the end.
    #[inline]
    pub(crate) fn load(self, at: usize, order: Ordering) -> u64 {
        self.word(at).map_or(0, |word| u64::from_le(word.load(order)))
    }

    /// Sets the word at `at`, a multiple of 8; nothing beyond the end.
    #[inline]
    pub(crate) fn store(self, at: usize, value: u64, order: Ordering) {
        if let Some(word) = self.word(at) {
            word.store(value.to_le(), order);
        }
    }

    #[inline]
    fn word(&self, at: usize) -> Option<&AtomicU64> {
        let inside = at.is_multiple_of(8) && at.checked_add(8)? <= self.map.len;
        // SAFETY: inside of the mapping, which begins at a page's start, so it is aligned; it lives as long as the
        // borrow. An atomic may change under us: other processes write with stores of the machine or through the kernel.
        inside.then(|| unsafe { AtomicU64::from_ptr(self.map.base.as_ptr().add(at).cast()) })
    }

    /// Copies `bytes` to `at`. Returns whether they end within the mapping; nothing is copied if not.
    #[inline]
    pub(crate) fn write(self, at: usize, bytes: &[u8]) -> bool {
        let inside = at.checked_add(bytes.len()).is_some_and(|end| end <= self.map.len);
        if inside {
            // SAFETY: inside of the mapping; `bytes` is a private reference and cannot overlap it. Nobody reads these
            // bytes before a store with release has told of them, but a process that breaks the rules: it gets garbage.
            unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.map.base.as_ptr().add(at), bytes.len()) };
        }
        inside
    }

    /// Copies the bytes at `at` into `into`. Returns whether they end within the mapping; nothing is copied if not.
    pub(crate) fn read(self, at: usize, into: &mut [u8]) -> bool {
        let inside = at.checked_add(into.len()).is_some_and(|end| end <= self.map.len);
        if inside {
            // SAFETY: inside of the mapping, and `into` is ours alone. Bytes that somebody changes meanwhile are copied
            // in some mixture; every one of them is a valid u8, and the callers believe none of them unchecked.
            unsafe {
                ptr::copy_nonoverlapping(self.map.base.as_ptr().add(at), into.as_mut_ptr(), into.len())
            };
        }
        inside
    }

    /// A barrier between our stores before and our loads behind it.
    #[inline]
    pub(crate) fn fence(self) {
        fence(Ordering::SeqCst);
    }
}

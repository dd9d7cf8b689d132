//! Counts the memory that an input makes a decoder take, and refuses when it is beyond all measure.
//!
//! In: every allocation of the process. Out: [`peak_len`], the most that was held at once since [`reset`], in bytes.
#![expect(
    unsafe_code,
    reason = "a global allocator is unsafe to write; this one adds counting to the system's"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes at which an allocation fails, which ends the process: a decoder may not come near it.
const HARD_LIMIT_LEN: usize = 1 << 30;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static BASE: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, counting. The counters are statistics: `Relaxed` is enough, no other memory hangs on them.
pub struct Counting;

fn count(len: usize) -> bool {
    let held = HELD.fetch_add(len, Ordering::Relaxed) + len;
    PEAK.fetch_max(held, Ordering::Relaxed);
    held <= HARD_LIMIT_LEN
}

// SAFETY: every request is handed to `System` unchanged, or refused with a null pointer, as the trait allows; the layout
// that is freed is the one that the caller allocated with, by the caller's own contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !count(layout.size()) {
            HELD.fetch_sub(layout.size(), Ordering::Relaxed);
            return std::ptr::null_mut();
        }
        // SAFETY: `layout` comes from our caller, who upholds its contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: `pointer` was given out by `System.alloc` above with this `layout`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Begins to measure anew.
pub fn reset() {
    let held = HELD.load(Ordering::Relaxed);
    BASE.store(held, Ordering::Relaxed);
    PEAK.store(held, Ordering::Relaxed);
}

/// The most bytes held at once since [`reset`], beyond what was held then.
pub fn peak_len() -> usize {
    PEAK.load(Ordering::Relaxed)
        .saturating_sub(BASE.load(Ordering::Relaxed))
}

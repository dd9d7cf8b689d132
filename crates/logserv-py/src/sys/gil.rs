//! What the interpreter's lock guards: no other lock is needed where no Python code runs meanwhile.
//!
//! In: proof of being attached. Out: the value, for the length of a closure. A word that is read and written plainly in the
//! place of a mutex's two atomic exchanges, of which a call had a dozen. The fifth room of `unsafe`.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::Python;

/// A value that one closure at a time has, on whatever thread.
///
/// This module is never loaded without the interpreter's lock, nor into a second interpreter that has its own (`lib.rs`).
#[derive(Debug, Default)]
pub(crate) struct WithGil<T> {
    is_taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached by `try_with` alone, by one thread at a time, so that it moves between threads as through a
// mutex.
unsafe impl<T: Send> Sync for WithGil<T> {}

impl<T> WithGil<T> {
    /// Around this value.
    pub(crate) const fn new(value: T) -> Self {
        Self {
            is_taken: AtomicBool::new(false),
            value: UnsafeCell::new(value),
        }
    }

    /// Gives the value to `use_it`. `None`: somebody has it already, who runs Python code meanwhile, or whom that interrupted.
    ///
    /// What `use_it` puts into the place of something else it gives back, to be dropped outside: that may run finalizers.
    #[inline]
    pub(crate) fn try_with<R>(&self, _attached: Python<'_>, use_it: impl FnOnce(&mut T) -> R) -> Option<R> {
        // Relaxed, and no exchange: every thread that comes here has the interpreter's lock, which orders all of it.
        if self.is_taken.load(Ordering::Relaxed) {
            return None;
        }
        self.is_taken.store(true, Ordering::Relaxed);
        let taken = Taken(&self.is_taken);
        // SAFETY: the word was false, and is true until `taken` is dropped: nobody else has a reference.
        let result = use_it(unsafe { &mut *self.value.get() });
        drop(taken);
        Some(result)
    }
}

/// Given back also by a panic.
struct Taken<'a>(&'a AtomicBool);

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

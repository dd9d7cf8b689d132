//! A list that only grows, read and extended without a lock.
//!
//! A forked child may meet any mutex, `Once` or `OnceLock` of its parent in the hands of a thread that it does not have,
//! and would wait for ever. Whatever a child must reach of its parent therefore lies in such a list: at every instant
//! of a push it is a valid list, with or without the new node.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// The list; oldest value first. Values stay where they are until the list is dropped.
#[derive(Debug)]
pub(crate) struct AppendOnly<T> {
    first: AtomicPtr<Node<T>>,
}

#[derive(Debug)]
struct Node<T> {
    value: T,
    next: AtomicPtr<Node<T>>,
}

// SAFETY: the list owns its values, hands out `&T` to any thread (hence `T: Sync`), and may drop values that another
// thread made (hence `T: Send`).
unsafe impl<T: Send + Sync> Send for AppendOnly<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for AppendOnly<T> {}

impl<T> AppendOnly<T> {
    /// An empty list.
    pub(crate) const fn new() -> Self {
        Self {
            first: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// The values, oldest first, those appended meanwhile perhaps included.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        let mut place = &self.first;
        std::iter::from_fn(move || {
            // Acquire: pairs with the release of `find_or_append`, so that the node is seen whole.
            let node = place.load(Ordering::Acquire);
            // SAFETY: a non-null pointer came from `Box::into_raw` in `find_or_append` and is freed only by `drop`,
            // which needs the list for itself; `&self` is borrowed for as long as the value.
            let node = unsafe { node.as_ref() }?;
            place = &node.next;
            Some(&node.value)
        })
    }

    /// The first value that `is_it` accepts, or else the one that `make` makes, appended. Blocks: never.
    pub(crate) fn find_or_append(&self, is_it: impl Fn(&T) -> bool, make: impl FnOnce() -> T) -> &T {
        let mut place = &self.first;
        let mut made: *mut Node<T> = ptr::null_mut();
        let mut make = Some(make);
        loop {
            let mut node = place.load(Ordering::Acquire); // pairs with the compare_exchange below
            if node.is_null() {
                if let Some(make) = make.take() {
                    made = Box::into_raw(Box::new(Node {
                        value: make(),
                        next: AtomicPtr::new(ptr::null_mut()),
                    }));
                }
                // Release: pairs with the acquire loads; the node's content is there before its pointer.
                let swap =
                    place.compare_exchange(ptr::null_mut(), made, Ordering::Release, Ordering::Acquire);
                match swap {
                    // SAFETY: `made` is now in the list; as in `iter`.
                    Ok(_) => return unsafe { &(*made).value },
                    Err(other) => node = other,
                }
            }
            // SAFETY: as in `iter`.
            let node = unsafe { &*node };
            if is_it(&node.value) {
                if !made.is_null() {
                    // SAFETY: another thread was faster; `made` was never in the list, so nobody else knows it.
                    drop(unsafe { Box::from_raw(made) });
                }
                return &node.value;
            }
            place = &node.next;
        }
    }
}

impl<T> Drop for AppendOnly<T> {
    fn drop(&mut self) {
        let mut next = *self.first.get_mut();
        while !next.is_null() {
            // SAFETY: every node came from `Box::into_raw`, and `&mut self` means that nobody borrows from it.
            let mut node = unsafe { Box::from_raw(next) };
            next = *node.next.get_mut();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_append_the_same_value_share_one_and_lose_none() {
        let list = AppendOnly::<String>::new();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for n in 0..200 {
                        let text = n.to_string();
                        assert_eq!(list.find_or_append(|it| *it == text, || text.clone()), &text);
                    }
                });
            }
        });
        let mut all: Vec<_> = list.iter().cloned().collect();
        all.sort();
        let mut expected: Vec<_> = (0..200).map(|n| n.to_string()).collect();
        expected.sort();
        assert_eq!(all, expected);
    }
}

//! The protocol of a ring: how a record becomes visible, and how a consumer that sleeps is woken.
//!
//! In: the few words that the two sides exchange, behind the trait [`Words`], so that a model checker can run the very
//! same steps. Not here: the records' bytes, files, mappings.
//!
//! A commit is one store: the head. The word before it, its complement, lets a reader who copies both through the
//! kernel notice that it read them half old, half new.

use std::sync::atomic::Ordering;

use crate::layout::{
    CONSUMED_AT, HEAD_AT, HEAD_CHECK_AT, META_LEN_AT, RECORDS_AT, SLEEPING_AT, TAIL_AT, TAIL_CHECK_AT,
};
use crate::limits::LOOKS_MAX;
use crate::sys::View;

/// The words of a ring's header, by their places.
pub(crate) trait Words {
    /// The word at `at`.
    fn load(&self, at: usize, order: Ordering) -> u64;
    /// Sets the word at `at`.
    fn store(&self, at: usize, value: u64, order: Ordering);
    /// A sequentially consistent fence.
    fn fence(&self);
}

impl Words for View<'_> {
    #[inline]
    fn load(&self, at: usize, order: Ordering) -> u64 {
        View::load(*self, at, order)
    }

    #[inline]
    fn store(&self, at: usize, value: u64, order: Ordering) {
        View::store(*self, at, value, order);
    }

    #[inline]
    fn fence(&self) {
        View::fence(*self);
    }
}

/// Makes everything before `head` visible. A death before the second store shows nothing of it, after it everything.
#[inline]
pub(crate) fn commit(words: &impl Words, head: u64, records: u64) {
    // Release: pairs with the acquire of the consumer's fence in `look`; the record's bytes come before both words, and
    // the check before the head.
    words.store(HEAD_CHECK_AT, !head, Ordering::Release);
    words.store(HEAD_AT, head, Ordering::Release);
    words.store(RECORDS_AT, records, Ordering::Relaxed); // for people to look at
}

/// Whether the consumer must be woken for what was committed before.
#[inline]
pub(crate) fn consumer_sleeps(words: &impl Words) -> bool {
    // SeqCst: pairs with the fence of a consumer between saying that it sleeps and its last look. Of the two loads, the
    // consumer's of the head and ours, at least one sees the other side's store.
    words.fence();
    words.load(SLEEPING_AT, Ordering::Relaxed) != 0
}

/// The consumer's tail and its count of records; `None` while they are just being written.
pub(crate) fn tail(words: &impl Words) -> Option<(u64, u64)> {
    // Acquire: pairs with the consumer's write through the kernel; it has copied all records before the tail.
    let tail = words.load(TAIL_AT, Ordering::Acquire);
    let check = words.load(TAIL_CHECK_AT, Ordering::Acquire);
    (check == !tail).then(|| (tail, words.load(CONSUMED_AT, Ordering::Relaxed)))
}

/// The producer's words, as a consumer has copied them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line {
    /// The complement of the head.
    pub head_check: u64,
    /// The position behind the last committed record.
    pub head: u64,
    /// Valid bytes of the meta area.
    pub meta_len: u64,
}

impl Line {
    /// The line at the start of `bytes`, which begin at [`HEAD_CHECK_AT`].
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| crate::layout::u64_at(bytes, at - HEAD_CHECK_AT);
        Some(Self {
            head_check: word(HEAD_CHECK_AT)?,
            head: word(HEAD_AT)?,
            meta_len: word(META_LEN_AT)?,
        })
    }
}

/// Copies the producer's words.
pub(crate) trait Look {
    /// Why they could not be copied.
    type Error;
    /// The words, copied one after the other while they may change.
    fn line(&self) -> Result<Line, Self::Error>;
    /// An acquire fence.
    fn acquire(&self) {
        std::sync::atomic::fence(Ordering::Acquire);
    }
}

/// Reads the producer's line until head and check agree, a few times. `None`: it is being written all the time; what is
/// committed now will be told by a wake-up or seen by the next look.
///
/// Two equal lines in which they do not agree are those of a producer that was stopped or killed between its two stores:
/// nobody writes, so the head is whole, and the record behind it is not committed.
pub(crate) fn look<L: Look>(words: &L) -> Result<Option<Line>, L::Error> {
    let mut before = None;
    for _ in 0..LOOKS_MAX {
        let line = words.line()?;
        if line.head_check == !line.head || before == Some(line) {
            // Acquire: pairs with the release stores of `commit`; the records' bytes are read behind this.
            words.acquire();
            return Ok(Some(line));
        }
        before = Some(line);
    }
    Ok(None)
}

#[cfg(test)]
mod model;

//! The formatters of a session: their numbers, and where a record names its own.
//!
//! In: specifications as JSON; encoded records. Out: numbers, counted from 1. Without a lock, for a forked child needs them
//! too. Not here: when a server is told of one (`frames.rs`, `ring.rs`, `pickles.rs`).

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::limits::{FORMATTER_LEN_MAX, FORMATTERS_MAX, RING_FORMATTERS_LEN_MAX};
use crate::sys;

/// Where a record's formatter number stands.
const FORMATTER_AT: Range<usize> = 8..12;

/// Bytes that an entry of a ring's meta area takes beside the specification: head, number, padding.
const ENTRY_LEN: usize = 8 + 4 + 7;

/// All of a session. They only grow, and keep their numbers.
#[derive(Debug)]
pub(crate) struct Formatters {
    all: sys::AppendOnly<String>,
    /// Bytes that all of them may take together in a ring; `None`: they never go through one.
    ring_len_left: Option<AtomicUsize>,
}

impl Formatters {
    /// None yet. `for_ring`: they must fit a ring's meta area.
    pub(crate) fn new(for_ring: bool) -> Self {
        Self {
            all: sys::AppendOnly::new(),
            ring_len_left: for_ring.then(|| AtomicUsize::new(RING_FORMATTERS_LEN_MAX)),
        }
    }

    /// See [`Session::formatter_id`](crate::Session::formatter_id).
    pub(crate) fn number(&self, json: &str) -> Option<u32> {
        let place = || self.all.iter().position(|known| known == json);
        let number = |place: usize| u32::try_from(place + 1).ok();
        if let Some(place) = place() {
            return number(place);
        }
        // Threads that come here at once may exceed the limit by their number; who finds the value may use it.
        if json.len() > FORMATTER_LEN_MAX || self.all.iter().count() >= FORMATTERS_MAX || !self.claim(json) {
            return None;
        }
        self.all.find_or_append(|known| known == json, || json.to_owned());
        place().and_then(number)
    }

    /// Claims room in the ring. Two threads that bring the same one at once claim it twice, which costs only room.
    fn claim(&self, json: &str) -> bool {
        let Some(left) = &self.ring_len_left else {
            return true;
        };
        // Relaxed: a number by itself.
        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(json.len() + ENTRY_LEN)
        })
        .is_ok()
    }

    /// The specification of this number.
    pub(crate) fn get(&self, number: u32) -> Option<&str> {
        let place = (number as usize).checked_sub(1)?;
        self.all.iter().nth(place).map(String::as_str)
    }
}

/// The number that a record names; 0: the default formatter.
pub(crate) fn formatter_of(record: &[u8]) -> u32 {
    record
        .get(FORMATTER_AT)
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u32::from_le_bytes)
}

/// Makes a record, the first of `records`, name the default formatter.
pub(crate) fn forget_formatter(records: &mut [u8]) {
    if let Some(place) = records.get_mut(FORMATTER_AT) {
        place.fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formatters_for_a_ring_are_bounded_by_its_meta_area_and_others_by_their_number() {
        let text = |n: usize| format!("{n:4000}");
        let all = Formatters::new(true);
        let taken = (0..100).take_while(|n| all.number(&text(*n)).is_some()).count();
        assert_eq!(taken, RING_FORMATTERS_LEN_MAX / (4000 + ENTRY_LEN));
        assert_eq!(all.number(&text(3)), Some(4), "those that are known stay");
        assert_eq!(all.get(4), Some(text(3).as_str()));
        assert_eq!((all.get(0), all.get(99)), (None, None));
        let all = Formatters::new(false);
        let taken = (0..2000).take_while(|n| all.number(&text(*n)).is_some()).count();
        assert_eq!(taken, FORMATTERS_MAX);
    }
}

//! In which order the records of several rings are written: by time, each ring's own order kept.
//!
//! In: for each ring its next record's key, and whether that record has been held long enough. Out: whose record is next.
//! Pure: it knows neither rings nor clocks. The key of a record is the greatest `created` of its ring so far, so that a
//! clock that steps back, or lies, moves nobody else's records.
//! Not here: what a record is, and when it is ripe; that is `rings.rs`.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// A ring's next record: `key` in seconds since 1970; `is_ripe`: it waits no longer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) key: f64,
    pub(super) is_ripe: bool,
    pub(super) ring: usize,
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Head {}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key
            .total_cmp(&other.key)
            .then_with(|| self.ring.cmp(&other.ring))
    }
}

/// The heads of all rings that have one. [`next`](Self::next) takes the smallest out; the ring's following head comes in by
/// [`exchange`](Self::exchange).
#[derive(Debug, Default)]
pub(super) struct Merge {
    heap: BinaryHeap<Reverse<Head>>,
    ripe: usize,
}

impl Merge {
    /// Forgets all heads.
    pub(super) fn clear(&mut self) {
        self.heap.clear();
        self.ripe = 0;
    }

    /// A ring has a next record.
    pub(super) fn put(&mut self, head: Head) {
        self.ripe += usize::from(head.is_ripe);
        self.heap.push(Reverse(head));
    }

    /// The head of the ring whose record is to be written next; `None` while no record that is ripe waits. A record that is
    /// not ripe goes with the ripe ones that come after it.
    pub(super) fn next(&mut self) -> Option<Head> {
        if self.ripe == 0 {
            return None;
        }
        let Reverse(head) = self.heap.pop()?;
        self.ripe -= usize::from(head.is_ripe);
        Some(head)
    }

    /// The same, once the ring that was next has another record, with this head: of one ring alone, it costs nothing.
    pub(super) fn exchange(&mut self, head: Head) -> Option<Head> {
        if self.ripe == 0 && !head.is_ripe {
            self.heap.push(Reverse(head));
            return None;
        }
        match self.heap.peek_mut() {
            Some(mut top) if top.0 < head => {
                self.ripe += usize::from(head.is_ripe);
                // Sinks to its place when `top` is dropped: half of what taking out and putting in would cost.
                let Reverse(first) = std::mem::replace(&mut *top, Reverse(head));
                self.ripe -= usize::from(first.is_ripe);
                Some(first)
            }
            _ => Some(head),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(ring: usize, key: f64, is_ripe: bool) -> Head {
        Head { key, is_ripe, ring }
    }

    /// Merges rings of (key, ripe) records and returns the keys written.
    fn written(rings: &[&[(f64, bool)]]) -> Vec<f64> {
        let mut merge = Merge::default();
        let mut places = vec![0; rings.len()];
        let at = |ring: usize, place: usize| {
            rings[ring]
                .get(place)
                .map(|(key, is_ripe)| head(ring, *key, *is_ripe))
        };
        (0..rings.len())
            .filter_map(|ring| at(ring, 0))
            .for_each(|head| merge.put(head));
        let mut out = Vec::new();
        let mut next = merge.next();
        while let Some(Head { ring, .. }) = next {
            out.push(rings[ring][places[ring]].0);
            places[ring] += 1;
            next = match at(ring, places[ring]) {
                Some(head) => merge.exchange(head),
                None => merge.next(),
            };
        }
        out
    }

    #[test]
    fn records_of_all_rings_come_out_by_time() {
        let merged = written(&[
            &[(1.0, true), (4.0, true), (5.0, true)],
            &[(2.0, true), (3.0, true), (6.0, true)],
            &[],
        ]);
        assert_eq!(merged, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    }

    #[test]
    fn what_is_not_ripe_waits_unless_something_ripe_comes_after_it() {
        assert_eq!(
            written(&[&[(1.0, false), (3.0, false)], &[(2.0, false)]]),
            [] as [f64; 0]
        );
        assert_eq!(
            written(&[&[(1.0, false), (3.0, false)], &[(2.0, true), (4.0, false)]]),
            [1.0, 2.0]
        );
    }

    #[test]
    fn a_clock_far_ahead_holds_nobody_up() {
        assert_eq!(
            written(&[&[(1e12, true), (1e12, false)], &[(1.0, true), (2.0, false)]]),
            [1.0, 2.0, 1e12]
        );
    }
}

//! Which rotated files are deleted: those beyond a count, those that are too old, and the oldest of what is too much.
//!
//! In: the rotated files, oldest first, the limits, the time. Out: which go, oldest first. Pure.
//! Not here: which files are the chain's (`log_file/rotated.rs`), and the deleting.

use std::time::Duration;

/// What is kept of rotated files. None: no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Files whose last change is longer ago are deleted.
    pub age: Option<Duration>,
    /// Bytes of the rotated files together. Those that await compression do not count until they are compressed, and the newest
    /// stays, however large it is.
    pub bytes: Option<u64>,
}

impl Retention {
    /// True if nothing is limited.
    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        self.age.is_none() && self.bytes.is_none()
    }
}

/// What counts of a rotated file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    pub bytes: u64,
    /// Seconds since 1970.
    pub modified_s: i64,
    /// It is to be compressed, so that its size says nothing of what it will take.
    pub awaits_compression: bool,
}

/// The places in `files`, which are sorted from the oldest to the newest, of those that go. `count`: how many are kept.
pub(crate) fn expired(files: &[Held], count: Option<u32>, retention: &Retention, now_s: i64) -> Vec<usize> {
    let kept = count.map_or(files.len(), |count| usize::try_from(count).unwrap_or(usize::MAX));
    let surplus = files.len().saturating_sub(kept);
    let oldest_s = retention.age.map_or(i64::MIN, |age| {
        now_s.saturating_sub_unsigned(age.as_secs().saturating_add(u64::from(age.subsec_nanos() > 0)))
    });
    let goes = |place: usize, file: &Held| place < surplus || file.modified_s < oldest_s;
    let counts = |file: &Held| !file.awaits_compression;
    let mut bytes: u64 = files
        .iter()
        .enumerate()
        .filter(|(place, file)| !goes(*place, file) && counts(file))
        .map(|(_, file)| file.bytes)
        .sum();
    let mut gone = Vec::new();
    for (place, file) in files.iter().enumerate() {
        let is_newest = place + 1 == files.len();
        if goes(place, file) {
            gone.push(place);
        } else if retention.bytes.is_some_and(|most| bytes > most) && counts(file) && !is_newest {
            bytes -= file.bytes;
            gone.push(place);
        }
    }
    gone
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Held, Retention, expired};

    const NOW: i64 = 1000;

    fn gone(files: &[(u64, i64)], count: Option<u32>, age_s: Option<u64>, bytes: Option<u64>) -> Vec<usize> {
        gone_while_waiting(files, &[], count, age_s, bytes)
    }

    /// `waiting`: the places of those that await compression.
    fn gone_while_waiting(
        files: &[(u64, i64)],
        waiting: &[usize],
        count: Option<u32>,
        age_s: Option<u64>,
        bytes: Option<u64>,
    ) -> Vec<usize> {
        let files: Vec<Held> = files
            .iter()
            .enumerate()
            .map(|(place, (bytes, modified_s))| Held {
                bytes: *bytes,
                modified_s: *modified_s,
                awaits_compression: waiting.contains(&place),
            })
            .collect();
        let retention = Retention {
            age: age_s.map(Duration::from_secs),
            bytes,
        };
        expired(&files, count, &retention, NOW)
    }

    const FILES: [(u64, i64); 4] = [(10, 700), (20, 800), (30, 900), (40, 1000)];

    #[test]
    fn the_newest_are_kept_by_count() {
        assert_eq!(gone(&FILES, Some(3), None, None), [0]);
        assert_eq!(gone(&FILES, Some(9), None, None), [0; 0]);
        assert_eq!(gone(&FILES, None, None, None), [0; 0]);
    }

    #[test]
    fn what_is_older_than_the_age_goes_wherever_it_stands() {
        assert_eq!(gone(&FILES, None, Some(200), None), [0]);
        assert_eq!(gone(&FILES, None, Some(0), None), [0, 1, 2]);
        assert_eq!(gone(&[(1, 990), (1, 10), (1, 999)], None, Some(100), None), [1]);
        assert_eq!(gone(&FILES, None, Some(u64::MAX), None), [0; 0]);
    }

    #[test]
    fn the_oldest_go_until_the_rest_fits_and_the_newest_stays_even_if_it_is_too_large_alone() {
        assert_eq!(gone(&FILES, None, None, Some(100)), [0; 0]);
        assert_eq!(gone(&FILES, None, None, Some(99)), [0]);
        assert_eq!(gone(&FILES, None, None, Some(40)), [0, 1, 2]);
        assert_eq!(gone(&FILES, None, None, Some(39)), [0, 1, 2]);
        assert_eq!(gone(&FILES[3..], None, None, Some(1)), [0; 0]);
        assert_eq!(
            gone(&FILES, Some(0), None, Some(1)),
            [0, 1, 2, 3],
            "by count it goes"
        );
    }

    #[test]
    fn what_awaits_compression_neither_counts_as_bytes_nor_goes_for_them() {
        let gone = |waiting: &[usize], bytes| gone_while_waiting(&FILES, waiting, None, None, Some(bytes));
        assert_eq!(gone(&[3], 60), [0; 0], "10 + 20 + 30");
        assert_eq!(gone(&[3], 59), [0]);
        assert_eq!(gone(&[3], 1), [0, 1, 2], "those that are compressed");
        assert_eq!(gone(&[1, 3], 39), [0]);
        assert_eq!(gone(&[0, 1, 2, 3], 1), [0; 0]);
        assert_eq!(
            gone_while_waiting(&FILES, &[0, 1, 2, 3], Some(3), Some(150), None),
            [0, 1],
            "count and age hold for all"
        );
    }

    #[test]
    fn what_goes_for_one_reason_is_not_counted_for_another() {
        assert_eq!(gone(&FILES, Some(3), Some(250), Some(90)), [0]);
        assert_eq!(gone(&FILES, Some(3), Some(150), Some(70)), [0, 1]);
    }
}

//! What is missing of a batch whose writer died: found by comparing bytes, never by a file's length alone.
//!
//! In: the lines that were declared, and what the file holds from their place on. Out: the first line that is not whole, and
//! how much of it can be completed. Pure.
//! Not here: finding the file, and writing (`log_file/recover.rs`).

use crate::journal::Declared;

/// What of a batch is still to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Missing {
    /// Where the first line that is not whole begins, in the declared bytes.
    pub start: usize,
    /// Bytes of that line with which the file ends, so that it can be completed.
    pub done: usize,
    /// A part of that line is in the file, and other bytes behind it.
    pub torn: bool,
}

/// Compares `declared` with `found`, the file's bytes from the declared offset on; `to_end` if these reach the file's end.
/// None if all are there.
pub(crate) fn missing(declared: &Declared, found: &[u8], to_end: bool) -> Option<Missing> {
    let bytes = declared.bytes.as_slice();
    let here = bytes
        .iter()
        .zip(found)
        .take_while(|(one, other)| one == other)
        .count();
    let (mut matched, mut end) = (here, here);
    if here < bytes.len() && here < found.len() {
        // Somebody may have appended between our look at the size and our write, which then stands behind theirs. A part of
        // a line is no proof: their bytes may look like the beginning of ours.
        let (longest, longest_end) = longest_beginning(bytes, found);
        if longest > here
            && longest >= line_start(&declared.ends, longest)
            && line_start(&declared.ends, longest) > 0
        {
            (matched, end) = (longest, longest_end);
        }
    }
    if matched == bytes.len() {
        return None;
    }
    let start = line_start(&declared.ends, matched);
    let at_end = to_end && end == found.len();
    Some(Missing {
        start,
        done: if at_end { matched - start } else { 0 },
        torn: !at_end && matched > start,
    })
}

/// Where the line begins of which `position` is a part.
fn line_start(ends: &[u32], position: usize) -> usize {
    let whole = ends.partition_point(|end| *end as usize <= position);
    let last = whole.checked_sub(1).and_then(|last| ends.get(last));
    last.map_or(0, |end| *end as usize)
}

/// The longest beginning of `pattern` that stands anywhere in `text`: its length, and where it ends (Knuth, Morris, Pratt:
/// lines of a log are alike, and their number is not ours).
fn longest_beginning(pattern: &[u8], text: &[u8]) -> (usize, usize) {
    let mut borders: Vec<usize> = Vec::with_capacity(pattern.len());
    for (place, byte) in pattern.iter().enumerate() {
        let border = if place == 0 {
            0
        } else {
            step(pattern, &borders, borders.last().copied().unwrap_or(0), *byte)
        };
        borders.push(border);
    }
    let mut best = (0, 0);
    let mut matched = 0;
    for (byte, end) in text.iter().zip(1..) {
        matched = step(pattern, &borders, matched, *byte);
        if matched > best.0 {
            best = (matched, end);
        }
        if matched == pattern.len() {
            break;
        }
    }
    best
}

/// The length of the longest beginning of `pattern` that ends with `byte`, after one of the length `matched`.
fn step(pattern: &[u8], borders: &[usize], mut matched: usize, byte: u8) -> usize {
    while pattern.get(matched) != Some(&byte) {
        match matched.checked_sub(1) {
            Some(last) => matched = borders.get(last).copied().unwrap_or(0),
            None => return 0,
        }
    }
    matched + 1
}

#[cfg(test)]
mod tests {
    use super::{Missing, longest_beginning, missing};
    use crate::journal::Declared;

    fn declared(lines: &[&str]) -> Declared {
        let mut declared = Declared::default();
        for line in lines {
            declared.bytes.extend_from_slice(line.as_bytes());
            declared.ends.push(u32::try_from(declared.bytes.len()).unwrap());
        }
        declared
    }

    fn of(found: &str) -> Option<Missing> {
        missing(&declared(&["one\n", "two\n"]), found.as_bytes(), true)
    }

    fn rest(start: usize, done: usize, torn: bool) -> Option<Missing> {
        Some(Missing { start, done, torn })
    }

    #[test]
    fn what_the_file_ends_with_is_completed() {
        assert_eq!(of(""), rest(0, 0, false));
        assert_eq!(of("on"), rest(0, 2, false));
        assert_eq!(of("one\n"), rest(4, 0, false));
        assert_eq!(of("one\ntwo"), rest(4, 3, false));
        assert_eq!(of("one\ntwo\n"), None);
        assert_eq!(of("one\ntwo\nforeign"), None);
    }

    #[test]
    fn behind_foreign_bytes_the_line_that_is_not_whole_is_written_again() {
        assert_eq!(of("onforeign\n"), rest(0, 0, true));
        assert_eq!(of("one\nforeign\n"), rest(4, 0, false));
        assert_eq!(of("one\ntwforeign\n"), rest(4, 0, true));
        assert_eq!(of("foreign\n"), rest(0, 0, false));
    }

    #[test]
    fn lines_that_stand_behind_somebody_elses_are_found() {
        assert_eq!(of("foreign\none\ntwo\n"), None);
        assert_eq!(of("foreign\none\ntw"), rest(4, 2, false));
        assert_eq!(of("foreign\none\ntwmore\n"), rest(4, 0, true));
        assert_eq!(
            of("foreign o"),
            rest(0, 0, false),
            "a part of a line proves nothing"
        );
    }

    #[test]
    fn bytes_beyond_those_that_were_read_are_not_the_end() {
        let declared = declared(&["one\n", "two\n"]);
        assert_eq!(missing(&declared, b"one\nt", false), rest(4, 0, true));
    }

    #[test]
    fn lines_that_are_alike_are_counted_right() {
        let ticks = declared(&["tick\n"; 5]);
        for whole in 0..5 {
            let found = "tick\n".repeat(whole);
            assert_eq!(missing(&ticks, found.as_bytes(), true), rest(5 * whole, 0, false));
            let found = format!("foreign\n{found}");
            assert_eq!(missing(&ticks, found.as_bytes(), true), rest(5 * whole, 0, false));
        }
    }

    #[test]
    fn the_longest_beginning_is_that_of_a_plain_search() {
        let mut seed = 7_u32;
        let mut text = |len: usize| -> Vec<u8> {
            (0..len)
                .map(|_| {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    b"ab"[(seed >> 31) as usize]
                })
                .collect()
        };
        for _ in 0..500 {
            let (pattern, text) = (text(8), text(40));
            let plain = (0..=pattern.len())
                .rev()
                .find_map(|len| {
                    let part = &pattern[..len];
                    (len..=text.len())
                        .find(|end| text[..*end].ends_with(part))
                        .map(|end| (len, end))
                })
                .unwrap();
            assert_eq!(longest_beginning(&pattern, &text), plain);
        }
    }
}

//! The batch: encoded lines that are taken and not written, where each ends, and what they answer to.
//!
//! In: bytes, line by line, each with its mark. Out: the same, whole lines at a time. Pure.

use crate::journal::{Declared, Mark};
use crate::limits::BATCH_BYTES_KEPT;

/// Lines that are taken and not written.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Whole lines.
    pub bytes: Vec<u8>,
    /// Where each line ends in `bytes`.
    pub ends: Vec<u32>,
    /// The newest of each source, in the order of sources.
    pub marks: Vec<Mark>,
    /// Bytes of the first line that stand at the file's end already, from a write that could not be taken back.
    pub done: usize,
    /// Place of the mark that was replaced last.
    last: usize,
}

impl Pending {
    /// Bytes that are still to be written.
    pub fn len(&self) -> usize {
        self.bytes.len().saturating_sub(self.done)
    }

    pub fn lines(&self) -> u64 {
        self.ends.len() as u64
    }

    /// The bytes that are still to be written.
    pub fn rest(&self) -> &[u8] {
        self.bytes.get(self.done..).unwrap_or_default()
    }

    /// The line that was just put behind the others is complete, and counts.
    pub fn end_line(&mut self, mark: Mark) {
        // A batch is bounded far below this.
        self.ends
            .push(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
        self.mark(mark);
    }

    /// What is answered for once everything taken so far is written.
    pub fn mark(&mut self, mark: Mark) {
        // Mostly the source of the line before, or the one behind it.
        for place in [self.last, self.last + 1, 0] {
            if let Some(known) = self.marks.get_mut(place)
                && known.source == mark.source
            {
                *known = mark;
                self.last = place;
                return;
            }
        }
        let place = self
            .marks
            .binary_search_by_key(&mark.source, |known| known.source);
        match place {
            Ok(place) => {
                if let Some(known) = self.marks.get_mut(place) {
                    *known = mark;
                }
            }
            Err(place) => self.marks.insert(place, mark),
        }
        self.last = place.unwrap_or_else(|place| place);
    }

    /// Takes over the lines of `declared` from the one that begins at `start`; what they answer to is the journal's affair.
    pub fn take_over(&mut self, declared: &Declared, start: usize) {
        self.clear();
        let rest = declared.bytes.get(start..).unwrap_or_default();
        self.bytes.extend_from_slice(rest);
        let start = u32::try_from(start).unwrap_or(u32::MAX);
        let ends = declared.ends.iter().filter_map(|end| end.checked_sub(start));
        self.ends.extend(ends.filter(|end| *end > 0));
    }

    /// Notes that `count` more bytes are in the file, and forgets the lines that are so, whole. Gives their number.
    pub fn advance(&mut self, count: usize) -> u64 {
        self.done = (self.done + count).min(self.bytes.len());
        let whole = self.ends.partition_point(|end| *end as usize <= self.done);
        let Some(last) = whole.checked_sub(1).and_then(|last| self.ends.get(last)).copied() else {
            return 0;
        };
        self.bytes.drain(..last as usize);
        self.done -= last as usize;
        self.ends.drain(..whole);
        for end in &mut self.ends {
            *end -= last;
        }
        whole as u64
    }

    /// The first line is to be written from its start again. True if a part of it was in a file.
    pub fn restart_line(&mut self) -> bool {
        std::mem::take(&mut self.done) > 0
    }

    /// Forgets everything, and all memory but that of an ordinary batch.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(BATCH_BYTES_KEPT);
        self.ends.clear();
        self.marks.clear();
        self.done = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::Pending;
    use crate::journal::Mark;

    fn mark(source: u32, position: u64) -> Mark {
        Mark {
            source,
            position,
            count: position,
        }
    }

    fn batch(lines: &[&str]) -> Pending {
        let mut pending = Pending::default();
        for (line, position) in lines.iter().zip(1..) {
            pending.bytes.extend_from_slice(line.as_bytes());
            pending.end_line(mark(1, position));
        }
        pending
    }

    #[test]
    fn of_each_source_only_the_newest_mark_is_kept() {
        let mut pending = batch(&["a\n", "b\n"]);
        pending.mark(mark(0, 9));
        pending.mark(mark(1, 3));
        assert_eq!(pending.marks, [mark(0, 9), mark(1, 3)]);
    }

    #[test]
    fn what_is_written_is_forgotten_line_by_line() {
        for written in 0..=9 {
            let mut pending = batch(&["one\n", "2\n", "33\n"]);
            let lines = pending.advance(written);
            let (whole, done) = match written {
                0..4 => (0, written),
                4..6 => (1, written - 4),
                6..9 => (2, written - 6),
                _ => (3, 0),
            };
            assert_eq!((lines, pending.done), (whole, done), "{written}");
            assert_eq!(pending.lines(), 3 - whole);
            assert_eq!(
                pending.ends.last().map_or(0, |end| *end as usize),
                pending.bytes.len()
            );
            assert_eq!(pending.rest(), &b"one\n2\n33\n"[written..]);
            assert_eq!(pending.restart_line(), done > 0);
            assert_eq!(pending.len(), pending.bytes.len());
        }
    }
}

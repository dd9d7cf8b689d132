//! How much a frame may still ask of the conversion.
//!
//! A pickle of a few hundred bytes can stand for more values than there are atoms, by naming the same list twice in
//! every list of a chain. Whoever walks it counts what it does here, in bytes looked at or written, and stops at the end.

use crate::limits::{PICKLE_WORK_MIN, PICKLE_WORK_PER_BYTE, VALUE_NODES_MAX};

/// The value is over a limit; the attribute gets a note in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OverBudget;

#[derive(Debug)]
pub(super) struct Work {
    left: usize,
    /// Values that the attribute at hand may still have.
    nodes_left: usize,
}

impl Work {
    pub fn for_frame(frame: &[u8]) -> Self {
        let left = PICKLE_WORK_MIN.max(frame.len().saturating_mul(PICKLE_WORK_PER_BYTE));
        Self {
            left,
            nodes_left: VALUE_NODES_MAX,
        }
    }

    /// A new attribute begins.
    pub fn next_attribute(&mut self) {
        self.nodes_left = VALUE_NODES_MAX;
    }

    /// Counts one value.
    pub fn node(&mut self) -> Result<(), OverBudget> {
        self.nodes_left = self.nodes_left.checked_sub(1).ok_or(OverBudget)?;
        self.bytes(16)
    }

    /// Counts bytes looked at or written.
    pub fn bytes(&mut self, count: usize) -> Result<(), OverBudget> {
        match self.left.checked_sub(count) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                self.left = 0;
                Err(OverBudget)
            }
        }
    }
}

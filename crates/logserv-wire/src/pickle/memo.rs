//! What a pickle has put aside to name again: number to node.
//!
//! CPython numbers from 0 (Python 2's cPickle from 1) without a gap, so the common case is a vector. Numbers that leap
//! ahead go to a map, for `LONG_BINPUT 4294967295` must not reserve four billion slots (CVE-2018-20406).

use std::collections::HashMap;

use super::PickleError;
use super::node::Node;
use crate::limits::{PICKLE_NODES_MAX, PICKLE_SLOTS_KEPT};

/// How far a number may leap ahead of the vector and still be kept in it.
const GAP_MAX: usize = 4;

#[derive(Debug, Default)]
pub(super) struct Memo {
    /// By number; [`Node::Absent`] where there is none, or where it is in the map.
    dense: Vec<Node>,
    absent: usize,
    sparse: HashMap<u32, Node>,
}

impl Memo {
    pub fn clear(&mut self) {
        self.dense.clear();
        self.dense.shrink_to(PICKLE_SLOTS_KEPT);
        self.absent = 0;
        if !self.sparse.is_empty() {
            self.sparse = HashMap::new();
        }
    }

    pub fn get(&self, index: u32) -> Option<Node> {
        match self.dense.get(index as usize) {
            Some(&node) if node != Node::Absent => Some(node),
            _ if self.sparse.is_empty() => None,
            _ => self.sparse.get(&index).copied(),
        }
    }

    #[inline(always)]
    pub fn put(&mut self, index: u32, node: Node) -> Result<(), PickleError> {
        if index as usize == self.dense.len()
            && self.dense.len() < self.dense.capacity()
            && self.sparse.is_empty()
        {
            self.dense.push(node);
            return Ok(());
        }
        self.put_elsewhere(index, node)
    }

    /// Puts `node` under the next number, as protocol 4 does.
    #[inline]
    pub fn memoize(&mut self, node: Node) -> Result<(), PickleError> {
        self.put(u32::try_from(self.len()).unwrap_or(u32::MAX), node)
    }

    /// Numbers in use.
    fn len(&self) -> usize {
        self.dense.len() - self.absent + self.sparse.len()
    }

    /// Where the vector has to grow, has the number already, or does not reach.
    #[cold]
    fn put_elsewhere(&mut self, index: u32, node: Node) -> Result<(), PickleError> {
        let at = index as usize;
        if at >= self.dense.len() + GAP_MAX {
            self.sparse.insert(index, node);
        } else {
            if at >= self.dense.len() {
                self.absent += at + 1 - self.dense.len();
                self.dense.resize(at + 1, Node::Absent);
            }
            if let Some(slot) = self.dense.get_mut(at) {
                if *slot == Node::Absent {
                    self.absent -= 1;
                    self.sparse.remove(&index);
                }
                *slot = node;
            }
        }
        if self.len() > PICKLE_NODES_MAX {
            return Err(PickleError::OverLimit {
                what: "memo entries",
                limit: PICKLE_NODES_MAX,
            });
        }
        Ok(())
    }
}

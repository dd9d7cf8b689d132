//! The stack machine that a pickle is a program for, with every opcode that could run code turned into data.
//!
//! In: a frame. Out: its value as a [`Node`], whose containers lie in this machine's arena and whose texts lie in the
//! frame. One pass; a step takes constant time and the time to find the end of its argument; nothing recurses.
//! Not here: what the nodes mean for a log record (`record.rs`), or how they look (`encode.rs`, `repr.rs`).

use super::PickleError;
use super::arena::Arena;
use super::cursor::Cursor;
use super::memo::Memo;
use super::node::Node;
use super::number;
use crate::limits::{PICKLE_LEN_MAX, PICKLE_NODES_MAX, PICKLE_SLOTS_KEPT};

#[derive(Debug, Default)]
pub(super) struct Machine {
    pub arena: Arena,
    pub(super) stack: Vec<Node>,
    /// Heights of the stack at each `MARK` that is open.
    marks: Vec<u32>,
    memo: Memo,
}

impl Machine {
    /// Runs the pickle at the start of `frame`. What follows its `STOP` is ignored, as `pickle.loads` does.
    pub fn run(&mut self, frame: &[u8]) -> Result<Node, PickleError> {
        self.clear();
        if frame.len() > PICKLE_LEN_MAX {
            return Err(PickleError::TooLong {
                limit: PICKLE_LEN_MAX,
                received: frame.len(),
            });
        }
        let mut cursor = Cursor::new(frame);
        loop {
            let opcode = cursor.byte()?;
            // In the order of how often they come in a record; the compiler makes a table of it.
            match opcode {
                b'X' => {
                    let len = cursor.u32()? as usize;
                    self.text(&mut cursor, len)?;
                }
                b'q' => {
                    let index = cursor.byte()?;
                    self.put(&cursor, index.into())?;
                }
                0x8c => {
                    let len = cursor.byte()?.into();
                    self.text(&mut cursor, len)?;
                }
                0x94 => {
                    let top = self.top(&cursor)?;
                    self.memo.memoize(top)?;
                }
                b'K' => {
                    let number = cursor.byte()?;
                    self.push(Node::Int(number.into()))?;
                }
                b'M' => {
                    let number = u16::from_le_bytes(cursor.array()?);
                    self.push(Node::Int(number.into()))?;
                }
                b'J' => {
                    let number = i32::from_le_bytes(cursor.array()?);
                    self.push(Node::Int(number.into()))?;
                }
                b'G' => {
                    let number = f64::from_be_bytes(cursor.array()?);
                    self.push(Node::Float(number))?;
                }
                b'N' => self.push(Node::None)?,
                b'h' => {
                    let index = cursor.byte()?;
                    self.get(&cursor, index.into())?;
                }
                b'L' => {
                    let node = number::long_line(&mut cursor)?;
                    self.push(node)?;
                }
                b'I' => {
                    let node = number::int_line(&mut cursor)?;
                    self.push(node)?;
                }
                0x8a => {
                    let len = cursor.byte()?.into();
                    let node = number::binary(&mut cursor, len)?;
                    self.push(node)?;
                }
                0x88 => self.push(Node::Bool(true))?,
                0x89 => self.push(Node::Bool(false))?,
                b'.' => return self.pop(&cursor),
                _ => self.containers(opcode, &mut cursor)?,
            }
        }
    }

    /// The opcodes that make and fill containers.
    fn containers(&mut self, opcode: u8, cursor: &mut Cursor<'_>) -> Result<(), PickleError> {
        match opcode {
            b'(' => {
                check(self.marks.len())?;
                self.marks.push(self.height());
                Ok(())
            }
            b'}' => self.push_container(Node::Dict, cursor, 0),
            b']' => self.push_container(Node::List, cursor, 0),
            b')' => self.push_container(Node::Tuple, cursor, 0),
            0x8f => self.push_container(Node::Set, cursor, 0),
            0x85 => self.push_container(Node::Tuple, cursor, 1),
            0x86 => self.push_container(Node::Tuple, cursor, 2),
            0x87 => self.push_container(Node::Tuple, cursor, 3),
            b't' => self.push_marked(Node::Tuple, cursor),
            b'l' => self.push_marked(Node::List, cursor),
            0x91 => self.push_marked(Node::FrozenSet, cursor),
            b'd' => {
                let from = self.pop_mark(cursor)?;
                self.require_pairs(from, cursor)?;
                let dict = self.take(from);
                self.push_made(Node::Dict(dict))
            }
            b's' => self.fill(cursor, Filling::Pairs, Some(2)),
            b'u' => self.fill(cursor, Filling::Pairs, None),
            b'a' => self.fill(cursor, Filling::Items, Some(1)),
            b'e' => self.fill(cursor, Filling::Items, None),
            0x90 => self.fill(cursor, Filling::Members, None),
            b'0' => {
                // As in CPython: a POP on a mark takes the mark.
                if self.marks.last().is_some_and(|&mark| mark == self.height()) {
                    self.marks.pop();
                    return Ok(());
                }
                self.pop(cursor).map(drop)
            }
            b'1' => {
                let from = self.pop_mark(cursor)?;
                self.stack.truncate(from);
                Ok(())
            }
            b'2' => {
                let top = self.top(cursor)?;
                self.push(top)
            }
            _ => self.rare(opcode, cursor),
        }
    }

    /// A text and, in the same step, the memo opcode that nearly always follows it.
    #[inline(always)]
    fn text(&mut self, cursor: &mut Cursor<'_>, len: usize) -> Result<(), PickleError> {
        let node = Node::Text(cursor.span(len)?);
        self.push(node)?;
        match cursor.rest() {
            [b'q', index, ..] => {
                cursor.skip(2);
                self.memo.put(u32::from(*index), node)
            }
            [0x94, ..] => {
                cursor.skip(1);
                self.memo.memoize(node)
            }
            _ => Ok(()),
        }
    }

    fn height(&self) -> u32 {
        // At most a few times PICKLE_NODES_MAX.
        self.stack.len() as u32
    }

    /// The height of the stack that belongs to the innermost open mark; nothing below it may be taken.
    fn fence(&self) -> usize {
        self.marks.last().map_or(0, |&mark| mark as usize)
    }

    #[inline(always)]
    pub(super) fn push(&mut self, node: Node) -> Result<(), PickleError> {
        if self.stack.len() == self.stack.capacity() {
            self.grow()?;
        }
        self.stack.push(node);
        Ok(())
    }

    /// Pushes what lies in the arena, unless that has too much already.
    pub(super) fn push_made(&mut self, node: Node) -> Result<(), PickleError> {
        check(self.arena.largest())?;
        self.push(node)
    }

    #[cold]
    fn grow(&mut self) -> Result<(), PickleError> {
        check(self.stack.len())?;
        self.stack.reserve(self.stack.len().max(64));
        Ok(())
    }

    #[inline]
    pub(super) fn top(&self, cursor: &Cursor<'_>) -> Result<Node, PickleError> {
        match self.stack.last() {
            Some(&node) if self.stack.len() > self.fence() => Ok(node),
            _ => Err(cursor.malformed("expected a value on the stack")),
        }
    }

    #[inline]
    pub(super) fn pop(&mut self, cursor: &Cursor<'_>) -> Result<Node, PickleError> {
        let top = self.top(cursor)?;
        self.stack.pop();
        Ok(top)
    }

    pub(super) fn pop_mark(&mut self, cursor: &Cursor<'_>) -> Result<usize, PickleError> {
        match self.marks.pop() {
            Some(mark) => Ok(mark as usize),
            None => Err(cursor.malformed("expected a mark")),
        }
    }

    #[inline]
    pub(super) fn put(&mut self, cursor: &Cursor<'_>, index: u32) -> Result<(), PickleError> {
        let top = self.top(cursor)?;
        self.memo.put(index, top)
    }

    pub(super) fn get(&mut self, cursor: &Cursor<'_>, index: u32) -> Result<(), PickleError> {
        match self.memo.get(index) {
            Some(node) => self.push(node),
            None => Err(cursor.malformed("a memo entry that was never put")),
        }
    }

    /// Takes what lies on the stack from `from` on into a new container.
    #[inline]
    pub(super) fn take(&mut self, from: usize) -> u32 {
        let container = self.arena.container(self.stack.get(from..).unwrap_or_default());
        self.stack.truncate(from);
        container
    }

    /// Pushes a container of the topmost `len` values.
    fn push_container(
        &mut self,
        kind: fn(u32) -> Node,
        cursor: &Cursor<'_>,
        len: usize,
    ) -> Result<(), PickleError> {
        let from = self.below_top(cursor, len)?;
        let container = self.take(from);
        self.push_made(kind(container))
    }

    /// Pushes a container of the values behind the mark.
    fn push_marked(&mut self, kind: fn(u32) -> Node, cursor: &Cursor<'_>) -> Result<(), PickleError> {
        let from = self.pop_mark(cursor)?;
        let container = self.take(from);
        self.push_made(kind(container))
    }

    fn below_top(&self, cursor: &Cursor<'_>, len: usize) -> Result<usize, PickleError> {
        match self.stack.len().checked_sub(len) {
            Some(from) if from >= self.fence() => Ok(from),
            _ => Err(cursor.malformed("expected more values on the stack")),
        }
    }

    fn require_pairs(&self, from: usize, cursor: &Cursor<'_>) -> Result<(), PickleError> {
        if (self.stack.len() - from).is_multiple_of(2) {
            return Ok(());
        }
        Err(cursor.malformed("expected a value for every key"))
    }

    /// Moves the topmost `len` values, or those behind the mark, into the container below them.
    fn fill(&mut self, cursor: &Cursor<'_>, filling: Filling, len: Option<usize>) -> Result<(), PickleError> {
        let from = match len {
            Some(len) => self.below_top(cursor, len)?,
            None => self.pop_mark(cursor)?,
        };
        if matches!(filling, Filling::Pairs) {
            self.require_pairs(from, cursor)?;
        }
        let below = from.checked_sub(1).filter(|&below| below >= self.fence());
        let container = below.and_then(|below| self.stack.get(below)).copied();
        let target = match (filling, container.unwrap_or_default()) {
            (Filling::Items, Node::List(list)) => list,
            (Filling::Pairs, Node::Dict(dict)) => dict,
            (Filling::Members, Node::Set(set)) => set,
            (Filling::Pairs, Node::Object(object)) => self.arena.pairs_of(object),
            (Filling::Items | Filling::Members, Node::Object(object)) => self.arena.items_of(object),
            _ => return Err(cursor.malformed("expected a container that can be filled so")),
        };
        self.arena
            .extend(target, self.stack.get(from..).unwrap_or_default());
        self.stack.truncate(from);
        check(self.arena.largest())
    }

    /// Forgets the frame; keeps memory for the next one of the usual size.
    pub fn clear(&mut self) {
        self.arena.clear();
        self.memo.clear();
        self.stack.clear();
        self.stack.shrink_to(PICKLE_SLOTS_KEPT);
        self.marks.clear();
        self.marks.shrink_to(PICKLE_SLOTS_KEPT);
    }
}

/// What goes into a container at once.
#[derive(Debug, Clone, Copy)]
enum Filling {
    Items,
    Pairs,
    Members,
}

/// Whether one more may join `count` others.
#[inline]
fn check(count: usize) -> Result<(), PickleError> {
    if count >= PICKLE_NODES_MAX {
        return Err(PickleError::OverLimit {
            what: "values",
            limit: PICKLE_NODES_MAX,
        });
    }
    Ok(())
}

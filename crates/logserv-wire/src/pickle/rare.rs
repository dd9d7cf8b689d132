//! The opcodes that a log record seldom has: other spellings of texts, and everything by which Python imports and calls.
//!
//! In: an opcode that `machine.rs` has no arm for. Out: a changed stack, as there, or a refusal. What Python would call
//! is noted down in the arena as data.

use super::PickleError;
use super::cursor::Cursor;
use super::machine::Machine;
use super::node::Node;
use super::number;

impl Machine {
    /// The less usual texts, numbers and memo opcodes, and the frame's own.
    pub(super) fn rare(&mut self, opcode: u8, cursor: &mut Cursor<'_>) -> Result<(), PickleError> {
        match opcode {
            0x80 => match cursor.byte()? {
                0..=5 => Ok(()),
                received => Err(PickleError::UnknownProtocol { received }),
            },
            0x95 => {
                let len = cursor.len_u64()?;
                cursor.require(len)
            }
            b'U' | b'C' => {
                let len = cursor.byte()?.into();
                let span = cursor.span(len)?;
                self.push(if opcode == b'U' {
                    Node::OldText(span)
                } else {
                    Node::Bytes(span)
                })
            }
            b'T' => {
                let len = cursor.len_i32()?;
                let span = cursor.span(len)?;
                self.push(Node::OldText(span))
            }
            b'B' => {
                let len = cursor.u32()? as usize;
                let span = cursor.span(len)?;
                self.push(Node::Bytes(span))
            }
            0x8d | 0x8e | 0x96 => {
                let len = cursor.len_u64()?;
                let span = cursor.span(len)?;
                self.push(match opcode {
                    0x8d => Node::Text(span),
                    0x8e => Node::Bytes(span),
                    _ => Node::ByteArray(span),
                })
            }
            b'V' => {
                let line = cursor.line()?;
                self.push(Node::EscapedText(line))
            }
            b'S' => {
                let line = cursor.line()?;
                let quoted = number::within_quotes(cursor, line)?;
                self.push(Node::QuotedText(quoted))
            }
            b'F' => {
                let node = number::float_line(cursor)?;
                self.push(node)
            }
            0x8b => {
                let len = cursor.len_i32()?;
                let node = number::binary(cursor, len)?;
                self.push(node)
            }
            b'r' | b'j' | b'p' | b'g' => {
                let index = match opcode {
                    b'r' | b'j' => cursor.u32()?,
                    _ => number::index_line(cursor)?,
                };
                if matches!(opcode, b'r' | b'p') {
                    self.put(cursor, index)
                } else {
                    self.get(cursor, index)
                }
            }
            _ => self.objects(opcode, cursor),
        }
    }

    /// The opcodes by which Python imports and calls. Here they only note what would have been called.
    fn objects(&mut self, opcode: u8, cursor: &mut Cursor<'_>) -> Result<(), PickleError> {
        match opcode {
            b'c' => {
                let global = self.global_lines(cursor)?;
                self.push_made(global)
            }
            0x93 => {
                let (name, module) = (self.pop(cursor)?, self.pop(cursor)?);
                if name.type_name() != "str" || module.type_name() != "str" {
                    return Err(cursor.malformed("expected a module and a name"));
                }
                let global = self.arena.global(module, name);
                self.push_made(global)
            }
            b'R' | 0x81 => {
                let (args, class) = (self.pop(cursor)?, self.pop(cursor)?);
                let object = self.arena.object(class, args, Node::Absent);
                self.push_made(object)
            }
            0x92 => {
                let (kwargs, args) = (self.pop(cursor)?, self.pop(cursor)?);
                let class = self.pop(cursor)?;
                let object = self.arena.object(class, args, kwargs);
                self.push_made(object)
            }
            b'i' => {
                let class = self.global_lines(cursor)?;
                let from = self.pop_mark(cursor)?;
                let args = self.take(from);
                let object = self.arena.object(class, Node::Tuple(args), Node::Absent);
                self.push_made(object)
            }
            b'o' => {
                let from = self.pop_mark(cursor)?;
                let Some(&class) = self.stack.get(from) else {
                    return Err(cursor.malformed("expected a class behind the mark"));
                };
                let args = self.take(from + 1);
                self.stack.truncate(from);
                let object = self.arena.object(class, Node::Tuple(args), Node::Absent);
                self.push_made(object)
            }
            b'b' => {
                let (state, object) = (self.pop(cursor)?, self.pop(cursor)?);
                let object = self.arena.with_state(object, state);
                self.push_made(object)
            }
            _ => Err(refusal(opcode, cursor.offset() - 1)),
        }
    }

    fn global_lines(&mut self, cursor: &mut Cursor<'_>) -> Result<Node, PickleError> {
        let (module, name) = (cursor.line()?, cursor.line()?);
        Ok(self.arena.global(Node::Text(module), Node::Text(name)))
    }
}

#[cold]
fn refusal(opcode: u8, offset: usize) -> PickleError {
    let name = match opcode {
        b'P' => "PERSID",
        b'Q' => "BINPERSID",
        0x82 => "EXT1",
        0x83 => "EXT2",
        0x84 => "EXT4",
        0x97 => "NEXT_BUFFER",
        0x98 => "READONLY_BUFFER",
        _ => return PickleError::UnknownOpcode { opcode, offset },
    };
    PickleError::Refused { opcode: name, offset }
}

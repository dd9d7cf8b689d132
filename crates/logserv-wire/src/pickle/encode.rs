//! A node as an encoded wire value, the bytes that [`crate::value::decode`] reads.
//!
//! In: a node. Out: bytes appended to a buffer, or a note in its place where the value is over a limit. Writes at once
//! what a [`crate::value::Value`] would hold, so that the usual record costs no allocation. Recurses at most
//! [`VALUE_DEPTH_MAX`] deep.

use super::integer;
use super::machine::Machine;
use super::node::Node;
use super::object::latin1_of_object;
use super::repr::push_repr;
use super::text::{len_in_frame, text};
use super::work::{OverBudget, Work};
use crate::limits::{PICKLE_OBJECT_TEXT_LEN_MAX, VALUE_DEPTH_MAX};
use crate::value::{
    TAG_BIG_INT, TAG_BYTES, TAG_DICT, TAG_FALSE, TAG_FLOAT, TAG_INT, TAG_LIST, TAG_NONE, TAG_OPAQUE, TAG_STR,
    TAG_TRUE, TAG_TUPLE, put_bytes, put_count,
};

/// What stands for a value that is too large, has too many parts, or comes after too much work.
pub(super) const NOTE: &str = "…[cut: a value over its limits]";

/// Appends `node` in at most `len_max` bytes, or else [`NOTE`]. Returns whether it is the value.
pub(super) fn encode_or_note(
    machine: &Machine,
    frame: &[u8],
    node: Node,
    work: &mut Work,
    len_max: usize,
    out: &mut Vec<u8>,
) -> bool {
    let start = out.len();
    work.next_attribute();
    let mut encoder = Encoder {
        machine,
        frame,
        work,
        end: start.saturating_add(len_max),
        path: Vec::new(),
        out,
    };
    if encoder.node(node).is_ok() {
        return true;
    }
    out.truncate(start);
    put_bytes(out, TAG_OPAQUE, NOTE.as_bytes());
    false
}

struct Encoder<'m, 'w> {
    machine: &'m Machine,
    frame: &'m [u8],
    work: &'w mut Work,
    /// Where `out` must end.
    end: usize,
    /// The containers around the node at hand.
    path: Vec<Node>,
    out: &'w mut Vec<u8>,
}

impl Encoder<'_, '_> {
    /// Whether `len` bytes with a tag and a length may be written.
    fn room(&mut self, len: usize) -> Result<(), OverBudget> {
        self.work.bytes(len)?;
        if self.out.len().saturating_add(len).saturating_add(9) > self.end {
            Err(OverBudget)
        } else {
            Ok(())
        }
    }

    fn text(&mut self, tag: u8, text: &str) -> Result<(), OverBudget> {
        self.room(text.len())?;
        put_bytes(self.out, tag, text.as_bytes());
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), OverBudget> {
        self.room(bytes.len())?;
        put_bytes(self.out, TAG_BYTES, bytes);
        Ok(())
    }

    fn node(&mut self, node: Node) -> Result<(), OverBudget> {
        self.work.node()?;
        self.room(0)?;
        match node {
            Node::None | Node::Absent => self.out.push(TAG_NONE),
            Node::Bool(false) => self.out.push(TAG_FALSE),
            Node::Bool(true) => self.out.push(TAG_TRUE),
            Node::Int(number) => {
                self.out.push(TAG_INT);
                self.out.extend_from_slice(&number.to_le_bytes());
            }
            Node::Float(number) => {
                self.out.push(TAG_FLOAT);
                self.out.extend_from_slice(&number.to_le_bytes());
            }
            Node::Decimal(_) | Node::Binary(_) => match integer::decimal(node, self.frame, self.work)? {
                Some(digits) => self.text(TAG_BIG_INT, &digits)?,
                None => self.text(TAG_OPAQUE, &integer::note(node))?,
            },
            Node::Text(_) | Node::EscapedText(_) | Node::OldText(_) | Node::QuotedText(_) => {
                self.room(len_in_frame(node))?;
                self.text(TAG_STR, &text(node, self.frame).unwrap_or_default())?;
            }
            Node::Bytes(span) => self.bytes(span.of(self.frame))?,
            Node::List(id) => self.container(node, TAG_LIST, id)?,
            Node::Tuple(id) => self.container(node, TAG_TUPLE, id)?,
            Node::Dict(id) => self.container(node, TAG_DICT, id)?,
            Node::Object(id) => {
                let object = self.machine.arena.object_at(id);
                match latin1_of_object(self.machine, self.frame, object, self.work)? {
                    Some(bytes) => self.bytes(&bytes)?,
                    None => self.opaque(node)?,
                }
            }
            Node::ByteArray(_) | Node::Set(_) | Node::FrozenSet(_) | Node::Global(_) => self.opaque(node)?,
        }
        Ok(())
    }

    fn container(&mut self, node: Node, tag: u8, id: u32) -> Result<(), OverBudget> {
        let machine = self.machine;
        let len = machine.arena.len(id);
        self.work.bytes(4 * self.path.len())?;
        if self.path.contains(&node) {
            return self.text(TAG_OPAQUE, if tag == TAG_DICT { "{...}" } else { "[...]" });
        }
        if self.path.len() >= VALUE_DEPTH_MAX && len > 0 {
            return self.text(TAG_OPAQUE, "…");
        }
        put_count(self.out, tag, if tag == TAG_DICT { len / 2 } else { len });
        self.path.push(node);
        for item in machine.arena.nodes(id) {
            self.node(item)?;
        }
        self.path.pop();
        Ok(())
    }

    fn opaque(&mut self, node: Node) -> Result<(), OverBudget> {
        let mut text = String::new();
        push_repr(
            self.machine,
            self.frame,
            node,
            self.work,
            PICKLE_OBJECT_TEXT_LEN_MAX,
            &mut text,
        );
        self.text(TAG_OPAQUE, &text)
    }
}

//! The text that stands for a value where only text can: objects, sets, `str()` of a message that is no text.
//!
//! In: a node. Out: what Python's `repr` gives for the built-in types, and `<module.Name(args, key=value)>` for what
//! Python would have to make by calling something. Recurses at most
//! [`VALUE_DEPTH_MAX`](crate::limits::VALUE_DEPTH_MAX) deep; stops at a length and at the end of the work.

use std::fmt::Write as _;

use super::integer;
use super::machine::Machine;
use super::node::Node;
use super::text::{len_in_frame, text_up_to};
use super::work::{OverBudget, Work};
use crate::limits::VALUE_DEPTH_MAX;

/// Appends the `repr` of `node` to `out`, at most about `len_max` bytes of it; a longer one ends in `…`.
pub(super) fn push_repr(
    machine: &Machine,
    frame: &[u8],
    node: Node,
    work: &mut Work,
    len_max: usize,
    out: &mut String,
) {
    let end = out.len().saturating_add(len_max);
    let mut repr = Repr {
        machine,
        frame,
        work,
        end,
        path: Vec::new(),
        out,
    };
    if repr.node(node).is_err() {
        out.push('…');
    }
}

/// Python's `repr` of a float: the shortest digits that read back the same, an exponent outside 1e-4 to 1e16.
pub(super) fn push_float(number: f64, out: &mut String) {
    let magnitude = number.abs();
    // Writing to a String does not fail.
    let _ = if number.is_nan() {
        write!(out, "nan")
    } else if number.is_infinite() {
        write!(out, "{}inf", if number < 0.0 { "-" } else { "" })
    } else if magnitude != 0.0 && !(1e-4..1e16).contains(&magnitude) {
        let digits = format!("{number:e}");
        let (mantissa, exponent) = digits.split_once('e').unwrap_or((&digits, "0"));
        let (sign, exponent) = exponent
            .strip_prefix('-')
            .map_or(('+', exponent), |plain| ('-', plain));
        write!(out, "{mantissa}e{sign}{exponent:0>2}")
    } else {
        write!(out, "{number:?}")
    };
}

pub(super) struct Repr<'m, 'w> {
    pub(super) machine: &'m Machine,
    pub(super) frame: &'m [u8],
    pub(super) work: &'w mut Work,
    /// Where `out` must end.
    pub(super) end: usize,
    /// The containers and objects around the node at hand.
    pub(super) path: Vec<Node>,
    pub(super) out: &'w mut String,
}

impl Repr<'_, '_> {
    pub(super) fn push(&mut self, text: &str) -> Result<(), OverBudget> {
        self.work.bytes(text.len())?;
        if self.out.len() + text.len() > self.end {
            return Err(OverBudget);
        }
        self.out.push_str(text);
        Ok(())
    }

    pub(super) fn node(&mut self, node: Node) -> Result<(), OverBudget> {
        self.work.node()?;
        match node {
            Node::Absent => Ok(()),
            Node::None => self.push("None"),
            Node::Bool(true) => self.push("True"),
            Node::Bool(false) => self.push("False"),
            Node::Int(number) => self.push(&number.to_string()),
            Node::Float(number) => {
                let mut digits = String::new();
                push_float(number, &mut digits);
                self.push(&digits)
            }
            Node::Decimal(_) | Node::Binary(_) => {
                let digits = integer::decimal(node, self.frame, self.work)?;
                self.push(&digits.unwrap_or_else(|| integer::note(node).into()))
            }
            Node::Text(_) | Node::EscapedText(_) | Node::OldText(_) | Node::QuotedText(_) => {
                self.quoted(node)
            }
            Node::Bytes(span) => self.bytes(span.of(self.frame)),
            Node::ByteArray(span) => {
                self.push("bytearray(")?;
                self.bytes(span.of(self.frame))?;
                self.push(")")
            }
            Node::Global(_) => {
                self.push("<")?;
                self.name(node)?;
                self.push(">")
            }
            Node::Set(id) if self.machine.arena.len(id) == 0 => self.push("set()"),
            Node::FrozenSet(id) if self.machine.arena.len(id) == 0 => self.push("frozenset()"),
            Node::List(_)
            | Node::Tuple(_)
            | Node::Dict(_)
            | Node::Set(_)
            | Node::FrozenSet(_)
            | Node::Object(_) => self.nested(node),
        }
    }

    fn nested(&mut self, node: Node) -> Result<(), OverBudget> {
        self.work.bytes(4 * self.path.len())?;
        if self.path.len() >= VALUE_DEPTH_MAX {
            return self.push("…");
        }
        if self.path.contains(&node) {
            return self.push(match node {
                Node::List(_) => "[...]",
                Node::Dict(_) => "{...}",
                _ => "...",
            });
        }
        self.path.push(node);
        let result = match node {
            Node::List(id) => self.items("[", id, "]"),
            Node::Tuple(id) if self.machine.arena.len(id) == 1 => self.items("(", id, ",)"),
            Node::Tuple(id) => self.items("(", id, ")"),
            Node::Dict(id) => self.pairs("{", id, ": ", "}"),
            Node::Set(id) => self.items("{", id, "}"),
            Node::FrozenSet(id) => self.items("frozenset({", id, "})"),
            Node::Object(id) => self.object(self.machine.arena.object_at(id)),
            other => self.node(other),
        };
        self.path.pop();
        result
    }

    /// A comma, unless something has just been opened. No value's text ends in an opening bracket.
    pub(super) fn separate(&mut self) -> Result<(), OverBudget> {
        if self.out.ends_with(['(', '[', '{']) {
            Ok(())
        } else {
            self.push(", ")
        }
    }

    pub(super) fn items(&mut self, open: &str, id: u32, close: &str) -> Result<(), OverBudget> {
        self.push(open)?;
        let machine = self.machine;
        for (at, node) in machine.arena.nodes(id).enumerate() {
            if at > 0 {
                self.push(", ")?;
            }
            self.node(node)?;
        }
        self.push(close)
    }

    fn pairs(&mut self, open: &str, id: u32, between: &str, close: &str) -> Result<(), OverBudget> {
        self.push(open)?;
        let machine = self.machine;
        for (at, node) in machine.arena.nodes(id).enumerate() {
            match at {
                0 => {}
                odd if odd % 2 == 1 => self.push(between)?,
                _ => self.push(", ")?,
            }
            self.node(node)?;
        }
        self.push(close)
    }

    /// Python's `repr` of a text; characters that Python would escape for not being printable are, below U+00A1.
    fn quoted(&mut self, node: Node) -> Result<(), OverBudget> {
        let room = self.end.saturating_sub(self.out.len());
        self.work.bytes(len_in_frame(node).min(room))?;
        let Some((text, cut)) = text_up_to(node, self.frame, room) else {
            return Ok(());
        };
        let quote = if text.contains('\'') && !text.contains('"') {
            "\""
        } else {
            "'"
        };
        self.push(quote)?;
        let mut escape = String::new();
        for character in text.chars() {
            match character {
                '\n' => self.push("\\n")?,
                '\r' => self.push("\\r")?,
                '\t' => self.push("\\t")?,
                '\\' => self.push("\\\\")?,
                '\'' if quote == "'" => self.push("\\'")?,
                '\0'..=' ' | '\x7f'..='\u{a0}' | '\u{ad}' if character != ' ' => {
                    escape.clear();
                    // Writing to a String does not fail.
                    let _ = write!(escape, "\\x{:02x}", u32::from(character));
                    self.push(&escape)?;
                }
                other => self.push(other.encode_utf8(&mut [0; 4]))?,
            }
        }
        if cut > 0 {
            Err(OverBudget)
        } else {
            self.push(quote)
        }
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), OverBudget> {
        let is_double = bytes.contains(&b'\'') && !bytes.contains(&b'"');
        self.work.bytes(bytes.len())?;
        self.push(if is_double { "b\"" } else { "b'" })?;
        let mut escape = String::new();
        for &byte in bytes {
            escape.clear();
            // Writing to a String does not fail.
            let _ = match byte {
                b'\n' => write!(escape, "\\n"),
                b'\r' => write!(escape, "\\r"),
                b'\t' => write!(escape, "\\t"),
                b'\\' => write!(escape, "\\\\"),
                b'\'' if !is_double => write!(escape, "\\'"),
                b' '..=b'~' => write!(escape, "{}", char::from(byte)),
                _ => write!(escape, "\\x{byte:02x}"),
            };
            self.push(&escape)?;
        }
        self.push(if is_double { "\"" } else { "'" })
    }
}

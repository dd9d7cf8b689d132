//! A value of a pickle, small enough to be copied.
//!
//! Not here: the containers' items (`arena.rs`), the texts themselves (in the frame; `text.rs` reads them).

use super::cursor::Span;

/// A value. Copied freely: a container is a number in the arena, a text a place in the frame.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) enum Node {
    /// No value, where one was optional. Never on the stack.
    #[default]
    Absent,
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// An integer beyond 64 bits in decimal digits, `-` or `+` first where there is a sign.
    Decimal(Span),
    /// An integer beyond 64 bits in little-endian two's complement.
    Binary(Span),
    /// UTF-8 in which surrogates may stand alone.
    Text(Span),
    /// Protocol 0: Latin-1 with `\uXXXX` escapes.
    EscapedText(Span),
    /// A Python 2 `str`.
    OldText(Span),
    /// A Python 2 `str` as its `repr`, within the quotes; protocol 0.
    QuotedText(Span),
    Bytes(Span),
    ByteArray(Span),
    List(u32),
    Tuple(u32),
    Dict(u32),
    Set(u32),
    FrozenSet(u32),
    /// A name that Python would import: a sequence of the module and the name.
    Global(u32),
    /// What Python would make by calling something.
    Object(u32),
}

impl Node {
    /// The type for an error message.
    pub fn type_name(self) -> &'static str {
        match self {
            Node::Absent => "nothing",
            Node::None => "None",
            Node::Bool(_) => "bool",
            Node::Int(_) | Node::Decimal(_) | Node::Binary(_) => "int",
            Node::Float(_) => "float",
            Node::Text(_) | Node::EscapedText(_) | Node::OldText(_) | Node::QuotedText(_) => "str",
            Node::Bytes(_) => "bytes",
            Node::ByteArray(_) => "bytearray",
            Node::List(_) => "list",
            Node::Tuple(_) => "tuple",
            Node::Dict(_) => "dict",
            Node::Set(_) => "set",
            Node::FrozenSet(_) => "frozenset",
            Node::Global(_) => "a class or function",
            Node::Object(_) => "an object",
        }
    }
}

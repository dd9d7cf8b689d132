//! Python pickles of log records: read without running what they name, and written for servers that only know them.
//!
//! In: one pickle of protocol 0 to 5, as `SocketHandler` of CPython 2.7 and 3.x frames it, without its length prefix.
//! Out: a wire record or an encoded wire value appended to a buffer, or a typed error; [`write()`] is the way back.
//! What is accepted, refused and bounded stands in PROTOCOL.md, "Pickles".
//! Not here: the length prefix and skipping a frame that is too long; that is the connection's.
//!
//! Two ways lead to a record: `usual.rs` reads the one shape that nearly all frames have in one pass, `machine.rs` whatever
//! else there is, slower; where both can, they make the same bytes.
//!
//! Safe by construction: `machine.rs` knows no name and calls nothing. Globals, classes and their arguments are data,
//! and become a text such as `<datetime.date(2024, 1, 2)>`.

mod arena;
mod cursor;
mod encode;
mod exercise;
mod integer;
mod interpolate;
mod machine;
mod memo;
mod node;
mod number;
mod object;
mod rare;
mod record;
mod repr;
mod scan;
mod text;
mod usual;
mod work;
mod write;

pub use exercise::exercise;
use machine::Machine;
use node::Node;
pub use write::write;

use crate::limits::RECORD_LEN_MAX_DEFAULT;

/// Why a frame was refused. The bytes behind it on the connection are sound: the length prefix says where it ends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PickleError {
    /// The frame ends before the pickle does.
    #[error("truncated pickle: expected {expected} more bytes at offset {offset}, received {received}")]
    Truncated {
        /// Where in the frame, in bytes.
        offset: usize,
        /// Bytes needed there.
        expected: usize,
        /// Bytes there.
        received: usize,
    },
    /// The frame is longer than [`PICKLE_LEN_MAX`](crate::limits::PICKLE_LEN_MAX).
    #[error("pickle too long: expected at most {limit} bytes, received {received}")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
        /// The frame's length.
        received: usize,
    },
    /// A byte that no protocol up to 5 gives a meaning.
    #[error("unknown pickle opcode 0x{opcode:02x} at offset {offset}")]
    UnknownOpcode {
        /// The byte.
        opcode: u8,
        /// Where in the frame, in bytes.
        offset: usize,
    },
    /// An opcode that needs something outside the frame: a persistent object, the extension registry, a buffer.
    #[error("pickle opcode {opcode} at offset {offset} is refused: it refers to something outside the frame")]
    Refused {
        /// Its name in `pickletools`.
        opcode: &'static str,
        /// Where in the frame, in bytes.
        offset: usize,
    },
    /// `PROTO` names a protocol that does not exist yet.
    #[error("pickle protocol: expected at most 5, received {received}")]
    UnknownProtocol {
        /// The number received.
        received: u8,
    },
    /// More values than the limits allow.
    #[error("{what} of the pickle over their limit of {limit}")]
    OverLimit {
        /// What was being counted.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// Anything else that `pickle.loads` would not read either.
    #[error("malformed pickle at offset {offset}: {why}")]
    Malformed {
        /// Where in the frame, in bytes; behind the opcode.
        offset: usize,
        /// In words.
        why: &'static str,
    },
    /// A sound pickle, but not of a record's attributes.
    #[error("pickle of a record: expected a dict, received {received}")]
    NotADict {
        /// The type that came, in words.
        received: &'static str,
    },
}

/// What [`Unpickler::to_record`] cannot know from the frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conversion {
    /// The formatter that the record names on the connection's side; 0 is `%(message)s`.
    pub formatter: u32,
    /// `created` for a record that has none, in seconds since 1970: the time of its arrival.
    pub default_created_s: f64,
    /// Longest record in bytes that comes out; its message is cut, its attributes are left out, to keep to it.
    pub record_len_max: usize,
}

impl Default for Conversion {
    fn default() -> Self {
        Self {
            formatter: 0,
            default_created_s: 0.0,
            record_len_max: RECORD_LEN_MAX_DEFAULT,
        }
    }
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Converted {
    /// Length of the record in bytes.
    pub record_len: usize,
    /// `levelno`, 0 where it is none.
    pub level_no: i32,
    /// Bytes that were cut off its texts; 0 nearly always.
    pub cut_bytes: usize,
    /// Attributes whose value was replaced by a note because it was over a limit.
    pub elided_attributes: usize,
}

/// What [`usual`] remembers of a frame.
#[derive(Debug)]
struct UsualMemo(scan::Memo);

impl Default for UsualMemo {
    fn default() -> Self {
        Self([cursor::Span::default(); scan::MEMO_LEN])
    }
}

/// Reads pickles, one after the other. Holds the memory for it, so that a frame costs no allocation once it is warm.
#[derive(Debug, Default)]
pub struct Unpickler {
    machine: Machine,
    /// The attributes of the record at hand beyond the standard ones.
    extras: Vec<(Node, Node)>,
    /// What the frame at hand has put aside, where it is of the usual shape.
    usual_memo: UsualMemo,
}

impl Unpickler {
    /// An unpickler without memory of its own yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends the record that `frame` holds to `out`, as `logging.makeLogRecord` would make it.
    ///
    /// Blocks: never. Drops: what is over a limit, told in [`Converted`]. `out` is as before on an error.
    ///
    /// # Errors
    /// Every [`PickleError`]; none of them stops the connection.
    pub fn to_record(
        &mut self,
        frame: &[u8],
        conversion: &Conversion,
        out: &mut Vec<u8>,
    ) -> Result<Converted, PickleError> {
        match usual::convert(frame, conversion, &mut self.usual_memo.0, out) {
            Some(converted) => Ok(converted),
            None => self.record_by_machine(frame, conversion, out),
        }
    }

    /// As [`to_record`](Self::to_record), whatever the shape of the frame.
    fn record_by_machine(
        &mut self,
        frame: &[u8],
        conversion: &Conversion,
        out: &mut Vec<u8>,
    ) -> Result<Converted, PickleError> {
        let result = match self.machine.run(frame) {
            Ok(Node::Dict(dict)) => Ok(record::convert(
                &self.machine,
                frame,
                dict,
                conversion,
                &mut self.extras,
                out,
            )),
            Ok(other) => Err(PickleError::NotADict {
                received: other.type_name(),
            }),
            Err(error) => Err(error),
        };
        self.forget();
        result
    }

    /// Appends the pickled value to `out`, encoded as [`crate::value::Value`]; read it with [`crate::value::decode`].
    ///
    /// Blocks: never. Drops: a value over a limit comes out as a note. `out` is as before on an error.
    ///
    /// # Errors
    /// Every [`PickleError`] but `NotADict`.
    pub fn to_value(&mut self, frame: &[u8], out: &mut Vec<u8>) -> Result<(), PickleError> {
        let result = self.machine.run(frame).map(|node| {
            let mut work = work::Work::for_frame(frame);
            encode::encode_or_note(
                &self.machine,
                frame,
                node,
                &mut work,
                crate::limits::RECORD_LEN_MAX,
                out,
            );
        });
        self.forget();
        result
    }

    fn forget(&mut self) {
        self.machine.clear();
        self.extras.clear();
        self.extras.shrink_to(crate::limits::PICKLE_SLOTS_KEPT);
    }
}

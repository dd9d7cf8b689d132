//! Every limit of the wire: name, unit, reason.

/// Longest encoded record in bytes, as producers make them (`record_max_bytes`): a longer message is cut, never dropped.
pub const RECORD_LEN_MAX_DEFAULT: usize = 1 << 20;

/// Longest encoded record in bytes that a reader accepts: the default plus room for a user's larger `record_max_bytes`.
pub const RECORD_LEN_MAX: usize = 4 << 20;

/// Longest frame of protocol 2.0 in bytes, its length prefix not counted: one record of the greatest length and the
/// batch header. A reader refuses a longer one before it allocates.
pub const FRAME_LEN_MAX: usize = RECORD_LEN_MAX + 64;

/// Bytes of records after which a sender closes a batch: large enough that a system call and an acknowledgement per
/// batch do not matter, small enough that a batch is written to the file in one piece without a pause one can notice.
pub const BATCH_LEN_TARGET: usize = 256 << 10;

/// Longest line of the textual handshake in bytes, its newline included (protocol 1.0, `10 KiB`).
pub const LINE_LEN_MAX: usize = 10 * 1024;

/// Longest `SocketHandler` frame in bytes that is decoded: a record of the greatest length after pickling.
pub const PICKLE_LEN_MAX: usize = RECORD_LEN_MAX;

/// Longest `SocketHandler` frame in bytes that is skipped and counted; beyond it the connection is closed, for then
/// the length is more likely noise than a record.
pub const PICKLE_SKIP_LEN_MAX: usize = 16 << 20;

/// Deepest nesting of a value (a list in a list …). Python code that prints deeper ones does not exist in practice,
/// and every reader of a value recurses at most so often.
pub const VALUE_DEPTH_MAX: usize = 64;

/// Most values in one attribute, containers and their items counted.
pub const VALUE_NODES_MAX: usize = 64 << 10;

/// Longest name of an attribute in bytes.
pub const ATTRIBUTE_NAME_LEN_MAX: usize = u16::MAX as usize;

/// Longest part of an ERROR reply in bytes before escaping: what was expected, or what came. Room for a path and a
/// sentence, yet both parts fit one line even where every byte has to be escaped.
pub const ERROR_PART_LEN_MAX: usize = 800;

/// Most values that a pickle may have on its stack, in its containers, as marks and in its memo, each of them counted
/// by itself. A record has about fifty; a frame that exhausts them takes some MiB, which are given back after it.
pub const PICKLE_NODES_MAX: usize = VALUE_NODES_MAX;

/// Most digits of an integer that is converted to decimal, sign not counted: CPython's own limit
/// (`sys.int_info.default_max_str_digits`), for the conversion takes quadratic time.
pub const PICKLE_INTEGER_DIGITS_MAX: usize = 4300;

/// Longest text in bytes that stands for an object of a pickle, as `<module.Name(args)>`; nobody reads a longer one.
pub const PICKLE_OBJECT_TEXT_LEN_MAX: usize = 16 << 10;

/// Least work that a frame may ask of the conversion, in bytes looked at or written; beyond the greater of this and
/// [`PICKLE_WORK_PER_BYTE`] times the frame, values are left out. A frame that shares its values a million times
/// would otherwise cost minutes.
pub const PICKLE_WORK_MIN: usize = 1 << 20;

/// See [`PICKLE_WORK_MIN`]: an escape takes six bytes for three, and a value is looked at twice.
pub const PICKLE_WORK_PER_BYTE: usize = 8;

/// Largest number of slots that a pickle reader keeps for the next frame in each of its vectors, so that one odd frame
/// does not cost a connection its memory for ever.
pub const PICKLE_SLOTS_KEPT: usize = 1024;

//! Every limit of rendering: name, unit, reason. Beyond one of them the answer is "only Python can do this".

/// Longest `fmt` in bytes. Real ones have some hundred; it bounds the pieces of one formatter.
pub const FMT_LEN_MAX: usize = 16 << 10;

/// Longest `datefmt`, `default_time_format` or `default_msec_format` in bytes; with [`DATE_WIDTH_MAX`] it bounds what strftime may write.
pub const DATEFMT_LEN_MAX: usize = 1 << 10;

/// Largest width of a `strftime` directive (`%20d`, a glibc extension): strftime writes at most 256 times the format.
pub const DATE_WIDTH_MAX: usize = 255;

/// Largest width or precision of a conversion in characters: a peer's format must not make gigabytes of spaces, and
/// no terminal or file is that wide.
pub const WIDTH_MAX: usize = 4096;

/// Longest line in bytes, exception and stack included: the longest record four times over. A format that repeats a
/// large message a thousand times ends here instead of in the server's memory.
pub const LINE_LEN_MAX: usize = 4 * logserv_wire::limits::RECORD_LEN_MAX;

/// Most decimal digits of an integer: CPython's own limit (`sys.get_int_max_str_digits()`), beyond which it raises.
pub const INT_DIGITS_MAX: usize = 4300;

/// Latest `created` in seconds since 1970 (excluded): the end of the year 9999 less the largest offset of a zone.
pub const CREATED_MAX_S: f64 = 253_402_214_400.0;

/// Times remembered per [`TimeCache`](crate::TimeCache): a writer thread serves few formatters at once.
pub const TIME_CACHE_SLOTS: usize = 8;

//! The line: Python's `logging.Formatter`, specified as JSON, compiled once, rendered byte for byte.
//!
//! In: a [`Specification`] and a wire [`Record`](logserv_wire::record::Record). Out: the record's line, or the reason
//! why only Python can make it. The law: where [`Formatter::supports`] says yes, [`Formatter::render`] gives exactly what
//! `handler.format(record)` would have given in the producer at that moment; everything doubtful is a no.
//! `docs/formatters.md` is the same for users; `tests/test_format.py` holds both against CPython, and `tests/test_json_formatter.py`
//! the JSON of `logserv.formatters.JsonFormatter` against its Python.
//! Not here: who asks (the binding), who writes (`logserv-disk`), the line's terminator.

mod attribute;
mod brace;
mod brace_number;
mod brace_render;
mod brace_spec;
mod clock;
mod datefmt;
mod dollar;
mod float;
mod formatter;
mod integer;
mod json;
pub mod limits;
mod message;
mod percent;
mod percent_render;
mod piece;
mod quick;
mod repr;
mod specification;
mod sure;
mod sys;
mod text;

pub use clock::TimeCache;
pub use formatter::{Formatter, RenderError, Support};
pub use json::{JsonSpecification, TimestampFormat, message_as_json};
pub use message::{Argument, push_message};
pub use specification::{Specification, SpecificationError, Style};

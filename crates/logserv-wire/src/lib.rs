//! The bytes: what a record, a frame and a handshake look like, as pure functions and state machines.
//!
//! In: bytes of any origin. Out: typed values that borrow from them, or a typed error. `PROTOCOL.md` beside this
//! crate is the normative text; `tests/vectors/` holds examples that this crate and the Python tests both read.
//! Not here: sockets, files, clocks, threads, rendering (`logserv-format`).
#![forbid(unsafe_code)]

pub mod bytes;
pub mod frame;
pub mod handshake;
pub mod limits;
pub mod pickle;
pub mod record;
pub mod value;

//! The decoders that are fuzzed: for each, how to make an input, and what must hold for any.
//!
//! `run` says whether the decoder accepted the input, or what was wrong with its answer. A panic is a failure of itself.

mod format;
mod frame;
mod handshake;
mod pickle;
mod planted;
mod record;

use crate::mutate::Random;

/// One decoder.
pub struct Target {
    /// Its name on the command line, and of its directory below `crates/logserv-wire/tests/corpus`.
    pub name: &'static str,
    /// Makes an input that is right, or nearly.
    pub generate: fn(&mut Random) -> Vec<u8>,
    /// Decodes an input. `Ok(true)`: it was accepted; `Ok(false)`: refused, with an error; `Err`: something that must
    /// hold does not.
    pub run: fn(&[u8]) -> Result<bool, String>,
}

/// All of them.
pub const TARGETS: [Target; 5] = [
    pickle::TARGET,
    format::TARGET,
    handshake::TARGET,
    frame::TARGET,
    record::TARGET,
];

/// The target of a name; the planted ones are known by name only.
pub fn find(name: &str) -> Option<&'static Target> {
    static PLANTED: [Target; 5] = planted::TARGETS;
    static ALL: &[Target] = &TARGETS;
    ALL.iter().chain(&PLANTED).find(|target| target.name == name)
}

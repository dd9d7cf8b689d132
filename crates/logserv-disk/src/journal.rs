//! What is told of every write before it happens, so that a death in the middle of it can be repaired.
//!
//! In: the lines of a batch, where in which file they are about to stand, and what they answer to. Out: nothing here; whoever
//! opens the file next asks for it ([`LogFile::open_with`](crate::LogFile::open_with)).
//! Not here: where it is kept (it must survive this process), and the repair (`log_file/recover.rs`).

use std::fmt::Debug;

/// What a line answers to: opaque to this crate.
///
/// `source` is a small number of the caller's choice; of one source, position and count only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark {
    /// Who sent the line.
    pub source: u32,
    /// How far the source is answered for with this line.
    pub position: u64,
    /// Records of the source up to there.
    pub count: u64,
}

/// A write that was declared and is not known to have happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Declared {
    /// Device of the file.
    pub device: u64,
    /// Inode of the file.
    pub inode: u64,
    /// Where the first of the bytes stands, or was to stand.
    pub offset: u64,
    /// Whole lines; none: the file was about to be rotated away.
    pub bytes: Vec<u8>,
    /// Where each line ends in `bytes`.
    pub ends: Vec<u32>,
}

/// Told of every write before it happens.
///
/// Each of these may be the last call of this process, and takes effect whole or not at all: a declaration that replaces
/// another must never leave a moment without either.
pub trait Journal: Send + Debug {
    /// What was declared when the last writer died. Asked once, when the file is opened, under its lock: none but this writer
    /// declares from here on.
    ///
    /// Its marks stay the journal's own, and are in force until [`written`](Self::written) is called.
    fn recovered(&mut self) -> Option<Declared>;

    /// The next write: `bytes` at `offset`, with the newest mark of each source. Replaces what was declared before.
    ///
    /// Without bytes: the file is about to be rotated away.
    fn declare(&mut self, device: u64, inode: u64, offset: u64, bytes: &[u8], ends: &[u32], marks: &[Mark]);

    /// Where the recovery is about to write what is missing of the recovered declaration. Replaces it; its marks stay.
    fn redeclare(&mut self, device: u64, inode: u64, offset: u64, bytes: &[u8], ends: &[u32]);

    /// Everything declared is in the file, and `marks` are answered for; the declaration is void after this.
    ///
    /// After a recovery `marks` is empty, and those of the recovered declaration are meant. Without a declaration: lines
    /// that needed no writing ([`LogFile::pass`](crate::LogFile::pass)).
    fn written(&mut self, marks: &[Mark]);
}

/// Remembers nothing: after a death, what was being written may be torn, and is written again by whoever still has it.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoJournal;

impl Journal for NoJournal {
    fn recovered(&mut self) -> Option<Declared> {
        None
    }

    fn declare(&mut self, _: u64, _: u64, _: u64, _: &[u8], _: &[u32], _: &[Mark]) {}

    fn redeclare(&mut self, _: u64, _: u64, _: u64, _: &[u8], _: &[u32]) {}

    fn written(&mut self, _: &[Mark]) {}
}

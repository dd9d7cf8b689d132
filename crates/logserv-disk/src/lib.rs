//! The files: where a log file may be, how lines are appended to it, when it is rotated and what is deleted.
//!
//! In: a file name from a client, the arguments of its handler class, rendered lines. Out: bytes in files, or a typed
//! error that says what was expected and what came. `docs/files.md` tells the rules to users.
//! The only room that writes log files. Not here: rendering (`logserv-format`), queues and threads (`logserv-server`):
//! every call runs, and may block on the disk, in the caller's thread.

mod active;
mod chain;
mod clock;
mod encoding;
mod error;
mod form;
mod fs;
mod holder;
mod journal;
pub mod limits;
mod location;
mod log_file;
mod permissions;
mod repair;
mod retention;
mod roots;
mod settings;
mod sys;
mod timed;

pub use clock::Clock;
pub use encoding::{Encoding, ErrorPolicy};
pub use error::{
    OpenError, OpenErrorKind, PathError, PathErrorKind, RootsError, SettingsError, WriteError, WriteErrorKind,
};
pub use form::Compression;
pub use fs::{Fs, Kernel, OpenHow, Stat};
pub use journal::{Declared, Journal, Mark, NoJournal};
pub use location::{FileKey, Location};
pub use log_file::{CompressJob, CompressOutcome, LogFile, Status, SyncJob, SyncOutcome};
pub use retention::Retention;
pub use roots::Roots;
pub use settings::{Account, FileClass, FileSettings, Newlines, OpenMode, Permissions, Rotation, SyncPolicy};
pub use timed::{TimeOfDay, TimedRotation, When};

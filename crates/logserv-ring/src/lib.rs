//! The memory: a ring of records that one process writes and one server reads, and a server's memory of its own writes.
//!
//! In: encoded records. Out: the same records, in order, whole, in another process, also after the death of either or
//! of both. `LAYOUT.md` beside this crate says what every byte means.
//! The only room that maps memory. Not here: what a record means (`logserv-wire`), when to wait, to wake or to drop
//! (`logserv-client`, `logserv-server`): nothing in this crate sleeps, starts a thread or takes a lock that another
//! process knows of.

mod boot;
mod commit;
mod consumer;
mod directory;
mod error;
mod file;
mod layout;
pub mod limits;
mod name;
mod personal;
mod producer;
mod state_file;
mod sys;

pub use consumer::{Consumer, Entry, Publisher};
pub use directory::{Directory, Space};
pub use error::{CreateError, DirectoryError, RingError, StateError};
pub use layout::{META_FORMATTER, META_OPEN};
pub use name::{NameError, RingId, RingName, key_of, tcp_address, unix_address};
pub use personal::{
    PersonalSocketError, make_personal_directory, mount_namespace, personal_socket, personal_socket_of,
};
pub use producer::Producer;
pub use state_file::{Declared, Mark, Source, StateFile};

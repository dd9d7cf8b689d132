//! The daemon, as a library: `run(config, listeners, control)`.
//!
//! In: connections on Unix and TCP sockets. Out: lines in files, acknowledgements on the connections.
//! A record's way: `ingest` (bytes to wire records, sessions, acknowledgements) → `pipeline` (the types between) →
//! `files` (who writes which file) → `writer` (filter, format, sink: one thread per file). `admin` stands beside.
//! Nothing points back: a writer knows of a connection only the [`Progress`] that it advances.
//! Not here: arguments and exit codes (`logserv`), bytes (`logserv-wire`), lines (`logserv-format`), files (`logserv-disk`).

pub mod admin;
pub mod ask;
pub mod config;
pub mod context;
pub mod control;
pub mod counters;
mod file_state;
pub mod files;
pub mod ingest;
pub mod limits;
pub mod listen;
mod personal;
pub mod pipeline;
pub mod progress;
mod queue;
mod rings;
pub mod run;
mod writer;

pub use config::Config;
pub use context::{Context, Peer, Phase};
pub use control::Control;
pub use counters::{Counters, DropReason};
pub use files::{FileRef, Files};
pub use listen::Listeners;
pub use logserv_ring::{PersonalSocketError, make_personal_directory, personal_socket};
pub use pipeline::{Batch, Formatters, OpenRequest, Refusal};
pub use progress::Progress;
pub use run::{Server, run};

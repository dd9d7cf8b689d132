//! The sender: from a record in a process to a ring that a server on this host reads, or to bytes on their way to a server
//! over a Unix socket or TCP.
//!
//! In: encoded wire records, from any thread. Out: records in shared memory; frames of protocol 2.0, or pickles of
//! protocol 1.0 for a server of 2013. One [`Session`] per process, address and server-side file; it owns one ring or
//! bounded queue, one thread, one connection.
//! Not here: how a record is encoded (`logserv-wire`, the binding) or rendered; no async runtime, no Python.

pub mod limits;

mod attach;
mod backoff;
mod carrier;
mod config;
mod configuration;
mod cut;
mod drops;
mod exit;
mod formatters;
mod frames;
mod launch;
mod left;
mod link;
mod pace;
mod personal;
mod pickles;
mod questions;
mod queue;
mod reach;
mod ring;
mod sender;
mod session;
mod shared;
mod state;
mod sys;
mod trouble;

#[doc(hidden)]
pub use config::RingPlace;
pub use config::{Address, DropReason, Protocol, Push, Refusal, Render, SessionConfig, Statistics, WhenFull};
pub use exit::{begin_exit, shutdown};
pub use launch::Launch;
pub use logserv_ring::{PersonalSocketError, personal_socket, personal_socket_of};
pub use logserv_wire::frame::Level;
pub use personal::Personal;
pub use session::Session;
pub use sys::process_id;

//! The only room of `unsafe` in this crate: memory that other processes write, a signal for when it is gone, and the kernel's
//! leases.
//!
//! In: safe arguments. Out: copies; never a reference into shared memory, whose bytes may change while one looks at
//! them. Not here: any decision about what the bytes mean.
#![expect(unsafe_code, reason = "mappings and fcntl; each block argues its safety")]

mod lease;
mod map;
mod window;

pub(crate) use lease::{Lease, try_lease};
pub(crate) use map::{Map, View};
pub(crate) use window::Window;

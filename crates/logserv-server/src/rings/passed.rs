//! A descriptor that a client has passed: whether it is a ring of that client's user.
//!
//! In: any descriptor whatever. Out: the reading end of a ring, or why not. Not here: how it came (`ingest/passing.rs`).

use std::os::fd::OwnedFd;

use logserv_ring::{Consumer, RingError, RingName};

/// The ring behind the descriptor, read from the tail that stands in it. The descriptor stays as it is, so that the ring can
/// be opened again. Blocks: never, whatever it is.
pub(super) fn open(descriptor: &OwnedFd, name: &RingName, uid: u32) -> Result<Consumer, RingError> {
    // A file system that its user has mounted could keep us in any call. Memory answers this one, nothing else does, and
    // the kernel asks nobody.
    rustix::fs::fcntl_get_seals(descriptor)
        .map_err(|errno| refused("a file in memory", errno.to_string()))?;
    let own = descriptor.try_clone().map_err(|source| RingError::Io {
        doing: "keep",
        source,
    })?;
    let consumer = Consumer::from_fd(own, name)?;
    if consumer.owner() != uid {
        let received = format!("one of uid {}", consumer.owner());
        return Err(refused(&format!("a file of uid {uid}"), received));
    }
    Ok(consumer)
}

fn refused(expected: &str, received: String) -> RingError {
    RingError::Refused {
        expected: expected.to_owned(),
        received,
    }
}

//! What a personal server finds at its start that its user should know of: in a container much is different.
//!
//! In: `/proc`, `/dev/shm`. Out: lines of its own log, each with what to do. Nothing here keeps it from starting.

use std::path::Path;

/// What starts and reaps processes, by the names under which it does.
const INITS: [&str; 10] = [
    "systemd",
    "init",
    "tini",
    "dumb-init",
    "docker-init",
    "catatonit",
    "s6-svscan",
    "runit",
    "openrc-init",
    "conmon",
];

/// Bytes of shared memory below which it is scarce: a container has 64 MiB by default.
const MEMORY_SCARCE: u64 = 128 << 20;

/// Looks around, and tells.
pub(super) fn tell(own_log: Option<&Path>, is_detached: bool) {
    if is_detached && own_log.is_none() {
        tracing::warn!("no directory for a log: neither the home directory nor the socket's can be written");
    }
    if let Ok(first) = std::fs::read_to_string("/proc/1/comm")
        && !INITS.contains(&first.trim_end())
    {
        tracing::info!(
            "process 1 is {}, no init: it reaps no child of others, and everything ends with it; docker run --init starts one",
            first.trim_end()
        );
    }
    match rustix::fs::statvfs("/dev/shm") {
        Ok(memory) => {
            let bytes = memory.f_blocks.saturating_mul(memory.f_frsize);
            if bytes < MEMORY_SCARCE {
                tracing::info!(
                    "/dev/shm has {} MiB, a ring takes 1.1 MiB: with more processes than fit, rings are smaller, then records go \
                     through the socket; docker run --shm-size gives more",
                    bytes >> 20
                );
            }
        }
        Err(error) => tracing::warn!("no shared memory in /dev/shm ({error}): records go through the socket"),
    }
}

//! Every limit of this crate, with its unit and its reason.

use std::time::Duration;

/// Bytes of the smallest data area: one page.
pub const CAPACITY_MIN: usize = 4096;

/// Bytes of the largest data area: all of `/dev/shm` in a container by default. It bounds the longest record, and with
/// that what one hostile ring can make its reader allocate.
pub const CAPACITY_MAX: usize = 64 << 20;

/// Times the consumer looks again at a position that is just being written. A writer needs a nanosecond for it, a look
/// some 200 ns; a writer that was stopped or killed in between is recognised by the second equal look.
pub const LOOKS_MAX: u32 = 8;

/// Bytes allocated by one system call. A signal undoes the call it interrupts; the next attempt must not begin with
/// the first byte again, or a profiler's timer could keep it from ever ending.
pub const ALLOCATE_STEP: u64 = 256 << 10;

/// Attempts to allocate one step before signals are given up against.
pub const ALLOCATE_ATTEMPTS_MAX: u32 = 64;

/// Attempts to find or make the directory: each is lost only to somebody who makes or removes it at the same moment.
pub const DIRECTORY_ATTEMPTS_MAX: u32 = 4;

/// Entries of one directory that are looked at: 64 Ki processes with a ring each are more than one user can have
/// served, and a directory of millions of names must not hold the server up.
pub const ENTRIES_MAX: usize = 64 << 10;

/// Bytes of the text that names a log file: the longest path, and numbers.
pub const STATE_PLACE_BYTES_MAX: usize = 8192;

/// Bytes of a log file's settings: three times the longest line that a client may configure it with (10 KiB).
pub const SETTINGS_BYTES_MAX: usize = 32768;

/// Sessions over sockets that are remembered for one log file: more remote clients than one file has at a time. Those with
/// a ring need no place here.
pub const STATE_SESSIONS_MAX: usize = 1024;

/// Bytes of one declared write: the longest frame that is accepted (16 MiB), rendered at four times its length.
pub const INTENT_BYTES_MAX: usize = 64 << 20;

/// Lines of one declared write: the shortest has one byte, a batch 256 KiB.
pub const INTENT_LINES_MAX: usize = 1 << 20;

/// Sources of one declared write: as many as can be connected.
pub const INTENT_MARKS_MAX: usize = 64 << 10;

/// Bytes by which a state file grows: its usual size is one step, until a batch is larger.
pub const INTENT_DATA_STEP: usize = 64 << 10;

/// Attempts to take over or make a state file: each is lost only to somebody who does the same at the same moment.
pub const STATE_ATTEMPTS_MAX: u32 = 4;

/// Between two attempts to open a ring on which somebody holds a lease, who asks whether its producer is dead.
pub const LEASE_WAIT: Duration = Duration::from_millis(1);

/// Such attempts: the lease is held for microseconds; whoever holds one for longer means ill, and gets no more of our time.
pub const LEASE_WAITS_MAX: u32 = 5;

/// Bytes of a Unix socket's path: `sun_path` has 108, and its end must be told.
pub const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Rings that are read where they lie, at one time; those beyond are read through the kernel. 256 KiB for the table.
pub const WINDOWS_MAX: usize = 8192;

//! Every limit of the sender: name, unit, reason.

use std::time::Duration;

/// Bytes of encoded records a session holds until they are written by the server (`ring_bytes`): a burst of some
/// 5,000 records of 200 bytes, and what a process can afford to hold while the server is away, or to lose where it has
/// no ring.
pub const CAPACITY_BYTES_DEFAULT: usize = 1 << 20;

/// How long one logging call waits for space (`block_timeout_s`): long enough for a restart of the server.
pub const BLOCK_TIMEOUT_DEFAULT: Duration = Duration::from_secs(1);

/// How long one attempt to connect, and each answer of the handshake, may take where the user names no time-out.
/// Below the 10 s within which a fresh record must be in its file after a fault has stopped.
pub const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// How long `flush` waits for a server that is not there.
pub const FLUSH_WITHOUT_SERVER: Duration = Duration::from_millis(250);

/// What the end of the process waits for unsent records when no server is connected.
pub const EXIT_WITHOUT_SERVER: Duration = Duration::from_secs(1);

/// What the end of the process waits for unsent records while a server takes them.
pub const EXIT_WITH_SERVER: Duration = Duration::from_secs(5);

/// How long after the process's exit handler `flush` and `close` share its budget: no exit takes longer.
pub const EXIT_WINDOW: Duration = Duration::from_secs(10);

/// Shortest time for which the sender gathers records after the first one, before it sends them in one batch.
/// A wake-up costs the sender some 10 µs; at 1 ms that is at most one per cent of one processor.
pub const LINGER_MIN: Duration = Duration::from_millis(1);

/// Longest time for which the sender gathers while batches are large: 200 batches a second are enough for any rate.
pub const LINGER_MAX: Duration = Duration::from_millis(5);

/// A batch of at least so many bytes makes the sender gather longer next time, a smaller one shorter.
pub const BUSY_BATCH_LEN: usize = 16 << 10;

/// How long the program that starts a server may take until it says that one accepts: it does nothing but bind, so only a
/// machine in trouble needs more.
pub const LAUNCH_LIMIT: Duration = Duration::from_secs(10);

/// Least time from one start to the next of one session, and how far it grows while nothing comes of it.
pub const LAUNCH_AFTER_FIRST: Duration = Duration::from_millis(500);

/// See [`LAUNCH_AFTER_FIRST`].
pub const LAUNCH_AFTER_MAX: Duration = Duration::from_secs(4);

/// How often it is looked whether a server accepts that another process is starting.
pub const LAUNCH_LOOK: Duration = Duration::from_millis(25);

/// How often it is looked whether that program has ended.
pub const LAUNCH_SLICE: Duration = Duration::from_millis(5);

/// Bytes kept of what it says where it cannot start a server: a line or two.
pub const LAUNCH_MESSAGE_LEN: usize = 2048;

/// Unsent bytes at which the sender stops gathering and sends at once: a quarter of a batch's greatest length.
pub const URGENT_LEN: usize = logserv_wire::limits::BATCH_LEN_TARGET / 4;

/// How long the sender dozes in short waits after the last record before it sleeps and has to be woken: waking it
/// costs the logging call some 5 µs, so a steady trickle of records shall not do it for each one.
pub const DOZE: Duration = Duration::from_millis(100);

/// How long after the last record the sender of a ring dozes before it sleeps, as long as the ring's reader: while both are
/// up, a record wakes nobody.
pub const RING_DOZE: Duration = Duration::from_secs(1);

/// How often the sender of a ring looks whether its connection still stands, meanwhile: the records do not need it. A
/// reader that was woken and still sleeps is woken again after the same time.
pub const RING_TICK: Duration = Duration::from_millis(50);

/// How often a call that waits for space in a ring looks for it: the server frees it without a word.
pub const SPACE_TICK: Duration = Duration::from_millis(1);

/// How often a call that waits until a ring is written looks, for the same reason.
pub const WRITTEN_TICK: Duration = Duration::from_millis(5);

/// Least time from one question to the next of a call whose flush the server could not answer yet: a server that is about to
/// leave says so at once, and shall not be asked without end.
pub const ASK_AGAIN: Duration = Duration::from_millis(50);

/// Bytes by which a ring is larger than `ring_bytes` asks for: a record of just that length has a head, too.
pub const RING_MARGIN_LEN: usize = 4096;

/// Fractions of the wanted length that are tried one after the other where there is not enough memory: `/dev/shm` of a
/// container has 64 MiB, for all of its processes.
pub const RING_DIVISORS: [usize; 2] = [4, 16];

/// Shortest ring that is made for want of memory, in bytes; below it the process's own memory serves better.
pub const RING_LEN_MIN: usize = 64 << 10;

/// Bytes of a ring's meta area for formatters, heads and padding counted: several hundred of the usual length.
pub const RING_FORMATTERS_LEN_MAX: usize = 44 << 10;

/// Bytes of a ring's meta area for what its session asks for (class, arguments), at first and whenever that changes.
/// With [`RING_FORMATTERS_LEN_MAX`] no more than the area has, which is 60 KiB.
pub const RING_OPENS_LEN_MAX: usize = 16 << 10;

/// How often the sender looks for new records while the server has not answered for longer than that: 50 times a second
/// is nothing, and a flush waits no longer for its turn.
pub const STALLED_TICK: Duration = Duration::from_millis(20);

/// First wait after a lost connection.
pub const RETRY_FIRST: Duration = Duration::from_millis(50);

/// Longest wait between two attempts to connect: with one attempt's time-out still within 10 s.
pub const RETRY_MAX: Duration = Duration::from_secs(2);

/// Longest wait between two attempts while a call waits for the outcome: it waits for no more than seconds, and a server
/// that is restarted shall not be met by a wait that has grown meanwhile.
pub const RETRY_WAITED_FOR: Duration = Duration::from_millis(100);

/// First and longest wait after a refusal: somebody has to change something before it can succeed.
pub const REFUSED_RETRY_FIRST: Duration = Duration::from_millis(500);

/// See [`REFUSED_RETRY_FIRST`].
pub const REFUSED_RETRY_MAX: Duration = Duration::from_secs(5);

/// The kernel gives a TCP connection up when sent bytes are not confirmed for so long (`TCP_USER_TIMEOUT`): a
/// vanished host is noticed, and the records are sent again over a new connection, within 10 s.
pub const TCP_USER_TIMEOUT: Duration = Duration::from_secs(5);

/// Idle time after which the kernel asks the peer of a TCP connection whether it still lives.
pub const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);

/// A connection on which records or a question are outstanding and not one byte has come back for so long is given
/// up: whatever is between us and the server confirms bytes that nobody reads. Long, because a server whose disk is
/// full has nothing to acknowledge either; the resend doubles nothing.
pub const SILENCE_MAX: Duration = Duration::from_secs(30);

/// How long an `ERROR` answer of a 2013 server, which ends in no newline, must have been quiet to count as whole.
pub const BARE_ERROR_QUIET: Duration = Duration::from_millis(100);

/// Different configurations of one session (class, arguments, level): each is kept for the session's life. A program has
/// one or two; one that makes more has the last of them that fit.
pub const CONFIGURATIONS_MAX: usize = 256;

/// Different formatters of one session. Each is kept for the session's life, on both sides.
pub const FORMATTERS_MAX: usize = 1024;

/// Longest specification of a formatter in bytes.
pub const FORMATTER_LEN_MAX: usize = 64 << 10;

/// Least time between two records that tell of drops, per reason.
pub const ANNOUNCE_EVERY: Duration = Duration::from_secs(1);

/// How long the server must have been out of reach before a line on stderr says so.
pub const TROUBLE_AFTER: Duration = Duration::from_secs(2);

/// Least time between two lines on stderr of the same kind from one session.
pub const TROUBLE_EVERY: Duration = Duration::from_secs(60);

/// Bytes of pickles gathered before they are handed to the kernel, in protocol 1.0.
pub const PICKLES_LEN_TARGET: usize = 64 << 10;

/// Stack of the sender thread in bytes: name resolution is the deepest thing it does.
pub const SENDER_STACK_LEN: usize = 256 << 10;

/// Bytes read from a connection at once; answers are short.
pub const RECEIVE_LEN: usize = 16 << 10;

/// Rings of ended processes that wait for one server, beyond which no more are made: 272 MiB of them at the usual size.
pub const LEFT_RINGS_MAX: usize = 256;

/// They take no more than this part of the memory either: a container's `/dev/shm` has 64 MiB for all of its processes.
pub const LEFT_SHARE: u64 = 4;

/// Rings that are looked at to count those: so many take some milliseconds, once in a process's life.
pub const LEFT_RINGS_LOOKED_AT_MAX: usize = 1024;

/// Rings that are looked at to remove those that a server could not remove: as many as fit a container's `/dev/shm`. Each is
/// opened for a moment, once in a connection's life.
pub const SWEPT_RINGS_MAX: usize = 64;

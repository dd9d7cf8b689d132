//! Every limit of the server: name, unit, reason. Those that an operator may change are defaults of `config.rs`.

use std::time::Duration;

/// Formatters that one session may announce. A program has a handful; a client that makes one per record is refused.
/// Our own client stops at the same number.
pub const FORMATTERS_MAX: usize = 1024;

/// Bytes of records that wait for one file, by default. Eight full batches: enough that the writer never waits for
/// the network, little enough that a thousand stuck files stay within [`FILES_MAX`] times this: 2 GiB.
pub const QUEUE_LEN_MAX: usize = 2 << 20;
/// Fewest bytes that an operator may set: below, every batch would be waited for.
pub const QUEUE_LEN_MIN: usize = 64 << 10;
/// Most bytes that an operator may set.
pub const QUEUE_LEN_MAX_MAX: usize = 1 << 30;

/// Bytes that a command without records (flush, rollover) takes of a queue, so that those are bounded too.
pub const COMMAND_LEN: usize = 256;

/// Files open for writing at once, by default: each takes a thread and two descriptors.
pub const FILES_MAX: usize = 1024;
/// Most that an operator may set: Linux's usual limit of threads is 32,768.
pub const FILES_MAX_MAX: usize = 16_384;

/// Files whose newest configuration is remembered after they were closed, so that an older one does not win then.
pub const CONFIGURATIONS_MAX: usize = 4096;

/// Losers of a conflict of settings that are remembered per file, so that each is warned of once.
pub const WARNED_MAX: usize = 64;

/// A file that no session holds is closed after this time: a program that is started every few seconds finds it open.
pub const IDLE_CLOSE: Duration = Duration::from_secs(60);

/// Files looked up or opened at the same time, each by a thread that may block: half of those that the runtime has.
pub const OPENS_MAX: usize = 256;
/// The same in one directory: a hung file system keeps so many threads for each directory of it, and not all.
pub const OPENS_OF_A_DIRECTORY_MAX: usize = 16;
/// How long an opening may take before its client is refused and tries again.
pub const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of records written with one commit where more batches wait: an acknowledgement is late by no more than
/// the writing of so much.
pub const GROUP_LEN: usize = 1 << 20;

/// First pause before a file that could not be written is tried again; doubled up to [`RETRY_MAX`].
pub const RETRY_MIN: Duration = Duration::from_millis(50);
/// Longest such pause: a healed disk is found within it (the promise is 10 s).
pub const RETRY_MAX: Duration = Duration::from_secs(1);

/// How long a batch of a protocol without acknowledgements waits for space in the queue of a file that cannot be
/// written: less than the second after which a `SocketHandler` gives up.
pub const UNWRITABLE_PATIENCE: Duration = Duration::from_millis(500);
/// Where the file is merely slow, it waits so many times as long: 5 s. A write that takes longer is not going to end.
pub const UNWRITABLE_ROUNDS: u32 = 10;

/// Drops of one reason are told in the file at most so often.
pub const ANNOUNCE_EVERY: Duration = Duration::from_secs(1);
/// A trouble that lasts is told on stderr at most so often.
pub const WARN_EVERY: Duration = Duration::from_secs(30);

/// How long a personal server stays when nobody logs: shorter than anybody waits for a process to vanish from `ps`, longer than
/// the pauses of a program that is started every few seconds. Starting takes some 10 ms.
pub const IDLE_EXIT: Duration = Duration::from_secs(60);
/// Between two looks whether a server is idle: an eighth of its time, within these bounds.
pub const IDLE_LOOK_MIN: Duration = Duration::from_millis(20);
/// See [`IDLE_LOOK_MIN`]: a look is a wake-up of a server that does nothing else.
pub const IDLE_LOOK_MAX: Duration = Duration::from_secs(4);
/// How often a personal server looks whether its socket still is where clients look for it. A system call; a tenth of the time
/// within which a fresh record must be in its file.
pub const SOCKET_LOOK: Duration = Duration::from_secs(1);

/// How long a file is waited for that a server holds which is about to leave: its drain, within the time that an opening may
/// take.
pub const HANDOVER_PATIENCE: Duration = Duration::from_secs(9);

/// From SIGTERM to the exit, by default: less than the 90 s of systemd, and than the 10 s after which `docker stop`
/// kills, for that kill would tear a line.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(8);
/// What of the drain's time is kept back for the files when the connections take it all.
pub const DRAIN_FILES_SHARE: u32 = 4;
/// At the end of a drain, how long connections may take to acknowledge what the files wrote last.
pub const LAST_WORDS: Duration = Duration::from_millis(100);

/// Connections at once; more wait in the kernel's backlog. Each takes a descriptor and its buffers.
pub const CONNECTIONS_MAX: usize = 16_384;
/// Connections that the kernel holds for a listener until they are accepted.
pub const BACKLOG: i32 = 1024;
/// Pause after a failed accept (descriptors used up): time for others to close, and no spinning.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Idle time after which TCP asks whether the peer is still there; then every [`KEEPALIVE_INTERVAL`].
pub const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
/// Between two such questions.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// Unanswered questions after which the peer counts as gone: 60 s after it went.
pub const KEEPALIVE_COUNT: u32 = 3;

/// How long `stop` and `--replace` wait for the running server to leave: its drain and a margin.
pub const LEAVE_TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes of JSON that a report tells of files, and as many of sessions: together they fit one frame. Beyond, it says how
/// many were left off.
pub const REPORT_PART_LEN_MAX: usize = 3 << 19;
/// How long the program waits for a server's answer to `status`, `stop` or `replace`.
pub const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// Threads that compress rotated files at the same time, of all files: whoever has that many disks has the processors.
pub const COMPRESSIONS_MAX: usize = 4;
/// The same on one device: a disk that hangs keeps no other's files waiting.
pub const COMPRESSIONS_OF_A_DEVICE_MAX: usize = 1;
/// Between two looks for a free place.
pub const COMPRESS_WAIT: Duration = Duration::from_millis(250);
/// Niceness of those threads: lines that are to be written go before.
pub const COMPRESS_NICENESS: i32 = 10;
/// How often the age of rotated files is looked at while a file is open and nothing rotates it.
pub const RETAIN_EVERY: Duration = Duration::from_secs(60);
/// How often it is looked at for files that are closed: each has to be opened for it, and ages are days rather than minutes.
pub const RETAIN_CLOSED_EVERY: Duration = Duration::from_secs(600);

// ---- ingest: what a connection may hold, and how long it may take ----

/// A connection's receive buffer in bytes before it has shown what it needs.
pub const BUFFER_LEN_START: usize = 4 << 10;

/// A connection's receive buffer in bytes that needs nobody's leave: any text line and nearly every record fit it, so
/// that small records never wait for large ones. With the batch made of it, 512 MiB if 16,384 connections send at the
/// same moment; 64 MiB if they are idle.
pub const BUFFER_FREE_LEN: usize = 16 << 10;

/// A connection's receive buffer in bytes at most: one frame of the greatest length and its prefix.
pub const BUFFER_LEN_MAX: usize = logserv_wire::limits::FRAME_LEN_MAX + 4;

/// A receive buffer in bytes for usual batches; leased, for [`NORMAL_BUFFERS_MAX`] may exist at one time.
pub const BUFFER_NORMAL_LEN: usize = logserv_wire::limits::BATCH_LEN_TARGET + (64 << 10);

/// Leases of buffers of [`BUFFER_NORMAL_LEN`], all connections together: 40 MiB. The batches made of them may take as
/// much again, here and below.
pub const NORMAL_BUFFERS_MAX: usize = 128;
/// The same for the connections of one file: twice as many batches as its queue holds. Eight files that cannot be
/// written leave nothing for the batches of others (small ones always go on); seven do.
pub const NORMAL_BUFFERS_OF_A_FILE_MAX: usize = 16;

/// Leases of buffers of [`BUFFER_LEN_MAX`], for single records of megabytes: 32 MiB.
pub const LARGE_BUFFERS_MAX: usize = 8;
/// The same for the connections of one file.
pub const LARGE_BUFFERS_OF_A_FILE_MAX: usize = 2;

/// Leases of batches that are made of pickles and larger than [`BUFFER_FREE_LEN`]: of 1.25 MiB at most, 40 MiB in all.
/// A connection that gets none submits smaller batches.
pub const DRAFTS_MAX: usize = 32;
/// The same for the connections of one file.
pub const DRAFTS_OF_A_FILE_MAX: usize = 4;

/// Longest frame of protocol 2.0 in bytes that is not a batch: handler arguments, a formatter's specification.
pub const JSON_FRAME_LEN_MAX: usize = 256 << 10;

/// Formatter specifications that one connection may announce, in bytes of JSON together.
pub const FORMATTERS_LEN_MAX: usize = 1 << 20;

/// How long a server waits, in all, for a peer to complete its handshake: enough for a client on a bad line, little
/// enough that connections that only sit there do not use up all places.
pub const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);

/// How long the rest of something half-sent may take before its rate is looked at: several TCP retransmissions.
pub const HALF_SENT_GRACE: Duration = Duration::from_secs(30);

/// Bytes per second that a half-sent record must arrive with: below it the peer is broken, or means ill.
pub const HALF_SENT_RATE: usize = 1 << 10;

/// The grace while others wait for what the connection has leased: a retransmission or two. A thousand connections that
/// each begin a large record and fall silent cost an honest one some seconds, not minutes.
pub const HALF_SENT_GRACE_CONTENDED: Duration = Duration::from_secs(1);
/// The rate while others wait for what the connection has leased: a peer that holds so much must be worth it.
pub const HALF_SENT_RATE_CONTENDED: usize = 64 << 10;

/// How long a peer may leave the server's answers unread before its connection is closed. Until then its
/// acknowledgements are replaced by the newest one and take no memory.
pub const WRITE_PATIENCE: Duration = Duration::from_secs(30);

/// How long a flush or a rollover may take before it is answered "not done": twice what clients wait by default.
pub const FLUSH_PATIENCE: Duration = Duration::from_secs(10);

/// How long a connection whose peer has sent its last waits for the acknowledgement of it. A file that cannot be
/// written for longer leaves the records unacknowledged, to be sent again.
pub const LAST_ACK_PATIENCE: Duration = Duration::from_secs(5);

/// How long a connection that the server closes goes on to drop what still comes: closing with unread bytes would reset
/// the connection, and could take the server's last words from the peer.
pub const LINGER: Duration = Duration::from_secs(1);

/// During a drain, how long a 1.0 or `SocketHandler` connection must be silent to count as empty. Such peers get no
/// acknowledgement, so what they have sent already is still taken in.
pub const DRAIN_SILENCE: Duration = Duration::from_millis(100);

/// During a drain, how long such a connection is read at most: a peer that never pauses must not hold the server.
pub const DRAIN_READ_MAX: Duration = Duration::from_secs(2);

/// How long to wait between attempts to open the file of the `SocketHandler`s.
pub const REOPEN_PAUSE: Duration = Duration::from_secs(1);

/// Sessions without a connection that are remembered, so that a client that comes back doubles nothing. About 500
/// bytes each; the longest idle one is forgotten first.
pub const SESSIONS_IDLE_MAX: usize = 4096;

/// How long a session without a connection is remembered: longer than clients keep trying in practice.
pub const SESSION_IDLE_AGE_MAX: Duration = Duration::from_secs(60 * 60);

/// What peers did wrong is said on stderr at most so often.
pub const TELL_EVERY: Duration = Duration::from_secs(1);

// ---- rings: records in memory that clients share with us ----

/// Longest time that a record is held for earlier ones of other rings. Producers that are not kept from running commit a
/// record within microseconds of its time; a reader notices 5 ms of delay nowhere.
pub const MERGE_WINDOW: Duration = Duration::from_millis(5);

/// Shortest pause between two looks into busy rings: the fastest producer fills a ring of 1 MiB in about 2.5 ms.
pub const POLL_MIN: Duration = Duration::from_micros(250);
/// Longest pause between two looks into rings that are awake: 200 looks a second cost a thousandth of a processor.
pub const POLL_MAX: Duration = Duration::from_millis(5);
/// New bytes at one look from which a ring counts as busy.
pub const RING_BUSY_LEN: u64 = 64 << 10;

/// A ring in which nothing has come for so long is put to sleep; the next record wakes us, which costs its call some 5 µs.
pub const LIVELY: Duration = Duration::from_secs(1);

/// How often the producer of a ring without a connection is asked for: it has closed its descriptors, or is dead.
pub const RING_CHECK_EVERY: Duration = Duration::from_secs(1);

/// How long a ring without a connection, in which nothing is left, is kept where the kernel does not tell whether its producer
/// lives: it takes a descriptor, and a client that comes back within that time goes on as if nothing had been.
pub const UNSURE_RING_KEPT: Duration = Duration::from_secs(10);

/// Rings that are read through descriptors that were passed. Those by name are bounded by the memory that their users can
/// fill; these can be made anywhere, and each takes a descriptor. Beyond, clients use the socket.
pub const PASSED_RINGS_MAX: usize = 4096;
/// The same for one user.
pub const PASSED_RINGS_OF_A_USER_MAX: usize = 1024;

/// Bytes read from a ring at once, at least one record: a thousand rings that are all full take 64 MiB.
pub const RING_READ_LEN: usize = 64 << 10;
/// The same where it takes no system call: what is copied is still in the processor's first cache when it is rendered, also where
/// a few rings take turns.
pub const WATCHED_READ_LEN: usize = 2 << 10;
/// Bytes of capacity that a ring's reader keeps between looks.
pub const RING_KEPT_LEN: usize = 4 * RING_READ_LEN;

/// How long a ring of a dead process whose file is refused is kept: somebody has a day to allow it.
pub const ORPHAN_AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Bytes of all such rings together; the oldest are given up first.
pub const ORPHANS_LEN_MAX: u64 = 64 << 20;
/// They take no more than this part of the memory either: a container's `/dev/shm` has 64 MiB for all of its processes.
pub const ORPHANS_SHARE: u64 = 4;
/// How old a ring of a dead process for another server becomes: as old as that one would let it become.
pub const ABANDONED_AGE_MAX: Duration = ORPHAN_AGE_MAX;
/// How long such a ring is left to that server after it has been noticed: one that has just started looks at once.
pub const ABANDONED_GRACE: Duration = Duration::from_secs(10);
/// Between the first two attempts to open the file of such a ring, doubled with each further one: a server that was killed may
/// hold the file's lock for some moments more.
pub const ORPHAN_RETRY_FIRST: Duration = Duration::from_millis(250);
/// The longest time between two attempts.
pub const ORPHAN_RETRY_MAX: Duration = Duration::from_secs(10);
/// How long a new ring's producer is given to connect by itself before it is looked at.
pub const ORPHAN_GRACE: Duration = Duration::from_millis(200);
/// How often rings are looked for where the kernel tells nothing of new ones.
pub const ORPHAN_LOOK: Duration = Duration::from_secs(300);

/// Where the states of files are kept when shared memory is full: on a disk they cost its bandwidth, and survive a kill as
/// well. A directory of each user's own is made below.
pub const STATE_FALLBACK: &str = "/tmp";

/// States of closed files whose sessions may come back, the newest ones: 11 MiB, a sixth of what a container has.
pub const CLOSED_STATES_MAX: usize = 64;

/// Rings of dead processes whose files are being opened at the same time: with one that hangs among them the others go on.
pub const ORPHANS_AT_ONCE_MAX: usize = 64;
/// How long one of them may take, before it is tried again later.
pub const ORPHAN_PATIENCE: Duration = Duration::from_secs(12);

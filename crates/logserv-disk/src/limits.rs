//! Every number of this crate, with its unit and its reason.

/// Bytes of lines gathered before they are written without being asked: one `write(2)` of this size costs little more
/// than one of a single line, and a larger one holds the file's inode lock for longer than a reader likes to wait.
pub const BATCH_BYTES_TARGET: usize = 256 * 1024;

/// Bytes of capacity the empty batch keeps; one huge line must not pin its memory for ever.
pub const BATCH_BYTES_KEPT: usize = 2 * BATCH_BYTES_TARGET;

/// Bytes behind a batch in which a recovery looks for it, should somebody have appended between our look at the size and our
/// write: what others write within those microseconds, with room to spare.
pub const RECOVERY_SEARCH_BYTES: usize = 1024 * 1024;

/// Attempts to open a name that changes under our hands (each attempt is lost only to a concurrent rename) before it is
/// reported as an error.
pub const OPEN_ATTEMPTS_MAX: u32 = 16;

/// Longest file name the kernel takes, in bytes (`NAME_MAX`).
pub const NAME_BYTES_MAX: usize = 255;

/// Longest path the kernel takes, in bytes, without its NUL (`PATH_MAX` - 1).
pub const PATH_BYTES_MAX: usize = 4095;

/// Highest number behind a date name that is taken (`base.2026-01-01.1`, `.2`, …): a file a tenth of a second for a whole day.
pub const DATE_NUMBER_MAX: u32 = 999_999;

/// Numbers that are tried one after the other where the directory cannot be listed, or others take them under our hands.
pub const DATE_PROBES_MAX: usize = 10_000;

/// Numbers of a chain that are tried one by one where the directory cannot be listed.
pub const CHAIN_PROBES_MAX: u32 = 1024;

/// Seconds between attempts to rotate after one failed. Lines go on into the active file in the meantime.
pub const ROTATION_RETRY_S: f64 = 1.0;

/// Seconds between checks that the directory's path still leads to the directory we hold.
pub const DIRECTORY_CHECK_S: f64 = 1.0;

/// Seconds after which `sync="interval"` makes lines durable, unless told otherwise: what a loss of power may cost at most, at
/// the price of one sync.
pub const SYNC_INTERVAL_DEFAULT_S: f64 = 1.0;

/// Longest interval that can be meant: some thirty years.
pub const SYNC_INTERVAL_MAX_S: f64 = 1e9;

/// Replaced files whose data are kept open until the next `sync`; beyond, the oldest is synced at once.
pub const UNSYNCED_FILES_MAX: usize = 8;

/// Bytes of a name that an error message shows; a client may send up to 10 KiB of it.
pub const SHOWN_BYTES_MAX: usize = 300;

/// Longest age of rotated files that can be meant: some thirty years.
pub const RETAIN_AGE_MAX_S: f64 = 1e9;

/// Bytes of a rotated file that are read at once to be compressed: what zstd takes at a time.
pub const COMPRESS_READ_BYTES: usize = 128 * 1024;

/// gzip's own default: higher levels cost twice the time for a hundredth of the size.
pub const GZIP_LEVEL: u32 = 6;

/// zstd's own default.
pub const ZSTD_LEVEL: i32 = 3;

/// Seconds after which a rotated file that could not be compressed is tried again: a disk that was full needs somebody.
pub const COMPRESS_RETRY_S: f64 = 60.0;

/// Files that could not be compressed and are passed over until then; beyond, the first of them is tried again at once.
pub const COMPRESSIONS_FAILED_MAX: usize = 256;

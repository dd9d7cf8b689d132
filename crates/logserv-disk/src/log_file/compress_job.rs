//! The work of compressing, for another thread: a file is read, and written again in fewer bytes.
//!
//! In: an open rotated file, and an open temporary one, made by `compress.rs`. Out: an outcome for
//! [`LogFile::finish_compression`](crate::LogFile::finish_compression). No name is touched here, so that rotation need not wait.
//! Not here: which file, and how the result gets its name (`compress.rs`).

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use flate2::GzBuilder;
use rustix::io::Errno;

use crate::form::Compression;
use crate::fs::{Fs, Stat};
use crate::limits::{COMPRESS_READ_BYTES, GZIP_LEVEL, ZSTD_LEVEL};
use crate::permissions::Wanted;

/// A piece of work that must not hold up the file's writer. Dropping it does nothing; the file has to be told
/// ([`LogFile::drop_compression`](crate::LogFile::drop_compression)).
#[derive(Debug)]
pub struct CompressJob {
    pub(super) number: u64,
    pub(super) device: u64,
    pub(super) fs: Arc<dyn Fs>,
    pub(super) work: Work,
}

#[derive(Debug)]
pub(super) enum Work {
    /// Before the original goes, the new name must be durable.
    SyncDirectory(Arc<OwnedFd>),
    Compress(Compressing),
}

#[derive(Debug)]
pub(super) struct Compressing {
    pub source: Arc<OwnedFd>,
    pub source_stat: Stat,
    pub target: Arc<OwnedFd>,
    pub compression: Compression,
    pub cancelled: Arc<AtomicBool>,
}

/// What has become of a job.
#[derive(Debug)]
pub struct CompressOutcome {
    pub(super) number: u64,
    pub(super) result: Result<(), io::Error>,
}

impl CompressJob {
    /// The device of the file system that the work is on: one that hangs must not keep others waiting.
    #[must_use]
    pub fn device(&self) -> u64 {
        self.device
    }

    /// Does the work. Blocks: on the disk, and computes for long; ends early when the file's writer has given up.
    #[must_use = "what is not finished is not in the chain"]
    pub fn run(self) -> CompressOutcome {
        let fs = self.fs.as_ref();
        let result = match &self.work {
            Work::SyncDirectory(directory) => fs.sync_directory(directory.as_fd()).map_err(Into::into),
            Work::Compress(compressing) => compressing.run(fs),
        };
        CompressOutcome {
            number: self.number,
            result,
        }
    }
}

impl Compressing {
    fn run(&self, fs: &dyn Fs) -> io::Result<()> {
        let target = Target {
            fs,
            file: &self.target,
        };
        match self.compression {
            Compression::Gzip => {
                let modified_s = u32::try_from(self.source_stat.modified_s).unwrap_or(0);
                let level = flate2::Compression::new(GZIP_LEVEL);
                let mut encoder = GzBuilder::new().mtime(modified_s).write(target, level);
                self.feed(fs, &mut encoder)?;
                encoder.finish()?;
            }
            Compression::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(target, ZSTD_LEVEL)?;
                encoder.include_checksum(true)?;
                encoder.set_pledged_src_size(Some(self.source_stat.size))?;
                self.feed(fs, &mut encoder)?;
                encoder.finish()?;
            }
        }
        let made = fs.stat(self.target.as_fd())?;
        // As far as we may; a group's rights go to no other.
        let _ = Wanted::default().after(Some(&self.source_stat)).apply(
            fs,
            self.target.as_fd(),
            &made,
            true,
            "the compressed file",
        );
        fs.set_modified(self.target.as_fd(), self.source_stat.modified_s)?;
        Ok(fs.sync_file(self.target.as_fd())?)
    }

    fn feed(&self, fs: &dyn Fs, encoder: &mut impl Write) -> io::Result<()> {
        let mut buffer = vec![0; COMPRESS_READ_BYTES];
        let mut done = 0;
        loop {
            // Relaxed: only a wish to stop, nothing is read after it.
            if self.cancelled.load(Ordering::Relaxed) {
                return Err(Errno::CANCELED.into());
            }
            let read = match fs.read_at(self.source.as_fd(), &mut buffer, done) {
                Err(Errno::INTR) => continue,
                result => result?,
            };
            if read == 0 {
                break;
            }
            encoder.write_all(buffer.get(..read).unwrap_or_default())?;
            done += read as u64;
        }
        if done == self.source_stat.size {
            Ok(())
        } else {
            Err(io::Error::other("somebody has written to it meanwhile"))
        }
    }
}

/// The temporary file.
struct Target<'t> {
    fs: &'t dyn Fs,
    file: &'t OwnedFd,
}

impl Write for Target<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // `Interrupted` is tried again by whoever calls.
        Ok(self.fs.write(self.file.as_fd(), bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

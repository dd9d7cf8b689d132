//! What the tests of files share: a directory to play in, a clock to turn, a kernel that fails on demand.
#![allow(dead_code, reason = "each test program uses its own part")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot be set up has failed"
)]

use std::ffi::OsStr;
use std::io::Read;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use logserv_disk::{
    Clock, FileSettings, Fs, Journal, Kernel, LogFile, Mark, NoJournal, OpenHow, Roots, Stat,
};
use rustix::io::Errno;
use serde_json::{Value, json};

/// For tests in which nobody asks for marks.
pub const MARK: Mark = Mark {
    source: 0,
    position: 0,
    count: 0,
};

pub fn no_journal() -> Box<dyn Journal> {
    Box::new(NoJournal)
}

/// A directory that is deleted at the end, with a root in it and something outside.
#[derive(Debug)]
pub struct Place {
    pub directory: tempfile::TempDir,
    pub roots: Roots,
}

impl Place {
    pub fn new() -> Self {
        Self::of(tempfile::tempdir().unwrap())
    }

    /// For tests with thousands of runs, on a file system without a disk where there is one.
    pub fn in_memory() -> Self {
        Self::of(
            tempfile::tempdir_in("/dev/shm")
                .or_else(|_| tempfile::tempdir())
                .unwrap(),
        )
    }

    fn of(directory: tempfile::TempDir) -> Self {
        std::fs::create_dir(directory.path().join("root")).unwrap();
        std::fs::create_dir(directory.path().join("outside")).unwrap();
        let roots = Roots::new(&[directory.path().join("root")]).unwrap();
        Self { directory, roots }
    }

    pub fn root(&self) -> PathBuf {
        self.directory.path().canonicalize().unwrap().join("root")
    }

    pub fn outside(&self) -> PathBuf {
        self.directory.path().canonicalize().unwrap().join("outside")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        String::from_utf8(std::fs::read(self.path(name)).unwrap()).unwrap()
    }

    pub fn open(&self, class: &str, arguments: Value) -> LogFile {
        LogFile::open(self.roots.locate("app.log").unwrap(), settings(class, arguments)).unwrap()
    }

    /// Names and contents below the root, with `/` behind a directory.
    pub fn listing(&self) -> Vec<(String, String)> {
        listing(&self.root())
    }
}

pub fn listing(directory: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.push((format!("{name}/"), String::new()));
            found.extend(
                listing(&entry.path())
                    .into_iter()
                    .map(|(below, text)| (format!("{name}/{below}"), text)),
            );
        } else if kind.is_file() {
            found.push((
                name,
                String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap()).into_owned(),
            ));
        } else {
            found.push((name, format!("{kind:?}")));
        }
    }
    found.sort();
    found
}

/// What a rotated file holds, compressed or not; none if it is not whole.
pub fn contents(name: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    match name.rsplit_once('.')?.1 {
        "gz" => flate2::read::GzDecoder::new(bytes).read_to_end(&mut text).ok()?,
        "zst" => zstd::stream::copy_decode(bytes, &mut text).ok().map(|()| 0)?,
        _ => return Some(bytes.to_vec()),
    };
    Some(text)
}

/// Compresses all that is due, as a thread of the server would.
pub fn compress(file: &mut LogFile) {
    while let Some(job) = file.begin_compression() {
        file.finish_compression(job.run());
    }
}

pub fn settings(class: &str, arguments: Value) -> FileSettings {
    let Value::Object(mut map) = arguments else {
        panic!("not an object")
    };
    map.entry("filename").or_insert_with(|| json!("app.log"));
    FileSettings::from_arguments(class, &map).unwrap()
}

/// A clock that stands still until it is set.
#[derive(Clone)]
pub struct Hand(Arc<AtomicI64>);

impl Hand {
    pub fn at(seconds: i64) -> Self {
        Self(Arc::new(AtomicI64::new(seconds)))
    }

    pub fn set(&self, seconds: i64) {
        self.0.store(seconds, Ordering::Relaxed);
    }

    pub fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }

    #[expect(clippy::cast_precision_loss, reason = "seconds of this millennium are exact")]
    pub fn clock(&self) -> Clock {
        let hand = self.clone();
        Clock::new(move || hand.0.load(Ordering::Relaxed) as f64)
    }
}

/// A kernel of which some calls fail: the ones numbered `first` to `first + count - 1`, from 0.
#[derive(Debug)]
pub struct Faulty {
    calls: AtomicU64,
    first: u64,
    count: u64,
    errno: Errno,
    /// A write that is to fail takes half of its bytes first, as a full disk does.
    half: bool,
    /// Only the first write that is to fail is torn.
    once: std::sync::atomic::AtomicBool,
    pub bitten: Mutex<Vec<&'static str>>,
}

impl Faulty {
    pub fn new(first: u64, count: u64, errno: Errno, half: bool) -> Arc<Self> {
        Arc::new(Self {
            calls: AtomicU64::new(0),
            first,
            count,
            errno,
            half,
            once: false.into(),
            bitten: Mutex::default(),
        })
    }

    /// The first write that is to fail takes half of its bytes.
    pub fn tearing_one(self: &Arc<Self>) -> Arc<Self> {
        self.once.store(true, Ordering::Relaxed);
        Arc::clone(self)
    }

    fn fails(&self, name: &'static str) -> bool {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let fails = (self.first..self.first + self.count).contains(&call);
        if fails {
            self.bitten.lock().unwrap().push(name);
        }
        fails
    }

    fn call<T>(&self, name: &'static str, call: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
        if self.fails(name) { Err(self.errno) } else { call() }
    }
}

impl Fs for Faulty {
    fn open(&self, directory: BorrowedFd<'_>, name: &OsStr, how: OpenHow) -> Result<OwnedFd, Errno> {
        self.call("open", || Kernel.open(directory, name, how))
    }
    fn open_to_read(&self, directory: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
        self.call("open_to_read", || Kernel.open_to_read(directory, name))
    }
    fn create(&self, directory: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
        self.call("create", || Kernel.create(directory, name))
    }
    fn link(&self, directory: BorrowedFd<'_>, from: &OsStr, to: &OsStr) -> Result<(), Errno> {
        self.call("link", || Kernel.link(directory, from, to))
    }
    fn set_modified(&self, file: BorrowedFd<'_>, modified_s: i64) -> Result<(), Errno> {
        self.call("set_modified", || Kernel.set_modified(file, modified_s))
    }
    fn sync_file(&self, file: BorrowedFd<'_>) -> Result<(), Errno> {
        self.call("sync_file", || Kernel.sync_file(file))
    }
    fn set_mode(&self, file: BorrowedFd<'_>, mode: u32) -> Result<(), Errno> {
        self.call("set_mode", || Kernel.set_mode(file, mode))
    }
    fn set_owner(&self, file: BorrowedFd<'_>, uid: Option<u32>, gid: Option<u32>) -> Result<(), Errno> {
        self.call("set_owner", || Kernel.set_owner(file, uid, gid))
    }
    fn stat(&self, file: BorrowedFd<'_>) -> Result<Stat, Errno> {
        self.call("stat", || Kernel.stat(file))
    }
    fn stat_at(&self, directory: BorrowedFd<'_>, name: &OsStr, follow_links: bool) -> Result<Stat, Errno> {
        self.call("stat_at", || Kernel.stat_at(directory, name, follow_links))
    }
    fn lock(&self, file: BorrowedFd<'_>) -> Result<(), Errno> {
        self.call("lock", || Kernel.lock(file))
    }
    fn write(&self, file: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Errno> {
        match self.fails("write") {
            true if bytes.len() > 1 && self.once.swap(false, Ordering::Relaxed) => {
                Kernel.write(file, &bytes[..bytes.len() / 2])
            }
            true if self.half && bytes.len() > 1 => {
                // The next call fails in earnest.
                self.calls.fetch_sub(1, Ordering::Relaxed);
                Kernel.write(file, &bytes[..bytes.len() / 2])
            }
            true => Err(self.errno),
            false => Kernel.write(file, bytes),
        }
    }
    fn read_at(&self, file: BorrowedFd<'_>, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
        self.call("read_at", || Kernel.read_at(file, buffer, offset))
    }
    fn truncate(&self, file: BorrowedFd<'_>, length: u64) -> Result<(), Errno> {
        self.call("truncate", || Kernel.truncate(file, length))
    }
    fn rename(&self, directory: BorrowedFd<'_>, from: &OsStr, to: &OsStr) -> Result<(), Errno> {
        self.call("rename", || Kernel.rename(directory, from, to))
    }
    fn unlink(&self, directory: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
        self.call("unlink", || Kernel.unlink(directory, name))
    }
    fn sync_data(&self, file: BorrowedFd<'_>) -> Result<(), Errno> {
        self.call("sync_data", || Kernel.sync_data(file))
    }
    fn sync_directory(&self, directory: BorrowedFd<'_>) -> Result<(), Errno> {
        self.call("sync_directory", || Kernel.sync_directory(directory))
    }
    fn names_after(&self, directory: BorrowedFd<'_>, prefix: &[u8]) -> Result<Vec<Vec<u8>>, Errno> {
        self.call("names_after", || Kernel.names_after(directory, prefix))
    }
}

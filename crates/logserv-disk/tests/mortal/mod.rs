//! A process that dies at a call of the test's choice: its kernel and its journal, which outlives it.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::{Debug, Formatter};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex};

use logserv_disk::{Declared, Fs, Journal, Kernel, Mark, OpenHow, Stat};
use rustix::io::Errno;

/// How much of the fatal call still takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    Before,
    After,
    /// A write takes one byte, half of them, all but one.
    One,
    Half,
    AllButOne,
}

#[derive(Debug, Clone, Copy)]
pub struct Death {
    /// Calls that are survived.
    pub call: u64,
    pub manner: Manner,
}

/// One life. After its death every call fails, and changes nothing.
pub struct Life {
    death: Option<Death>,
    /// Somebody who does something at the worst moment: when everything has been looked at, before the write.
    intruder: Option<Intruder>,
    state: Mutex<State>,
}

pub type Intruder = Box<dyn Fn() + Send + Sync>;

impl Debug for Life {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        self.death.fmt(formatter)
    }
}

#[derive(Debug, Default)]
struct State {
    calls: Vec<&'static str>,
    died_in: Option<&'static str>,
    torn: bool,
}

enum Verdict {
    Live,
    Die,
    DieAfter,
    Tear(usize),
}

impl Life {
    pub fn new(death: Option<Death>, intruder: Option<Intruder>) -> Arc<Self> {
        Arc::new(Self {
            death,
            intruder,
            state: Mutex::default(),
        })
    }

    pub fn calls(&self) -> Vec<&'static str> {
        self.state.lock().unwrap().calls.clone()
    }

    pub fn died_in(&self) -> Option<&'static str> {
        self.state.lock().unwrap().died_in
    }

    /// True if a write was cut in the middle.
    pub fn tore(&self) -> bool {
        self.state.lock().unwrap().torn
    }

    fn judge(&self, name: &'static str, len: usize) -> Verdict {
        let mut state = self.state.lock().unwrap();
        if state.died_in.is_some() {
            return Verdict::Die;
        }
        state.calls.push(name);
        let Some(death) = self.death.filter(|death| state.calls.len() as u64 > death.call) else {
            return Verdict::Live;
        };
        state.died_in = Some(name);
        let taken = match death.manner {
            Manner::After => return Verdict::DieAfter,
            Manner::One if len > 1 => 1,
            Manner::Half if len > 1 => len / 2,
            Manner::AllButOne if len > 1 => len - 1,
            _ => return Verdict::Die,
        };
        state.torn = true;
        Verdict::Tear(taken)
    }

    fn call<T>(&self, name: &'static str, call: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
        match self.judge(name, 0) {
            Verdict::Live => call(),
            Verdict::DieAfter => {
                let _ = call();
                Err(Errno::IO)
            }
            _ => Err(Errno::IO),
        }
    }
}

impl Fs for Life {
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
        if let Some(intruder) = self.intruder.as_ref().filter(|_| self.died_in().is_none()) {
            intruder();
        }
        match self.judge("write", bytes.len()) {
            Verdict::Live => Kernel.write(file, bytes),
            Verdict::Die => Err(Errno::IO),
            Verdict::DieAfter => Kernel.write(file, bytes).and(Err(Errno::IO)),
            Verdict::Tear(len) => Kernel.write(file, &bytes[..len]).and(Err(Errno::IO)),
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
    fn sync_directory(&self, directory: BorrowedFd<'_>) -> Result<(), Errno> {
        self.call("sync_directory", || Kernel.sync_directory(directory))
    }
    fn names_after(&self, directory: BorrowedFd<'_>, prefix: &[u8]) -> Result<Vec<Vec<u8>>, Errno> {
        self.call("names_after", || Kernel.names_after(directory, prefix))
    }
}

/// What the journal remembers over deaths.
#[derive(Debug, Default)]
pub struct Memory {
    pub declared: Option<Declared>,
    marks: Vec<Mark>,
    recovering: bool,
    pub answered: BTreeMap<u32, Mark>,
}

impl Memory {
    fn answer(&mut self, marks: &[Mark]) {
        for mark in marks {
            if let Some(before) = self.answered.insert(mark.source, *mark) {
                assert!(
                    before.position <= mark.position && before.count <= mark.count,
                    "{before:?} {mark:?}"
                );
            }
        }
    }
}

/// The journal of one life.
pub struct Kept {
    pub memory: Arc<Mutex<Memory>>,
    pub life: Arc<Life>,
}

impl Debug for Kept {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Kept")
    }
}

impl Kept {
    fn act(&self, name: &'static str, act: impl FnOnce(&mut Memory)) {
        if matches!(self.life.judge(name, 0), Verdict::Live | Verdict::DieAfter) {
            act(&mut self.memory.lock().unwrap());
        }
    }
}

fn checked(device: u64, inode: u64, offset: u64, bytes: &[u8], ends: &[u32]) -> Declared {
    assert_eq!(ends.last().map_or(0, |end| *end as usize), bytes.len());
    assert!(ends.is_sorted());
    Declared {
        device,
        inode,
        offset,
        bytes: bytes.to_vec(),
        ends: ends.to_vec(),
    }
}

impl Journal for Kept {
    fn recovered(&mut self) -> Option<Declared> {
        let mut memory = self.memory.lock().unwrap();
        memory.recovering = memory.declared.is_some();
        memory.declared.clone()
    }

    fn declare(&mut self, device: u64, inode: u64, offset: u64, bytes: &[u8], ends: &[u32], marks: &[Mark]) {
        self.act("declare", |memory| {
            assert!(!memory.recovering, "the recovery's marks would be lost");
            memory.declared = Some(checked(device, inode, offset, bytes, ends));
            memory.marks = marks.to_vec();
        });
    }

    fn redeclare(&mut self, device: u64, inode: u64, offset: u64, bytes: &[u8], ends: &[u32]) {
        self.act("redeclare", |memory| {
            assert!(memory.recovering);
            memory.declared = Some(checked(device, inode, offset, bytes, ends));
        });
    }

    fn written(&mut self, marks: &[Mark]) {
        self.act("written", |memory| {
            let own = std::mem::take(&mut memory.marks);
            if std::mem::take(&mut memory.recovering) {
                assert!(marks.is_empty());
                memory.answer(&own);
            } else {
                memory.answer(marks);
            }
            memory.declared = None;
        });
    }
}

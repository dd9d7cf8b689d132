//! What a forked child must know at once: that it is one, and which descriptors of its parent to close.
//!
//! The child's handler runs before `fork` returns in the child, whoever called it, also C code. A child made by a raw
//! `clone`, which runs no handlers, finds a page cleared that is not in its parent, when it first comes here.
//! Neither takes a lock or allocates anything.

use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU8, AtomicU64, Ordering};

use super::append::AppendOnly;
use super::socket::{Identity, close, identity};

static GENERATION: AtomicU64 = AtomicU64::new(0);
static INSTALLED: AtomicBool = AtomicBool::new(false);
static DESCRIPTORS: AppendOnly<Cell> = AppendOnly::new();
/// The first byte of a page that the kernel clears in every child with a copy of our memory; null where it cannot.
static MARK: AtomicPtr<AtomicU8> = AtomicPtr::new(ptr::null_mut());

/// The page as the kernel leaves it: a child that nobody has noticed yet.
const NEWBORN: u8 = 0;
/// A thread of the child is noticing.
const NOTICING: u8 = 1;
/// All is known.
const KNOWN: u8 = 2;

/// Looks at a thread that notices, before another one no longer waits for it: it needs microseconds, unless it was
/// interrupted by a signal handler that logs, which must not wait for what it has interrupted.
const LOOKS_MAX: u32 = 1_000_000;

/// How many forks lie between the process that first used this library and this one.
pub(crate) fn generation() -> u64 {
    if let Some(mark) = mark()
        && mark.load(Ordering::Acquire) != KNOWN
    {
        notice(mark);
    }
    // Relaxed: changes only in a child, before the acquire above says so or before it has a second thread.
    GENERATION.load(Ordering::Relaxed)
}

/// The process's id, without a system call but the first time.
#[must_use]
pub fn process_id() -> u32 {
    /// The id, and in the upper half one more than the generation that it is of.
    static KNOWN: AtomicU64 = AtomicU64::new(0);
    let generation = (generation() + 1) << 32;
    let known = KNOWN.load(Ordering::Relaxed); // one word, which is right or of another generation
    if known & !u64::from(u32::MAX) == generation {
        return known as u32; // its lower half
    }
    let id = std::process::id();
    KNOWN.store(generation | u64::from(id), Ordering::Relaxed);
    id
}

fn mark() -> Option<&'static AtomicU8> {
    // Acquire: pairs with the release in `make_mark`.
    let mark = MARK.load(Ordering::Acquire);
    // SAFETY: null or the start of a page that was mapped by `make_mark` and is never unmapped.
    unsafe { mark.as_ref() }
}

/// Does once in each child what is to be done there.
#[cold]
fn notice(mark: &AtomicU8) {
    match mark.compare_exchange(NEWBORN, NOTICING, Ordering::Acquire, Ordering::Acquire) {
        Ok(_) => {
            begin_generation();
            mark.store(KNOWN, Ordering::Release); // pairs with the acquire loads here and in `generation`
        }
        Err(_) => {
            for _ in 0..LOOKS_MAX {
                if mark.load(Ordering::Acquire) == KNOWN {
                    break;
                }
                std::hint::spin_loop();
            }
        }
    }
}

/// Maps the page of the mark. Without it (an old kernel, no memory) forks are noticed by their handlers only.
fn make_mark() {
    const LEN: usize = 4096; // rounded up to a page by the kernel
    let (protection, flags) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
    );
    // SAFETY: a new private mapping at a place of the kernel's choice overlaps nothing.
    let page = unsafe { libc::mmap(ptr::null_mut(), LEN, protection, flags, -1, 0) };
    if page == libc::MAP_FAILED {
        return;
    }
    // SAFETY: only changes what a fork does with the mapping that was just made.
    let is_wiped = unsafe { libc::madvise(page, LEN, libc::MADV_WIPEONFORK) } == 0;
    let mark: *mut AtomicU8 = page.cast();
    if is_wiped {
        // SAFETY: the page is ours, writable and aligned.
        unsafe { &*mark }.store(KNOWN, Ordering::Relaxed);
        // Release: pairs with the acquire in `mark`.
        let swap = MARK.compare_exchange(ptr::null_mut(), mark, Ordering::Release, Ordering::Relaxed);
        if swap.is_ok() {
            return;
        }
    }
    // SAFETY: made above and known to nobody else.
    unsafe { libc::munmap(page, LEN) };
}

/// Makes sure that a fork is noticed. Cheap when it is already so.
pub(crate) fn install() {
    if !INSTALLED.load(Ordering::Acquire) {
        if mark().is_none() {
            make_mark();
        }
        // SAFETY: the handler is a function of this library, which is never unloaded (Python unloads no extension), and
        // does only what a child of a threaded process may do: atomics, fstat, close. Should two threads come here at
        // once it is registered twice, and a generation counts double, which nobody minds.
        let result = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
        INSTALLED.store(result == 0, Ordering::Release); // pairs with the load above
    }
}

extern "C" fn in_child() {
    match mark() {
        Some(mark) => notice(mark),
        None => begin_generation(),
    }
}

fn begin_generation() {
    GENERATION.fetch_add(1, Ordering::Relaxed); // the child has one thread
    for cell in DESCRIPTORS.iter() {
        if let Some((descriptor, identity_then)) = cell.take()
            && identity(descriptor) == Some(identity_then)
        {
            close(descriptor);
        }
        cell.in_use.store(false, Ordering::Relaxed); // its owner is the parent's
    }
}

/// The place of one session for its connection's descriptor, where a forked child finds it without a lock. Places are
/// used again; there are as many as sessions were ever alive at once.
#[derive(Debug)]
pub(crate) struct Descriptor {
    cell: &'static Cell,
    generation: u64,
}

#[derive(Debug)]
struct Cell {
    in_use: AtomicBool,
    descriptor: AtomicI32,
    device: AtomicU64,
    inode: AtomicU64,
}

impl Cell {
    fn take(&self) -> Option<(i32, Identity)> {
        // Acquire: pairs with the release in `set`; device and inode belong to this descriptor.
        let descriptor = self.descriptor.swap(-1, Ordering::Acquire);
        let identity = Identity {
            device: self.device.load(Ordering::Relaxed),
            inode: self.inode.load(Ordering::Relaxed),
        };
        (descriptor >= 0).then_some((descriptor, identity))
    }
}

impl Descriptor {
    /// A place that nobody else uses.
    pub(crate) fn claim() -> Self {
        let free = |cell: &Cell| {
            cell.in_use
                .compare_exchange(false, true, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
        };
        let cell = DESCRIPTORS.find_or_append(free, || Cell {
            in_use: AtomicBool::new(true),
            descriptor: AtomicI32::new(-1),
            device: AtomicU64::new(0),
            inode: AtomicU64::new(0),
        });
        Self {
            cell,
            generation: generation(),
        }
    }

    /// Remembers the connection.
    pub(crate) fn set(&self, descriptor: i32, identity: Identity) {
        self.cell.device.store(identity.device, Ordering::Relaxed);
        self.cell.inode.store(identity.inode, Ordering::Relaxed);
        self.cell.descriptor.store(descriptor, Ordering::Release); // pairs with the swap in `take`
    }

    /// Forgets the connection; call it after closing, so that no child keeps it open. A child of the moment in between
    /// closes nothing: the number is free, or another file's.
    pub(crate) fn clear(&self) {
        self.cell.descriptor.store(-1, Ordering::Release);
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // A child that drops what it inherited must not free a place that it has meanwhile given to another session.
        if self.generation == generation() {
            self.clear();
            self.cell.in_use.store(false, Ordering::Release); // pairs with the claim's compare_exchange
        }
    }
}

/// Runs `start`, which makes a thread, with all signals blocked: the new thread inherits that, so that every signal
/// goes on arriving where the application expects it.
pub(crate) fn with_signals_blocked<T>(start: impl FnOnce() -> T) -> T {
    let mut before = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset initialises `all`; pthread_sigmask reads it and writes `before`; both outlive the calls.
    let blocked = unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) == 0
    };
    let result = start();
    if blocked {
        // SAFETY: `before` was written by the call above, which succeeded.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    }
    result
}

//! Runs a program that this process never notices: no SIGCHLD, nothing for its `wait`, none of its descriptors.
//!
//! Two generations. The first child shares our memory while the calling thread stands still (as `posix_spawn` does), sends
//! no signal when it ends (exit signal 0: `waitpid` does not see it but with `__WALL`), never executes anything, and waits for
//! the second, which executes the program. What the second says on stderr comes back through memory. An application with
//! gigabytes pays nothing, for nothing is copied; its other threads go on.
//! In: a program, its arguments and environment. Out: an [`Ending`]. Not here: when, and which (`launch.rs`).

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;
use std::time::Duration;

use crate::limits::{LAUNCH_MESSAGE_LEN, LAUNCH_SLICE};

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It ended with this status, having said this.
    Exited(i32, String),
    /// A signal ended it.
    Killed(i32),
    /// Another process is at it.
    Busy,
    /// It did not end in time, and was killed.
    TooLong,
    /// It could not be executed, for this number of an error.
    NotExecuted(i32),
    /// There could be no process, or no pipe for it.
    NotStarted(i32),
}

/// What is to be executed.
#[derive(Debug)]
pub(crate) struct Command<'a> {
    pub(crate) program: &'a CStr,
    pub(crate) arguments: &'a [CString],
    pub(crate) environment: &'a [CString],
    /// A file that one process at a time may lock; without it, nobody is kept out.
    pub(crate) lock: Option<&'a CStr>,
    /// How long it may take.
    pub(crate) limit: Duration,
}

/// Words of one generation's stack: 32 KiB, for functions that call the kernel and nothing else.
const STACK_WORDS: usize = 2048;
/// No error, and no status.
const NOTHING: c_int = -1;
/// Signals of the kernel: 1 to 64.
const SIGNALS: std::ops::RangeInclusive<c_int> = 1..=64;
/// Descriptors closed one by one where the kernel cannot close them all (before Linux 5.9).
const DESCRIPTORS_MAX: c_int = 65_536;
/// The pipe's ends in the first child, which has opened nothing else.
const READ_END: c_int = 2;

/// What the generations share. All pointers are of the calling thread's frame, which stands still meanwhile.
struct Plan {
    program: *const c_char,
    arguments: *const *const c_char,
    environment: *const *const c_char,
    lock: *const c_char,
    limit_ms: i64,
    stack_end: *mut c_void,
    write_end: c_int,
    message: [u8; LAUNCH_MESSAGE_LEN],
    message_len: usize,
    status: c_int,
    is_busy: bool,
    is_late: bool,
    start_errno: c_int,
    execute_errno: c_int,
}

/// Runs it and waits for its end. Blocks: for `limit`; the calling thread only, which must have all signals blocked.
pub(crate) fn run(command: &Command<'_>) -> Ending {
    let pointers = |texts: &[CString]| -> Vec<*const c_char> {
        let null = std::iter::once(ptr::null());
        texts.iter().map(|text| text.as_ptr()).chain(null).collect()
    };
    let (arguments, environment) = (pointers(command.arguments), pointers(command.environment));
    // Words of 16 bytes: a stack's end must be aligned so.
    let mut stacks = vec![0_u128; 2 * STACK_WORDS];
    let end = stacks.as_mut_ptr_range().end;
    let mut plan = Plan {
        program: command.program.as_ptr(),
        arguments: arguments.as_ptr(),
        environment: environment.as_ptr(),
        lock: command.lock.map_or(ptr::null(), CStr::as_ptr),
        limit_ms: i64::try_from(command.limit.as_millis()).unwrap_or(i64::MAX),
        stack_end: end.cast(),
        write_end: NOTHING,
        message: [0; LAUNCH_MESSAGE_LEN],
        message_len: 0,
        status: NOTHING,
        is_busy: false,
        is_late: false,
        start_errno: 0,
        execute_errno: 0,
    };
    // SAFETY: the middle of an allocation of twice that size.
    let middle: *mut c_void = unsafe { end.sub(STACK_WORDS) }.cast();
    let flags = libc::CLONE_VM | libc::CLONE_VFORK; // and no exit signal
    let argument: *mut c_void = (&raw mut plan).cast();
    // SAFETY: the child runs `supervise` on the lower stack, which nobody else uses, in our memory, which it may: until it has
    // ended (CLONE_VFORK) this thread stands still, and `plan` and everything it points to are this frame's. It allocates
    // nothing, takes no lock and runs no signal handler, for all signals are blocked here and so there. Descriptors and
    // dispositions of signals are copies of its own (neither CLONE_FILES nor CLONE_SIGHAND).
    let pid = unsafe { libc::clone(supervise, middle, flags, argument) };
    if pid < 0 {
        return Ending::NotStarted(errno());
    }
    // SAFETY: no pointers but null ones. It has ended; the result is in `plan`.
    while unsafe { libc::waitpid(pid, ptr::null_mut(), libc::__WALL) } < 0 && errno() == libc::EINTR {}
    plan.ending()
}

impl Plan {
    fn ending(&self) -> Ending {
        let message = self.message.get(..self.message_len).unwrap_or_default();
        if self.is_busy {
            Ending::Busy
        } else if self.execute_errno != 0 {
            Ending::NotExecuted(self.execute_errno)
        } else if self.start_errno != 0 {
            Ending::NotStarted(self.start_errno)
        } else if self.is_late {
            Ending::TooLong
        } else if self.status == NOTHING {
            Ending::NotStarted(libc::ECHILD) // somebody has killed the first child
        } else if libc::WIFSIGNALED(self.status) {
            Ending::Killed(libc::WTERMSIG(self.status))
        } else {
            let text = String::from_utf8_lossy(message).trim().to_owned();
            Ending::Exited(libc::WEXITSTATUS(self.status), text)
        }
    }
}

/// The first child.
extern "C" fn supervise(argument: *mut c_void) -> c_int {
    // SAFETY: `run` passes a plan that outlives us, and nobody else touches it while we live; the second child, which shares
    // it, runs only while we stand still.
    let plan = unsafe { &mut *argument.cast::<Plan>() };
    // Nothing of the application's stays open here: who reads a pipe of its waits for an end.
    close_from(0);
    // SAFETY: only system calls, with pointers to constants and to locals that live through them.
    unsafe {
        // Where the application ignores SIGCHLD, nobody could wait here.
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        let mut ends: [c_int; 2] = [NOTHING; 2];
        if !open_null() || libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) != 0 || ends[0] != READ_END {
            plan.start_errno = errno();
            return 0;
        }
        plan.write_end = ends[1];
        if !plan.lock.is_null() {
            let flags = libc::O_RDWR | libc::O_CREAT | libc::O_CLOEXEC | libc::O_NOFOLLOW;
            let lock = libc::open(plan.lock, flags, 0o600);
            if lock >= 0 && libc::flock(lock, libc::LOCK_EX | libc::LOCK_NB) != 0 {
                plan.is_busy = errno() == libc::EWOULDBLOCK;
                if plan.is_busy {
                    return 0;
                }
            }
        }
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        // As in `run`: the second child uses the upper stack and the plan while we stand still, until it executes or ends.
        let pid = libc::clone(execute, plan.stack_end, flags, argument);
        if pid < 0 {
            plan.start_errno = errno();
            return 0;
        }
        libc::close(plan.write_end);
        plan.wait_for(pid);
    }
    0
}

/// Standard input and output for all that follows: the null device, or where there is none nothing that anybody reads.
fn open_null() -> bool {
    // SAFETY: a constant path; numbers.
    unsafe {
        let mut null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
        if null < 0 {
            null = libc::open(c"/".as_ptr(), libc::O_PATH);
        }
        null == 0 && libc::dup(null) == 1
    }
}

/// The second child: becomes the program.
extern "C" fn execute(argument: *mut c_void) -> c_int {
    // SAFETY: as in `supervise`, which stands still.
    let plan = unsafe { &mut *argument.cast::<Plan>() };
    // SAFETY: system calls with constants, with locals that live through them, and with the plan's texts and lists, which
    // end in zeros.
    unsafe {
        libc::setsid();
        libc::dup2(plan.write_end, 2);
        close_from(3);
        let _ = libc::chdir(c"/".as_ptr());
        for signal in SIGNALS {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut());
        libc::execve(plan.program, plan.arguments, plan.environment);
    }
    plan.execute_errno = errno();
    127
}

impl Plan {
    /// Takes in what the program says until it has ended, or its time is over.
    fn wait_for(&mut self, pid: c_int) {
        let until = now_ms().saturating_add(self.limit_ms);
        let slice_ms = c_int::try_from(LAUNCH_SLICE.as_millis()).unwrap_or(1);
        loop {
            let heard = self.hear(slice_ms);
            // SAFETY: the status is a number of our own.
            let ended = unsafe { libc::waitpid(pid, &raw mut self.status, libc::WNOHANG) };
            if ended == pid {
                while self.hear(0) {}
                return;
            }
            self.status = NOTHING;
            if ended < 0 && errno() != libc::EINTR {
                return;
            }
            if now_ms() >= until {
                self.is_late = true;
                // SAFETY: our own child, not waited for yet: the number is its.
                unsafe {
                    libc::kill(pid, libc::SIGKILL);
                    libc::waitpid(pid, ptr::null_mut(), 0);
                }
                return;
            }
            if !heard {
                // Said all it has to say, or nothing for a slice: at its end `hear` no longer waits.
                // SAFETY: no descriptors, only the time.
                unsafe { libc::poll(ptr::null_mut(), 0, slice_ms) };
            }
        }
    }

    /// Waits for words and takes them. `false`: there are none, or no more will come.
    fn hear(&mut self, wait_ms: c_int) -> bool {
        let mut poll = libc::pollfd {
            fd: READ_END,
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one valid pollfd.
        if unsafe { libc::poll(&raw mut poll, 1, wait_ms) } != 1 {
            return false;
        }
        let mut words = [0_u8; 256];
        // SAFETY: pointer and length describe `words`.
        let len = unsafe { libc::read(READ_END, words.as_mut_ptr().cast(), words.len()) };
        let words = words.get(..usize::try_from(len).unwrap_or(0)).unwrap_or_default();
        let room = self.message.get_mut(self.message_len..).unwrap_or_default();
        for (place, word) in room.iter_mut().zip(words) {
            *place = *word;
            self.message_len += 1;
        }
        !words.is_empty()
    }
}

fn close_from(first: c_int) {
    // SAFETY: numbers; the table of descriptors is a copy that only the caller's generation has.
    unsafe {
        if libc::syscall(libc::SYS_close_range, first, c_int::MAX, 0) != 0 {
            for descriptor in first..DESCRIPTORS_MAX {
                libc::close(descriptor);
            }
        }
    }
}

fn now_ms() -> i64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a local.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    #[allow(
        clippy::useless_conversion,
        reason = "the fields' widths differ between architectures"
    )]
    i64::from(now.tv_sec)
        .saturating_mul(1000)
        .saturating_add(i64::from(now.tv_nsec) / 1_000_000)
}

fn errno() -> c_int {
    // SAFETY: the pointer is to this thread's number (the calling thread's, which stands still), always valid.
    unsafe { *libc::__errno_location() }
}

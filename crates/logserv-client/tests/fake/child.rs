//! Processes of a test's own: forked, killed, waited for.
#![expect(
    unsafe_code,
    clippy::undocumented_unsafe_blocks,
    reason = "fork, kill and _exit are called by hand"
)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

/// Runs `child` in a forked process, which ends with its answer.
pub fn forked(child: impl FnOnce() -> bool) -> libc::pid_t {
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        end(child);
    }
    pid
}

/// A panic must not get out: the rest of the test is the parent's.
fn end(child: impl FnOnce() -> bool) -> ! {
    let is_well = catch_unwind(AssertUnwindSafe(child)).unwrap_or(false);
    unsafe { libc::_exit(i32::from(!is_well)) }
}

/// The same by the bare system call, of which no handler hears. No other thread may be at work.
pub fn cloned(child: impl FnOnce() -> bool) -> libc::pid_t {
    let pid = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) } as libc::pid_t;
    assert!(pid >= 0);
    if pid == 0 {
        end(child);
    }
    pid
}

/// Waits for it for 20 s. Returns whether it ended by itself and with `true`.
pub fn ended_well(pid: libc::pid_t) -> bool {
    let start = Instant::now();
    let mut status = 0;
    while start.elapsed() < 20 * SECOND {
        if unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) } == pid {
            return libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    kill(pid);
    false
}

/// Kills it as `kill -9` does. Returns whether that was its end.
pub fn kill(pid: libc::pid_t) -> bool {
    let mut status = 0;
    unsafe {
        libc::kill(pid, libc::SIGKILL);
        libc::waitpid(pid, &raw mut status, 0);
    }
    libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGKILL
}

/// Numbers that a child shares with its parent.
pub fn shared_numbers() -> &'static [AtomicU64; 8] {
    let (protection, flags) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_SHARED | libc::MAP_ANONYMOUS,
    );
    unsafe {
        let page = libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0);
        assert_ne!(page, libc::MAP_FAILED);
        &*page.cast()
    }
}

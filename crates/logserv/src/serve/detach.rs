//! `--detach`: a personal server that outlives whoever started it, and owes it nothing.
//!
//! In: the arguments, in the process in the foreground; a pipe on stdout, in the server. Out: exit status 0 as soon as a
//! personal server accepts, this one or another that was first; else what went wrong. The server is a new process of the same
//! program, not a fork: `ps` shows what it is, and nothing of its starter's memory comes along.
//! Not here: who wins a race of several starts; that is the socket's directory (`logserv_server::listen`).

use std::fs::File;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use logserv_server::listen;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::Mode;

use super::Arguments;
use crate::{Failure, sys};

/// How long a server may take to start: it takes some 10 ms, seconds on a machine that does too much.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// Bytes that a server says of its start: one line.
const WORD_LEN_MAX: u64 = 64 << 10;

/// Said by another to the starter's own manager or journal, not to us.
const NOT_OURS: [&str; 6] = [
    "NOTIFY_SOCKET",
    "JOURNAL_STREAM",
    "LISTEN_FDS",
    "LISTEN_PID",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
];

/// The process in the foreground: starts the server, unless one accepts on `socket`, and waits until it does.
pub(super) fn start(arguments: &Arguments, socket: &Path) -> Result<(), Failure> {
    if !arguments.replace && listen::is_served(socket) {
        return Ok(());
    }
    let mut command = Command::new(program());
    command.arg0("logserv").args(arguments.again(socket)?);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    for name in NOT_OURS {
        command.env_remove(name);
    }
    let mut server = command.spawn().context("cannot start the server")?;
    let mut word = String::new();
    if let Some(pipe) = server.stdout.take() {
        let deadline = Instant::now() + START_TIMEOUT;
        if !wait_readable(&pipe, deadline) {
            let waited = START_TIMEOUT.as_secs();
            return Err(anyhow!(
                "the server, pid {}, does not accept within {waited} s",
                server.id()
            )
            .into());
        }
        // One write of the server's, and then its end.
        let _ = pipe.take(WORD_LEN_MAX).read_to_string(&mut word);
    }
    if word.starts_with("ready\n") {
        return Ok(());
    }
    let status = server.wait().context("cannot wait for the server")?;
    let said = word
        .trim_end()
        .strip_prefix("error ")
        .and_then(|rest| rest.split_once(' '));
    let error = match said {
        Some((_, message)) => anyhow!("{message}"),
        None => anyhow!("the server ended at its start ({status})"),
    };
    Err(match status.code() {
        Some(2) => Failure::Usage(error),
        _ => Failure::Failed(error),
    })
}

/// The server, first of all: leaves the starter's session, directory, descriptors and signals. Returns the pipe on which the
/// starter waits.
pub(super) fn leave_starter() -> anyhow::Result<File> {
    sys::close_inherited();
    sys::reset_signals();
    // It fails only for the leader of a group, who is alone already.
    let _ = rustix::process::setsid();
    rustix::process::chdir("/").context("cannot enter /")?;
    // Of files that a client says nothing about; the server's own have modes of their own.
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let pipe =
        rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3).context("no pipe to the starter")?;
    let nowhere = File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .context("cannot open /dev/null")?;
    rustix::stdio::dup2_stdin(&nowhere)?;
    rustix::stdio::dup2_stdout(&nowhere)?;
    rustix::stdio::dup2_stderr(&nowhere)?;
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    Ok(pipe.into())
}

/// This very program: by its path, so that `ps` has its name, unless an update has replaced it.
fn program() -> PathBuf {
    let by_path = std::env::current_exe().ok().filter(|path| path.exists());
    by_path.unwrap_or_else(|| "/proc/self/exe".into())
}

/// Whether there is something to read, or the end, before `deadline`.
fn wait_readable(pipe: &impl std::os::fd::AsFd, deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        let mut descriptors = [PollFd::new(pipe, PollFlags::IN)];
        match rustix::event::poll(&mut descriptors, Some(&timeout)) {
            Ok(0) => return false,
            Err(rustix::io::Errno::INTR) => {}
            _ => return true,
        }
    }
}

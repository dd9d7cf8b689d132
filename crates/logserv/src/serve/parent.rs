//! `--watch-parent`: the server of a Python `LogServer` drains and leaves when that process is gone.

use std::os::fd::OwnedFd;

use anyhow::{Context, anyhow};
use logserv_server::Control;
use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags, getppid, pidfd_open};

/// Watches the process `pid`, which must be our parent: it names itself, so that a parent that dies before we look is
/// noticed, and not whoever takes its children over.
pub(super) fn watch(pid: i32, control: &Control) -> anyhow::Result<()> {
    let parent =
        Pid::from_raw(pid).ok_or_else(|| anyhow!("--watch-parent: expected a process, received {pid}"))?;
    let pidfd = pidfd_open(parent, PidfdFlags::empty());
    // After opening: as long as it still is our parent, the number was its own.
    if getppid() != Some(parent) {
        anyhow::bail!("the parent, pid {pid}, is gone");
    }
    let pidfd = pidfd.context("cannot watch the parent")?;
    let control = control.clone();
    std::thread::Builder::new()
        .name("logserv-parent".into())
        .spawn(move || {
            wait(&pidfd);
            tracing::info!("leaving: the parent, pid {pid}, is gone");
            control.drain();
        })?;
    Ok(())
}

fn wait(pidfd: &OwnedFd) {
    loop {
        let mut descriptors = [PollFd::new(pidfd, PollFlags::IN)];
        match rustix::event::poll(&mut descriptors, None) {
            Err(rustix::io::Errno::INTR) => {}
            _ => return,
        }
    }
}

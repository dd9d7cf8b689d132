//! Tells whoever started the server that it accepts, or why it does not: `--ready-fd`, and systemd.

use std::fs::File;
use std::io::Write;

use logserv_server::listen::BindError;
use sd_notify::NotifyState;

use crate::sys;

/// The descriptor to be told, until it has been.
#[derive(Debug)]
pub(super) struct Ready {
    to: Option<File>,
    /// Systemd may wait for us.
    is_managed: bool,
}

impl Ready {
    pub(super) fn new(descriptor: Option<i32>) -> Self {
        Self {
            to: descriptor.and_then(sys::take_descriptor),
            is_managed: true,
        }
    }

    /// For a server that was started in the background by [`detach`](super::detach): no manager waits for it.
    pub(super) fn on_pipe(pipe: File) -> Self {
        Self {
            to: Some(pipe),
            is_managed: false,
        }
    }

    /// The server accepts. The line is `ready`; where a port was chosen by the system the addresses follow, a line each.
    pub(super) fn reached(&mut self, addresses: &[String]) {
        let mut text = String::from("ready\n");
        addresses
            .iter()
            .for_each(|address| text.extend([address.as_str(), "\n"]));
        self.tell(&text);
        if self.is_managed {
            let _ = sd_notify::notify(&[NotifyState::Ready]);
        }
    }

    /// It does not: `error ERRNO MESSAGE`, 0 where no system call failed.
    pub(super) fn failed(&mut self, error: &anyhow::Error) {
        let errno = error.downcast_ref::<BindError>().map_or(0, BindError::errno);
        let message = format!("{error:#}").replace('\n', " ");
        self.tell(&format!("error {errno} {message}\n"));
    }

    fn tell(&mut self, text: &str) {
        if let Some(mut to) = self.to.take() {
            // Whoever wanted to know may have gone.
            let _ = to.write_all(text.as_bytes());
        }
    }
}

//! Signals: SIGTERM and SIGINT drain (a second one leaves at once), SIGHUP reopens files, SIGXFSZ is an error of a write.

use std::io;

use logserv_server::Control;
use logserv_server::control::Order;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// `SIGXFSZ` on every architecture that we build for.
const SIGXFSZ: i32 = 25;

/// Installs the handlers and gives their orders to `control`. Call it on a runtime. SIGPIPE is ignored already, by the
/// standard library.
pub(super) fn obey(control: &Control) -> io::Result<()> {
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        on_each(signal(kind)?, control, Control::interrupt);
    }
    on_each(signal(SignalKind::hangup())?, control, Control::reopen);
    // Handled, it does not kill, and the write fails with EFBIG: the file then waits like one on a full disk.
    on_each(signal(SignalKind::from_raw(SIGXFSZ))?, control, |_| {});
    let control = control.clone();
    tokio::spawn(async move {
        control.ordered(Order::Drain).await;
        let _ = sd_notify::notify(&[NotifyState::Stopping]);
    });
    Ok(())
}

fn on_each(mut signal: Signal, control: &Control, order: fn(&Control)) {
    let control = control.clone();
    tokio::spawn(async move {
        while signal.recv().await.is_some() {
            order(&control);
        }
    });
}

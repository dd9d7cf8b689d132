//! A personal server's socket stays where clients look for it, or the server leaves: there are never two for long.
//!
//! In: the sockets, a look at each every [`SOCKET_LOOK`]. Out: a name that has vanished is bound again; where that cannot be
//! (the runtime directory is gone with the log-out, another server has come) the order to drain: its files are free then
//! for whichever server the clients find next.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::accept::{Acceptor, Slots};
use crate::context::Context;
use crate::control::Control;
use crate::limits::SOCKET_LOOK;
use crate::listen::{BindError, UnixSocket};

/// Looks after the sockets until the control orders to drain.
pub(super) async fn keep_sockets(
    sockets: &mut [UnixSocket],
    accepting: &mut JoinSet<JoinSet<()>>,
    context: &Arc<Context>,
    slots: &Slots,
    control: &Control,
) {
    loop {
        tokio::time::sleep(SOCKET_LOOK).await;
        for socket in &mut *sockets {
            if socket.is_published() {
                continue;
            }
            let path = socket.path().display().to_string();
            let again = socket.bind_again().and_then(|mut again| {
                let acceptor = again
                    .take()
                    .map(|listener| Acceptor::unix(listener, again.retire()));
                let acceptor = acceptor.transpose().map_err(|cause| BindError::Io {
                    address: path.clone(),
                    cause,
                })?;
                Ok((again, acceptor))
            });
            match again {
                Ok((again, acceptor)) => {
                    tracing::warn!("{path} had vanished, and is there again");
                    // Those who came by the old name are served on; nobody comes by it any more.
                    std::mem::replace(socket, again).retire().notify_one();
                    if let Some(acceptor) = acceptor {
                        accepting.spawn(acceptor.run(Arc::clone(context), slots.clone()));
                    }
                }
                Err(error) => {
                    tracing::warn!("leaving: {path} has vanished, and cannot be there again: {error}");
                    control.drain();
                    return std::future::pending().await;
                }
            }
        }
    }
}

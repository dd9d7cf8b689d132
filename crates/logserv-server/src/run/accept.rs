//! One listener's loop: accepts, and gives each connection a task of its own.
//!
//! In: a listener, the context. Out: the connections that are still going on when the drain starts.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use crate::context::{Context, Peer, Phase};
use crate::counters::Counters;
use crate::ingest;
use crate::limits::{
    ACCEPT_PAUSE, CONNECTIONS_MAX, KEEPALIVE_COUNT, KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, WARN_EVERY,
};

/// How long the last round waits for a connection in the backlog to show up.
const LAST_ROUND: Duration = Duration::from_millis(5);

/// Places for connections, over all listeners.
#[derive(Debug, Clone)]
pub(super) struct Slots(Arc<Semaphore>);

impl Default for Slots {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(CONNECTIONS_MAX)))
    }
}

#[derive(Debug)]
pub(super) enum Acceptor {
    /// With the word that nobody will come any more: its name has vanished.
    Unix(UnixListener, Arc<Notify>),
    Tcp(TcpListener),
}

enum Accepted {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Acceptor {
    pub(super) fn unix(listener: std::os::unix::net::UnixListener, retire: Arc<Notify>) -> io::Result<Self> {
        Ok(Self::Unix(UnixListener::from_std(listener)?, retire))
    }

    pub(super) fn tcp(listener: std::net::TcpListener) -> io::Result<Self> {
        Ok(Self::Tcp(TcpListener::from_std(listener)?))
    }

    async fn retired(&self) {
        match self {
            Self::Unix(_, retire) => retire.notified().await,
            Self::Tcp(_) => std::future::pending().await,
        }
    }

    /// Accepts until the drain starts or it is retired, then what the backlog still holds; returns the connections that go on.
    pub(super) async fn run(self, context: Arc<Context>, slots: Slots) -> JoinSet<()> {
        let mut connections = JoinSet::new();
        let mut phase = context.phase.clone();
        let mut warned: Option<Instant> = None;
        loop {
            tokio::select! {
                biased;
                () = draining(&mut phase) => break,
                () = self.retired() => break,
                Some(_) = connections.join_next() => {}
                accepted = self.accept(&slots) => match accepted {
                    Ok((stream, peer, place)) => spawn(&mut connections, stream, peer, place, &context),
                    Err(error) => {
                        // Descriptors used up, mostly: the next accept would fail at once, and so on.
                        if warned.is_none_or(|at| at.elapsed() > WARN_EVERY) {
                            tracing::warn!("cannot accept a connection: {error}");
                            warned = Some(Instant::now());
                        }
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        while let Ok(Ok((stream, peer, place))) = tokio::time::timeout(LAST_ROUND, self.accept(&slots)).await
        {
            spawn(&mut connections, stream, peer, place, &context);
        }
        connections
    }

    async fn accept(&self, slots: &Slots) -> io::Result<(Accepted, Peer, OwnedSemaphorePermit)> {
        // A place first: who finds none waits in the kernel's backlog.
        let place = Arc::clone(&slots.0)
            .acquire_owned()
            .await
            .map_err(io::Error::other)?;
        match self {
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                let peer = stream.peer_cred()?;
                Ok((
                    Accepted::Unix(stream),
                    Peer::Unix {
                        uid: peer.uid(),
                        pid: peer.pid(),
                    },
                    place,
                ))
            }
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                tune(&stream)?;
                Ok((Accepted::Tcp(stream), Peer::Tcp { address }, place))
            }
        }
    }
}

async fn draining(phase: &mut watch::Receiver<Phase>) {
    // An error means that the server itself is gone.
    let _ = phase.wait_for(|phase| *phase == Phase::Draining).await;
}

/// Acknowledgements are small and awaited; a peer that has vanished must not keep its place.
fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_COUNT);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

fn spawn(
    connections: &mut JoinSet<()>,
    stream: Accepted,
    peer: Peer,
    place: OwnedSemaphorePermit,
    context: &Arc<Context>,
) {
    let context = Arc::clone(context);
    connections.spawn(async move {
        context.counters.connections.add(1);
        let _ended = Ended(Arc::clone(&context.counters), place);
        match stream {
            Accepted::Unix(stream) => ingest::serve_unix_connection(stream, peer, context).await,
            Accepted::Tcp(stream) => ingest::serve_connection(stream, peer, context).await,
        }
    });
}

/// A connection's place, given back and counted however it ends: also when its task is cut.
struct Ended(
    Arc<Counters>,
    #[expect(dead_code, reason = "held")] OwnedSemaphorePermit,
);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.connections_ended.add(1);
    }
}

//! The server's life: accept on all listeners, serve, and on order drain and leave.
//!
//! In: a configuration, listeners that are bound, a [`Control`]. Out: nothing, once everything is written or the
//! drain's time is up. Needs a tokio runtime with I/O and time; installs no signal handlers (the program does).

use std::io;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::admin::Admin;
use crate::config::{Config, ConfigError};
use crate::context::{Context, Phase};
use crate::control::{Control, Order};
use crate::counters::Counters;
use crate::files::Files;
use crate::ingest::Sessions;
use crate::limits::{DRAIN_FILES_SHARE, LAST_WORDS};
use crate::listen::{Listeners, UnixSocket};
use crate::personal::{Personal, leave_when_idle};
use crate::pipeline::Refusal;
use crate::rings::{self, Rings};

mod accept;
mod keep;
use accept::{Acceptor, Slots};

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A value of the configuration cannot be used on this machine: a root that does not exist, a wrong format.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// `--socket-handler-file` cannot be opened, e.g. because another server holds it.
    #[error("--socket-handler-file: {0}")]
    SocketHandlerFile(Refusal),
    /// A listener could not be handed to the runtime.
    #[error("cannot listen")]
    Listen(#[from] io::Error),
}

/// Runs a server until `control` orders it to leave: [`Server::start`] and [`Server::serve`].
///
/// # Errors
/// As [`Server::start`].
pub async fn run(config: &Config, listeners: Listeners, control: &Control) -> Result<(), RunError> {
    Server::start(config, listeners, control).await?.serve().await;
    Ok(())
}

/// A server that has opened what it needs and accepts as soon as it is served.
#[derive(Debug)]
pub struct Server {
    control: Control,
    context: Arc<Context>,
    phase: watch::Sender<Phase>,
    acceptors: Vec<Acceptor>,
    sockets: Vec<UnixSocket>,
    drain_timeout: std::time::Duration,
}

impl Server {
    /// Opens the roots and `--socket-handler-file`, and takes the listeners over.
    ///
    /// # Errors
    /// What could not be opened. The listeners are closed then and their names removed.
    pub async fn start(config: &Config, listeners: Listeners, control: &Control) -> Result<Self, RunError> {
        let counters = Arc::new(Counters::default());
        let files = Files::new(config, Arc::clone(&counters))?;
        let addresses = listeners.addresses();
        files.listen_at(&addresses);
        files
            .socket_handler_file()
            .await
            .map_err(RunError::SocketHandlerFile)?;
        let sessions = Arc::new(Sessions::default());
        let rings = Rings::new(&listeners, config.personal);
        let (phase, phase_seen) = watch::channel(Phase::Serving);
        let admin = Admin {
            control: control.clone(),
            files: files.clone(),
            sessions: Arc::clone(&sessions),
            counters: Arc::clone(&counters),
            rings: Arc::clone(&rings),
            listeners: addresses,
            personal: Personal::new(config),
            started: Instant::now(),
        };
        let context = Arc::new(Context {
            files,
            sessions,
            rings,
            counters,
            admin,
            phase: phase_seen,
        });
        let Listeners {
            unix: mut sockets,
            tcp,
        } = listeners;
        let unix = sockets
            .iter_mut()
            .filter_map(|socket| Some(Acceptor::unix(socket.take()?, socket.retire())));
        let tcp = tcp.into_iter().map(Acceptor::tcp);
        let acceptors = unix.chain(tcp).collect::<io::Result<Vec<_>>>()?;
        let drain_timeout = config.server.drain_timeout;
        Ok(Self {
            control: control.clone(),
            context,
            phase,
            acceptors,
            sockets,
            drain_timeout,
        })
    }

    /// The addresses it listens on, as clients name them.
    #[must_use]
    pub fn addresses(&self) -> &[String] {
        &self.context.admin.listeners
    }

    /// The roots, as the operator gave them, made canonical.
    #[must_use]
    pub fn roots(&self) -> Vec<String> {
        self.context.files.roots()
    }

    /// The server's counters.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.context.counters)
    }

    /// Serves until the control orders to drain, drains, and returns: at the latest after the drain timeout, or when
    /// the control orders to leave at once.
    pub async fn serve(self) {
        let Self {
            control,
            context,
            phase,
            acceptors,
            mut sockets,
            drain_timeout,
        } = self;
        let slots = Slots::default();
        let mut accepting = JoinSet::new();
        for acceptor in acceptors {
            accepting.spawn(acceptor.run(Arc::clone(&context), slots.clone()));
        }
        let reaper = tokio::spawn(context.files.clone().close_idle_ones());
        let aging = tokio::spawn(context.files.clone().retain_closed_ones());
        let orphans = tokio::spawn({
            let (rings, files) = (Arc::clone(&context.rings), context.files.clone());
            let counters = Arc::clone(&context.counters);
            async move {
                files.finish_writes().await;
                rings::tend(rings, files, counters).await;
            }
        });
        let reopener = tokio::spawn({
            let (files, mut reopenings) = (context.files.clone(), control.reopenings());
            async move {
                while reopenings.changed().await.is_ok() {
                    tracing::info!("reopening all files");
                    files.reopen();
                }
            }
        });

        let idle = tokio::spawn(leave_when_idle(Arc::clone(&context)));
        let is_personal = context.admin.personal.is_personal();
        tokio::select! {
            () = control.ordered(Order::Drain) => {}
            () = keep::keep_sockets(&mut sockets, &mut accepting, &context, &slots, &control), if is_personal => {}
        }
        idle.abort();
        let started = Instant::now();
        // Nobody new finds us; those in the backlog are still accepted by the acceptors' last round.
        sockets.iter().for_each(UnixSocket::unpublish);
        phase.send_replace(Phase::Draining);
        reaper.abort();
        aging.abort();
        orphans.abort();
        let drained = async {
            let for_connections = drain_timeout - drain_timeout / DRAIN_FILES_SHARE;
            let connections_end = async {
                let mut connections = Vec::new();
                while let Some(ended) = accepting.join_next().await {
                    connections.extend(ended.ok());
                }
                for mut connections in connections {
                    while connections.join_next().await.is_some() {}
                }
            };
            let mut connections_end = std::pin::pin!(connections_end);
            let in_time = tokio::time::timeout(for_connections, &mut connections_end).await;
            let left = drain_timeout.saturating_sub(started.elapsed());
            if in_time.is_ok() {
                return context.files.drain(left).await;
            }
            context.files.drain(left.saturating_sub(LAST_WORDS)).await;
            // What was written meanwhile is acknowledged, or it would be sent again.
            if tokio::time::timeout(LAST_WORDS, connections_end).await.is_err() {
                tracing::warn!("connections did not end within {drain_timeout:?} and are cut");
            }
        };
        tokio::select! {
            () = drained => tracing::info!("drained in {:.3} s", started.elapsed().as_secs_f64()),
            () = control.ordered(Order::Leave) => {
                tracing::warn!("leaving at once, {}", context.files.unwritten_text());
            }
        }
        reopener.abort();
        drop(sockets);
    }
}

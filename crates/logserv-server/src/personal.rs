//! What is different about a personal server: whom it serves, and that it leaves when nobody needs it.
//!
//! In: the configuration, word of what happens, the files and rings. Out: a refusal for strangers, the order to drain, the
//! status's words. A server that is not personal leaves when idle only where its configuration says so.
//! Not here: where it listens (`logserv_ring`), that its socket stays there (`run/keep.rs`), how it is started (the program).

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::admin::seconds;
use crate::config::Config;
use crate::context::{Context, Peer};
use crate::limits::{IDLE_EXIT, IDLE_LOOK_MAX, IDLE_LOOK_MIN};
use crate::pipeline::Refusal;

/// Whether this is a personal server, and since when nobody has needed it.
#[derive(Debug)]
pub(crate) struct Personal {
    is_personal: bool,
    /// `None`: never.
    exit_after: Option<Duration>,
    busy_at: Mutex<Instant>,
    own_log: Option<PathBuf>,
}

impl Personal {
    pub(crate) fn new(config: &Config) -> Self {
        let default = config.personal.then_some(IDLE_EXIT);
        Self {
            is_personal: config.personal,
            // 0 is a wish to stay.
            exit_after: config
                .server
                .idle_exit
                .or(default)
                .filter(|after| !after.is_zero()),
            busy_at: Mutex::new(Instant::now()),
            own_log: config.own_log.clone(),
        }
    }

    pub(crate) fn is_personal(&self) -> bool {
        self.is_personal
    }

    /// Somebody has wanted something else than the status.
    pub(crate) fn touch(&self) {
        *self.busy_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Why a connection is refused whatever it wants: a personal server writes with its user's rights.
    pub(crate) fn stranger(&self, peer: &Peer) -> Option<Refusal> {
        let own = rustix::process::geteuid().as_raw();
        let is_own = matches!(peer, Peer::Unix { uid, .. } if *uid == own);
        (self.is_personal && !is_own).then(|| {
            let expected = format!("a connection from uid {own}, whose personal server this is");
            Refusal::lasting(expected, format!("one from {peer}"))
        })
    }

    /// The status's part. `idle_for_s`: `null` while somebody needs the server.
    pub(crate) fn report(&self, is_busy: bool) -> Map<String, Value> {
        let idle = self
            .busy_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .elapsed();
        let report = json!({
            "personal": self.is_personal,
            "idle_for_s": (!is_busy).then(|| seconds(idle)),
            "idle_exit_s": self.exit_after.map(seconds),
            "own_log": self.own_log,
        });
        report.as_object().cloned().unwrap_or_default()
    }
}

/// Orders a drain when nobody has needed the server for its time. A client that connects at this moment is not welcomed any
/// more, keeps its records, and starts another server.
pub(crate) async fn leave_when_idle(context: Arc<Context>) {
    let personal = &context.admin.personal;
    let every = personal.exit_after.map_or(IDLE_LOOK_MAX, |after| {
        (after / 8).clamp(IDLE_LOOK_MIN, IDLE_LOOK_MAX)
    });
    loop {
        if context.admin.is_busy() {
            personal.touch();
        }
        let idle = personal
            .busy_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .elapsed();
        if let Some(after) = personal.exit_after
            && idle >= after
        {
            tracing::info!("leaving: nobody has logged for {:.1} s", idle.as_secs_f64());
            context.admin.control.drain();
            return;
        }
        tokio::time::sleep(every).await;
    }
}

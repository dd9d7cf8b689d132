//! At the start: writes that a server before this one began and did not finish.
//!
//! In: the states that it has left in memory. Out: files opened as it had them open, which finishes the write
//! (`logserv_disk`); a little later they are closed again, unless somebody logs to them. Only at the very place that the
//! state speaks of, and only beneath this server's roots: what belongs to another server is left to it. A personal server's
//! root is everything: it takes only those of its own socket.

use logserv_ring::StateFile;
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::task::JoinSet;

use super::Files;
use super::holder::Holder;
use crate::pipeline::OpenRequest;
use crate::writer::state;

/// How the file was open.
#[derive(Debug, Deserialize)]
struct Settings {
    /// From the root of the file system.
    path: String,
    handler: String,
    arguments: Map<String, Value>,
    configured_at_s: f64,
    holder: Option<Holder>,
}

impl Files {
    /// Finishes what was begun, and forgets the states of files that nobody has written to for long. A file whose disk does
    /// not answer keeps no other waiting.
    pub(crate) async fn finish_writes(&self) {
        let states = tokio::task::spawn_blocking(unfinished).await.unwrap_or_default();
        let mut finishing = JoinSet::new();
        for (place, settings) in states {
            let files = self.clone();
            finishing.spawn(async move { files.finish_write(&place, settings).await });
        }
        while finishing.join_next().await.is_some() {}
    }

    async fn finish_write(&self, place: &str, settings: Settings) {
        let path = settings.path;
        let was_ours = settings.holder.is_some_and(|holder| {
            self.inner
                .holder
                .get()
                .is_some_and(|own| own.is_at_the_socket_of(&holder))
        });
        if !self.inner.roots.is_restricted() && !was_ours {
            tracing::debug!("{path} was another server's");
            return;
        }
        match self.locate(&path).await {
            Ok(location) if state::place_of(&location) == place => {}
            Ok(_) | Err(_) => {
                tracing::debug!("{path} is not this server's, or its directory is another one now");
                return;
            }
        }
        let mut arguments = settings.arguments;
        arguments.insert("filename".to_owned(), path.as_str().into());
        let request = OpenRequest {
            handler_class: settings.handler,
            arguments,
            configured_at_s: settings.configured_at_s,
            first: false,
            peer: "the server before this one".into(),
        };
        match self.open(request).await {
            Ok(_) => tracing::info!("{path}: looked at what was being written when its last server died"),
            Err(refusal) => tracing::warn!("{path}: may end in half a line: {refusal}"),
        }
    }
}

/// The states that hold a write; removes those that are of no use any more. Blocks: for a few system calls each.
fn unfinished() -> Vec<(String, Settings)> {
    state::trim();
    let mut found = Vec::new();
    for directory in state::directories() {
        for name in StateFile::all(&directory).unwrap_or_default() {
            if let Some((place, settings, true)) = StateFile::peek(&directory, &name) {
                found.extend(
                    serde_json::from_str(&settings)
                        .ok()
                        .map(|settings| (place, settings)),
                );
            }
        }
    }
    found
}

//! Whose settings a file has: the newest configuration's. A reconnect is not new.
//!
//! In: the configuration in force and one that comes. Out: the one that wins, and one warning for each loser.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use logserv_disk::{FileSettings, OpenMode, Permissions};
use logserv_wire::handshake::escape;
use serde_json::{Map, Value};

use super::holder::Holder;
use crate::limits::{CONFIGURATIONS_MAX, WARNED_MAX};
use crate::pipeline::OpenRequest;

/// A file's settings, and where they come from.
#[derive(Debug, Clone)]
pub(crate) struct Configuration {
    pub(crate) settings: FileSettings,
    pub(crate) configured_at_s: f64,
    peer: String,
    handler_class: String,
    arguments: Arc<Map<String, Value>>,
    /// As the handler has them, for messages.
    text: String,
    /// Times of configurations that have lost against this file's, whose users have been told.
    warned: HashSet<u64>,
}

impl Configuration {
    pub(crate) fn new(settings: FileSettings, request: &OpenRequest) -> Self {
        let arguments = request.arguments.iter().filter(|(name, _)| *name != "filename");
        let arguments: Vec<String> = arguments
            .map(|(name, value)| format!("{name}={}", shown(name, value)))
            .collect();
        Self {
            settings,
            configured_at_s: request.configured_at_s,
            peer: request.peer.clone(),
            handler_class: request.handler_class.clone(),
            arguments: Arc::new(request.arguments.clone()),
            text: escape(&format!("{}({})", request.handler_class, arguments.join(", "))),
            warned: HashSet::new(),
        }
    }

    /// What a server needs to open the file again, as an Open says it, and who holds it.
    pub(crate) fn handler_json(&self, path: &str, holder: Option<&Holder>) -> String {
        serde_json::json!({
            "path": path,
            "handler": self.handler_class,
            "arguments": *self.arguments,
            "configured_at_s": self.configured_at_s,
            "holder": holder,
        })
        .to_string()
    }

    /// Whose they are, and which, in one line.
    pub(crate) fn text(&self) -> String {
        format!("{} of {}", self.text, self.peer)
    }

    /// Warns of what can hardly be meant, unless it was in force `before`.
    pub(crate) fn warn_of_doubt(&self, before: Option<&Self>, path: &str) {
        let doubt = self.settings.doubt();
        if let Some(doubt) =
            doubt.filter(|doubt| before.and_then(|known| known.settings.doubt()).as_ref() != Some(doubt))
        {
            tracing::warn!("{path}: {doubt} ({})", self.text());
        }
    }

    /// The newer of the two, and whether the settings in force change with it. Warns once where they differ.
    pub(crate) fn winner(&self, asked: Self, path: &str) -> (Self, bool) {
        let is_same = same(&self.settings, &asked.settings);
        let is_newer = asked.configured_at_s > self.configured_at_s;
        let (mut winner, loser) = if is_newer {
            (asked, self)
        } else {
            (self.clone(), &asked)
        };
        winner.warned.extend(&self.warned);
        if !is_same
            && winner.warned.len() < WARNED_MAX
            && winner.warned.insert(loser.configured_at_s.to_bits())
        {
            let why = "the newest configuration of a file wins";
            tracing::warn!("{path}: using {}, not {}: {why}", winner.text(), loser.text());
        }
        (winner, is_newer && !is_same)
    }
}

/// An argument as its user would write it: permissions in octal.
fn shown(name: &str, value: &Value) -> String {
    match value.as_u64() {
        Some(bits) if matches!(name, "umask" | "file_mode") => format!("\"{bits:04o}\""),
        _ => value.to_string(),
    }
}

/// `mode`, `delay` and `umask` say how a file is opened the first time; they do not conflict.
fn same(one: &FileSettings, other: &FileSettings) -> bool {
    let plain = |settings: &FileSettings| FileSettings {
        mode: OpenMode::Append,
        delay: false,
        filename: String::new(),
        permissions: Permissions {
            umask: None,
            ..settings.permissions.clone()
        },
        ..settings.clone()
    };
    plain(one) == plain(other)
}

/// The newest configuration of files that were open, as many as fit.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    by_path: HashMap<PathBuf, Configuration>,
    order: VecDeque<PathBuf>,
}

impl Remembered {
    pub(crate) fn get(&self, path: &Path) -> Option<Configuration> {
        self.by_path.get(path).cloned()
    }

    /// The settings of those whose rotated files have an age limit, by the canonical paths of the files.
    pub(crate) fn aging(&self) -> Vec<(PathBuf, FileSettings)> {
        let aging = |(path, known): (&PathBuf, &Configuration)| {
            let has_limit = known.settings.retention.age.is_some();
            has_limit.then(|| (path.clone(), known.settings.clone()))
        };
        self.by_path.iter().filter_map(aging).collect()
    }

    pub(crate) fn put(&mut self, path: PathBuf, configuration: Configuration) {
        if self.by_path.insert(path.clone(), configuration).is_none() {
            self.order.push_back(path);
        }
        while self.order.len() > CONFIGURATIONS_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.by_path.remove(&oldest);
            }
        }
    }
}

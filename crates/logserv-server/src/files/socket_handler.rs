//! The file for records of a plain `SocketHandler`, which names none: `--socket-handler-file` and its format.

use std::sync::Arc;

use logserv_disk::Clock;
use logserv_format::{Formatter, Specification};
use serde_json::Value;

use super::{FileRef, Files};
use crate::config::{ConfigError, Ingest};
use crate::pipeline::{Formatters, OpenRequest, Refusal};

/// The file for records of a plain `SocketHandler`.
#[derive(Debug)]
pub(super) struct SocketHandlerFile {
    filename: String,
    formatters: Arc<Formatters>,
    /// Held for good once it is open: its sessions come and go with every connection.
    file: tokio::sync::Mutex<Option<FileRef>>,
    configured_at_s: f64,
}

impl SocketHandlerFile {
    /// What `[ingest]` says; `None`: no file is set. The format is compiled in any case.
    pub(super) fn new(ingest: &Ingest) -> Result<Option<Self>, ConfigError> {
        let formatters = Arc::new(compile_format(ingest.socket_handler_format.as_deref())?);
        Ok(ingest.socket_handler_file.clone().map(|filename| Self {
            filename,
            formatters,
            file: tokio::sync::Mutex::default(),
            configured_at_s: Clock::system().now_s(),
        }))
    }
}

impl Files {
    /// The file for records of a plain `SocketHandler` (`--socket-handler-file`), opened at the first use.
    /// `Ok(None)`: none is set; count the records with [`Counters::discard`](crate::Counters::discard) and
    /// [`DropReason::NoFile`](crate::DropReason::NoFile).
    ///
    /// # Errors
    /// It is set, and cannot be opened now.
    pub async fn socket_handler_file(&self) -> Result<Option<FileRef>, Refusal> {
        let Some(wanted) = &self.inner.socket_handler else {
            return Ok(None);
        };
        let mut file = wanted.file.lock().await;
        if let Some(file) = &*file {
            return Ok(Some(file.clone()));
        }
        let arguments = [("filename".to_owned(), Value::from(wanted.filename.as_str()))]
            .into_iter()
            .collect();
        let request = OpenRequest {
            handler_class: "logging.FileHandler".into(),
            arguments,
            configured_at_s: wanted.configured_at_s,
            first: false,
            peer: "--socket-handler-file".into(),
        };
        let opened = self.open(request).await?;
        *file = Some(opened.clone());
        Ok(Some(opened))
    }

    /// The formatters for those records: `--socket-handler-format` under id 0.
    #[must_use]
    pub fn socket_handler_formatters(&self) -> Arc<Formatters> {
        self.inner
            .socket_handler
            .as_ref()
            .map(|wanted| Arc::clone(&wanted.formatters))
            .unwrap_or_default()
    }
}

/// `--socket-handler-format`, as the formatter of id 0.
pub(crate) fn compile_format(format: Option<&str>) -> Result<Formatters, ConfigError> {
    let Some(format) = format else {
        return Ok(Formatters::default());
    };
    let specification = Specification {
        fmt: Some(format.to_owned()),
        ..Specification::default()
    };
    let formatter = Formatter::compile(&specification)
        .map_err(|error| ConfigError::new(format!("socket_handler_format {format:?}: {error}")))?;
    Ok(Formatters::with_default(Arc::new(formatter)))
}

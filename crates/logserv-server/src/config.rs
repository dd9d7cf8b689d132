//! What an operator may decide: one structure for the command line, `--config FILE.toml` and in-process servers.
//!
//! In: TOML text, or fields set by hand. Out: a [`Config`] whose values are in range, or an error that says where.
//! `docs/server.md` has the table of keys. Not here: whether the addresses can be bound and the roots exist.

use std::path::PathBuf;
use std::time::Duration;

use logserv_disk::Roots;
use serde::Deserialize;

use crate::limits;

mod value;
pub use value::{TcpAddress, UnixMode, parse_duration_s};

/// The configuration of one server. `Default` is what the program does without options, and listens nowhere.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where to listen, and to whom.
    pub listen: Listen,
    /// What to do with records that name no file.
    pub ingest: Ingest,
    /// Which files may be written, and how many.
    pub sink: Sink,
    /// The process as a whole.
    pub server: Server,
    /// Serves its own user only, with the root `/` and by the kernel's permissions alone: `--personal`.
    #[serde(skip)]
    pub personal: bool,
    /// Where the process writes its own log, for the status.
    #[serde(skip)]
    pub own_log: Option<PathBuf>,
}

/// `[listen]`: the sockets.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// Paths of Unix sockets.
    pub unix: Vec<PathBuf>,
    /// TCP addresses, `host:port`.
    pub tcp: Vec<TcpAddress>,
    /// Permissions of the Unix sockets; in TOML an octal text, `"0600"`.
    pub unix_mode: UnixMode,
    /// Allows TCP addresses beyond the loopback: whoever reaches them may write into the roots, and records travel in
    /// the clear.
    pub allow_remote_plain: bool,
}

/// `[ingest]`: what a plain `SocketHandler`, which names no file, gets.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ingest {
    /// The file for its records; without it they are dropped and counted.
    pub socket_handler_file: Option<String>,
    /// The format of their lines, in `%` style; Python's default, `%(message)s`, if not set.
    pub socket_handler_format: Option<String>,
}

/// `[sink]`: the files.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sink {
    /// Directories below which files may be made and written. Empty: the working directory.
    pub roots: Vec<PathBuf>,
    /// Whether drops are told in the file by a record of logger `logserv`.
    pub announce_drops: bool,
    /// Files open at once.
    #[serde(deserialize_with = "value::files_max")]
    pub files_max: usize,
    /// Bytes of records that wait for one file in memory, before its connections have to wait.
    #[serde(deserialize_with = "value::queue_bytes")]
    pub queue_bytes: usize,
    /// Seconds after which a file that no session holds is closed.
    #[serde(rename = "idle_close_s", deserialize_with = "value::duration_s")]
    pub idle_close: Duration,
}

impl Default for Sink {
    fn default() -> Self {
        Self {
            roots: Vec::new(),
            announce_drops: true,
            files_max: limits::FILES_MAX,
            queue_bytes: limits::QUEUE_LEN_MAX,
            idle_close: limits::IDLE_CLOSE,
        }
    }
}

/// `[server]`: the process.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Seconds that a drain may take, from the signal to the exit.
    #[serde(rename = "drain_timeout_s", deserialize_with = "value::duration_s")]
    pub drain_timeout: Duration,
    /// Seconds without a client after which the server leaves; 0 is never. By default 60 for a personal server, else never.
    #[serde(rename = "idle_exit_s", deserialize_with = "value::some_duration_s")]
    pub idle_exit: Option<Duration>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            drain_timeout: limits::DRAIN_TIMEOUT,
            idle_exit: None,
        }
    }
}

/// What is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConfigError {
    message: String,
}

impl ConfigError {
    pub(crate) fn new(message: impl ToString) -> Self {
        Self {
            message: message.to_string(),
        }
    }
}

impl Config {
    /// Reads TOML.
    ///
    /// # Errors
    /// One text of several lines: line and column, the line itself, what was expected and what came; for an unknown
    /// key the known one that is nearest.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error| {
            let mut message = error.to_string().trim_end().to_owned();
            if let Some(near) = value::nearest(error.message()) {
                message = format!("{message}\ndid you mean `{near}`?");
            }
            ConfigError { message }
        })
    }

    pub(crate) fn open_roots(&self) -> Result<Roots, ConfigError> {
        if !self.personal {
            return Roots::new(&self.sink.roots).map_err(ConfigError::new);
        }
        if !self.listen.tcp.is_empty() {
            // Nobody knows whose process is at the other end.
            return Err(ConfigError::new(
                "a personal server listens on Unix sockets: expected no TCP address",
            ));
        }
        if !self.sink.roots.is_empty() {
            return Err(ConfigError::new(
                "a personal server has the root /: expected no other",
            ));
        }
        Ok(Roots::unrestricted())
    }

    /// Holds the configuration against this machine: roots that are directories, a format that can be rendered,
    /// addresses that are allowed. Blocks: for a few system calls.
    ///
    /// # Errors
    /// The first thing that would keep a server from starting.
    pub fn verify(&self) -> Result<(), ConfigError> {
        self.open_roots()?;
        crate::files::compile_format(self.ingest.socket_handler_format.as_deref())?;
        crate::listen::check(&self.listen).map_err(ConfigError::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_read() {
        let config = Config::from_toml(
            r#"
            [listen]
            unix = ["/run/logserv/logserv.sock"]
            tcp = ["127.0.0.1:9876", "localhost:0"]
            unix_mode = "0660"
            allow_remote_plain = true
            [ingest]
            socket_handler_file = "app.log"
            socket_handler_format = "%(name)s %(message)s"
            [sink]
            roots = ["/var/log/app"]
            announce_drops = false
            files_max = 10
            queue_bytes = 65536
            idle_close_s = 1.5
            [server]
            drain_timeout_s = 3
            idle_exit_s = 2.5
            "#,
        )
        .unwrap();
        assert_eq!(config.listen.unix_mode.0, 0o660);
        assert_eq!(
            config.listen.tcp[1],
            TcpAddress {
                host: "localhost".into(),
                port: 0
            }
        );
        assert!(config.listen.allow_remote_plain && !config.sink.announce_drops);
        assert_eq!(config.sink.idle_close, Duration::from_millis(1500));
        assert_eq!(config.server.drain_timeout, Duration::from_secs(3));
        assert_eq!(config.server.idle_exit, Some(Duration::from_millis(2500)));
        assert_eq!((config.sink.files_max, config.sink.queue_bytes), (10, 65536));
        assert_eq!(Config::from_toml("").unwrap(), Config::default());
    }

    #[test]
    fn an_error_says_where_what_was_expected_and_what_was_meant() {
        let error = Config::from_toml("[sink]\nrots = [\"/tmp\"]\n")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("line 2, column 1") && error.contains("rots"),
            "{error}"
        );
        assert!(error.contains("did you mean `roots`?"), "{error}");

        let error = Config::from_toml("[listen]\nunix_mode = \"rw\"\n")
            .unwrap_err()
            .to_string();
        assert!(error.contains("line 2, column 13"), "{error}");
        assert!(
            error.contains("expected an octal mode") && error.contains("received \"rw\""),
            "{error}"
        );

        let error = Config::from_toml("[sink]\nqueue_bytes = 12\n")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("expected 65536 to") && error.contains("received 12"),
            "{error}"
        );

        let error = Config::from_toml("[listen]\ntcp = [\"nohost\"]\n")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("expected host:port") && error.contains("received \"nohost\""),
            "{error}"
        );
    }

    #[test]
    fn the_manual_names_every_key_and_its_default() {
        let manual = include_str!("../../../docs/server.md");
        let config = Config::default();
        let sink = &config.sink;
        for (key, default) in [
            ("[listen] unix", "none".to_owned()),
            ("[listen] tcp", "none".to_owned()),
            (
                "[listen] unix_mode",
                format!("`\"{:04o}\"`", config.listen.unix_mode.0),
            ),
            (
                "[listen] allow_remote_plain",
                format!("`{}`", config.listen.allow_remote_plain),
            ),
            ("[sink] roots", "the working directory".to_owned()),
            ("[ingest] socket_handler_file", "none".to_owned()),
            ("[ingest] socket_handler_format", "`%(message)s`".to_owned()),
            ("[sink] announce_drops", format!("`{}`", sink.announce_drops)),
            ("[sink] files_max", sink.files_max.to_string()),
            ("[sink] queue_bytes", sink.queue_bytes.to_string()),
            ("[sink] idle_close_s", sink.idle_close.as_secs().to_string()),
            (
                "[server] drain_timeout_s",
                config.server.drain_timeout.as_secs().to_string(),
            ),
            (
                "[server] idle_exit_s",
                format!("personal: {}; else never", limits::IDLE_EXIT.as_secs()),
            ),
        ] {
            assert!(
                manual.contains(&format!("`{key}` | {default} |")),
                "{key} {default}"
            );
        }
        for reason in crate::DropReason::ALL {
            assert!(
                manual.contains(&format!("`{}`", reason.name().replace(' ', "_"))),
                "{}",
                reason.name()
            );
        }
    }
}

//! `logserv serve`: a server in the foreground, or a personal one in the background.
//!
//! In: options, a configuration file, signals. Out: an exit status; its own log on stderr, in the background in a file.
//! Options add to the lists of the configuration file, and win over its single values.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use logserv_server::config::{TcpAddress, UnixMode, parse_duration_s};
use logserv_server::listen::{self, BindError};
use logserv_server::{Config, Control, Listeners, Server, make_personal_directory, personal_socket};

use crate::{Failure, check};

mod detach;
mod log_file;
mod own_log;
mod parent;
mod ready;
mod signals;
mod surroundings;
use log_file::LogFile;
use ready::Ready;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Arguments {
    /// Listen on a Unix socket; may be repeated
    #[arg(long, value_name = "PATH")]
    unix: Vec<PathBuf>,
    /// Listen on a TCP address; may be repeated
    #[arg(long, value_name = "HOST:PORT")]
    tcp: Vec<TcpAddress>,
    /// Allow files below this directory; may be repeated; names without a directory go to the first
    /// [default: the working directory]
    #[arg(long, value_name = "DIR")]
    root: Vec<PathBuf>,
    /// Read options from a configuration file
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// Have the server that runs on a --unix PATH write everything and leave, and take its place
    #[arg(long)]
    replace: bool,
    /// Permissions of the Unix sockets [default: 0600]
    #[arg(long, value_name = "MODE")]
    unix_mode: Option<UnixMode>,
    /// Allow a --tcp address that other machines reach: whoever reaches it may write into the roots, and records travel
    /// in the clear
    #[arg(long)]
    allow_remote_plain: bool,
    /// File for records of a plain SocketHandler, below the first root [default: they are counted and dropped]
    #[arg(long, value_name = "FILE")]
    socket_handler_file: Option<String>,
    /// Format of their lines [default: %(message)s]
    #[arg(long, value_name = "FMT")]
    socket_handler_format: Option<String>,
    /// Serve this user only, with the root / and by the kernel's permissions alone, on the socket of LOGSERV_SOCKET, or
    /// one in the user's runtime directory, unless --unix names another; leave when idle
    #[arg(long, conflicts_with_all = ["tcp", "root", "watch_parent"])]
    personal: bool,
    /// Run in the background; return when a personal server accepts, this one or another
    #[arg(long, requires = "personal")]
    detach: bool,
    /// Leave when nobody has logged for so long; 0 is never [default: 60 with --personal, else 0]
    #[arg(long, value_name = "SECONDS", value_parser = parse_duration_s)]
    idle_exit_s: Option<Duration>,
    /// We are in the background
    #[arg(long, requires = "personal", conflicts_with = "detach", hide = true)]
    detached: bool,
    /// Drain and leave when this process, our parent, is gone
    #[arg(long, value_name = "PID", hide = true)]
    watch_parent: Option<i32>,
    /// Write `ready`, or `error ERRNO MESSAGE`, as a line to this descriptor when it is known
    #[arg(long, value_name = "FD", hide = true)]
    ready_fd: Option<i32>,
}

impl Arguments {
    fn config(&mut self) -> Result<Config, Failure> {
        let mut config = match &self.config {
            Some(file) => check::read(file)?,
            None => Config::default(),
        };
        config.listen.unix.append(&mut self.unix);
        config.listen.tcp.append(&mut self.tcp);
        config.sink.roots.append(&mut self.root);
        config.listen.unix_mode = self.unix_mode.unwrap_or(config.listen.unix_mode);
        config.listen.allow_remote_plain |= self.allow_remote_plain;
        let ingest = &mut config.ingest;
        ingest.socket_handler_file = self
            .socket_handler_file
            .take()
            .or(ingest.socket_handler_file.take());
        ingest.socket_handler_format = self
            .socket_handler_format
            .take()
            .or(ingest.socket_handler_format.take());
        config.server.idle_exit = self.idle_exit_s.or(config.server.idle_exit);
        config.personal = self.personal;
        if self.personal {
            if config.listen.unix.is_empty() {
                config.listen.unix.push(personal_socket()?);
            }
            for socket in &config.listen.unix {
                make_personal_directory(socket)?;
            }
        }
        Ok(config)
    }

    /// The arguments of the same server in the background, which is in another directory.
    fn again(&self, socket: &Path) -> Result<Vec<OsString>, Failure> {
        let absolute = |path: &Path| std::path::absolute(path).context("no working directory");
        let mut again: Vec<OsString> = ["serve", "--personal", "--detached"].map(OsString::from).into();
        let mut add = |name: &str, value: OsString| again.extend([OsString::from(name), value]);
        if self.config.is_none() || !self.unix.is_empty() {
            add("--unix", absolute(socket)?.into());
        }
        for path in self.unix.iter().skip(1) {
            add("--unix", absolute(path)?.into());
        }
        if let Some(file) = &self.config {
            add("--config", absolute(file)?.into());
        }
        if let Some(idle_exit) = self.idle_exit_s {
            add("--idle-exit-s", idle_exit.as_secs_f64().to_string().into());
        }
        if let Some(mode) = self.unix_mode {
            add("--unix-mode", format!("{:04o}", mode.0).into());
        }
        if let Some(file) = &self.socket_handler_file {
            add("--socket-handler-file", absolute(Path::new(file))?.into());
        }
        if let Some(format) = &self.socket_handler_format {
            add("--socket-handler-format", format.into());
        }
        if self.replace {
            again.push("--replace".into());
        }
        Ok(again)
    }
}

pub(crate) fn run(mut arguments: Arguments) -> Result<(), Failure> {
    if arguments.detach {
        let again = arguments.clone();
        let config = arguments.config()?;
        let socket = config.listen.unix.first().ok_or(BindError::NoListener)?;
        return detach::start(&again, socket);
    }
    let mut ready = if arguments.detached {
        Ready::on_pipe(detach::leave_starter()?)
    } else {
        Ready::new(arguments.ready_fd)
    };
    let result = serve(&mut arguments, &mut ready);
    if let Err(Failure::Failed(error) | Failure::Usage(error)) = &result {
        ready.failed(error);
    }
    result
}

fn serve(arguments: &mut Arguments, ready: &mut Ready) -> Result<(), Failure> {
    // Needed before there is a log to say it in.
    let config = if arguments.detached {
        Some(arguments.config()?)
    } else {
        None
    };
    let log_file = config
        .as_ref()
        .and_then(|config| LogFile::find(config.listen.unix.first()?));
    let own_log_path = log_file.as_ref().map(|file| file.path().to_owned());
    let _own_log = match log_file {
        Some(file) => own_log::start(file)?,
        None => own_log::start(std::io::stderr())?,
    };
    let mut config = match config {
        Some(config) => config,
        None => arguments.config()?,
    };
    config.own_log = own_log_path;
    if config.listen.unix.is_empty() && config.listen.tcp.is_empty() {
        return Err(Failure::Usage(BindError::NoListener.into()));
    }
    raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start")?;
    let control = Control::default();
    runtime
        .block_on(async { signals::obey(&control) })
        .context("cannot handle signals")?;
    if let Some(pid) = arguments.watch_parent {
        parent::watch(pid, &control)?;
    }
    listen::check(&config.listen).map_err(bind_failure)?;
    config.verify()?;
    let listeners = match Listeners::bind(&config.listen, arguments.replace) {
        // Another one was first, and accepts: whoever waits for us can have that.
        Err(BindError::Held { .. }) if arguments.detached => {
            ready.reached(&[]);
            return Ok(());
        }
        bound => bound.map_err(bind_failure)?,
    };
    runtime.block_on(async {
        let server = Server::start(&config, listeners, &control).await?;
        tracing::info!(
            "logserv {}, pid {}, listens on {}; roots: {}",
            env!("CARGO_PKG_VERSION"),
            std::process::id(),
            server.addresses().join(", "),
            server.roots().join(", "),
        );
        if arguments.personal {
            surroundings::tell(config.own_log.as_deref(), arguments.detached);
        }
        ready.reached(server.addresses());
        server.serve().await;
        anyhow::Ok(())
    })?;
    // A thread that hangs in a system call of a dead disk must not keep the process.
    runtime.shutdown_timeout(Duration::from_millis(100));
    Ok(())
}

fn bind_failure(error: BindError) -> Failure {
    if error.is_usage() {
        Failure::Usage(error.into())
    } else {
        Failure::Failed(error.into())
    }
}

/// Each connection and each file takes descriptors; the usual soft limit, 1024, is for programs that use `select`.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(
            "cannot raise the limit of open files above {:?}: {error}",
            limit.current
        );
    }
}

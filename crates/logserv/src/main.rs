//! The logserv program: arguments in, library calls out.
//!
//! One file per command. Exit status: 0 done, 1 failed, 2 wrong usage.
//! Not here: what the commands do; that is `logserv-server`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod check;
mod printable;
mod serve;
mod status;
mod stop;
mod sys;

/// A log server: processes on this machine and others write into the same rotating files, and no record is lost.
#[derive(Debug, Parser)]
#[command(
    name = "logserv",
    version,
    propagate_version = false,
    arg_required_else_help = true
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a server in the foreground
    Serve(Box<serve::Arguments>),
    /// Show what a running server does
    Status(status::Arguments),
    /// Have a running server write everything and leave, and wait until it has
    Stop(stop::Arguments),
    /// Check a configuration file
    Check(check::Arguments),
}

/// Which server a command is for.
#[derive(Debug, clap::Args)]
struct Which {
    /// The server's Unix socket [default: that of the personal server: $LOGSERV_SOCKET, else one in logserv/ below
    /// $XDG_RUNTIME_DIR or /run/user/UID, else in /tmp/logserv-UID]
    #[arg(long, value_name = "PATH")]
    unix: Option<PathBuf>,
}

impl Which {
    fn path(self) -> Result<PathBuf, Failure> {
        match self.unix {
            Some(path) => Ok(path),
            None => Ok(logserv_server::personal_socket()?),
        }
    }
}

/// How a command fails.
#[derive(Debug)]
enum Failure {
    /// The command line, or the configuration file, is wrong: exit status 2.
    Usage(anyhow::Error),
    /// Everything else: exit status 1.
    Failed(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Serve(arguments) => serve::run(*arguments),
        Command::Status(arguments) => status::run(arguments),
        Command::Stop(arguments) => stop::run(arguments),
        Command::Check(arguments) => check::run(&arguments),
    };
    let (error, code) = match result {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Failed(error)) => (error, 1),
        Err(Failure::Usage(error)) => (error, 2),
    };
    eprintln!("logserv: {error:#}");
    ExitCode::from(code)
}

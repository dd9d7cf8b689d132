//! `logserv check FILE.toml`: whether a server would start with this configuration.

use std::path::{Path, PathBuf};

use anyhow::Context;
use logserv_server::Config;

use crate::Failure;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The configuration
    #[arg(value_name = "FILE.toml")]
    file: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let config = read(&arguments.file)?;
    config
        .verify()
        .with_context(|| arguments.file.display().to_string())?;
    println!("{}: ok", arguments.file.display());
    Ok(())
}

/// Reads a configuration file.
pub(crate) fn read(file: &Path) -> Result<Config, Failure> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(Config::from_toml(&text).with_context(|| file.display().to_string())?)
}

//! `logserv stop`: a drain, from outside.

use std::time::Instant;

use anyhow::anyhow;
use logserv_server::{ask, limits};

use crate::{Failure, Which};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    which: Which,
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    let path = arguments.which.path()?;
    if ask::stop(&path, Instant::now() + limits::LEAVE_TIMEOUT)? {
        return Ok(());
    }
    let waited = limits::LEAVE_TIMEOUT.as_secs();
    Err(anyhow!("the server on {} has not left within {waited} s", path.display()).into())
}

//! `logserv status`: what a running server does, as text or as JSON.

use std::fmt::Write;

use logserv_server::ask;
use serde_json::Value;

use crate::printable::printable;
use crate::{Failure, Which};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    which: Which,
    /// Print one JSON object, with more in it than the text
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    let status = ask::status(&arguments.which.path()?)?;
    let text = if arguments.json {
        format!("{status:#}\n")
    } else {
        text(&status).unwrap_or_default()
    };
    // Not `print!`: a reader that has gone (`| head`) is no reason to panic.
    std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes())?;
    Ok(())
}

fn text(status: &Value) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    let number = |value: &Value, key: &str| value[key].as_u64().unwrap_or_default();
    let list = |key: &str| {
        let items = status[key].as_array().into_iter().flatten();
        items.filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
    };
    let draining = if status["draining"] == true {
        ", draining"
    } else {
        ""
    };
    let uptime_s = status["uptime_s"].as_f64().unwrap_or_default();
    let version = status["version"].as_str().unwrap_or("?");
    writeln!(
        out,
        "logserv {version}, pid {}, up {uptime_s:.0} s{draining}",
        number(status, "pid")
    )?;
    if status["personal"] == true {
        let idle = match status["idle_for_s"].as_f64() {
            Some(seconds) => format!("idle for {seconds:.0} s"),
            None => "in use".into(),
        };
        let leaves = match status["idle_exit_s"].as_f64() {
            Some(seconds) => format!("leaves after {seconds} s without a client"),
            None => "stays when idle".into(),
        };
        writeln!(out, "personal    {idle}, {leaves}")?;
        if let Some(path) = status["own_log"].as_str() {
            writeln!(out, "its own log {}", printable(path))?;
        }
    }
    writeln!(out, "listens on  {}", list("listeners"))?;
    writeln!(out, "roots       {}", list("roots"))?;
    let shown = status["sessions"].as_array().map_or(0, Vec::len);
    let sessions = shown as u64 + number(status, "sessions_left_off");
    writeln!(
        out,
        "clients     {} connections, {sessions} sessions",
        number(status, "connections")
    )?;
    let counters = &status["counters"];
    writeln!(
        out,
        "records     {} received = {} written + {} filtered + {} dropped + {} pending",
        number(counters, "records_received"),
        number(counters, "records_written"),
        number(counters, "records_filtered"),
        number(counters, "records_dropped"),
        number(counters, "records_pending"),
    )?;
    for (reason, count) in counters["records_dropped_by_reason"]
        .as_object()
        .into_iter()
        .flatten()
    {
        if count.as_u64().is_some_and(|count| count > 0) {
            writeln!(out, "            {count} dropped: {}", reason.replace('_', " "))?;
        }
    }
    for (key, what) in [
        (
            "format_errors",
            "records written as their message alone, for their format failed",
        ),
        (
            "protocol_errors",
            "connections closed for breaking their protocol",
        ),
        ("refusals", "requests refused"),
    ] {
        if number(counters, key) > 0 {
            writeln!(out, "            {} {what}", number(counters, key))?;
        }
    }
    for file in status["files"].as_array().into_iter().flatten() {
        writeln!(out, "\n{}", printable(file["path"].as_str().unwrap_or("?")))?;
        writeln!(
            out,
            "    {} records written, {} pending, {} bytes; {} sessions; {}",
            number(file, "records_written"),
            number(file, "records_pending"),
            number(file, "bytes_written"),
            number(file, "sessions"),
            printable(file["settings"].as_str().unwrap_or("?")),
        )?;
        if let Some(error) = file["last_error"].as_str().map(printable) {
            match file["in_trouble_for_s"].as_f64() {
                Some(seconds) => writeln!(out, "    CANNOT BE WRITTEN since {seconds:.0} s: {error}")?,
                None => writeln!(out, "    healed: {error}")?,
            }
        }
    }
    if number(status, "files_left_off") > 0 {
        writeln!(out, "\nand {} files more", number(status, "files_left_off"))?;
    }
    Ok(out)
}

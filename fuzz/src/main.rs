//! Feeds every decoder with hostile bytes, made from a seed, and fails on a panic, a crash, a hang or a hunger for memory.
//!
//! In: `logserv-fuzz [--seconds N] [--seed N] [--input FILE | --at N] TARGET…|all`. Out: one line per target; on a failure
//! the input, in a file, and the command that replays it. Works on stable Rust and needs no tool: it mutates blindly, but
//! knows the grammar of each format (`targets/`), which reaches deeper than flipped bits.
//! Each target runs in a process of its own (`supervise.rs`), since a stack overflow is not a panic.
//! Not here: what is expected of a decoder; that is `targets/`.

mod allocator;
mod mutate;
mod supervise;
mod targets;
mod worker;

use std::path::PathBuf;
use std::process::ExitCode;

use targets::TARGETS;

#[global_allocator]
static ALLOCATOR: allocator::Counting = allocator::Counting;

/// What the command line asks for.
#[derive(Debug, Clone, Default)]
struct Options {
    seconds: u64,
    seed: u64,
    /// Run only this iteration.
    at: Option<u64>,
    /// Run only this input.
    input: Option<PathBuf>,
    /// This is the process of one target.
    is_worker: bool,
    targets: Vec<String>,
}

const USAGE: &str =
    "usage: logserv-fuzz [--seconds N] [--seed N] [--at ITERATION | --input FILE] TARGET...|all";

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options {
        seconds: 30,
        seed: mutate::seed_of_today(),
        ..Options::default()
    };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        let number = |text: String| {
            text.parse::<u64>()
                .map_err(|error| format!("{argument} {text}: {error}"))
        };
        match argument.as_str() {
            "--seconds" => options.seconds = number(value()?)?,
            "--seed" => options.seed = number(value()?)?,
            "--at" => options.at = Some(number(value()?)?),
            "--input" => options.input = Some(PathBuf::from(value()?)),
            "--worker" => options.is_worker = true,
            "all" => options.targets = TARGETS.iter().map(|target| target.name.to_owned()).collect(),
            name if targets::find(name).is_some() => options.targets.push(name.to_owned()),
            other => {
                let known: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
                return Err(format!("unknown target {other}; known: {}", known.join(", ")));
            }
        }
    }
    if options.targets.is_empty() {
        return Err("no target given".to_owned());
    }
    Ok(options)
}

fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let passed = if options.is_worker {
        worker::run(&options)
    } else {
        supervise::run(&options)
    };
    if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

//! Runs one process per target, as many at a time as there are processors, and tells what became of each.
//!
//! In: the command line. Out: one line per target, and for a failure the input and how to replay it.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread::available_parallelism;

use crate::Options;
use crate::worker;

/// Runs all targets; true if none failed.
pub fn run(options: &Options) -> bool {
    println!("fuzzing for {} s each, seed {}", options.seconds, options.seed);
    let at_once = available_parallelism().map_or(1, usize::from);
    let mut passed = true;
    for names in options.targets.chunks(at_once) {
        let children: Vec<_> = names.iter().map(|name| (name, start(options, name))).collect();
        for (name, child) in children {
            passed &= child.is_some_and(|child| finish(options, name, child));
        }
    }
    passed
}

fn start(options: &Options, name: &str) -> Option<Child> {
    let mut command = Command::new(std::env::current_exe().ok()?);
    command.args([
        "--worker",
        "--seconds",
        &options.seconds.to_string(),
        "--seed",
        &options.seed.to_string(),
    ]);
    if let Some(at) = options.at {
        command.args(["--at", &at.to_string()]);
    }
    if let Some(path) = &options.input {
        command.arg("--input").arg(path);
    }
    command
        .arg(name)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .ok()
}

fn finish(options: &Options, name: &str, child: Child) -> bool {
    let Ok(output) = child.wait_with_output() else {
        return false;
    };
    let said = String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        print!("{name:>10}: {said}");
        return true;
    }
    println!("{name:>10}: FAILED ({}): {}", output.status, said.trim_end());
    let at = fs::read(worker::progress_path(name))
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .map(u64::from_le_bytes);
    if let Some(iteration) = at {
        let saved = worker::save(options, name, iteration);
        println!(
            "{:>10}  replay: cargo run --profile fuzz --package logserv-fuzz -- --seed {} --at {iteration} {name}",
            "", options.seed
        );
        if let Some(path) = saved {
            println!("{:>10}  input: {}", "", path.display());
        }
    }
    false
}

//! What one record costs in each room: `micro [--count N] [--list] [CASE…]` prints nanoseconds for each case.
//!
//! In: the names of cases, none for all, and how many records. Out: one line each, `case<TAB>nanoseconds`. `bench/micro.py` makes the
//! table, and runs the same under valgrind, twice with different counts, so that what is not of the records falls out.
//! Not here: the cases (`cases.rs`).

mod cases;

use std::error::Error;
use std::process::ExitCode;

use cases::CASES;

const COUNT: u64 = 200_000;
const ROUNDS: usize = 5;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("micro: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut count = None;
    let mut wanted = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--list" => {
                CASES.iter().for_each(|(name, _)| println!("{name}"));
                return Ok(());
            }
            "--count" => count = Some(arguments.next().ok_or("--count without a number")?.parse()?),
            _ => wanted.push(argument),
        }
    }
    for name in &wanted {
        if !CASES.iter().any(|(known, _)| known == name) {
            return Err(format!("no case {name:?}; --list says which there are").into());
        }
    }
    for (name, case) in CASES {
        if !wanted.is_empty() && !wanted.iter().any(|it| it == name) {
            continue;
        }
        // Without a count: the best of some rounds, which is what the rest of the machine disturbs least.
        let rounds = if count.is_some() { 1 } else { ROUNDS };
        let mut best = f64::INFINITY;
        for _ in 0..rounds {
            let count = count.unwrap_or(COUNT);
            let took = case(count)?;
            best = best.min(took.as_secs_f64() * 1e9 / count.max(1) as f64);
        }
        println!("{name}\t{best:.1}");
    }
    Ok(())
}

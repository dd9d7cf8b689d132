//! The process of one target: makes inputs, runs them, measures each.
//!
//! In: the target, the seed. Out: a line of figures on stdout; or a line that says what went wrong, and failure.
//! The iteration is written to a file before each input, for the supervisor to read should this process die.

use std::fs;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::Options;
use crate::allocator;
use crate::mutate::{Random, mutate};
use crate::targets::{self, Target};

/// Most memory in bytes that a decoder may hold for one input, however long: see `limits.rs` of the wire.
const MEMORY_LEN_MAX: usize = 64 << 20;

/// Longest time that one input may take. Microseconds are usual; this is for a busy machine with two cores.
const INPUT_TIME_MAX: Duration = Duration::from_secs(5);

/// Where seeds and failures are kept.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/fuzz")
}

/// The file that holds the number of the iteration that `target` is at.
pub fn progress_path(target: &str) -> PathBuf {
    directory().join(format!("{target}.at"))
}

/// The inputs that mutation begins with: the files below `tests/corpus/<target>` of the workspace and of
/// the crate that owns the bytes, in the order of their names.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut paths: Vec<PathBuf> = Vec::new();
    let mut directories: Vec<PathBuf> = ["tests/corpus", "crates/logserv-wire/tests/corpus"]
        .map(|root| workspace.join(root).join(target))
        .into();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                directories.push(path)
            } else {
                paths.push(path)
            }
        }
    }
    paths.sort();
    paths.iter().filter_map(|path| fs::read(path).ok()).collect()
}

/// One input, the same for the same seed and iteration.
fn input(target: &Target, seed: u64, iteration: u64, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut random = Random::new(seed, iteration);
    // The first inputs are the corpus itself.
    if let Some(seed) = usize::try_from(iteration).ok().and_then(|index| seeds.get(index)) {
        return seed.clone();
    }
    let mut bytes = if seeds.is_empty() || random.one_in(2) {
        (target.generate)(&mut random)
    } else {
        seeds[random.below(seeds.len())].clone()
    };
    if !random.one_in(8) {
        mutate(&mut random, &mut bytes, seeds);
    }
    bytes
}

/// Ends the process when one input takes too long; the supervisor tells which.
fn watch(iteration: Arc<AtomicU64>) {
    std::thread::spawn(move || {
        let (mut last, mut since) = (u64::MAX, Instant::now());
        loop {
            std::thread::sleep(Duration::from_millis(100));
            let now = iteration.load(Ordering::Relaxed);
            if now != last {
                (last, since) = (now, Instant::now());
            } else if since.elapsed() > INPUT_TIME_MAX {
                println!("one input took longer than {INPUT_TIME_MAX:?}");
                let _flushed = std::io::stdout().flush();
                std::process::exit(3);
            }
        }
    });
}

static PANIC: OnceLock<String> = OnceLock::new();

/// Runs one target; true if nothing was found.
pub fn run(options: &Options) -> bool {
    let Some(target) = options.targets.first().and_then(|name| targets::find(name)) else {
        return false;
    };
    panic::set_hook(Box::new(|info| {
        let _first = PANIC.set(info.to_string());
    }));
    let progress =
        fs::create_dir_all(directory()).and_then(|()| fs::File::create(progress_path(target.name)));
    let Ok(progress) = progress else {
        println!("cannot write below {}", directory().display());
        return false;
    };
    let current = Arc::new(AtomicU64::new(0));
    watch(Arc::clone(&current));
    let seeds = corpus(target.name);
    let deadline = Instant::now() + Duration::from_secs(options.seconds);
    let (mut count, mut accepted, mut peak_len, mut slowest) = (0u64, 0u64, 0, Duration::ZERO);
    for iteration in options.at.unwrap_or(0).. {
        let bytes = match &options.input {
            Some(path) => fs::read(path).unwrap_or_default(),
            None => input(target, options.seed, iteration, &seeds),
        };
        if progress.write_all_at(&iteration.to_le_bytes(), 0).is_err() {
            return false;
        }
        current.store(iteration, Ordering::Relaxed);
        allocator::reset();
        let started = Instant::now();
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| (target.run)(&bytes)));
        slowest = slowest.max(started.elapsed());
        let len = allocator::peak_len();
        peak_len = peak_len.max(len);
        match outcome {
            Ok(Ok(was_accepted)) => accepted += u64::from(was_accepted),
            Ok(Err(why)) => {
                println!("{why}");
                return false;
            }
            Err(_) => {
                println!("{}", PANIC.get().map_or("panicked", String::as_str));
                return false;
            }
        }
        if len > MEMORY_LEN_MAX {
            println!(
                "{} bytes of input took {len} bytes of memory, more than {MEMORY_LEN_MAX}",
                bytes.len()
            );
            return false;
        }
        count += 1;
        if options.at.is_some() || options.input.is_some() || (count % 16 == 0 && Instant::now() >= deadline)
        {
            break;
        }
    }
    println!(
        "{count} inputs ({} of the corpus), {:.1} % accepted, at most {} KiB of memory and {:.1} ms for one",
        seeds.len(),
        100.0 * accepted as f64 / count as f64,
        peak_len >> 10,
        slowest.as_secs_f64() * 1e3,
    );
    // A target whose inputs are all refused at the door tests nothing.
    if options.at.is_none() && options.input.is_none() && accepted == 0 {
        println!("no input was accepted: the generator does not speak the format");
        return false;
    }
    true
}

/// Writes the input of one iteration to a file, for a test to be made of it.
pub fn save(options: &Options, name: &str, iteration: u64) -> Option<PathBuf> {
    let target = targets::find(name)?;
    let path = directory().join(format!("{name}-{}-{iteration}.bin", options.seed));
    fs::write(&path, input(target, options.seed, iteration, &corpus(name))).ok()?;
    Some(path)
}

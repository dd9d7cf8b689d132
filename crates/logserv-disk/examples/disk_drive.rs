//! Drives log files from outside, for `tests/test_disk.py`: one JSON command a line in, one JSON answer a line out.
//!
//! In: `open`, `append`, `commit`, `rollover`, `reopen`, `close`, each with the time that the clock shows; `compute`, which asks for
//! the times of rotation after many moments; `encode`, which asks for a codec's bytes. Out: the result, or `{"error": …}`.
//! Not here: any expectation. The time zone is the process's.

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use logserv_disk::{
    Clock, Encoding, ErrorPolicy, FileSettings, Kernel, LogFile, Mark, NoJournal, Roots, Rotation,
};
use serde_json::{Map, Value, json};

type Answer = Result<Value, Box<dyn std::error::Error>>;

#[derive(Default)]
struct Drive {
    /// The clock's seconds, as the bits of a float.
    now: Arc<AtomicU64>,
    file: Option<LogFile>,
}

fn main() -> std::io::Result<()> {
    let mut drive = Drive::default();
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for line in std::io::stdin().lock().lines() {
        let answer = serde_json::from_str(&line?)
            .map_err(Into::into)
            .and_then(|command: Map<String, Value>| drive.run(&command))
            .unwrap_or_else(|error| json!({"error": error.to_string()}));
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

impl Drive {
    fn run(&mut self, command: &Map<String, Value>) -> Answer {
        if let Some(now) = command.get("now").and_then(Value::as_f64) {
            self.now.store(now.to_bits(), Ordering::Relaxed);
        }
        match text(command, "do")? {
            "open" => self.open(command),
            "close" => {
                self.file = None;
                Ok(Value::Null)
            }
            "compute" => compute(command),
            "encode" => encode(command),
            action => {
                let file = self.file.as_mut().ok_or("no file is open")?;
                match action {
                    "append" => {
                        let created = command.get("created").or(command.get("now"));
                        file.append(
                            text(command, "line")?,
                            created.and_then(Value::as_f64).ok_or("no time")?,
                            Mark::default(),
                        )?;
                        Ok(Value::Null)
                    }
                    "commit" => file.commit().map(|()| Value::Null).map_err(Into::into),
                    "rollover" => file.rollover().map(Value::from).map_err(Into::into),
                    "reopen" => file.reopen().map(|()| Value::Null).map_err(Into::into),
                    other => Err(format!("what is {other}?").into()),
                }
            }
        }
    }

    fn open(&mut self, command: &Map<String, Value>) -> Answer {
        self.file = None;
        let settings = settings(command)?;
        let roots = Roots::new(&[PathBuf::from(text(command, "root")?)])?;
        let now = Arc::clone(&self.now);
        let clock = Clock::new(move || f64::from_bits(now.load(Ordering::Relaxed)));
        let location = roots.locate(&settings.filename)?;
        self.file = Some(LogFile::open_with(
            location,
            settings,
            Arc::new(Kernel),
            clock,
            Box::new(NoJournal),
        )?);
        Ok(Value::Null)
    }
}

/// `{"times": […]}` → for each, when the next rotation is due, and the suffix of a file that is rotated then.
fn compute(command: &Map<String, Value>) -> Answer {
    let Rotation::Timed(timed) = settings(command)?.rotation else {
        return Err("not timed".into());
    };
    let times = command.get("times").and_then(Value::as_array).ok_or("no times")?;
    let answers = times.iter().map(|time| {
        let time = time.as_i64().ok_or("not a time")?;
        let rollover_at = timed.compute_rollover(time);
        Ok(json!([
            rollover_at,
            timed.suffix(rollover_at, rollover_at.max(time))
        ]))
    });
    answers.collect::<Result<_, _>>().map(Value::Array)
}

/// `{"texts": […]}` → the bytes of each in hexadecimal; null for a codec that is not known.
fn encode(command: &Map<String, Value>) -> Answer {
    let Some(encoding) = Encoding::parse(text(command, "encoding")?) else {
        return Ok(Value::Null);
    };
    let errors = ErrorPolicy::parse(text(command, "errors")?).ok_or("no such error handler")?;
    let texts = command.get("texts").and_then(Value::as_array).ok_or("no texts")?;
    let encoded = texts.iter().map(|item| {
        let mut bytes = encoding.mark().to_vec();
        encoding.encode(item.as_str().unwrap_or_default(), errors, &mut bytes);
        Value::from(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    });
    Ok(Value::Array(encoded.collect()))
}

fn settings(command: &Map<String, Value>) -> Result<FileSettings, Box<dyn std::error::Error>> {
    let arguments = command
        .get("arguments")
        .and_then(Value::as_object)
        .ok_or("no arguments")?;
    Ok(FileSettings::from_arguments(text(command, "class")?, arguments)?)
}

fn text<'c>(command: &'c Map<String, Value>, name: &str) -> Result<&'c str, String> {
    command
        .get(name)
        .and_then(Value::as_str)
        .ok_or_else(|| format!("no {name}"))
}

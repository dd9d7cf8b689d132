//! The server's own log: lines on stderr, or in a file, written by a thread of their own.
//!
//! In: lines from any thread, which never wait. Out: the same on stderr, at the reader's pace, or in a file (`log_file.rs`). A reader that has stopped
//! (a pipe that nobody empties) costs lines, which are counted and told of, and not the server, whose threads would hang
//! one after the other. What clients say is escaped: each line stays one.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::printable::printable;

/// Lines that wait for a slow reader; each is some hundred bytes, and 4 KiB at most.
const LINES_MAX: usize = 1024;

/// How long the last lines may take at the end, from a reader that may have stopped.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(500);

enum Message {
    Line(Vec<u8>),
    /// Answered when everything before is written.
    Flush(SyncSender<()>),
}

/// The log, until it is dropped: then what waits is written, if somebody reads it.
pub(super) struct OwnLog {
    lines: Lines,
}

/// What the subscriber writes to; each `write` is a whole line.
#[derive(Clone)]
struct Lines {
    queue: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

/// Begins to log. `LOGSERV_LOG=debug` shows more.
pub(super) fn start(out: impl Write + Send + 'static) -> anyhow::Result<OwnLog> {
    use tracing_subscriber::EnvFilter;
    let (queue, received) = sync_channel(LINES_MAX);
    let lines = Lines {
        queue,
        lost: Arc::default(),
    };
    let lost = Arc::clone(&lines.lost);
    std::thread::Builder::new()
        .name("logserv-log".into())
        .spawn(move || write_all(&received, &lost, out))
        .context("cannot start")?;
    let filter = EnvFilter::try_from_env("LOGSERV_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let writer = lines.clone();
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_writer(move || writer.clone());
    // The journal has its own times.
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        log.without_time().init();
    } else {
        log.init();
    }
    Ok(OwnLog { lines })
}

/// The thread: a reader that has gone is no reason to end, for the queue would fill up.
fn write_all(queue: &Receiver<Message>, lost: &AtomicU64, mut out: impl Write) {
    while let Ok(message) = queue.recv() {
        match message {
            Message::Line(line) => {
                if out.write_all(&line).is_err() {
                    lost.fetch_add(1, Ordering::Relaxed); // a number, told as it is found
                    continue;
                }
                let count = lost.swap(0, Ordering::Relaxed);
                if count > 0 {
                    let told = format!(
                        "{count} lines of this log were lost: they could not be written, or nobody read them\n"
                    );
                    let _ = out.write_all(told.as_bytes());
                }
            }
            Message::Flush(done) => {
                let _ = done.send(());
            }
        }
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let text = printable(text.strip_suffix('\n').unwrap_or(&text)) + "\n";
        if self.queue.try_send(Message::Line(text.into_bytes())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for OwnLog {
    fn drop(&mut self) {
        let deadline = Instant::now() + FLUSH_TIMEOUT;
        let (done, flushed) = sync_channel(1);
        let mut message = Message::Flush(done);
        while let Err(TrySendError::Full(back)) = self.lines.queue.try_send(message) {
            if Instant::now() >= deadline {
                return;
            }
            message = back;
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = flushed.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

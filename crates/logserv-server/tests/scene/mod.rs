//! Makes files, sessions and batches without sockets.
#![allow(dead_code, reason = "each test binary uses its part")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall fail")]

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use logserv_server::{Batch, Config, Counters, FileRef, Files, Formatters, OpenRequest, Progress};
use logserv_wire::record::Record;
use serde_json::{Map, Value};

/// A registry below `root`.
pub fn files(root: &Path, change: impl FnOnce(&mut Config)) -> (Files, Arc<Counters>) {
    let mut config = Config::default();
    config.sink.roots = vec![root.to_owned()];
    change(&mut config);
    let counters = Arc::new(Counters::default());
    (Files::new(&config, Arc::clone(&counters)).unwrap(), counters)
}

/// A handler's request; `arguments` is a JSON object.
pub fn request(class: &str, arguments: Value, configured_at_s: f64) -> OpenRequest {
    OpenRequest {
        handler_class: class.into(),
        arguments: arguments.as_object().cloned().unwrap_or_else(Map::new),
        configured_at_s,
        first: true,
        peer: format!("the client of {configured_at_s}"),
    }
}

/// A session that writes messages.
pub struct Session {
    pub file: FileRef,
    pub progress: Arc<Progress>,
    next_seq: u64,
}

impl Session {
    pub fn new(file: FileRef) -> Self {
        Self {
            file,
            progress: Arc::new(Progress::new(0)),
            next_seq: 1,
        }
    }

    /// One batch of these messages.
    pub fn batch<S: AsRef<str>>(&mut self, messages: &[S]) -> Batch {
        let mut records = Vec::new();
        for message in messages {
            let record = Record {
                message: Some(message.as_ref()),
                level_no: 20,
                created: 1e9,
                ..Record::default()
            };
            record.encode(&mut records);
        }
        let count = u32::try_from(messages.len()).unwrap();
        let first_seq = self.next_seq;
        self.next_seq += u64::from(count);
        Batch {
            session: None,
            records,
            count,
            first_seq,
            formatters: Arc::new(Formatters::default()),
            level_min: i32::MIN,
            progress: Arc::clone(&self.progress),
        }
    }

    pub async fn send<S: AsRef<str>>(&mut self, messages: &[S]) {
        let batch = self.batch(messages);
        self.file.submit(batch).await;
    }

    /// Waits until everything sent is written.
    pub async fn written(&self) {
        let last = self.next_seq - 1;
        if last > 0 {
            let seq = tokio::time::timeout(PATIENCE, self.progress.changed(last - 1))
                .await
                .unwrap();
            assert_eq!(seq, last);
        }
    }
}

/// Everything received has been accounted for, once.
pub fn assert_accounted(counters: &Counters) {
    let done = counters.written.get() + counters.filtered.get() + counters.dropped_total();
    assert_eq!(counters.received.get(), done, "{counters:?}");
}

/// How long something may take that takes milliseconds on a quiet machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for something to become true; says what if it does not.
pub fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !check() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The lines of the server's own log, of this thread's and all other threads' making.
#[derive(Clone, Default)]
pub struct OwnLog(Arc<Mutex<Vec<u8>>>);

impl OwnLog {
    /// Catches everything from now on; once per test binary.
    pub fn start() -> Self {
        let log = Self::default();
        let writer = log.clone();
        tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .init();
        log
    }

    pub fn lines(&self) -> Vec<String> {
        String::from_utf8_lossy(&self.0.lock().unwrap())
            .lines()
            .map(str::to_owned)
            .collect()
    }
}

impl std::io::Write for OwnLog {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

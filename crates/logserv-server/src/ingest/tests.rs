//! Whole connections over in-memory streams, with real files in a directory of their own.

mod drain;
mod frames;
mod patience;
mod text;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use logserv_wire::frame::{self, Frame, Level};
use logserv_wire::record::Record;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::serve_connection;
use crate::admin::Admin;
use crate::config::Config;
use crate::context::{Context, Peer, Phase};
use crate::control::Control;
use crate::counters::Counters;
use crate::files::Files;
use crate::ingest::Sessions;
use crate::listen::Listeners;
use crate::personal::Personal;
use crate::rings::Rings;

/// Nothing in these tests takes so long, unless it hangs.
const SOON: Duration = Duration::from_secs(20);

/// A server without listeners.
struct World {
    directory: TempDir,
    context: Arc<Context>,
    phase: watch::Sender<Phase>,
}

impl World {
    fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(mut config: Config) -> Self {
        let directory = tempfile::tempdir().unwrap();
        if !config.personal {
            config.sink.roots = vec![directory.path().to_owned()];
        }
        let counters = Arc::new(Counters::default());
        let files = Files::new(&config, Arc::clone(&counters)).unwrap();
        let sessions = Arc::new(Sessions::default());
        let rings = Rings::new(&Listeners::default(), config.personal);
        let admin = Admin {
            control: Control::default(),
            files: files.clone(),
            sessions: Arc::clone(&sessions),
            counters: Arc::clone(&counters),
            rings: Arc::clone(&rings),
            listeners: Vec::new(),
            personal: Personal::new(&config),
            started: Instant::now(),
        };
        let (phase, phase_seen) = watch::channel(Phase::Serving);
        let context = Arc::new(Context {
            files,
            sessions,
            rings,
            counters,
            admin,
            phase: phase_seen,
        });
        Self {
            directory,
            context,
            phase,
        }
    }

    fn own_peer() -> Peer {
        Peer::Unix {
            uid: rustix::process::geteuid().as_raw(),
            pid: None,
        }
    }

    fn connect(&self) -> Connection {
        self.connect_as(Self::own_peer(), 64 << 10)
    }

    /// `room`: bytes that fit the stream in each direction.
    fn connect_as(&self, peer: Peer, room: usize) -> Connection {
        let (stream, servers) = duplex(room);
        let task = tokio::spawn(serve_connection(servers, peer, Arc::clone(&self.context)));
        Connection {
            stream,
            task,
            received: Vec::new(),
        }
    }

    fn drain(&self) {
        self.phase.send_replace(Phase::Draining);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The file's lines but those that tell of drops, once there are `count` of them and no more for a moment.
    async fn lines(&self, name: &str, count: usize) -> Vec<String> {
        let read = || -> Vec<String> {
            let text = std::fs::read_to_string(self.path(name)).unwrap_or_default();
            text.lines()
                .filter(|line| !line.contains("dropped "))
                .map(str::to_owned)
                .collect()
        };
        let started = Instant::now();
        while read().len() < count && started.elapsed() < SOON {
            tokio::task::yield_now().await;
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(5));
        read()
    }
}

/// A client that says what it is told.
struct Connection {
    stream: DuplexStream,
    task: JoinHandle<()>,
    received: Vec<u8>,
}

impl Connection {
    async fn send(&mut self, bytes: &[u8]) {
        // The server may have closed: what comes back tells.
        let _ = self.stream.write_all(bytes).await;
    }

    async fn read_some(&mut self) -> usize {
        timeout(SOON, self.stream.read_buf(&mut self.received))
            .await
            .expect("an answer")
            .unwrap_or(0)
    }

    /// Exactly these bytes come next.
    async fn expect(&mut self, expected: &[u8]) {
        while self.received.len() < expected.len() {
            assert_ne!(
                self.read_some().await,
                0,
                "closed after {:?}",
                String::from_utf8_lossy(&self.received)
            );
        }
        let rest = self.received.split_off(expected.len());
        assert_eq!(
            String::from_utf8_lossy(&self.received),
            String::from_utf8_lossy(expected)
        );
        self.received = rest;
    }

    /// Everything that still comes, until the server closes.
    async fn rest(&mut self) -> Vec<u8> {
        while self.read_some().await > 0 {}
        std::mem::take(&mut self.received)
    }

    /// Closes, and waits until the server is done with the connection; what it still said.
    async fn leave(mut self) -> Vec<u8> {
        let _ = self.stream.shutdown().await;
        let said = self.rest().await;
        timeout(SOON, self.task)
            .await
            .expect("the connection to end")
            .unwrap();
        said
    }

    async fn send_frame(&mut self, frame: &Frame<'_>) {
        self.send(&encoded(frame)).await;
    }

    /// The next frame.
    async fn frame(&mut self) -> Answer {
        loop {
            if let Some((frame, len)) = frame::decode_first(&self.received).unwrap() {
                let answer = Answer::of(frame.unwrap());
                self.received.drain(..len);
                return answer;
            }
            assert_ne!(self.read_some().await, 0, "closed within a frame");
        }
    }

    /// The next frame that is no acknowledgement.
    async fn answer(&mut self) -> Answer {
        loop {
            match self.frame().await {
                Answer::Ack(_) => {}
                other => return other,
            }
        }
    }

    async fn acked(&mut self, seq: u64) {
        loop {
            match self.frame().await {
                Answer::Ack(acked) if acked == seq => return,
                Answer::Ack(acked) => assert!(acked < seq, "acknowledged {acked}, sent {seq}"),
                other => panic!("{other:?} in place of the acknowledgement of {seq}"),
            }
        }
    }

    /// HELLO and Open for `file`; the Welcome's `written_seq`.
    async fn open(&mut self, session: u32, file: &str) -> u64 {
        self.send(b"HELLO 2.0\n").await;
        self.send(&open_frame(session, file)).await;
        self.expect(b"HELLO 2.0\n").await;
        match self.frame().await {
            Answer::Welcome(json) => json["written_seq"].as_u64().unwrap(),
            other => panic!("{other:?} in place of a Welcome"),
        }
    }

    async fn batch(&mut self, first_seq: u64, messages: &[&str]) {
        self.send(&batch(first_seq, messages)).await;
    }
}

/// A frame of the server.
#[derive(Debug, PartialEq)]
enum Answer {
    Welcome(Value),
    Ack(u64),
    Done(u64, bool),
    Error(Value),
    Report(Value),
}

impl Answer {
    fn of(frame: Frame<'_>) -> Self {
        let parsed = |json| serde_json::from_str(json).unwrap();
        match frame {
            Frame::Welcome { json } => Self::Welcome(parsed(json)),
            Frame::Ack { seq, level } => {
                assert_eq!(level, Level::Written);
                Self::Ack(seq)
            }
            Frame::Done { token, ok } => Self::Done(token, ok),
            Frame::Error { json } => Self::Error(parsed(json)),
            Frame::Report { json } => Self::Report(parsed(json)),
            other => panic!("a client's frame from the server: {other:?}"),
        }
    }
}

fn encoded(frame: &Frame<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    bytes
}

fn open_frame(session: u32, file: &str) -> Vec<u8> {
    let json = json!({
        "session": format!("{session:032x}"), "handler": "logging.FileHandler", "arguments": {"filename": file},
        "configured_at_s": 1.7e9, "first": true, "client": {"pid": 1, "program": "test"},
    });
    encoded(&Frame::Open {
        json: &json.to_string(),
    })
}

fn records(messages: &[&str], formatter: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    for message in messages {
        let record = Record {
            message: Some(message),
            level_no: 20,
            formatter,
            ..Record::default()
        };
        record.encode(&mut bytes);
    }
    bytes
}

fn batch(first_seq: u64, messages: &[&str]) -> Vec<u8> {
    let count = u32::try_from(messages.len()).unwrap();
    encoded(&Frame::Batch {
        first_seq,
        count,
        records: &records(messages, 0),
    })
}

/// A pickle of protocol 0 with a message of ASCII letters.
fn pickle(message: &str) -> Vec<u8> {
    format!("(dS'msg'\nV{message}\nsS'levelno'\nI20\nsS'args'\nNs.").into_bytes()
}

fn framed(pickle: &[u8]) -> Vec<u8> {
    [&u32::try_from(pickle.len()).unwrap().to_be_bytes(), pickle].concat()
}

/// A generator that can be replayed.
fn random(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed | 1;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % u64::try_from(below).unwrap()).unwrap()
    }
}

async fn pause() {
    sleep(Duration::from_millis(20)).await;
}

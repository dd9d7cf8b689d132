//! The sessions of protocol 2.0: what each has handed over, and which connection speaks for it.
//!
//! In: the Opens of connections. Out: a [`Claim`] per connection, which ends the one before it; and whether a batch is
//! new, partly known, or leaves a gap. A session outlives its connections, so that a resend after a reconnect doubles
//! nothing; of those without one, [`SESSIONS_IDLE_MAX`] are remembered, for [`SESSION_IDLE_AGE_MAX`].
//! Not here: frames, files. A session without a connection holds no file open.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use logserv_wire::handshake::{ProtocolError, escape};
use tokio::sync::{OwnedMutexGuard, watch};
use tokio::time::Instant;

use super::memory::Memory;
use super::telling::Telling;
use crate::limits::{SESSION_IDLE_AGE_MAX, SESSIONS_IDLE_MAX};
use crate::progress::Progress;

/// A session's name: 128 bits, chosen by the client at random.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SessionId(u128);

impl SessionId {
    /// Its bytes, in the order of its digits.
    pub(super) fn bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// From its 32 hexadecimal digits.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hex
            .then(|| u128::from_str_radix(text, 16).ok().map(Self))
            .flatten()
    }
}

/// What all connections of one server share: the sessions of protocol 2.0, and the memory for what is received.
#[derive(Debug, Default)]
pub struct Sessions {
    table: Arc<Mutex<Table>>,
    pub(super) memory: Memory,
    pub(super) telling: Telling,
    /// Whether it was said that records of a `SocketHandler` have nowhere to go: once is enough.
    pub(super) told_no_file: AtomicBool,
}

#[derive(Debug, Default)]
struct Table {
    by_id: HashMap<SessionId, Arc<Session>>,
    /// Those without a connection, the longest idle first.
    idle: BTreeSet<(Instant, SessionId)>,
}

#[derive(Debug)]
struct Session {
    id: SessionId,
    /// The file's name as the client spells it; a session never changes it.
    file_name: String,
    /// Who speaks, for `logserv status`.
    client: Mutex<String>,
    progress: Arc<Progress>,
    /// The highest sequence number handed to the file's writer; `None` before the first batch.
    accepted_seq: Mutex<Option<u64>>,
    /// Counts the claims; a connection whose claim is not the newest ends.
    claims: watch::Sender<u64>,
    /// Held by the connection that speaks for the session.
    voice: Arc<tokio::sync::Mutex<()>>,
    /// When it lost its connection; its place among the idle.
    idle_since: Mutex<Option<Instant>>,
}

impl Sessions {
    /// One JSON object per session, for `logserv status`.
    #[must_use]
    pub fn report(&self) -> Vec<serde_json::Value> {
        let sessions: Vec<_> = lock(&self.table).by_id.values().cloned().collect();
        let mut sessions: Vec<_> = sessions
            .iter()
            .map(|session| (session.voice.try_lock().is_err(), session))
            .collect();
        // Those with a connection first, for not all may fit a report.
        sessions.sort_by_key(|(connected, _)| !connected);
        sessions
            .iter()
            .map(|(connected, session)| {
                serde_json::json!({
                    // Its whole name would let its reader take the session over.
                    "session": format!("{:08x}…", session.id.0 >> 96),
                    "file": escape(&session.file_name),
                    "client": *lock(&session.client),
                    "connected": connected,
                    "accepted_seq": lock(&session.accepted_seq).unwrap_or_default(),
                    "written_seq": session.progress.written(),
                })
            })
            .collect()
    }

    /// Whether the session exists with another file than `file_name`.
    ///
    /// # Errors
    /// It does.
    pub(super) fn check(&self, id: SessionId, file_name: &str) -> Result<(), ProtocolError> {
        match lock(&self.table).by_id.get(&id) {
            Some(session) if session.file_name != file_name => Err(ProtocolError::new(
                format!("the session's file, {}", session.file_name),
                file_name,
            )),
            _ => Ok(()),
        }
    }

    /// Whether the session is remembered.
    pub(super) fn is_known(&self, id: SessionId) -> bool {
        lock(&self.table).by_id.contains_key(&id)
    }

    /// Lets a connection speak for a session, which is made if it is not known. Waits until the connection that spoke for
    /// it before has ended, which it does at once. `known_seq`: how far its file says that it had got. `None`: another connection has claimed it meanwhile.
    ///
    /// # Errors
    /// The session has another file.
    pub(super) async fn claim(
        &self,
        id: SessionId,
        file_name: &str,
        client: &str,
        known_seq: Option<u64>,
    ) -> Result<Option<Claim>, ProtocolError> {
        self.check(id, file_name)?;
        let mut claim = {
            let mut table = lock(&self.table);
            table.forget(SESSION_IDLE_AGE_MAX, SESSIONS_IDLE_MAX);
            let session = table
                .by_id
                .entry(id)
                .or_insert_with(|| Arc::new(Session::new(id, file_name, known_seq)));
            let session = Arc::clone(session);
            if let Some(since) = lock(&session.idle_since).take() {
                table.idle.remove(&(since, id));
            }
            let number = *session.claims.borrow() + 1;
            session.claims.send_replace(number);
            let newer = session.claims.subscribe();
            Claim {
                table: Arc::clone(&self.table),
                session,
                number,
                newer,
                voice: None,
            }
        };
        let voice = Arc::clone(&claim.session.voice);
        tokio::select! {
            biased;
            () = claim.taken_over() => return Ok(None),
            voice = voice.lock_owned() => claim.voice = Some(voice),
        }
        client.clone_into(&mut lock(&claim.session.client));
        Ok(Some(claim))
    }
}

impl Table {
    /// Forgets idle sessions beyond `age_max` and `count_max`, but none whose records are still to be written: its client
    /// will send those again. There are only as many of them as the queues of the files have records.
    fn forget(&mut self, age_max: Duration, count_max: usize) {
        let mut surplus = self.idle.len().saturating_sub(count_max);
        let mut forgotten = Vec::new();
        for (since, id) in &self.idle {
            if surplus == 0 && since.elapsed() <= age_max {
                break;
            }
            if !self.by_id.get(id).is_some_and(|session| session.has_unwritten()) {
                surplus = surplus.saturating_sub(1);
                forgotten.push((*since, *id));
            }
        }
        for idle in forgotten {
            self.idle.remove(&idle);
            self.by_id.remove(&idle.1);
        }
    }
}

impl Session {
    fn new(id: SessionId, file_name: &str, known_seq: Option<u64>) -> Self {
        Self {
            id,
            file_name: file_name.to_owned(),
            client: Mutex::default(),
            progress: Arc::new(Progress::new(known_seq.unwrap_or(0))),
            accepted_seq: Mutex::new(known_seq),
            claims: watch::Sender::new(0),
            voice: Arc::default(),
            idle_since: Mutex::default(),
        }
    }

    fn has_unwritten(&self) -> bool {
        lock(&self.accepted_seq).unwrap_or_default() > self.progress.written()
    }
}

/// A connection's right to speak for a session, until it is dropped or another connection claims the session.
#[derive(Debug)]
pub(super) struct Claim {
    table: Arc<Mutex<Table>>,
    session: Arc<Session>,
    number: u64,
    newer: watch::Receiver<u64>,
    voice: Option<OwnedMutexGuard<()>>,
}

impl Claim {
    /// Comes back when another connection has claimed the session. This one must then end without waiting for anything.
    pub(super) fn taken_over(&self) -> impl Future<Output = ()> + use<> {
        let (mut newer, number, session) = (self.newer.clone(), self.number, Arc::clone(&self.session));
        async move {
            // The sender lives in the session.
            let _ = newer.wait_for(|newest| *newest != number).await;
            drop(session);
        }
    }

    /// How far the session's records have got.
    pub(super) fn progress(&self) -> &Arc<Progress> {
        &self.session.progress
    }

    /// The session's name.
    pub(super) fn id_bytes(&self) -> [u8; 16] {
        self.session.id.bytes()
    }

    /// The highest sequence number accepted; 0 before the first.
    pub(super) fn accepted_seq(&self) -> u64 {
        lock(&self.session.accepted_seq).unwrap_or_default()
    }

    /// How many records at the front of a batch were accepted before.
    ///
    /// # Errors
    /// The batch leaves a gap, or its numbers are none.
    pub(super) fn known_count(&self, first_seq: u64, count: u32) -> Result<u32, ProtocolError> {
        known_count(*lock(&self.session.accepted_seq), first_seq, count)
    }

    /// Everything up to `seq` has been handed to the file's writer.
    pub(super) fn accept(&self, seq: u64) {
        lock(&self.session.accepted_seq).replace(seq);
    }

    /// The client has said that it will not come back, and everything is written.
    pub(super) fn forget(self) {
        lock(&self.table).by_id.remove(&self.session.id);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut table = lock(&self.table);
        let is_newest = *self.session.claims.borrow() == self.number;
        if is_newest && table.by_id.contains_key(&self.session.id) {
            let now = Instant::now();
            lock(&self.session.idle_since).replace(now);
            table.idle.insert((now, self.session.id));
            table.forget(SESSION_IDLE_AGE_MAX, SESSIONS_IDLE_MAX);
        }
    }
}

fn known_count(accepted_seq: Option<u64>, first_seq: u64, count: u32) -> Result<u32, ProtocolError> {
    if first_seq == 0 {
        return Err(ProtocolError::new("a first_seq of 1 or more", "0"));
    }
    // The number after the last must be one as well, so that `accepted_seq + 1` never wraps.
    if first_seq.checked_add(u64::from(count)).is_none() {
        let received = format!("first_seq {first_seq} with {count} records");
        return Err(ProtocolError::new("sequence numbers below 2^64", received));
    }
    // A session that this server does not know begins where its client stands.
    let Some(accepted_seq) = accepted_seq else {
        return Ok(0);
    };
    let next_seq = accepted_seq.saturating_add(1);
    if first_seq > next_seq {
        return Err(ProtocolError::new(
            format!("a first_seq of at most {next_seq}"),
            first_seq.to_string(),
        ));
    }
    Ok(u32::try_from(next_seq - first_seq).unwrap_or(u32::MAX).min(count))
}

/// A poisoned lock is used on: every value under one is whole between any two statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, timeout};

    use super::*;

    fn id(number: u32) -> SessionId {
        SessionId::parse(&format!("{number:032x}")).unwrap()
    }

    async fn claim(sessions: &Sessions, number: u32) -> Claim {
        sessions
            .claim(id(number), "a.log", "", None)
            .await
            .unwrap()
            .unwrap()
    }

    #[test]
    fn a_session_is_named_by_32_hexadecimal_digits() {
        assert!(SessionId::parse(&"aF".repeat(16)).is_some());
        for wrong in [
            "",
            "00",
            &"g".repeat(32),
            &"0".repeat(33),
            &format!("+{}", "0".repeat(31)),
        ] {
            assert!(SessionId::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_batch_is_new_known_in_part_or_leaves_a_gap() {
        for (accepted, first, count, expected) in [
            (None, 1, 5, Some(0)),
            (None, 1001, 5, Some(0)), // unknown to this server: it may begin anywhere
            (Some(10), 11, 5, Some(0)),
            (Some(10), 9, 5, Some(2)),
            (Some(10), 1, 5, Some(5)),
            (Some(10), 12, 5, None),
            (Some(10), 0, 5, None),
            (None, 0, 0, None),
            (None, u64::MAX - 5, 5, Some(0)),
            (None, u64::MAX - 4, 5, None),
            (Some(u64::MAX - 1), u64::MAX, 1, None),
            (Some(1 << 32), 1, u32::MAX, Some(u32::MAX)),
            (Some(1 << 32), (1 << 32) + 1, 1, Some(0)),
        ] {
            assert_eq!(
                known_count(accepted, first, count).ok(),
                expected,
                "{accepted:?} {first} {count}"
            );
        }
    }

    #[tokio::test]
    async fn a_second_claim_ends_the_first_and_waits_until_it_has_let_go() {
        let sessions = Sessions::default();
        let first = claim(&sessions, 1).await;
        first.accept(7);
        let second = claim(&sessions, 1);
        tokio::pin!(second);
        assert!(timeout(Duration::from_millis(10), &mut second).await.is_err());
        first.taken_over().await;
        first.accept(8); // a submission that completes at the last moment counts
        drop(first);
        assert_eq!(second.await.accepted_seq(), 8);
    }

    #[tokio::test]
    async fn of_many_claims_only_the_newest_gets_the_session() {
        let sessions = Sessions::default();
        let first = claim(&sessions, 1).await;
        let (a, b) = (
            sessions.claim(id(1), "a.log", "", None),
            sessions.claim(id(1), "a.log", "", None),
        );
        let (a, b, ()) = tokio::join!(a, b, async { drop(first) });
        assert!(a.unwrap().is_none());
        assert!(b.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_session_keeps_its_file() {
        let sessions = Sessions::default();
        drop(claim(&sessions, 1).await);
        let error = sessions.claim(id(1), "b.log", "", None).await.unwrap_err();
        assert_eq!(
            (error.expected.as_str(), error.received.as_str()),
            ("the session's file, a.log", "b.log")
        );
    }

    #[tokio::test(start_paused = true)]
    async fn idle_sessions_are_bounded_in_number_and_age_and_busy_ones_stay() {
        let sessions = Sessions::default();
        let busy = claim(&sessions, 0).await;
        busy.accept(3);
        let count = u32::try_from(SESSIONS_IDLE_MAX).unwrap() + 10;
        for number in 1..=count {
            let claim = claim(&sessions, number).await;
            claim.accept(5);
            claim.progress().advance(5);
            drop(claim);
            advance(Duration::from_millis(1)).await;
        }
        assert_eq!(lock(&sessions.table).by_id.len(), SESSIONS_IDLE_MAX + 1);
        assert_eq!(lock(&sessions.table).idle.len(), SESSIONS_IDLE_MAX);
        assert_eq!(
            claim(&sessions, count).await.accepted_seq(),
            5,
            "the newest is remembered"
        );
        assert_eq!(
            claim(&sessions, 1).await.accepted_seq(),
            0,
            "the oldest is forgotten"
        );
        advance(SESSION_IDLE_AGE_MAX + Duration::from_secs(1)).await;
        drop(claim(&sessions, 2).await);
        assert_eq!(lock(&sessions.table).by_id.len(), 2);
        drop(busy);
        assert_eq!(claim(&sessions, 0).await.accepted_seq(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_whose_records_are_still_to_be_written_is_not_forgotten() {
        let sessions = Sessions::default();
        let waiting = claim(&sessions, 1).await;
        waiting.accept(5);
        let progress = Arc::clone(waiting.progress());
        drop(waiting);
        advance(SESSION_IDLE_AGE_MAX + Duration::from_secs(1)).await;
        drop(claim(&sessions, 2).await);
        assert!(lock(&sessions.table).by_id.contains_key(&id(1)));
        progress.advance(5);
        drop(claim(&sessions, 3).await);
        assert!(!lock(&sessions.table).by_id.contains_key(&id(1)));
    }

    #[tokio::test]
    async fn a_closed_session_is_forgotten() {
        let sessions = Sessions::default();
        claim(&sessions, 1).await.forget();
        assert!(lock(&sessions.table).by_id.is_empty());
        assert!(lock(&sessions.table).idle.is_empty());
    }
}

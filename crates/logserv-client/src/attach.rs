//! How a session's ring comes to its server: named in Open, challenged in Welcome, proved, attached; or given up.
//!
//! In: the session's [`State`](crate::state::State) and what the server said. Out: Open's JSON; records that go through
//! the ring, or a queue that has taken over what was in it. PROTOCOL.md is normative. Not here: frames in and out.

use std::sync::atomic::Ordering;
use std::time::Instant;

use logserv_ring::RingName;
use logserv_wire::limits::RECORD_LEN_MAX;
use serde_json::{Map, Value, json};

use crate::cut;
use crate::link::Lost;
use crate::ring::{self, Ring};
use crate::sender::Sender;
use crate::shared::Common;
use crate::sys::{self, Passed};

/// What the server says when it lets us in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Welcome {
    pub(crate) written_seq: u64,
    pub(crate) record_len_max: usize,
    /// To be copied into the ring, where the server takes it.
    pub(crate) challenge: Option<[u8; 16]>,
    /// The server cannot open the ring by its name: its descriptor must go with Attach.
    pub(crate) is_to_pass: bool,
    /// Up to where the ring is written, where it does not say so itself.
    pub(crate) ring_position: Option<u64>,
}

/// What a session asks for, as its Open and its ring say it.
pub(crate) fn description(common: &Common) -> Value {
    let configuration = common.configurations.current();
    json!({
        "handler": configuration.handler_class,
        "arguments": configuration.arguments,
        "configured_at_s": common.configurations.configured_at_s(),
        "client": {
            "pid": std::process::id(),
            "program": common.config.program,
            "version": env!("CARGO_PKG_VERSION"),
        },
    })
}

/// Open's JSON, and the ring that it names.
pub(crate) fn open(sender: &Sender<'_>) -> (String, Option<RingName>) {
    let common = &sender.shared.common;
    let mut state = sender.shared.lock();
    // From here on we say the present configuration, and offer the present ring.
    state.reopens = false;
    let ring = state.carrier.ring().map(|ring| ring.name().clone());
    let acked_seq = state.carrier.queued().acknowledged();
    drop(state);
    let mut open = Map::new();
    open.insert("session".into(), sender.session.clone().into());
    if let Value::Object(description) = description(common) {
        open.extend(description);
    }
    let is_first = !common.was_welcomed.load(Ordering::Relaxed); // a lone flag
    open.insert("first".into(), is_first.into());
    open.insert("acked_seq".into(), acked_seq.into());
    if let Some(name) = &ring {
        let ring = json!({"name": name.to_string(), "uid": sys::effective_uid()});
        open.insert("ring".into(), ring);
    }
    (Value::Object(open).to_string(), ring)
}

/// Writes the server's challenge into the ring that was offered. `false`: the server takes no ring.
pub(crate) fn prove(sender: &Sender<'_>, offered: &RingName, challenge: Option<[u8; 16]>) -> bool {
    let mut state = sender.shared.lock();
    let ring = state.carrier.ring_mut().filter(|ring| ring.name() == offered);
    match (ring, challenge) {
        (Some(ring), Some(challenge)) => {
            ring.prove(challenge);
            true
        }
        _ => false,
    }
}

/// Exchanges the ring that was offered for one that can be passed. `false`: it is one; or it cannot be exchanged, because a
/// server may have begun to read it, or for want of memory, and then nothing is passed: the holder of its file could cut
/// it short, and end this process.
///
/// # Errors
/// No descriptor is free: there may be one at the next attempt.
pub(crate) fn exchange(sender: &Sender<'_>, offered: &RingName) -> Result<bool, Lost> {
    let mut state = sender.shared.lock();
    let is_idle = state.carrier.pending_records() == 0;
    let can_go = |ring: &&Ring| ring.name() == offered && !ring.is_sealed() && (is_idle || !ring.is_known());
    match state.carrier.ring().filter(can_go).map(Ring::sealed) {
        Some(Ok(sealed)) => {
            state.exchange_ring(sealed);
            Ok(true)
        }
        Some(Err(error)) if sys::is_out_of_descriptors(&error) => Err(error.into()),
        Some(Err(_)) | None => Ok(false),
    }
}

/// The descriptor of the ring that was offered. `None`: it cannot be had; a server that still reads the ring does not need
/// it.
pub(crate) fn file_of(sender: &Sender<'_>, offered: &RingName) -> Option<Passed> {
    let state = sender.shared.lock();
    let ring = state.carrier.ring().filter(|ring| ring.name() == offered);
    ring.and_then(Ring::to_pass)
}

/// The server reads the ring from now on; or it does not, and the queue takes over.
pub(crate) fn settle(
    sender: &mut Sender<'_>,
    offered: Option<&RingName>,
    is_attached: bool,
    welcome: &Welcome,
) -> Result<(), Lost> {
    let now = Instant::now();
    let mut state = sender.shared.lock();
    let has_progressed = if is_attached {
        state.attached(now);
        state.carrier.pending_records() == 0
    } else {
        // A ring that was made since the Open is offered by the next one.
        if offered.is_some() && state.carrier.ring().map(Ring::name) == offered {
            if let (Some(position), Some(ring)) = (welcome.ring_position, state.carrier.ring()) {
                ring.released(position);
            }
            state.leave_ring();
        }
        let welcomed = state.welcomed(welcome.written_seq, now);
        welcomed.map_err(|_| Lost::OtherSession)?
    };
    drop(state);
    if has_progressed {
        sender.has_progressed();
    }
    sender.shared.tell();
    // A server that does not find rings cannot remove them either.
    if is_attached
        && welcome.is_to_pass
        && let Some(own) = offered
    {
        ring::sweep(&sender.shared.common, own);
    }
    Ok(())
}

/// Reads a Welcome.
pub(crate) fn read_welcome(json: &str) -> Result<Welcome, Lost> {
    let confused = |what: &str| Lost::Confused(format!("Welcome {what}"));
    let value: Value = serde_json::from_str(json).map_err(|_| confused("that is no JSON"))?;
    let written_seq = value
        .get("written_seq")
        .and_then(Value::as_u64)
        .ok_or_else(|| confused("without written_seq"))?;
    let record_len_max = value.get("record_max_bytes").and_then(Value::as_u64);
    let record_len_max = record_len_max
        .and_then(|len| usize::try_from(len).ok())
        .unwrap_or(RECORD_LEN_MAX);
    let ring = value.get("ring").filter(|ring| !ring.is_null());
    let challenge = match ring {
        None => None,
        Some(ring) => Some(
            ring.get("challenge")
                .and_then(Value::as_str)
                .and_then(read_challenge)
                .ok_or_else(|| confused("with a ring without a challenge"))?,
        ),
    };
    let is_to_pass = ring.and_then(|ring| ring.get("pass")).and_then(Value::as_bool);
    let ring_position = ring.and_then(|ring| ring.get("position")).and_then(Value::as_u64);
    Ok(Welcome {
        written_seq,
        record_len_max: record_len_max.clamp(cut::RECORD_LEN_MIN, RECORD_LEN_MAX),
        challenge,
        is_to_pass: is_to_pass.unwrap_or(false),
        ring_position,
    })
}

/// 32 hexadecimal digits, the first byte first.
fn read_challenge(text: &str) -> Option<[u8; 16]> {
    if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn welcome(json: &str) -> (u64, usize, Option<[u8; 16]>) {
        let it = read_welcome(json).unwrap();
        (it.written_seq, it.record_len_max, it.challenge)
    }

    #[test]
    fn a_welcome_says_what_it_must_and_may() {
        assert_eq!(welcome("{\"written_seq\": 7}"), (7, RECORD_LEN_MAX, None));
        assert_eq!(
            welcome("{\"written_seq\": 0, \"record_max_bytes\": 1048576, \"x\": 1, \"ring\": null}"),
            (0, 1 << 20, None)
        );
        let challenge =
            "{\"written_seq\": 0, \"ring\": {\"challenge\": \"000102030405060708090a0b0c0d0e0f\"}}";
        assert_eq!(welcome(challenge).2, Some(std::array::from_fn(|n| n as u8)));
        assert!(!read_welcome(challenge).unwrap().is_to_pass);
        let pass = challenge.replace("}}", ", \"pass\": true}}");
        assert!(read_welcome(&pass).unwrap().is_to_pass);
        assert_eq!(read_welcome(&pass).unwrap().ring_position, None);
        let written = challenge.replace("}}", ", \"position\": 64}}");
        assert_eq!(read_welcome(&written).unwrap().ring_position, Some(64));
        for bad in [
            "",
            "{}",
            "[]",
            "{\"written_seq\": -1}",
            "{\"written_seq\": \"1\"}",
            "{\"written_seq\": 1, \"ring\": {}}",
            "{\"written_seq\": 1, \"ring\": {\"challenge\": \"+00102030405060708090a0b0c0d0e0f\"}}",
            "{\"written_seq\": 1, \"ring\": {\"challenge\": \"00\"}}",
        ] {
            assert!(matches!(read_welcome(bad), Err(Lost::Confused(_))), "{bad}");
        }
    }
}

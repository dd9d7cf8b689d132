//! The state machine of a session, step by step, without a socket or a clock.

use std::time::SystemTime;

use logserv_wire::frame::Level;
use logserv_wire::record::Record;

use super::*;
use crate::config::Address;
use crate::limits::{DOZE, LINGER_MIN};

fn state(capacity_bytes: usize, now: Instant) -> State {
    let mut config = SessionConfig::new(
        Address::Unix("x".into()),
        "logging.FileHandler",
        Default::default(),
    );
    config.capacity_bytes = capacity_bytes;
    State::new(&config, now)
}

fn record() -> Vec<u8> {
    let mut bytes = Vec::new();
    Record {
        message: Some("x"),
        ..Record::default()
    }
    .encode(&mut bytes);
    bytes
}

fn sent(step: Step) -> (u64, u32) {
    match step {
        Step::Send(batch) => (batch.first_seq, batch.count),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_record_is_sent_acknowledged_and_followed_by_sleep() {
    let start = Instant::now();
    let mut state = state(1000, start);
    assert!(!state.needs_server(start));
    assert_eq!(state.push(&record(), true), Push::Stored);
    assert!(state.needs_server(start));
    assert_eq!(state.welcomed(0, start), Ok(false));
    assert_eq!(sent(state.step(start)), (1, 1));
    assert!(matches!(state.step(start), Step::AwaitAnswer(LINGER_MAX)));
    assert!(matches!(
        state.step(start + DOZE),
        Step::AwaitAnswer(STALLED_TICK)
    ));
    assert_eq!(state.written_up_to(1), Ok(true));
    assert!(matches!(state.step(start), Step::Doze(LINGER_MAX)));
    assert!(matches!(state.step(start + DOZE), Step::Sleep(None)));
    state.is_closing = true;
    assert!(matches!(state.step(start), Step::Finish));
}

#[test]
fn records_are_gathered_unless_somebody_is_in_a_hurry() {
    let start = Instant::now();
    let mut state = state(1000, start);
    state.connected(Protocol::Two, start);
    state.pace.woken(start);
    let _ = state.push(&record(), true);
    assert!(matches!(state.step(start), Step::Doze(LINGER_MIN)));
    assert_eq!(sent(state.step(start + LINGER_MIN)), (1, 1));
    let _ = state.push(&record(), true);
    assert!(matches!(
        state.step(start + LINGER_MIN),
        Step::AwaitAnswer(LINGER_MIN)
    ));
    let token = state.ask(Ask::Flush(Level::Written), start).token;
    assert_eq!(
        sent(state.step(start + LINGER_MIN)),
        (2, 1),
        "a flush does not wait"
    );
    assert!(matches!(state.step(start), Step::Ask(it, Ask::Flush(Level::Written)) if it == token));
}

#[test]
fn after_a_lost_connection_flushes_are_asked_again_behind_their_records_and_rollovers_are_not() {
    let start = Instant::now();
    let mut state = state(1000, start);
    state.connected(Protocol::Two, start);
    let _ = state.push(&record(), true);
    let flush = state.ask(Ask::Flush(Level::Written), start).token;
    let rollover = state.ask(Ask::Rollover, start).token;
    let _ = state.push(&record(), true);
    assert_eq!(sent(state.step(start)), (1, 1));
    assert!(matches!(state.step(start), Step::Ask(token, _) if token == flush));
    assert!(matches!(state.step(start), Step::Ask(token, _) if token == rollover));
    state.disconnected(start);
    assert_eq!(
        (state.questions.answer(flush), state.questions.answer(rollover)),
        (None, Some(false))
    );
    assert_eq!(state.welcomed(0, start), Ok(false));
    assert_eq!(sent(state.step(start)), (1, 1), "the same batch as before");
    assert!(matches!(state.step(start), Step::Ask(token, _) if token == flush));
    assert_eq!(sent(state.step(start + LINGER_MIN)), (2, 1));
}

#[test]
fn a_welcome_that_knows_less_or_more_than_was_sent_is_another_sessions() {
    let start = Instant::now();
    let mut state = state(1000, start);
    for _ in 0..3 {
        let _ = state.push(&record(), true);
    }
    assert_eq!(state.welcomed(4, start), Err(NeverSent));
    assert_eq!(state.welcomed(0, start), Ok(false));
    assert_eq!(sent(state.step(start)), (1, 3));
    assert_eq!(state.written_up_to(2), Ok(true));
    state.disconnected(start);
    assert_eq!(state.welcomed(1, start), Err(NeverSent));
    state.renumber();
    assert_eq!(state.welcomed(0, start), Ok(false));
    assert_eq!(sent(state.step(start)), (1, 1), "only what is left");
    assert_eq!(state.written(), 2);
}

#[test]
fn a_closing_session_tells_of_its_drops_before_it_ends() {
    let start = Instant::now();
    let mut state = state(100, start);
    state.connected(Protocol::Two, start);
    let _ = state.push(&record(), true);
    assert_eq!(state.push(&record(), true), Push::Full);
    state.give_up();
    assert_eq!(state.push(&record(), true), Push::Dropped(DropReason::QueueFull));
    state.is_closing = true;
    assert_eq!(sent(state.step(start)), (1, 1));
    assert!(!state.is_finished());
    assert_eq!(state.written_up_to(1), Ok(true));
    assert_eq!(sent(state.step(Instant::now())), (2, 1));
    assert_eq!(state.written_up_to(2), Ok(true));
    assert!(matches!(state.step(start), Step::Finish));
    state.announce(0, Instant::now(), SystemTime::now());
    let it = state.statistics();
    assert_eq!((it.emitted, it.announced, it.written, it.dropped), (2, 1, 2, 1));
}

#[test]
fn the_same_refusal_is_news_once_until_a_server_welcomes_us() {
    let start = Instant::now();
    let mut state = state(100, start);
    let refusal = Refusal {
        expected: "a".into(),
        received: "b".into(),
        held_at: None,
    };
    assert!(state.refused(refusal.clone()));
    assert_eq!(state.take_refusal(), Some(refusal.clone()));
    assert!(!state.refused(refusal.clone()));
    assert_eq!(state.take_refusal(), None);
    state.connected(Protocol::Two, start);
    assert!(state.refused(refusal));
}

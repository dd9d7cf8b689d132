//! The fuzzer itself: each planted defect is found, told, and found again by the command that it prints.

use std::io;
use std::process::{Command, Output};

fn fuzz(arguments: &[&str]) -> io::Result<Output> {
    Command::new(env!("CARGO_BIN_EXE_logserv-fuzz"))
        .args(arguments)
        .output()
}

fn is_found(target: &str, told: &str) -> io::Result<()> {
    let output = fuzz(&["--seconds", "20", "--seed", "7", target])?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success(), "{text}");
    assert!(text.contains(told), "{text}");
    let at = text
        .split("--at ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next())
        .unwrap_or("no command to replay it");
    let again = fuzz(&["--seed", "7", "--at", at, target])?;
    assert_eq!(again.status.code(), Some(1), "not found again at {at}");
    Ok(())
}

#[test]
fn a_panic_is_found() -> io::Result<()> {
    is_found("planted-panic", "the planted panic")
}

#[test]
fn a_stack_overflow_is_found() -> io::Result<()> {
    is_found("planted-overflow", "signal: 6")
}

#[test]
fn a_hunger_for_memory_is_found() -> io::Result<()> {
    is_found("planted-hunger", "bytes of memory")
}

#[test]
fn a_hang_is_found() -> io::Result<()> {
    is_found("planted-hang", "took longer than")
}

#[test]
fn a_broken_promise_is_found() -> io::Result<()> {
    is_found("planted-lie", "the planted lie")
}

#[test]
fn an_unknown_target_is_a_usage_error() -> io::Result<()> {
    assert_eq!(fuzz(&["no-such-target"])?.status.code(), Some(2));
    Ok(())
}

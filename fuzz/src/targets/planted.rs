//! Decoders with a defect each: the fuzzer must find every one of them (`tests/planted.rs`). Not part of `all`.

use super::Target;
use crate::mutate::Random;

/// One for each way to fail.
pub const TARGETS: [Target; 5] = [
    Target {
        name: "planted-panic",
        generate,
        run: panics,
    },
    Target {
        name: "planted-overflow",
        generate,
        run: overflows,
    },
    Target {
        name: "planted-hunger",
        generate,
        run: hungers,
    },
    Target {
        name: "planted-hang",
        generate,
        run: hangs,
    },
    Target {
        name: "planted-lie",
        generate,
        run: lies,
    },
];

fn generate(random: &mut Random) -> Vec<u8> {
    random.bytes(16)
}

/// Whether an input is one of the few that the defect shows on.
fn is_bad(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0xff])
}

fn panics(bytes: &[u8]) -> Result<bool, String> {
    assert!(!is_bad(bytes), "the planted panic");
    Ok(true)
}

#[expect(unconditional_recursion, reason = "the stack is to overflow")]
fn recurse(depth: u64) -> u64 {
    std::hint::black_box(recurse(std::hint::black_box(depth + 1)) + depth)
}

fn overflows(bytes: &[u8]) -> Result<bool, String> {
    Ok(!is_bad(bytes) || recurse(0) > 0)
}

fn hungers(bytes: &[u8]) -> Result<bool, String> {
    let len = if is_bad(bytes) { 65 << 20 } else { 1 };
    Ok(!std::hint::black_box(vec![1u8; len]).is_empty())
}

fn hangs(bytes: &[u8]) -> Result<bool, String> {
    while is_bad(bytes) {
        std::thread::park();
    }
    Ok(true)
}

fn lies(bytes: &[u8]) -> Result<bool, String> {
    if is_bad(bytes) {
        Err("the planted lie".to_owned())
    } else {
        Ok(true)
    }
}

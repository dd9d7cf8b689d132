//! The boot's id: what a ring of this uptime is told apart by from one that a copied file system carried over.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

static KNOWN: AtomicBool = AtomicBool::new(false);
static HALVES: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];

/// The kernel's id of this boot; zeros where it does not tell. Takes no lock, which a forked child might find taken.
/// Blocks: on its first call, reading a file of `/proc`.
pub(crate) fn boot_id() -> [u8; 16] {
    let [low, high] = &HALVES;
    // Acquire: pairs with the release below; both halves are there.
    if !KNOWN.load(Ordering::Acquire) {
        let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .ok()
            .and_then(|text| parse(&text))
            .unwrap_or(0);
        let [high_half, low_half] = [id >> 64, id & u128::from(u64::MAX)].map(|half| half as u64);
        low.store(low_half, Ordering::Relaxed);
        high.store(high_half, Ordering::Relaxed);
        KNOWN.store(true, Ordering::Release); // pairs with the load above
    }
    let id = u128::from(high.load(Ordering::Relaxed)) << 64 | u128::from(low.load(Ordering::Relaxed));
    id.to_be_bytes()
}

/// Whether something of the boot `theirs` may be of this boot.
pub(crate) fn is_this_boot(theirs: [u8; 16]) -> bool {
    let ours = boot_id();
    theirs == ours || theirs == [0; 16] || ours == [0; 16]
}

fn parse(text: &str) -> Option<u128> {
    u128::from_str_radix(&text.trim().replace('-', ""), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_that_of_the_kernel() {
        let id = boot_id();
        assert_eq!(id, boot_id());
        let text: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        assert_eq!(text, expected.trim().replace('-', ""));
        assert!(is_this_boot(id) && is_this_boot([0; 16]) && !is_this_boot([7; 16]));
    }
}

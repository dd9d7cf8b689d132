//! Who holds a file's lock.
//!
//! In: a file's device and inode. Out: the pid of the process that holds its `flock`, if `/proc/locks` shows it.

use std::io::Read;

use crate::fs::Stat;

/// Bytes of `/proc/locks` that are read: some 20,000 locks. A pid is a courtesy, not worth more.
const LOCKS_BYTES_MAX: u64 = 1024 * 1024;

/// The pid of the process that holds the lock on `file`. Blocks: on reading `/proc/locks`.
pub(crate) fn holder(file: &Stat) -> Option<u32> {
    let mut text = String::new();
    std::fs::File::open("/proc/locks")
        .ok()?
        .take(LOCKS_BYTES_MAX)
        .read_to_string(&mut text)
        .ok()?;
    find(&text, file.device, file.inode)
}

/// A line is `1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF`: pid, then device (hexadecimal) and inode (decimal).
fn find(locks: &str, device: u64, inode: u64) -> Option<u32> {
    let wanted = format!(
        "{:02x}:{:02x}:{inode}",
        rustix::fs::major(device),
        rustix::fs::minor(device)
    );
    // `->` marks one that only waits.
    locks
        .lines()
        .filter(|line| !line.contains("->"))
        .find_map(|line| {
            let mut words = line
                .split_ascii_whitespace()
                .skip_while(|word| *word != "FLOCK")
                .skip(3);
            let pid = words.next()?;
            // Another pid namespace shows as 0 or -1.
            (words.next()? == wanted)
                .then(|| pid.parse().ok().filter(|pid| *pid > 0))
                .flatten()
        })
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn the_holder_is_found_by_device_and_inode() {
        let locks = "1: POSIX  ADVISORY  WRITE 11 fe:00:5678 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 12 fe:00:5678 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF\n\
                     4: FLOCK  ADVISORY  WRITE -1 00:1b:9 0 EOF\n";
        assert_eq!(find(locks, rustix::fs::makedev(0xfe, 0), 5678), Some(1234));
        assert_eq!(
            find(locks, rustix::fs::makedev(0, 0x1b), 9),
            None,
            "not visible from here"
        );
        assert_eq!(find(locks, rustix::fs::makedev(0xfe, 0), 56789), None);
    }
}

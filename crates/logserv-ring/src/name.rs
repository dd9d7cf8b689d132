//! The names of rings, and the address of a server as both sides write it.
//!
//! In: addresses, ids. Out: text and numbers. Reads the file system only to find the one true path of a socket.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr;

/// Hexadecimal digits of a key.
const KEY_DIGITS: usize = 16;
/// Hexadecimal digits of an id.
const ID_DIGITS: usize = 32;

/// A ring's own random number. Shown as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RingId(pub [u8; 16]);

/// A ring's name: whose server it is for, and which one. Shown as `<key>-<id>`, the name of its file.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct RingName {
    /// The [key](key_of) of the server's address.
    pub key: u64,
    /// The ring's own number.
    pub id: RingId,
}

/// Text that is no name or id of a ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expected <16 hexadecimal digits>-<32 hexadecimal digits>, lower case, received something else")]
pub struct NameError;

impl fmt::Display for RingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl FromStr for RingId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let digits = hexadecimal(text, ID_DIGITS)?;
        let number = u128::from_str_radix(digits, 16).map_err(|_| NameError)?;
        Ok(Self(number.to_be_bytes()))
    }
}

impl fmt::Display for RingName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.key, self.id)
    }
}

impl FromStr for RingName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (key, id) = text.split_once('-').ok_or(NameError)?;
        let key = u64::from_str_radix(hexadecimal(key, KEY_DIGITS)?, 16).map_err(|_| NameError)?;
        Ok(Self { key, id: id.parse()? })
    }
}

/// `text`, if it is exactly `digits` hexadecimal digits as we write them; the parsers of numbers would take a sign, too.
pub(crate) fn hexadecimal(text: &str, digits: usize) -> Result<&str, NameError> {
    let plain = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (plain && text.len() == digits).then_some(text).ok_or(NameError)
}

/// The 64-bit FNV-1a hash of a server's address as [`unix_address`] or [`tcp_address`] writes it. It tells servers
/// apart, it protects nothing: whose ring it is, the file's owner says.
#[must_use]
pub fn key_of(address: &str) -> u64 {
    address.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The address of a server at a Unix socket: `unix:` and the path without links, which both sides find alike. A socket
/// that does not exist (yet) is looked for in its directory; where that does not exist either, the path is only made
/// absolute. Blocks: on the file system.
#[must_use]
pub fn unix_address(path: &Path) -> String {
    let beneath_parent = || {
        let parent = match path.parent()? {
            empty if empty.as_os_str().is_empty() => Path::new("."),
            parent => parent,
        };
        Some(parent.canonicalize().ok()?.join(path.file_name()?))
    };
    let canonical = path
        .canonicalize()
        .ok()
        .or_else(beneath_parent)
        .or_else(|| std::path::absolute(path).ok())
        .unwrap_or_else(|| path.to_owned());
    format!("unix:{}", canonical.to_string_lossy())
}

/// The address of a server at a TCP port: `tcp:<ip>:<port>`. An IPv4 address inside of an IPv6 one is written as IPv4.
#[must_use]
pub fn tcp_address(ip: IpAddr, port: u16) -> String {
    format!("tcp:{}:{port}", ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written_and_nothing_else_is() {
        let name = RingName {
            key: 0xab,
            id: RingId([7; 16]),
        };
        let text = name.to_string();
        assert_eq!(text, "00000000000000ab-07070707070707070707070707070707");
        assert_eq!(text.parse(), Ok(name));
        let upper = text.to_uppercase();
        let signed = text.replacen('0', "+", 1);
        let longer = format!("{text}0");
        for wrong in [
            "",
            "-",
            "..",
            "state-00000000000000ab",
            &text[1..],
            &longer,
            &upper,
            &signed,
        ] {
            assert_eq!(wrong.parse::<RingName>(), Err(NameError), "{wrong}");
        }
    }

    #[test]
    fn the_key_is_that_of_fnv_1a() {
        assert_eq!(key_of(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(key_of("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(key_of("foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn an_address_is_the_same_over_links_and_before_the_socket_exists() {
        let place = tempfile::tempdir().unwrap();
        let real = place.path().canonicalize().unwrap();
        std::fs::create_dir(real.join("run")).unwrap();
        std::os::unix::fs::symlink("run", real.join("link")).unwrap();
        let expected = format!("unix:{}/run/s.sock", real.display());
        for path in ["run/s.sock", "link/s.sock", "run/../link/./s.sock"] {
            assert_eq!(unix_address(&real.join(path)), expected, "before: {path}");
        }
        std::fs::write(real.join("run/s.sock"), "").unwrap();
        std::os::unix::fs::symlink("run/s.sock", real.join("s.sock")).unwrap();
        for path in ["run/s.sock", "link/s.sock", "s.sock"] {
            assert_eq!(unix_address(&real.join(path)), expected, "after: {path}");
        }
        let nowhere = real.join("gone/s.sock");
        assert_eq!(unix_address(&nowhere), format!("unix:{}", nowhere.display()));
        let here = std::env::current_dir().unwrap().canonicalize().unwrap();
        assert_eq!(
            unix_address(Path::new("s.sock")),
            format!("unix:{}/s.sock", here.display())
        );
    }

    #[test]
    fn a_tcp_address_has_one_form() {
        assert_eq!(tcp_address("127.0.0.1".parse().unwrap(), 9), "tcp:127.0.0.1:9");
        assert_eq!(
            tcp_address("::ffff:127.0.0.1".parse().unwrap(), 9),
            "tcp:127.0.0.1:9"
        );
        assert_eq!(tcp_address("::1".parse().unwrap(), 9), "tcp:::1:9");
    }
}

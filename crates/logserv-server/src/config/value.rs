//! Single values of a configuration: texts and numbers with a range, read from the command line and from TOML alike.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::limits;

/// Permissions of a Unix socket. Written in octal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct UnixMode(pub u32);

impl Default for UnixMode {
    /// Its own user only.
    fn default() -> Self {
        Self(0o600)
    }
}

impl FromStr for UnixMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match u32::from_str_radix(text.strip_prefix("0o").unwrap_or(text), 8) {
            Ok(mode) if mode <= 0o777 => Ok(Self(mode)),
            _ => Err(format!(
                "expected an octal mode up to 0777, such as 0600, received {text:?}"
            )),
        }
    }
}

impl TryFrom<String> for UnixMode {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// A TCP address to listen on: a name or number, and a port; port 0 lets the system choose.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct TcpAddress {
    /// The host, without the brackets of an IPv6 address.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl FromStr for TcpAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text
            .rsplit_once(':')
            .and_then(|(host, port)| Some((host, port.parse().ok()?)));
        match parts {
            Some((host, port)) if !host.is_empty() => {
                let bare = host
                    .strip_prefix('[')
                    .and_then(|host| host.strip_suffix(']'))
                    .unwrap_or(host);
                Ok(Self {
                    host: bare.to_owned(),
                    port,
                })
            }
            _ => Err(format!(
                "expected host:port, such as 127.0.0.1:9876, received {text:?}"
            )),
        }
    }
}

impl TryFrom<String> for TcpAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for TcpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') {
            write!(f, "[{host}]:{port}")
        } else {
            write!(f, "{host}:{port}")
        }
    }
}

pub(super) fn files_max<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    in_range(from, 1..=limits::FILES_MAX_MAX)
}

pub(super) fn queue_bytes<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    in_range(from, limits::QUEUE_LEN_MIN..=limits::QUEUE_LEN_MAX_MAX)
}

fn in_range<'de, D: Deserializer<'de>>(from: D, range: RangeInclusive<usize>) -> Result<usize, D::Error> {
    let number = i64::deserialize(from)?;
    usize::try_from(number)
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| {
            D::Error::custom(format!(
                "expected {} to {}, received {number}",
                range.start(),
                range.end()
            ))
        })
}

/// Seconds, as an integer or a float, up to a day.
pub(super) fn duration_s<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let seconds = f64::deserialize(from)?;
    Some(seconds)
        .filter(|seconds| (0.0..=86_400.0).contains(seconds))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| D::Error::custom(format!("expected 0 to 86400 seconds, received {seconds}")))
}

pub(super) fn some_duration_s<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    duration_s(from).map(Some)
}

/// Seconds on the command line.
///
/// # Errors
/// What was expected, and what came.
pub fn parse_duration_s(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok();
    seconds
        .filter(|seconds| (0.0..=86_400.0).contains(seconds))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| format!("expected 0 to 86400 seconds, received {text:?}"))
}

/// The name nearest to the unknown one in a message of serde's: ``unknown field `rots`, expected one of `roots`, …``.
pub(super) fn nearest(message: &str) -> Option<&str> {
    let mut quoted = message
        .strip_prefix("unknown field ")?
        .split('`')
        .skip(1)
        .step_by(2);
    let unknown = quoted.next()?;
    quoted
        .map(|known| (distance(unknown, known), known))
        .filter(|(distance, known)| *distance <= known.len().max(3) / 3)
        .min()
        .map(|(_, known)| known)
}

/// Levenshtein's distance, in characters.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (line, a) in one.chars().enumerate() {
        let mut diagonal = line;
        let mut left = line + 1;
        for (cell, b) in row
            .iter_mut()
            .zip(std::iter::once(None).chain(other.chars().map(Some)))
        {
            let Some(b) = b else {
                *cell = left;
                continue;
            };
            let replaced = diagonal + usize::from(a != b);
            diagonal = *cell;
            left = replaced.min(*cell + 1).min(left + 1);
            *cell = left;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_single_edits() {
        for (one, other, expected) in [
            ("", "ab", 2),
            ("roots", "rots", 1),
            ("kitten", "sitting", 3),
            ("a", "a", 0),
        ] {
            assert_eq!(distance(one, other), expected, "{one} {other}");
        }
    }

    #[test]
    fn an_address_may_be_ipv6_in_brackets() {
        let address: TcpAddress = "[::1]:80".parse().unwrap();
        assert_eq!((address.host.as_str(), address.port), ("::1", 80));
        assert_eq!(address.to_string(), "[::1]:80");
        for bad in ["80", ":80", "host:", "host:99999"] {
            assert!(bad.parse::<TcpAddress>().is_err(), "{bad}");
        }
    }
}

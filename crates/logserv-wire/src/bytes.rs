//! Reads and writes the fixed-width little-endian integers that everything of ours is made of.
//!
//! In: a slice of foreign bytes. Out: numbers and sub-slices, or [`WireError::Truncated`]. Never panics, never copies.

/// What is wrong with bytes that came from outside.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The bytes end before the thing they announce.
    #[error("truncated {what}: expected {expected} bytes, received {received}")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Bytes needed.
        expected: usize,
        /// Bytes there.
        received: usize,
    },
    /// A length is over its limit.
    #[error("{what} too long: expected at most {limit} bytes, received {received}")]
    TooLong {
        /// What was being read.
        what: &'static str,
        /// The limit in bytes.
        limit: usize,
        /// The length announced.
        received: usize,
    },
    /// A number that names a version, a kind or a tag is not one that this reader knows and may not skip.
    #[error("unknown {what} {received}")]
    Unknown {
        /// What was being read.
        what: &'static str,
        /// The number received.
        received: u32,
    },
    /// Text that is not UTF-8.
    #[error("{what} is not UTF-8")]
    NotUtf8 {
        /// What was being read.
        what: &'static str,
    },
    /// A value nested deeper, or with more items, than the limits allow.
    #[error("{what} over its limit of {limit}")]
    OverLimit {
        /// What was being counted.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// A checksum that does not match.
    #[error("checksum of {what} does not match: expected {expected:08x}, received {received:08x}")]
    Checksum {
        /// What was being read.
        what: &'static str,
        /// The checksum over the bytes received.
        expected: u32,
        /// The checksum that came with them.
        received: u32,
    },
    /// Anything else that contradicts the specification.
    #[error("malformed {what}: {why}")]
    Malformed {
        /// What was being read.
        what: &'static str,
        /// In words.
        why: String,
    },
}

/// A cursor over foreign bytes.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`; `what` names the thing in errors.
    #[must_use]
    pub fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, what }
    }

    /// Bytes not yet read.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether everything has been read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    /// `Truncated` if there are fewer.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], WireError> {
        let Some((head, rest)) = self.rest.split_at_checked(len) else {
            return Err(WireError::Truncated {
                what: self.what,
                expected: len,
                received: self.rest.len(),
            });
        };
        self.rest = rest;
        Ok(head)
    }

    /// The next `N` bytes as an array.
    ///
    /// # Errors
    /// `Truncated` if there are fewer.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let received = self.rest.len();
        let Some((head, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(WireError::Truncated {
                what: self.what,
                expected: N,
                received,
            });
        };
        self.rest = rest;
        Ok(*head)
    }

    /// The next `len` bytes as text.
    ///
    /// # Errors
    /// `Truncated`, `NotUtf8`.
    pub fn text(&mut self, len: usize) -> Result<&'a str, WireError> {
        let what = self.what;
        std::str::from_utf8(self.take(len)?).map_err(|_| WireError::NotUtf8 { what })
    }
}

macro_rules! numbers {
    ($($name:ident: $type:ty),*) => {
        impl Reader<'_> {
            $(
                #[doc = concat!("The next little-endian `", stringify!($type), "`.\n\n# Errors\n`Truncated`.")]
                pub fn $name(&mut self) -> Result<$type, WireError> {
                    Ok(<$type>::from_le_bytes(self.array()?))
                }
            )*
        }
    };
}
numbers!(u8: u8, u16: u16, u32: u32, u64: u64, i32: i32, i64: i64, f64: f64);

impl Reader<'_> {
    /// A little-endian `u32` used as a length or a count.
    ///
    /// # Errors
    /// `Truncated`.
    pub fn len_u32(&mut self) -> Result<usize, WireError> {
        Ok(self.u32()? as usize)
    }
}

/// `length` as the `u32` that goes on the wire; saturates, for every caller has checked its limit, which is lower.
#[must_use]
pub fn len_to_u32(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

//! Reads an opcode's argument from the frame.
//!
//! In: the frame. Out: numbers, and [`Span`]s that say where in the frame a text stands; nothing is copied.
//! Not here: what the texts mean; that is `text.rs`.

use super::PickleError;

/// A piece of the frame, in bytes. Four bytes each, for a frame is at most
/// [`PICKLE_LEN_MAX`](crate::limits::PICKLE_LEN_MAX).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Span {
    pub start: u32,
    pub len: u32,
}

impl Span {
    /// The bytes it stands for; empty for a span of another frame.
    pub fn of(self, frame: &[u8]) -> &[u8] {
        let start = self.start as usize;
        frame.get(start..start + self.len as usize).unwrap_or_default()
    }
}

/// Where the machine is in the frame.
#[derive(Debug)]
pub(super) struct Cursor<'f> {
    frame: &'f [u8],
    rest: &'f [u8],
}

impl<'f> Cursor<'f> {
    pub fn new(frame: &'f [u8]) -> Self {
        Self { frame, rest: frame }
    }

    /// Offset of the next byte.
    pub fn offset(&self) -> usize {
        self.frame.len() - self.rest.len()
    }

    #[cold]
    fn truncated(&self, expected: usize) -> PickleError {
        PickleError::Truncated {
            offset: self.offset(),
            expected,
            received: self.rest.len(),
        }
    }

    #[cold]
    pub fn malformed(&self, why: &'static str) -> PickleError {
        PickleError::Malformed {
            offset: self.offset(),
            why,
        }
    }

    /// The bytes not yet read.
    pub fn rest(&self) -> &'f [u8] {
        self.rest
    }

    /// Takes the next `len` bytes, which are there.
    pub fn skip(&mut self, len: usize) {
        self.rest = self.rest.get(len..).unwrap_or_default();
    }

    #[inline]
    pub fn byte(&mut self) -> Result<u8, PickleError> {
        let (&byte, rest) = self.rest.split_first().ok_or_else(|| self.truncated(1))?;
        self.rest = rest;
        Ok(byte)
    }

    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        let (array, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or_else(|| self.truncated(N))?;
        self.rest = rest;
        Ok(*array)
    }

    #[inline]
    pub fn u32(&mut self) -> Result<u32, PickleError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// A length of eight bytes; one that no memory could hold is as good as too long.
    pub fn len_u64(&mut self) -> Result<usize, PickleError> {
        Ok(usize::try_from(u64::from_le_bytes(self.array()?)).unwrap_or(usize::MAX))
    }

    /// A length of four bytes with a sign, which must not be negative.
    pub fn len_i32(&mut self) -> Result<usize, PickleError> {
        let len = i32::from_le_bytes(self.array()?);
        usize::try_from(len).map_err(|_| self.malformed("expected a length, received a negative number"))
    }

    /// Whether so many bytes follow.
    pub fn require(&self, len: usize) -> Result<(), PickleError> {
        if len > self.rest.len() {
            Err(self.truncated(len))
        } else {
            Ok(())
        }
    }

    /// The next `len` bytes.
    #[inline]
    pub fn span(&mut self, len: usize) -> Result<Span, PickleError> {
        let (_, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or_else(|| self.truncated(len))?;
        // The machine has checked that the frame's length fits.
        let span = Span {
            start: self.offset() as u32,
            len: len as u32,
        };
        self.rest = rest;
        Ok(span)
    }

    /// The bytes up to the next newline, which is taken and not part of them.
    pub fn line(&mut self) -> Result<Span, PickleError> {
        let Some(len) = self.rest.iter().position(|&byte| byte == b'\n') else {
            return Err(self.truncated(self.rest.len() + 1));
        };
        let line = self.span(len)?;
        self.skip(1);
        Ok(line)
    }

    /// The bytes of a span.
    pub fn bytes(&self, span: Span) -> &'f [u8] {
        let start = span.start as usize;
        self.frame
            .get(start..start + span.len as usize)
            .unwrap_or_default()
    }
}

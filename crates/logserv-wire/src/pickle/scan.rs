//! Reads a flat pickled dict of texts and numbers from its frame, without stack, arena and nodes.
//!
//! In: a frame; what is expected next in it. Out: the pieces, borrowed from the frame, or [`Unusual`] for whatever a
//! `SocketHandler` of Python 3 and [`write`](super::write) do not send. That is no verdict: the machine reads such a frame.
//! Not here: what the pieces mean (`usual.rs`); whether a text is UTF-8.

use super::cursor::Span;

/// The frame is for the machine: another shape, or malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unusual;

/// A value of the dict.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Flat<'f> {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'f [u8]),
}

#[derive(Debug)]
pub(super) struct Scanner<'f, 'm> {
    frame: &'f [u8],
    rest: &'f [u8],
    /// The texts that were put aside, by number, as many as `puts` says.
    memo: &'m mut Memo,
    puts: usize,
}

/// As many texts as have a number of one byte; larger numbers are for the machine.
pub(super) const MEMO_LEN: usize = 256;
pub(super) type Memo = [Span; MEMO_LEN];

impl<'f, 'm> Scanner<'f, 'm> {
    /// At the first key. `memo` is memory to use.
    pub fn begin(frame: &'f [u8], memo: &'m mut Memo) -> Result<Self, Unusual> {
        // The dict itself may have been put aside.
        let (puts, rest) = match frame {
            [b'}', b'q', 0, b'(', rest @ ..] => (1, rest),
            [b'}', b'(', rest @ ..] => (0, rest),
            _ => return Err(Unusual),
        };
        Ok(Self {
            frame,
            rest,
            memo,
            puts,
        })
    }

    /// Whether the end of the dict and of the pickle come next.
    pub fn is_over(&self) -> bool {
        matches!(self.rest, [b'u', b'.', ..])
    }

    /// Takes the key `name`, which has to come next.
    #[inline(always)]
    pub fn key<const N: usize>(&mut self, name: &[u8; N]) -> Result<(), Unusual> {
        if self.has_key(name)? { Ok(()) } else { Err(Unusual) }
    }

    /// Takes the key `name` if it comes next.
    #[inline(always)]
    pub fn has_key<const N: usize>(&mut self, name: &[u8; N]) -> Result<bool, Unusual> {
        if let Some((head, rest)) = self.rest.split_first_chunk::<5>()
            && *head == [b'X', N as u8, 0, 0, 0]
            && let Some((text, rest)) = rest.split_first_chunk::<N>()
            && text == name
        {
            self.rest = rest;
            return self.put(N).map(|()| true);
        }
        self.has_shared_key(name)
    }

    /// A key that a value had already: a function may be called `process`, and Python shares such names.
    #[cold]
    fn has_shared_key(&mut self, name: &[u8]) -> Result<bool, Unusual> {
        match self.rest {
            [b'h', index, rest @ ..] if self.get(*index)? == name => {
                self.rest = rest;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Takes the number that the text behind the cursor, of `len` bytes, is put aside under, where it is.
    #[inline(always)]
    fn put(&mut self, len: usize) -> Result<(), Unusual> {
        if let [b'q', index, rest @ ..] = self.rest {
            let index = usize::from(*index);
            if index != self.puts {
                return Err(Unusual);
            }
            if let Some(place) = self.memo.get_mut(index) {
                // The frame is a short one.
                *place = Span {
                    start: (self.frame.len() - self.rest.len() - len) as u32,
                    len: len as u32,
                };
            }
            self.puts = index + 1;
            self.rest = rest;
        }
        Ok(())
    }

    /// The text that was put aside under `index`; 0 is usually the dict, which is none.
    fn get(&self, index: u8) -> Result<&'f [u8], Unusual> {
        let index = usize::from(index);
        match self.memo.get(index) {
            Some(span) if (1..self.puts).contains(&index) => Ok(span.of(self.frame)),
            _ => Err(Unusual),
        }
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Unusual> {
        let (array, rest) = self.rest.split_first_chunk::<N>().ok_or(Unusual)?;
        self.rest = rest;
        Ok(*array)
    }

    /// Takes a text or `None`.
    #[inline]
    pub fn text_or_none(&mut self) -> Result<Option<&'f [u8]>, Unusual> {
        match self.rest {
            [b'X', a, b, c, d, rest @ ..] => {
                let len = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
                let (text, rest) = rest.split_at_checked(len).ok_or(Unusual)?;
                self.rest = rest;
                self.put(len)?;
                Ok(Some(text))
            }
            [b'N', rest @ ..] => {
                self.rest = rest;
                Ok(None)
            }
            [b'h', index, rest @ ..] => {
                self.rest = rest;
                self.get(*index).map(Some)
            }
            _ => Err(Unusual),
        }
    }

    /// Takes a `None`.
    #[inline]
    pub fn none(&mut self) -> Result<(), Unusual> {
        match self.array()? {
            [b'N'] => Ok(()),
            _ => Err(Unusual),
        }
    }

    /// Takes a float.
    #[inline]
    pub fn float(&mut self) -> Result<f64, Unusual> {
        match self.array()? {
            [b'G'] => Ok(f64::from_be_bytes(self.array()?)),
            _ => Err(Unusual),
        }
    }

    /// Takes an integer of the type wanted.
    #[inline]
    pub fn int<T: TryFrom<i64>>(&mut self) -> Result<T, Unusual> {
        let number = match self.array()? {
            [b'K'] => i64::from(u8::from_le_bytes(self.array()?)),
            [b'M'] => i64::from(u16::from_le_bytes(self.array()?)),
            [b'J'] => i64::from(i32::from_le_bytes(self.array()?)),
            [b'L'] => self.digits()?,
            _ => return Err(Unusual),
        };
        T::try_from(number).map_err(|_| Unusual)
    }

    /// Takes an integer or `None`.
    #[inline]
    pub fn int_or_none<T: TryFrom<i64>>(&mut self) -> Result<Option<T>, Unusual> {
        match self.rest {
            [b'N', rest @ ..] => {
                self.rest = rest;
                Ok(None)
            }
            _ => self.int().map(Some),
        }
    }

    /// The digits of a `LONG`, at most 18: a thread's identity has 15.
    fn digits(&mut self) -> Result<i64, Unusual> {
        let mut number = 0;
        for (len, &byte) in self.rest.iter().enumerate() {
            match byte.wrapping_sub(b'0') {
                digit @ 0..=9 if len < 18 => number = number * 10 + i64::from(digit),
                _ => {
                    let tail = self.rest.get(len..).unwrap_or_default();
                    self.rest = tail.strip_prefix(b"L\n").filter(|_| len > 0).ok_or(Unusual)?;
                    return Ok(number);
                }
            }
        }
        Err(Unusual)
    }

    /// Takes a key of whatever name.
    pub fn any_key(&mut self) -> Result<&'f [u8], Unusual> {
        self.text_or_none()?.ok_or(Unusual)
    }

    /// Takes a value of any type that is no container.
    pub fn any(&mut self) -> Result<Flat<'f>, Unusual> {
        match self.rest {
            [b'X' | b'N' | b'h', ..] => Ok(self.text_or_none()?.map_or(Flat::None, Flat::Text)),
            [b'G', ..] => self.float().map(Flat::Float),
            [b'I', b'0', digit @ (b'0' | b'1'), b'\n', rest @ ..] => {
                self.rest = rest;
                Ok(Flat::Bool(*digit == b'1'))
            }
            _ => self.int().map(Flat::Int),
        }
    }
}

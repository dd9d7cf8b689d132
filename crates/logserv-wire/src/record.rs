//! One record as it travels: a fixed header, then fields that a reader may skip when it does not know them.
//!
//! In: a [`Record`] that borrows its text, or the bytes of one. Out: the other. Layout: PROTOCOL.md, "Record".
//! Every attribute of Python's `LogRecord` has its place: numbers in the header, texts as fields, everything of
//! `extra` (and a standard attribute of an unusual type) as an attribute field with a typed value.
//! Not here: how the record becomes a line; that is `logserv-format`.

use crate::bytes::{Reader, WireError, len_to_u32};
use crate::limits::RECORD_LEN_MAX;
use crate::value::{self, Value};

/// Version of this layout, the fifth byte of every record.
pub const RECORD_VERSION: u8 = 1;
/// Bytes of the fixed header.
pub const HEADER_LEN: usize = 64;
/// Longest field in bytes: its length has 24 bits.
pub const FIELD_LEN_MAX: usize = (1 << 24) - 1;

/// Who has rendered the record's line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RecordKind {
    /// Nobody yet: the server renders the fields by the formatter that the record names.
    #[default]
    Fields,
    /// The client: `message` is the whole line, without the terminator.
    Line,
}

/// One log record. Texts borrow from the bytes they were read from.
///
/// `None` in a text means that the attribute is `None`, or that this Python version does not have it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Record<'a> {
    /// Who has rendered the line.
    pub kind: RecordKind,
    /// The formatter that renders it, as announced on the same session; 0 is Python's default, `%(message)s`.
    pub formatter: u32,
    /// `levelno`.
    pub level_no: i32,
    /// `created`, in seconds since 1970.
    pub created: f64,
    /// `msecs`, as Python computed it (its rounding differs between versions).
    pub msecs: f64,
    /// `relativeCreated`, in milliseconds.
    pub relative_created: f64,
    /// `lineno`.
    pub line_no: u32,
    /// `thread`.
    pub thread: Option<u64>,
    /// `process`.
    pub process: Option<u32>,
    /// Seconds east of UTC in the producer's time zone at `created`; `None`: the server's own zone is used.
    pub utc_offset_s: Option<i32>,
    /// `name`.
    pub name: Option<&'a str>,
    /// What `getMessage()` gave; for [`RecordKind::Line`] the whole line.
    pub message: Option<&'a str>,
    /// `levelname`.
    pub level_name: Option<&'a str>,
    /// `pathname`.
    pub path_name: Option<&'a str>,
    /// `filename`.
    pub file_name: Option<&'a str>,
    /// `module`.
    pub module: Option<&'a str>,
    /// `funcName`.
    pub func_name: Option<&'a str>,
    /// `threadName`.
    pub thread_name: Option<&'a str>,
    /// `processName`.
    pub process_name: Option<&'a str>,
    /// `taskName` (Python 3.12 and later).
    pub task_name: Option<&'a str>,
    /// `exc_text`: the formatted traceback.
    pub exc_text: Option<&'a str>,
    /// `stack_info`.
    pub stack_info: Option<&'a str>,
    /// Set by [`Record::decode`] only, read with [`Record::attributes`]; `Default` means none.
    pub encoded_attributes: Attributes<'a>,
}

/// The attributes of a record beyond the standard ones, still encoded.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Attributes<'a> {
    /// The fields from the first attribute on; empty where there is none, as in most records.
    fields: &'a [u8],
}

const KIND_FIELDS: u8 = 1;
const KIND_LINE: u8 = 2;

const HAS_THREAD: u16 = 1;
const HAS_PROCESS: u16 = 1 << 1;
const HAS_UTC_OFFSET: u16 = 1 << 2;

const TAG_ATTRIBUTE: u8 = 13;

const FIELD_HEAD_LEN: usize = 4; // its tag and its length

macro_rules! text_fields {
    ($($tag:literal $name:ident $constant:ident),* $(,)?) => {
        /// The text fields' tags, for who writes them one by one.
        pub mod tag {
            $(#[doc = concat!("That of `", stringify!($name), "`.")] pub const $constant: u8 = $tag;)*
        }

        /// The text fields with their tags, in the order in which they are written.
        fn put_texts(record: &Record<'_>, out: &mut Vec<u8>) {
            $(if let Some(text) = record.$name { put_field(out, $tag, text.as_bytes()); })*
        }

        /// `checked`: the same text, where it has been seen to be one.
        #[inline(always)]
        fn set_text<'a>(
            record: &mut Record<'a>,
            tag: u8,
            text: &'a [u8],
            checked: Option<&'a str>,
        ) -> Result<(), WireError> {
            match tag {
                $($tag => {
                    record.$name = Some(match checked {
                        Some(text) => text,
                        None => std::str::from_utf8(text)
                            .map_err(|_| WireError::NotUtf8 { what: stringify!($name) })?,
                    });
                })*
                // A later version's field, or an attribute: read by those who know it.
                _ => {}
            }
            Ok(())
        }
    };
}
text_fields! {
    1 name NAME,
    2 message MESSAGE,
    3 level_name LEVEL_NAME,
    4 path_name PATH_NAME,
    5 file_name FILE_NAME,
    6 module MODULE,
    7 func_name FUNC_NAME,
    8 thread_name THREAD_NAME,
    9 process_name PROCESS_NAME,
    10 task_name TASK_NAME,
    11 exc_text EXC_TEXT,
    12 stack_info STACK_INFO,
}

/// Writes a field's head and body. Bodies longer than [`FIELD_LEN_MAX`] are the caller's to cut beforehand.
#[inline]
fn put_field(out: &mut Vec<u8>, tag: u8, body: &[u8]) {
    out.reserve(4 + body.len());
    out.extend_from_slice(&field_head(tag, body.len()));
    out.extend_from_slice(body);
}

/// What stands before a field's body of so many bytes, at most [`FIELD_LEN_MAX`].
#[inline]
#[must_use]
pub fn field_head(tag: u8, len: usize) -> [u8; 4] {
    let [a, b, c, _] = len_to_u32(len.min(FIELD_LEN_MAX)).to_le_bytes();
    [tag, a, b, c]
}

/// The fixed header, for who writes the fields himself: each a [`field_head`] and its body, in the order of their [`tag`]s.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(missing_docs, reason = "as in `Record`")]
pub struct Header {
    pub kind: RecordKind,
    pub formatter: u32,
    pub level_no: i32,
    pub created: f64,
    pub msecs: f64,
    pub relative_created: f64,
    pub line_no: u32,
    pub thread: Option<u64>,
    pub process: Option<u32>,
    pub utc_offset_s: Option<i32>,
}

impl Header {
    /// Its bytes; `len`: those of the whole record.
    #[inline]
    #[must_use]
    pub fn encode(&self, len: usize) -> [u8; HEADER_LEN] {
        let kind = match self.kind {
            RecordKind::Fields => KIND_FIELDS,
            RecordKind::Line => KIND_LINE,
        };
        let bit = |is_there, bit| if is_there { bit } else { 0 };
        let present: u16 = bit(self.thread.is_some(), HAS_THREAD)
            | bit(self.process.is_some(), HAS_PROCESS)
            | bit(self.utc_offset_s.is_some(), HAS_UTC_OFFSET);
        let [present_low, present_high] = present.to_le_bytes();
        let pair = |low: [u8; 4], high: [u8; 4]| {
            (u64::from(u32::from_le_bytes(high)) << 32 | u64::from(u32::from_le_bytes(low))).to_le_bytes()
        };
        // In one piece, for every record has one.
        let words: [[u8; 8]; HEADER_LEN / 8] = [
            pair(
                len_to_u32(len).to_le_bytes(),
                [RECORD_VERSION, kind, present_low, present_high],
            ),
            pair(self.formatter.to_le_bytes(), self.level_no.to_le_bytes()),
            self.created.to_le_bytes(),
            self.msecs.to_le_bytes(),
            self.relative_created.to_le_bytes(),
            self.thread.unwrap_or_default().to_le_bytes(),
            pair(
                self.process.unwrap_or_default().to_le_bytes(),
                self.line_no.to_le_bytes(),
            ),
            pair(self.utc_offset_s.unwrap_or_default().to_le_bytes(), [0; 4]), // the latter reserved
        ];
        let mut bytes = [0; HEADER_LEN];
        bytes.copy_from_slice(words.as_flattened());
        bytes
    }
}

/// Writes the fixed header; the length in it is known at the end.
#[inline]
fn put_header(record: &Record<'_>, out: &mut Vec<u8>) {
    let header = Header {
        kind: record.kind,
        formatter: record.formatter,
        level_no: record.level_no,
        created: record.created,
        msecs: record.msecs,
        relative_created: record.relative_created,
        line_no: record.line_no,
        thread: record.thread,
        process: record.process,
        utc_offset_s: record.utc_offset_s,
    };
    out.extend_from_slice(&header.encode(0));
}

/// Writes records, one behind the other, into one buffer.
#[derive(Debug)]
pub struct RecordWriter<'b> {
    out: &'b mut Vec<u8>,
    start: usize,
}

impl<'b> RecordWriter<'b> {
    /// Appends `record`'s header and texts to `out`; attributes follow with [`attribute`](Self::attribute), and
    /// [`finish`](Self::finish) closes the record. Attributes that `record` itself holds are not written again.
    pub fn begin(record: &Record<'_>, out: &'b mut Vec<u8>) -> Self {
        let start = out.len();
        put_header(record, out);
        put_texts(record, out);
        Self { out, start }
    }

    /// As [`begin`](Self::begin), with the texts from elsewhere, by their tags and in their order; those that `record`
    /// holds are not written. `None` where one of them is not UTF-8, with what was written left in `out`.
    #[inline]
    pub(crate) fn begin_bytes(
        record: &Record<'_>,
        texts: &[(u8, Option<&[u8]>)],
        out: &'b mut Vec<u8>,
    ) -> Option<Self> {
        let start = out.len();
        put_header(record, out);
        for &(tag, text) in texts {
            if let Some(text) = text {
                put_field(out, tag, text);
            }
        }
        // One look at all of them is cheaper than one at each: most are ASCII, and so are the lengths of short ones.
        let is_ascii = out.get(start + HEADER_LEN..).is_some_and(<[u8]>::is_ascii);
        let mut all = texts.iter().filter_map(|&(_, text)| text);
        (is_ascii || all.all(|text| text.is_ascii() || std::str::from_utf8(text).is_ok()))
            .then_some(Self { out, start })
    }

    /// Appends one attribute. Names longer than 65,535 bytes are cut at a character.
    pub fn attribute(&mut self, name: &str, value: &Value<'_>) {
        self.attribute_with(name, |out| value.encode(out));
    }

    /// Appends one attribute whose encoded value `encode` appends; for callers that have no [`Value`] at hand.
    pub(crate) fn attribute_with(&mut self, name: &str, encode: impl FnOnce(&mut Vec<u8>)) {
        let mut name_len = name.len().min(usize::from(u16::MAX));
        while !name.is_char_boundary(name_len) {
            name_len -= 1;
        }
        let head = self.out.len();
        self.out.extend_from_slice(&field_head(TAG_ATTRIBUTE, 0));
        self.out
            .extend_from_slice(&u16::try_from(name_len).unwrap_or(u16::MAX).to_le_bytes());
        self.out
            .extend_from_slice(name.as_bytes().get(..name_len).unwrap_or_default());
        encode(self.out);
        let body_len = self.out.len() - head - 4;
        if body_len > FIELD_LEN_MAX {
            self.out.truncate(head);
            return;
        }
        if let Some(place) = self.out.get_mut(head..head + 4) {
            place.copy_from_slice(&field_head(TAG_ATTRIBUTE, body_len));
        }
    }

    /// Bytes written so far, to be held against a limit.
    #[must_use]
    pub fn len(&self) -> usize {
        self.out.len() - self.start
    }

    /// Whether nothing has been written; never true after `begin`.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Stores the record's length and returns it, in bytes.
    pub fn finish(self) -> usize {
        let len = self.len();
        if let Some(place) = self.out.get_mut(self.start..self.start + 4) {
            place.copy_from_slice(&len_to_u32(len).to_le_bytes());
        }
        len
    }
}

impl<'a> Record<'a> {
    /// Appends the record, with the attributes it holds, to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = RecordWriter::begin(self, out);
        for (name, value) in self.attributes() {
            writer.attribute(name, &value);
        }
        writer.finish();
    }

    /// Reads the record at the start of `bytes`; returns it and the bytes behind it.
    ///
    /// Unknown fields are skipped. Attributes are read lazily: a malformed one ends [`attributes`](Self::attributes).
    ///
    /// # Errors
    /// `Truncated`, `TooLong`, `Unknown` version or kind, `NotUtf8`.
    #[inline]
    pub fn decode(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), WireError> {
        let (body, rest) = split_first(bytes)?;
        let mut record = Self::default();
        record.read(body)?;
        Ok((record, rest))
    }

    /// Reads the one record that `bytes` are, from the first to the last, in the place of this one, which is a new one. As
    /// [`decode`](Self::decode), whose result is longer than most records, and would be copied.
    ///
    /// # Errors
    /// Those of `decode`, and `Malformed` where something stands behind it; the record is then half read.
    #[inline]
    pub fn decode_into(&mut self, bytes: &'a [u8]) -> Result<(), WireError> {
        let (body, rest) = split_first(bytes)?;
        if !rest.is_empty() {
            let why = format!("{} bytes behind it", rest.len());
            return Err(WireError::Malformed { what: "record", why });
        }
        self.read(body)
    }

    /// The same of bytes whose length has been looked at.
    fn read(&mut self, bytes: &'a [u8]) -> Result<(), WireError> {
        let truncated = |expected, received| WireError::Truncated {
            what: "record",
            expected,
            received,
        };
        let (header, fields) = bytes.split_at_checked(HEADER_LEN).unwrap_or_default();
        let ([first, numbers, created, msecs, relative, thread, place, offset], []) = header.as_chunks::<8>()
        else {
            return Err(truncated(HEADER_LEN, bytes.len()));
        };
        let &[_, _, _, _, version, kind, present_low, present_high] = first;
        let unknown = |what, received: u8| WireError::Unknown {
            what,
            received: received.into(),
        };
        if version != RECORD_VERSION {
            return Err(unknown("record version", version));
        }
        self.kind = match kind {
            KIND_FIELDS => RecordKind::Fields,
            KIND_LINE => RecordKind::Line,
            _ => return Err(unknown("record kind", kind)),
        };
        let present = u16::from_le_bytes([present_low, present_high]);
        let if_present = |bit: u16| present & bit != 0;
        let (formatter, level_no) = halves(*numbers);
        (self.formatter, self.level_no) = (formatter, level_no.cast_signed());
        self.created = f64::from_le_bytes(*created);
        self.msecs = f64::from_le_bytes(*msecs);
        self.relative_created = f64::from_le_bytes(*relative);
        self.thread = if_present(HAS_THREAD).then_some(u64::from_le_bytes(*thread));
        let process;
        (process, self.line_no) = halves(*place);
        self.process = if_present(HAS_PROCESS).then_some(process);
        self.utc_offset_s = if_present(HAS_UTC_OFFSET).then_some(halves(*offset).0.cast_signed());
        let checked = utf8_start(fields);
        let mut rest = fields;
        while let Some((head, behind)) = rest.split_first_chunk() {
            let head = u32::from_le_bytes(*head);
            let (tag, len) = ((head & 0xff) as u8, (head >> 8) as usize);
            let Some((text, next)) = behind.split_at_checked(len) else {
                return Err(truncated(len, behind.len()));
            };
            if tag == TAG_ATTRIBUTE && self.encoded_attributes.fields.is_empty() {
                self.encoded_attributes = Attributes { fields: rest };
            }
            let start = fields.len() - behind.len();
            set_text(self, tag, text, checked.get(start..start + len))?;
            rest = next;
        }
        match rest.len() {
            0 => Ok(()),
            received => Err(truncated(FIELD_HEAD_LEN, received)),
        }
    }

    /// Whether there are [`attributes`](Self::attributes): most records have none.
    #[must_use]
    pub fn has_attributes(&self) -> bool {
        !self.encoded_attributes.fields.is_empty()
    }

    /// The attributes beyond the standard ones, in the producer's order. An attribute named like a standard one
    /// takes its place (its type was not the usual one). Ends early at a malformed attribute.
    pub fn attributes(&self) -> impl Iterator<Item = (&'a str, Value<'a>)> + use<'a> {
        let mut reader = Reader::new(self.encoded_attributes.fields, "attribute");
        std::iter::from_fn(move || {
            while !reader.is_empty() {
                let (tag, body) = next_field(&mut reader).ok()?;
                if tag == TAG_ATTRIBUTE {
                    let mut body = Reader::new(body, "attribute");
                    let name_len = usize::from(body.u16().ok()?);
                    let name = body.text(name_len).ok()?;
                    return Some((name, value::decode(&mut body).ok()?));
                }
            }
            None
        })
    }
}

/// Splits the bytes of the first record off `bytes`, without looking inside.
///
/// # Errors
/// `Truncated`, `TooLong` beyond [`RECORD_LEN_MAX`], `Malformed` where the length is below the header's.
pub fn split_first(bytes: &[u8]) -> Result<(&[u8], &[u8]), WireError> {
    let len = Reader::new(bytes, "record").len_u32()?;
    if len > RECORD_LEN_MAX {
        return Err(WireError::TooLong {
            what: "record",
            limit: RECORD_LEN_MAX,
            received: len,
        });
    }
    if len < HEADER_LEN {
        let why = format!("expected a length of at least {HEADER_LEN} bytes, received {len}");
        return Err(WireError::Malformed { what: "record", why });
    }
    bytes.split_at_checked(len).ok_or(WireError::Truncated {
        what: "record",
        expected: len,
        received: bytes.len(),
    })
}

/// As much of the fields as is UTF-8 in one piece, their heads included: mostly everything, for tags and lengths below 128 are
/// ASCII. One look at all of it costs a fraction of one at each text; a text that lies behind it is looked at alone.
#[inline]
fn utf8_start(fields: &[u8]) -> &str {
    std::str::from_utf8(fields).unwrap_or_else(|error| {
        let start = fields.get(..error.valid_up_to()).unwrap_or_default();
        std::str::from_utf8(start).unwrap_or_default()
    })
}

/// Two numbers of four bytes.
#[inline]
fn halves(bytes: [u8; 8]) -> (u32, u32) {
    let both = u64::from_le_bytes(bytes);
    ((both & 0xffff_ffff) as u32, (both >> 32) as u32)
}

#[inline]
fn next_field<'a>(reader: &mut Reader<'a>) -> Result<(u8, &'a [u8]), WireError> {
    let [tag, a, b, c] = reader.array()?;
    let len = u32::from_le_bytes([a, b, c, 0]) as usize;
    Ok((tag, reader.take(len)?))
}

#[cfg(test)]
mod tests;

//! The frames of protocol 2.0: what follows on a connection after both sides have said `HELLO 2.0`.
//!
//! In: the bytes received so far, or a [`Frame`]. Out: the first whole frame and its length, "not yet", or an error;
//! or bytes appended to a buffer. A frame is a `u32` length, one type byte and a body; PROTOCOL.md has the table.
//! Not here: what a peer may send when; that is the state of a connection, in the server and the client.

use crate::bytes::{Reader, WireError, len_to_u32};
use crate::limits::FRAME_LEN_MAX;

/// How safe a record is; names the level an acknowledgement speaks of. Values are those on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// L1: the server holds it in its memory.
    Received = 1,
    /// L2: `write(2)` to the file has returned.
    Written = 2,
    /// L3: `fdatasync(2)` of the file has returned.
    Synced = 3,
}

impl Level {
    fn from_wire(byte: u8) -> Result<Self, WireError> {
        match byte {
            1 => Ok(Level::Received),
            2 => Ok(Level::Written),
            3 => Ok(Level::Synced),
            received => Err(WireError::Unknown {
                what: "level",
                received: received.into(),
            }),
        }
    }
}

/// One frame. JSON bodies are objects in UTF-8; their keys stand in PROTOCOL.md.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Frame<'a> {
    /// Client: opens or resumes a session. JSON.
    Open {
        /// The JSON object.
        json: &'a str,
    },
    /// Client: announces a formatter under a number of the client's choice, for the records that follow. JSON.
    Formatter {
        /// The number that records name; never 0.
        id: u32,
        /// The JSON object.
        json: &'a str,
    },
    /// Client: whole records, one behind the other, numbered from `first_seq` without a gap.
    Batch {
        /// The sequence number of the first record; a session's first record has 1.
        first_seq: u64,
        /// How many records there are.
        count: u32,
        /// The encoded records.
        records: &'a [u8],
    },
    /// Client: asks for [`Frame::Done`] once all records sent before have reached `level`.
    Flush {
        /// Comes back in the answer.
        token: u64,
        /// The level to wait for.
        level: Level,
    },
    /// Client: asks to rotate the file once, after all records sent before.
    Rollover {
        /// Comes back in the answer.
        token: u64,
    },
    /// Client: a command of the operator, instead of `Open`. JSON.
    Admin {
        /// The JSON object.
        json: &'a str,
    },
    /// Client: no more will come; the session may be forgotten once everything is written.
    Close,
    /// Client: the server's challenge stands in the session's ring; from here on the records come through it.
    Attach,
    /// Client: records lie in the ring, and its consumer sleeps.
    Wake,
    /// Server: the session is open. JSON.
    Welcome {
        /// The JSON object.
        json: &'a str,
    },
    /// Server: all records up to and including `seq` have reached `level`.
    Ack {
        /// The highest sequence number that is so safe.
        seq: u64,
        /// How safe.
        level: Level,
    },
    /// Server: what `Flush` or `Rollover` asked for is done, or could not be.
    Done {
        /// The token of the question.
        token: u64,
        /// Whether it succeeded.
        ok: bool,
    },
    /// Server: a refusal; the connection is closed behind it. JSON.
    Error {
        /// The JSON object.
        json: &'a str,
    },
    /// Server: the answer to `Admin`. JSON.
    Report {
        /// The JSON object.
        json: &'a str,
    },
    /// Server: the answer to `Attach`.
    Attached {
        /// Whether the ring is the session's; if not, its records come over the connection.
        ok: bool,
    },
}

const TYPE_OPEN: u8 = 1;
const TYPE_FORMATTER: u8 = 2;
const TYPE_BATCH: u8 = 3;
const TYPE_FLUSH: u8 = 4;
const TYPE_ROLLOVER: u8 = 5;
const TYPE_ADMIN: u8 = 6;
const TYPE_CLOSE: u8 = 7;
const TYPE_ATTACH: u8 = 8;
const TYPE_WAKE: u8 = 9;
const TYPE_WELCOME: u8 = 65;
const TYPE_ACK: u8 = 66;
const TYPE_DONE: u8 = 67;
const TYPE_ERROR: u8 = 68;
const TYPE_REPORT: u8 = 69;
const TYPE_ATTACHED: u8 = 70;

impl Frame<'_> {
    /// Appends the frame to `out`. A batch's checksum (CRC-32C over its records) is computed here.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; 4]); // the length, known at the end
        match self {
            Frame::Open { json } => put(out, TYPE_OPEN, json.as_bytes()),
            Frame::Formatter { id, json } => {
                put(out, TYPE_FORMATTER, &id.to_le_bytes());
                out.extend_from_slice(json.as_bytes());
            }
            Frame::Batch {
                first_seq,
                count,
                records,
            } => {
                put(out, TYPE_BATCH, &first_seq.to_le_bytes());
                out.extend_from_slice(&count.to_le_bytes());
                out.extend_from_slice(&crc32c::crc32c(records).to_le_bytes());
                out.extend_from_slice(records);
            }
            Frame::Flush { token, level } => {
                put(out, TYPE_FLUSH, &token.to_le_bytes());
                out.push(*level as u8);
            }
            Frame::Rollover { token } => put(out, TYPE_ROLLOVER, &token.to_le_bytes()),
            Frame::Admin { json } => put(out, TYPE_ADMIN, json.as_bytes()),
            Frame::Close => put(out, TYPE_CLOSE, &[]),
            Frame::Attach => put(out, TYPE_ATTACH, &[]),
            Frame::Wake => put(out, TYPE_WAKE, &[]),
            Frame::Welcome { json } => put(out, TYPE_WELCOME, json.as_bytes()),
            Frame::Ack { seq, level } => {
                put(out, TYPE_ACK, &seq.to_le_bytes());
                out.push(*level as u8);
            }
            Frame::Done { token, ok } => {
                put(out, TYPE_DONE, &token.to_le_bytes());
                out.push(u8::from(*ok));
            }
            Frame::Error { json } => put(out, TYPE_ERROR, json.as_bytes()),
            Frame::Report { json } => put(out, TYPE_REPORT, json.as_bytes()),
            Frame::Attached { ok } => put(out, TYPE_ATTACHED, &[u8::from(*ok)]),
        }
        let len = len_to_u32(out.len() - start - 4);
        if let Some(place) = out.get_mut(start..start + 4) {
            place.copy_from_slice(&len.to_le_bytes());
        }
    }
}

fn put(out: &mut Vec<u8>, frame_type: u8, body: &[u8]) {
    out.push(frame_type);
    out.extend_from_slice(body);
}

/// Reads the first frame of `bytes`: the frame and the number of bytes it takes, or `None` while it is not whole.
///
/// A frame of a type from 128 on that this reader does not know comes back as `Ok(Some((None, len)))`, to be skipped.
///
/// # Errors
/// `TooLong` before the frame is whole; `Unknown` type below 128; `Checksum`; `NotUtf8`; `Truncated` where the body is
/// shorter than its type demands.
pub fn decode_first(bytes: &[u8]) -> Result<Option<(Option<Frame<'_>>, usize)>, WireError> {
    let Ok(len) = Reader::new(bytes, "frame").len_u32() else {
        return Ok(None);
    };
    if len > FRAME_LEN_MAX {
        return Err(WireError::TooLong {
            what: "frame",
            limit: FRAME_LEN_MAX,
            received: len,
        });
    }
    let Some(body) = bytes.get(4..4 + len) else {
        return Ok(None);
    };
    Ok(Some((decode_body(body)?, 4 + len)))
}

fn decode_body(body: &[u8]) -> Result<Option<Frame<'_>>, WireError> {
    let mut reader = Reader::new(body, "frame");
    let frame_type = reader.u8()?;
    Ok(Some(match frame_type {
        TYPE_OPEN => Frame::Open { json: json(reader)? },
        TYPE_FORMATTER => Frame::Formatter {
            id: reader.u32()?,
            json: json(reader)?,
        },
        TYPE_BATCH => {
            let (first_seq, count, received) = (reader.u64()?, reader.u32()?, reader.u32()?);
            let records = reader.rest();
            let expected = crc32c::crc32c(records);
            if expected != received {
                return Err(WireError::Checksum {
                    what: "batch",
                    expected,
                    received,
                });
            }
            Frame::Batch {
                first_seq,
                count,
                records,
            }
        }
        TYPE_FLUSH => Frame::Flush {
            token: reader.u64()?,
            level: Level::from_wire(reader.u8()?)?,
        },
        TYPE_ROLLOVER => Frame::Rollover { token: reader.u64()? },
        TYPE_ADMIN => Frame::Admin { json: json(reader)? },
        TYPE_CLOSE => Frame::Close,
        TYPE_ATTACH => Frame::Attach,
        TYPE_WAKE => Frame::Wake,
        TYPE_WELCOME => Frame::Welcome { json: json(reader)? },
        TYPE_ACK => Frame::Ack {
            seq: reader.u64()?,
            level: Level::from_wire(reader.u8()?)?,
        },
        TYPE_DONE => Frame::Done {
            token: reader.u64()?,
            ok: reader.u8()? != 0,
        },
        TYPE_ERROR => Frame::Error { json: json(reader)? },
        TYPE_REPORT => Frame::Report { json: json(reader)? },
        TYPE_ATTACHED => Frame::Attached {
            ok: reader.u8()? != 0,
        },
        128.. => return Ok(None),
        received => {
            return Err(WireError::Unknown {
                what: "frame type",
                received: received.into(),
            });
        }
    }))
}

fn json(reader: Reader<'_>) -> Result<&str, WireError> {
    std::str::from_utf8(reader.rest()).map_err(|_| WireError::NotUtf8 {
        what: "JSON of a frame",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Frame<'static>; 15] = [
        Frame::Open {
            json: "{\"session\":\"00\"}",
        },
        Frame::Formatter { id: 3, json: "{}" },
        Frame::Batch {
            first_seq: 9,
            count: 2,
            records: b"not looked into here",
        },
        Frame::Flush {
            token: 5,
            level: Level::Written,
        },
        Frame::Rollover { token: 6 },
        Frame::Admin { json: "{}" },
        Frame::Close,
        Frame::Attach,
        Frame::Wake,
        Frame::Welcome { json: "{}" },
        Frame::Ack {
            seq: u64::MAX,
            level: Level::Synced,
        },
        Frame::Done { token: 6, ok: true },
        Frame::Error { json: "{}" },
        Frame::Report { json: "{}" },
        Frame::Attached { ok: true },
    ];

    #[test]
    fn every_frame_comes_back_however_the_stream_is_cut() {
        let mut stream = Vec::new();
        for frame in &ALL {
            frame.encode(&mut stream);
        }
        let mut seen = 0;
        let mut at = 0;
        for end in 0..=stream.len() {
            while let Some((frame, len)) = decode_first(&stream[at..end]).unwrap() {
                assert_eq!(frame, Some(ALL[seen]));
                seen += 1;
                at += len;
            }
        }
        assert_eq!(seen, ALL.len());
        assert_eq!(at, stream.len());
    }

    #[test]
    fn a_flipped_bit_in_a_batch_is_found() {
        let mut bytes = Vec::new();
        ALL[2].encode(&mut bytes);
        *bytes.last_mut().unwrap() ^= 1;
        assert!(matches!(decode_first(&bytes), Err(WireError::Checksum { .. })));
    }

    #[test]
    fn a_frame_over_the_limit_is_refused_before_it_is_whole() {
        let bytes = len_to_u32(FRAME_LEN_MAX + 1).to_le_bytes();
        assert!(matches!(decode_first(&bytes), Err(WireError::TooLong { .. })));
    }

    #[test]
    fn unknown_types_are_skipped_from_128_on_and_refused_below() {
        assert_eq!(decode_first(&[2, 0, 0, 0, 200, 1]), Ok(Some((None, 6))));
        assert!(matches!(
            decode_first(&[1, 0, 0, 0, 99]),
            Err(WireError::Unknown { .. })
        ));
    }
}

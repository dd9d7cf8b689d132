//! The frames of protocol 2.0, with the records of their batches: the same however the stream is cut.

use logserv_wire::frame::{Frame, Level, decode_first};

use super::{Target, record};
use crate::mutate::Random;

pub const TARGET: Target = Target {
    name: "frame",
    generate,
    run,
};

fn generate(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..=random.below(4) {
        let json = format!(
            "{{\"session\": \"{:032x}\", \"x\": \"{}\"}}",
            random.next(),
            random.byte()
        );
        let mut records = Vec::new();
        let count = random.below(4);
        (0..count).for_each(|_| record::push_record(random, &mut records));
        let number = random.interesting();
        let level = [Level::Received, Level::Written, Level::Synced][random.below(3)];
        let frame = match random.below(15) {
            0 => Frame::Open { json: &json },
            1 => Frame::Formatter {
                id: random.byte().into(),
                json: &json,
            },
            2 => Frame::Flush { token: number, level },
            3 => Frame::Rollover { token: number },
            4 => Frame::Admin { json: &json },
            5 => Frame::Close,
            6 => Frame::Welcome { json: &json },
            7 => Frame::Ack { seq: number, level },
            8 => Frame::Done {
                token: number,
                ok: random.one_in(2),
            },
            9 => Frame::Error { json: &json },
            10 => Frame::Report { json: &json },
            11 => Frame::Attach,
            12 => Frame::Wake,
            13 => Frame::Attached { ok: random.one_in(2) },
            _ => Frame::Batch {
                first_seq: number,
                count: u32::try_from(count).unwrap_or(0),
                records: &records,
            },
        };
        frame.encode(&mut bytes);
    }
    bytes
}

fn run(bytes: &[u8]) -> Result<bool, String> {
    let mut rest = bytes;
    let mut accepted = false;
    loop {
        let Ok(first) = decode_first(rest) else {
            return Ok(false);
        };
        let Some((frame, len)) = first else {
            return Ok(accepted);
        };
        if len == 0 || len > rest.len() {
            return Err(format!("a frame of {len} bytes in {} bytes", rest.len()));
        }
        // Cut one byte short, the same frame is not there yet.
        if !matches!(decode_first(&rest[..len - 1]), Ok(None)) {
            return Err("a frame that lacks its last byte was not waited for".to_owned());
        }
        if let Some(frame) = frame {
            let mut written = Vec::new();
            frame.encode(&mut written);
            if decode_first(&written) != Ok(Some((Some(frame), written.len()))) {
                return Err(format!("a frame changed on its way: {frame:?}"));
            }
            if let Frame::Batch { records, .. } = frame {
                record::run(records)?;
            }
        }
        accepted = true;
        rest = &rest[len..];
    }
}

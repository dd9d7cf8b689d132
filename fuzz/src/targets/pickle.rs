//! The pickle reader: whatever the opcodes, a frame is refused or becomes a record that can be read and pickled again,
//! the same by both of its ways.

use logserv_wire::pickle::{self, Conversion, Unpickler};
use logserv_wire::record::Record;

use super::{Target, record};
use crate::mutate::Random;

pub const TARGET: Target = Target {
    name: "pickle",
    generate,
    run,
};

/// Opcodes with an argument that is right; the others take none.
const OPCODES: [&[u8]; 62] = [
    b"(",
    b".",
    b"0",
    b"1",
    b"2",
    b"F1.5\n",
    b"I01\n",
    b"I-7\n",
    b"J\x01\0\0\0",
    b"K\x07",
    b"L99L\n",
    b"M\x01\x02",
    b"N",
    b"Pid\n",
    b"Q",
    b"R",
    b"S'a'\n",
    b"T\x01\0\0\0x",
    b"U\x01x",
    b"Vmsg\n",
    b"X\x03\0\0\0msg",
    b"a",
    b"b",
    b"cos\nsystem\n",
    b"d",
    b"}",
    b"e",
    b"g0\n",
    b"h\0",
    b"ios\nsystem\n",
    b"j\0\0\0\0",
    b"l",
    b"]",
    b"o",
    b"p0\n",
    b"q\0",
    b"q\x01",
    b"r\xff\xff\xff\xff",
    b"s",
    b"t",
    b")",
    b"u",
    b"G?\xf8\0\0\0\0\0\0",
    b"\x80\x04",
    b"\x81",
    b"\x82\x01",
    b"\x85",
    b"\x86",
    b"\x87",
    b"\x88",
    b"\x89",
    b"\x8a\x02\xff\0",
    b"\x8c\x04args",
    b"\x8d\x01\0\0\0\0\0\0\0x",
    b"\x8f",
    b"\x90",
    b"\x91",
    b"\x92",
    b"\x93",
    b"\x94",
    b"\x95\x04\0\0\0\0\0\0\0",
    b"\x96\x01\0\0\0\0\0\0\0x",
];

/// A record as `SocketHandler` sends it, which is read in a way of its own.
const SOCKET_HANDLER: &[u8] =
    include_bytes!("../../../crates/logserv-wire/tests/corpus/pickle/usual-record-3.13.bin");

/// Keys of a record, so that the conversion is reached.
const KEYS: [&str; 12] = [
    "msg",
    "args",
    "name",
    "levelno",
    "created",
    "exc_info",
    "exc_text",
    "thread",
    "processName",
    "extra",
    "msecs",
    "lineno",
];

const FORMATS: [&str; 10] = [
    "%s",
    "%d of %5.2f",
    "%(a)s",
    "%r %a",
    "%*d",
    "%",
    "%c",
    "%99999999d",
    "%x %o %e %g",
    "%(a)s %s",
];

fn generate(random: &mut Random) -> Vec<u8> {
    if random.one_in(8) {
        return SOCKET_HANDLER.to_vec();
    }
    if random.one_in(8) {
        // What our own client sends to an old server.
        let (mut bytes, mut written) = (Vec::new(), Vec::new());
        record::push_record(random, &mut bytes);
        if let Ok((record, _)) = Record::decode(&bytes) {
            pickle::write(&record, &mut written);
        }
        return written;
    }
    let mut bytes = b"}".to_vec();
    if random.one_in(2) {
        bytes.push(b'(');
    }
    for _ in 0..random.below(8) {
        push_text(&mut bytes, random.choose(&KEYS));
        if random.one_in(4) {
            push_text(&mut bytes, random.choose(&FORMATS));
        } else {
            let count = if random.one_in(16) { 200 } else { 6 };
            for _ in 0..random.below(count) {
                bytes.extend_from_slice(random.choose(&OPCODES));
            }
        }
        if random.one_in(3) {
            bytes.push(*b"su".get(random.below(2)).unwrap_or(&b's'));
        }
    }
    if random.one_in(2) {
        bytes.push(b'u');
    }
    bytes.push(b'.');
    bytes
}

fn push_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.push(b'X');
    bytes.extend_from_slice(&u32::try_from(text.len()).unwrap_or(0).to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

fn run(bytes: &[u8]) -> Result<bool, String> {
    pickle::exercise(bytes)?;
    Ok(Unpickler::new()
        .to_record(bytes, &Conversion::default(), &mut Vec::new())
        .is_ok())
}

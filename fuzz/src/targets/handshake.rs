//! Protocol 1.0, both sides: the same events however the stream is cut, and no wait that does not end.

use logserv_wire::handshake::client::{Conversation as Client, Identity};
use logserv_wire::handshake::server::Conversation as Server;

use super::Target;
use crate::mutate::Random;

pub const TARGET: Target = Target {
    name: "handshake",
    generate,
    run,
};

const LINES: [&str; 22] = [
    "HELLO 1.0\n",
    "HELLO 2.0\n",
    "HELLO 1.0\n",
    "HELLO \n",
    "IDENTIFY {\"filename\": \"a.log\", \"maxBytes\": 1000, \"--level\": 10}\n",
    "IDENTIFY {\"filename\": \"a.log\", \"--level\": \"INFO\", \"--handler\": \"logging.FileHandler\"}\n",
    "IDENTIFY {\"--level\": 1e999}\n",
    "IDENTIFY []\n",
    "LOG\n",
    "LOG\n",
    "OK\n",
    "OK\n",
    "ERROR EXPECTED 'OK', received 'x'\n",
    "ERROR",
    "QUIT\n",
    "\0\0\0\0QUIT\n",
    "\0\0\0\0FORMAT {\"fmt\": \"%(message)s\"}\n",
    "\0\0\0\0FORMAT {\"fmt\": 1, \"style\": \"x\"}\n",
    "\0\0\0\x05}q\x00.x",
    "\0\0\0\x02}.",
    "\0\u{7f}\0\0xx",
    "\r\n",
];

fn generate(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    if !random.one_in(4) {
        bytes.extend(LINES[0].bytes().chain(LINES[4].bytes()).chain(LINES[8].bytes()));
    }
    for _ in 0..random.below(8) {
        bytes.extend(random.choose(&LINES).bytes());
        if random.one_in(64) {
            bytes.extend(std::iter::repeat_n(b'x', random.below(12_000)));
        }
    }
    bytes
}

/// Everything that a server makes of a stream that arrives in pieces of at most `piece` bytes.
fn events(bytes: &[u8], piece: usize) -> Result<Vec<String>, String> {
    let mut server = Server::default();
    let mut events = Vec::new();
    let mut held: Vec<u8> = Vec::new();
    for arrived in bytes.chunks(piece.max(1)) {
        held.extend_from_slice(arrived);
        loop {
            match server.step(&held) {
                Err(error) => {
                    events.push(format!("error {error}"));
                    return Ok(events);
                }
                Ok((consumed, event)) => {
                    if consumed > held.len() {
                        return Err(format!("consumed {consumed} of {} bytes", held.len()));
                    }
                    let is_event = event.is_some();
                    if let Some(event) = event {
                        events.push(format!("{event:?}"));
                    }
                    held.drain(..consumed);
                    if !is_event {
                        break;
                    }
                    if events.len() > bytes.len() + 8 {
                        return Err("more events than bytes".to_owned());
                    }
                }
            }
        }
        // What follows `QUIT`, or `HELLO 2.0`, is not this conversation's to read.
        let is_over = events
            .last()
            .is_some_and(|event| event.starts_with("Quit") || event.starts_with("Hello"));
        if !is_over && held.len() > server.wanted(&held) + piece {
            return Err(format!(
                "{} bytes are held although {} suffice",
                held.len(),
                server.wanted(&held)
            ));
        }
    }
    Ok(events)
}

fn run(bytes: &[u8]) -> Result<bool, String> {
    let whole = events(bytes, bytes.len())?;
    for piece in [1, 7, 1000] {
        if piece == 1 && bytes.len() > 512 {
            continue; // quadratic by the nature of this test
        }
        let cut = events(bytes, piece)?;
        if cut != whole {
            return Err(format!("in pieces of {piece} bytes {cut:?}, in one {whole:?}"));
        }
    }
    for format_works in [false, true] {
        let identity = Identity {
            level: 10,
            handler_class: "logging.FileHandler".to_owned(),
            arguments: Default::default(),
        };
        let mut client = Client::new(identity, format_works);
        for arrived in bytes.chunks(11) {
            if client.received(arrived).is_err() {
                break;
            }
            let _announced = client.announce("{}");
        }
        let _ended = client.quiet();
    }
    Ok(whole.iter().any(|event| !event.starts_with("error")))
}

//! The first frames of a 2.0 connection: the operator's commands, or the Open that a session begins with.
//!
//! In: frames. Out: an [`Opened`] session, welcomed, or how the connection ended instead.
//! Not here: what follows (`frames.rs`), who may command (`admin.rs`).

use logserv_disk::Clock;
use logserv_wire::frame::{self, Frame};
use logserv_wire::handshake::{ProtocolError, escape};
use logserv_wire::limits::RECORD_LEN_MAX;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncRead, AsyncWrite};

use super::frames::{broken, farewell, whole_frame};
use super::inbox::Inbox;
use super::sessions::{Claim, SessionId};
use super::{Ending, outbox};
use crate::context::{Context, Peer};
use crate::files::FileRef;
use crate::pipeline::{OpenRequest, Refusal};
use crate::rings::Offer;

/// An open session on this connection.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) claim: Claim,
    pub(super) file: FileRef,
    /// What the Welcome has said to be written.
    pub(super) welcomed_seq: u64,
    /// The client's ring, if it can be read here, or passed.
    pub(super) offer: Option<Offer>,
    /// Up to where that is written, where it does not say so itself.
    ring_position: Option<u64>,
    /// The client has come back to a session that nobody remembers.
    has_expired: bool,
}

/// The JSON of an Open frame.
#[derive(Debug, Deserialize)]
struct Open {
    session: String,
    handler: String,
    arguments: Map<String, Value>,
    configured_at_s: f64,
    #[serde(default)]
    first: bool,
    #[serde(default)]
    client: Client,
    /// The ring that the client has made for its records.
    ring: Option<Ring>,
    /// How much of the session the client knows to be written.
    #[serde(default)]
    acked_seq: u64,
}

/// A client's ring, by name.
#[derive(Debug, Deserialize)]
struct Ring {
    name: String,
    uid: u32,
}

/// Who the client says it is: shown, and otherwise not believed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Client {
    pid: Option<i64>,
    program: Option<String>,
}

/// Answers commands until an Open comes, and answers that.
pub(super) async fn open<R, W>(
    inbox: &mut Inbox<R>,
    writer: &mut W,
    peer: &Peer,
    context: &Context,
) -> Result<Opened, Ending>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    loop {
        let len = match whole_frame(inbox, context).await {
            Ok(len) => len,
            Err(ending) => return Err(refuse(writer, ending).await),
        };
        let answer = match frame::decode_first(inbox.unread()) {
            Ok(Some((Some(Frame::Open { json }), _))) => {
                let opened = opened(json, peer, inbox.can_bring_descriptor(), context).await;
                inbox.consume(len);
                let opened = match opened {
                    Ok(opened) => opened,
                    Err(ending) => return Err(refuse(writer, ending).await),
                };
                if opened.offer.as_ref().is_some_and(Offer::is_to_be_passed) {
                    inbox.expect_descriptor();
                }
                outbox::write(writer, &welcome(&opened)).await?;
                inbox.open(Some(context.sessions.memory.share(opened.file.path())));
                return Ok(opened);
            }
            Ok(Some((Some(Frame::Admin { json }), _))) => match context.admin.command(json, peer) {
                Ok(report) => encoded(&Frame::Report { json: &report }),
                Err(refusal) => return Err(refuse(writer, Ending::Refused(refusal)).await),
            },
            Ok(Some((None, _))) => Vec::new(),
            Ok(Some((Some(_), _))) => {
                let error = ProtocolError::new("an Open or Admin frame first", "another frame");
                return Err(refuse(writer, Ending::Broken(error)).await);
            }
            Ok(None) => return Err(refuse(writer, Ending::Broken(broken("a frame that ends early"))).await),
            Err(error) => return Err(refuse(writer, Ending::Broken(broken(error))).await),
        };
        inbox.consume(len);
        outbox::write(writer, &answer).await?;
    }
}

/// Says why the connection ends. Whether the peer hears it changes nothing.
async fn refuse<W: AsyncWrite + Unpin>(writer: &mut W, ending: Ending) -> Ending {
    if let Some(frame) = farewell(&ending) {
        let _ = outbox::write(writer, &frame).await;
    }
    ending
}

async fn opened(json: &str, peer: &Peer, can_pass: bool, context: &Context) -> Result<Opened, Ending> {
    context.admin.personal.touch();
    let open: Open = serde_json::from_str(json)
        .map_err(|error| Ending::Broken(ProtocolError::new("the JSON of an Open", error.to_string())))?;
    let Some(id) = SessionId::parse(&open.session) else {
        let error = ProtocolError::new("32 hexadecimal digits in 'session'", open.session);
        return Err(Ending::Broken(error));
    };
    if !open.configured_at_s.is_finite() {
        let error = ProtocolError::new("a number in 'configured_at_s'", open.configured_at_s.to_string());
        return Err(Ending::Broken(error));
    }
    // Only as a text to be compared: whether it is a file name at all is the file's business.
    let file_name = match open.arguments.get("filename") {
        Some(Value::String(name)) => name.clone(),
        other => other.map(Value::to_string).unwrap_or_default(),
    };
    // Before the file is opened, for a refusal creates nothing.
    let refusal = |error: ProtocolError| {
        context.counters.refusals.add(1);
        Ending::Refused(Refusal::lasting(error.expected, error.received))
    };
    context.sessions.check(id, &file_name).map_err(refusal)?;
    let client = describe(peer, &open.client);
    let request = OpenRequest {
        handler_class: open.handler,
        arguments: open.arguments,
        // A client whose clock is ahead must not win over all who come after it.
        configured_at_s: open.configured_at_s.min(Clock::system().now_s()),
        first: open.first,
        peer: client.clone(),
    };
    let file = context.files.open(request).await.map_err(Ending::Refused)?;
    let known_seq = file.known_seq(&id.bytes());
    let has_expired = open.acked_seq > 0 && known_seq.is_none() && !context.sessions.is_known(id);
    if has_expired {
        context.counters.expired_sessions.add(1);
        tracing::warn!("{client}: its session was forgotten; what it sends again may be doubled");
    }
    match context
        .sessions
        .claim(id, &file_name, &client, known_seq)
        .await
        .map_err(refusal)?
    {
        Some(claim) => {
            let welcomed_seq = claim.progress().written();
            // After the file was opened: that may have finished a former server's write, and moved the ring's tail.
            let ring = open
                .ring
                .and_then(|ring| Some((ring.name.parse().ok()?, ring.uid)));
            let (offer, ring_position) = match ring {
                Some((name, uid)) => {
                    let offer = context.rings.offer(&name, uid, peer, can_pass);
                    (offer.map_err(Ending::Refused)?, file.known_position(&name))
                }
                None => (None, None),
            };
            Ok(Opened {
                claim,
                file,
                welcomed_seq,
                offer,
                ring_position,
                has_expired,
            })
        }
        None => Err(Ending::TakenOver),
    }
}

/// Who speaks, in one short line: what the kernel knows first, then what the client says.
fn describe(peer: &Peer, client: &Client) -> String {
    let program = client.program.as_deref().map(escape);
    match (peer, client.pid, program) {
        (Peer::Unix { .. }, _, Some(program)) => format!("{peer} {program}"),
        (Peer::Tcp { .. }, Some(pid), Some(program)) => format!("{peer} (pid {pid}, {program})"),
        (Peer::Tcp { .. }, _, Some(program)) => format!("{peer} ({program})"),
        _ => peer.to_string(),
    }
}

fn welcome(opened: &Opened) -> Vec<u8> {
    let mut json = json!({
        "written_seq": opened.welcomed_seq,
        "record_max_bytes": RECORD_LEN_MAX,
        "server": {"pid": std::process::id(), "version": env!("CARGO_PKG_VERSION")},
    });
    if let Some(json) = json.as_object_mut() {
        if let Some(offer) = &opened.offer {
            let challenge = format!("{:032x}", u128::from_be_bytes(offer.challenge));
            let mut ring = json!({"challenge": challenge});
            if offer.is_to_be_passed()
                && let Some(ring) = ring.as_object_mut()
            {
                ring.insert("pass".into(), true.into());
                if let Some(position) = opened.ring_position {
                    ring.insert("position".into(), position.into());
                }
            }
            json.insert("ring".into(), ring);
        }
        if opened.has_expired {
            json.insert("expired".into(), true.into());
        }
    }
    encoded(&Frame::Welcome {
        json: &json.to_string(),
    })
}

fn encoded(frame: &Frame<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    bytes
}

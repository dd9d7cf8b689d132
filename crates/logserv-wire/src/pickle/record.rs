//! A pickled dict of a record's attributes as a wire record, as `logging.makeLogRecord` would read it.
//!
//! In: the dict's node. Out: one record appended to a buffer. A standard attribute that is missing has
//! `makeLogRecord`'s default, one of an unusual type travels as an attribute of its name; `message` and `asctime` are
//! left out, for every formatter makes them anew.
//! Not here: how deep and how large a value may be; that is `encode.rs`.

use std::borrow::Cow;

use super::arena::Arena;
use super::encode::{NOTE, encode_or_note};
use super::interpolate::interpolate;
use super::machine::Machine;
use super::node::Node;
use super::repr::push_repr;
use super::text::{Cut, len_in_frame, text, text_up_to};
use super::work::Work;
use super::{Conversion, Converted};
use crate::limits::{ATTRIBUTE_NAME_LEN_MAX, RECORD_LEN_MAX};
use crate::record::{HEADER_LEN, Record, RecordWriter};

/// Smallest record that is worth its header: below this `record_len_max` is not obeyed.
const RECORD_LEN_MIN: usize = 4 << 10;
/// Room for `…[cut: N bytes]` and the heads of the text fields.
const RESERVE_LEN: usize = 256;

macro_rules! standard_keys {
    ($($key:ident $name:literal),* $(,)?) => {
        /// The attributes of a `LogRecord` that have a place of their own here.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        enum Key { $($key),* }

        const KEYS: &[(Key, &[u8])] = &[$((Key::$key, $name)),*];

        fn standard_key(name: &[u8]) -> Option<Key> {
            match name {
                $($name => Some(Key::$key),)*
                _ => None,
            }
        }
    };
}
standard_keys! {
    Name b"name", Msg b"msg", Args b"args", LevelName b"levelname", LevelNo b"levelno", PathName b"pathname",
    FileName b"filename", Module b"module", ExcInfo b"exc_info", ExcText b"exc_text", StackInfo b"stack_info",
    LineNo b"lineno", FuncName b"funcName", Created b"created", Msecs b"msecs", RelativeCreated b"relativeCreated",
    Thread b"thread", ThreadName b"threadName", ProcessName b"processName", Process b"process", TaskName b"taskName",
    Message b"message", AscTime b"asctime",
}

/// The standard attributes of one record, and which of them are of an unusual type.
struct Standard {
    nodes: [Node; KEYS.len()],
    unusual: u32,
}

impl Standard {
    fn get(&self, key: Key) -> Node {
        self.nodes.get(key as usize).copied().unwrap_or_default()
    }

    fn set(&mut self, key: Key, node: Node) {
        if let Some(place) = self.nodes.get_mut(key as usize) {
            *place = node;
        }
    }

    fn mark_unusual(&mut self, key: Key) {
        self.unusual |= 1 << key as u32;
    }

    /// A number as a float, whatever it is; anything but a float is noted, for it prints differently.
    fn float(&mut self, key: Key) -> Option<f64> {
        match self.get(key) {
            Node::Absent => None,
            Node::Float(number) => Some(number),
            other => {
                self.mark_unusual(key);
                integer(other).map(|number| number as f64)
            }
        }
    }

    /// A number of the header's type; anything that does not fit it is noted.
    fn integer<T: TryFrom<i64>>(&mut self, key: Key, none_is_usual: bool) -> Option<T> {
        let node = self.get(key);
        let number = integer(node).and_then(|number| T::try_from(number).ok());
        let is_usual = match node {
            Node::Absent => true,
            Node::None => none_is_usual,
            Node::Int(_) => number.is_some(),
            _ => false,
        };
        if !is_usual {
            self.mark_unusual(key);
        }
        number
    }

    /// A text of at most `max` bytes; what is neither text nor None is noted.
    fn text<'f>(
        &mut self,
        key: Key,
        frame: &'f [u8],
        max: usize,
        cut_bytes: &mut usize,
    ) -> Option<Cow<'f, str>> {
        let node = self.get(key);
        let text = text_up_to(node, frame, max);
        if text.is_none() && !matches!(node, Node::None | Node::Absent) {
            self.mark_unusual(key);
        }
        text.map(|text| told(text, cut_bytes))
    }
}

fn integer(node: Node) -> Option<i64> {
    match node {
        Node::Int(number) => Some(number),
        Node::Bool(is_true) => Some(is_true.into()),
        _ => None,
    }
}

/// A text that tells in its end what was cut off it.
#[inline]
fn told<'f>((text, cut): Cut<'f>, cut_bytes: &mut usize) -> Cow<'f, str> {
    if cut == 0 {
        return text;
    }
    *cut_bytes += cut;
    Cow::Owned(format!("{text}…[cut: {cut} bytes]"))
}

/// Whether an attribute of that name has a place of its own, or is left out.
pub(super) fn is_standard(name: &[u8]) -> bool {
    standard_key(name).is_some()
}

/// Bytes that the record may have.
pub(super) fn len_max(conversion: &Conversion) -> usize {
    conversion.record_len_max.clamp(RECORD_LEN_MIN, RECORD_LEN_MAX)
}

/// Bytes that each of the texts may have that are short: all but the message, the traceback and the stack.
pub(super) fn short_max(conversion: &Conversion) -> usize {
    len_max(conversion) / 32
}

/// Appends the record that `dict` describes to `out`. `extras` is memory to use.
pub(super) fn convert(
    machine: &Machine,
    frame: &[u8],
    dict: u32,
    conversion: &Conversion,
    extras: &mut Vec<(Node, Node)>,
    out: &mut Vec<u8>,
) -> Converted {
    let mut standard = sort(&machine.arena, frame, dict, extras);
    let mut work = Work::for_frame(frame);
    let mut converted = Converted::default();
    let len_max = len_max(conversion);
    let short_max = short_max(conversion);
    let cut = &mut converted.cut_bytes;

    let created = standard
        .float(Key::Created)
        .unwrap_or(conversion.default_created_s);
    let msecs = standard.float(Key::Msecs);
    let relative_created = standard.float(Key::RelativeCreated).unwrap_or(0.0);
    let level_no = standard.integer(Key::LevelNo, false).unwrap_or(0);
    let line_no = standard.integer(Key::LineNo, false).unwrap_or(0);
    let thread = standard.integer(Key::Thread, true);
    let process = standard.integer(Key::Process, true);

    let mut short = |key, default: Option<&'static str>| match standard.get(key) {
        Node::Absent => default.map(Cow::Borrowed),
        _ => standard.text(key, frame, short_max, cut),
    };
    let name = short(Key::Name, None);
    let level_name = short(Key::LevelName, Some("Level None"));
    let path_name = short(Key::PathName, Some(""));
    let file_name = short(Key::FileName, Some(""));
    let module = short(Key::Module, Some(""));
    let func_name = short(Key::FuncName, None);
    let thread_name = short(Key::ThreadName, None);
    let process_name = short(Key::ProcessName, Some("MainProcess"));
    let task_name = short(Key::TaskName, None);
    let exc_text = match standard.get(Key::ExcText) {
        Node::None | Node::Absent => exc_info_text(machine, frame, standard.get(Key::ExcInfo), &mut work),
        _ => standard.text(Key::ExcText, frame, len_max / 4, cut),
    };
    let stack_info = standard.text(Key::StackInfo, frame, len_max / 8, cut);
    let texts = [
        &name,
        &level_name,
        &path_name,
        &file_name,
        &module,
        &func_name,
        &thread_name,
        &process_name,
        &task_name,
        &exc_text,
        &stack_info,
    ];
    let texts_len: usize = texts.into_iter().flatten().map(|text| text.len()).sum();
    // The shares above leave at least a quarter.
    let message_max = len_max.saturating_sub(HEADER_LEN + RESERVE_LEN + texts_len);
    let message = told(message(machine, frame, &standard, &mut work, message_max), cut);

    let record = Record {
        formatter: conversion.formatter,
        level_no,
        created,
        msecs: msecs.unwrap_or_else(|| ((created - created.trunc()) * 1000.0).trunc()),
        relative_created,
        line_no,
        thread,
        process,
        name: name.as_deref(),
        message: Some(&message),
        level_name: level_name.as_deref(),
        path_name: path_name.as_deref(),
        file_name: file_name.as_deref(),
        module: module.as_deref(),
        func_name: func_name.as_deref(),
        thread_name: thread_name.as_deref(),
        process_name: process_name.as_deref(),
        task_name: task_name.as_deref(),
        exc_text: exc_text.as_deref(),
        stack_info: stack_info.as_deref(),
        ..Record::default()
    };
    let mut attributes = Attributes {
        machine,
        frame,
        work,
        len_max,
        elided: 0,
        writer: RecordWriter::begin(&record, out),
    };
    for &(key, name) in KEYS {
        if standard.unusual & 1 << key as u32 != 0 {
            attributes.add(String::from_utf8_lossy(name), standard.get(key));
        }
    }
    for &(key, value) in extras.iter() {
        attributes.add_extra(key, value);
    }
    converted.elided_attributes = attributes.elided;
    converted.record_len = attributes.writer.finish();
    converted.level_no = level_no;
    converted
}

/// Tells the standard attributes from the others. A key that comes twice counts with its last value.
fn sort(arena: &Arena, frame: &[u8], dict: u32, extras: &mut Vec<(Node, Node)>) -> Standard {
    let mut standard = Standard {
        nodes: [Node::Absent; KEYS.len()],
        unusual: 0,
    };
    extras.clear();
    // CPython sends the attributes in the order of KEYS.
    let mut next = 0;
    for slice in arena.slices(dict) {
        for pair in slice.chunks_exact(2) {
            let &[key, value] = pair else { continue };
            let found = match key {
                Node::Text(span) | Node::OldText(span) => {
                    let name = span.of(frame);
                    match KEYS.get(next) {
                        Some(&(key, expected)) if expected == name => Some(key),
                        _ => standard_key(name),
                    }
                }
                // Longer ones are no standard attribute in any spelling.
                _ => text_up_to(key, frame, 32).and_then(|(name, _)| standard_key(name.as_bytes())),
            };
            match found {
                Some(key) => {
                    standard.set(key, value);
                    next = key as usize + 1;
                }
                None => extras.push((key, value)),
            }
        }
    }
    standard
}

/// What `getMessage()` gives.
fn message<'f>(
    machine: &Machine,
    frame: &'f [u8],
    standard: &Standard,
    work: &mut Work,
    max: usize,
) -> Cut<'f> {
    let (msg, args) = (standard.get(Key::Msg), standard.get(Key::Args));
    let (text, cut) = match text_up_to(msg, frame, max) {
        Some(text) => text,
        None => {
            let mut text = String::new();
            push_repr(machine, frame, msg, work, max, &mut text);
            (Cow::Owned(text), 0)
        }
    };
    if cut > 0 || is_false(&machine.arena, args) {
        return (text, cut);
    }
    (Cow::Owned(interpolate(machine, frame, &text, args, work, max)), 0)
}

/// Whether `if args:` is false in Python.
fn is_false(arena: &Arena, node: Node) -> bool {
    match node {
        Node::None | Node::Absent | Node::Bool(false) | Node::Int(0) => true,
        Node::Float(number) => number == 0.0,
        Node::List(id) | Node::Tuple(id) | Node::Dict(id) | Node::Set(id) | Node::FrozenSet(id) => {
            arena.len(id) == 0
        }
        Node::Text(span) | Node::OldText(span) | Node::Bytes(span) => span.len == 0,
        _ => false,
    }
}

/// A text for an exception that came as an object: `SocketHandler` never sends one, other senders may.
fn exc_info_text(
    machine: &Machine,
    frame: &[u8],
    exc_info: Node,
    work: &mut Work,
) -> Option<Cow<'static, str>> {
    if is_false(&machine.arena, exc_info) || exc_info == Node::Bool(true) {
        return None;
    }
    let exception = match exc_info {
        Node::Tuple(id) if machine.arena.len(id) == 3 => machine.arena.nodes(id).nth(1)?,
        other => other,
    };
    if exception == Node::None {
        return None;
    }
    let mut text = String::new();
    push_repr(
        machine,
        frame,
        exception,
        work,
        crate::limits::PICKLE_OBJECT_TEXT_LEN_MAX,
        &mut text,
    );
    Some(Cow::Owned(text))
}

/// Writes attributes as long as the record has room for them.
struct Attributes<'m, 'b> {
    machine: &'m Machine,
    frame: &'m [u8],
    work: Work,
    len_max: usize,
    elided: usize,
    writer: RecordWriter<'b>,
}

impl Attributes<'_, '_> {
    fn add_extra(&mut self, key: Node, value: Node) {
        if self.work.bytes(len_in_frame(key)).is_err() {
            self.elided += 1;
            return;
        }
        let name = text(key, self.frame).unwrap_or_else(|| {
            let mut name = String::new();
            push_repr(self.machine, self.frame, key, &mut self.work, 256, &mut name);
            Cow::Owned(name)
        });
        self.add(name, value);
    }

    fn add(&mut self, name: Cow<'_, str>, value: Node) {
        let head = self.writer.len() + 8 + name.len().min(ATTRIBUTE_NAME_LEN_MAX);
        let room = self.len_max.saturating_sub(head);
        if room < NOTE.len() + 8 {
            self.elided += 1;
            return;
        }
        let (machine, frame, work) = (self.machine, self.frame, &mut self.work);
        let mut is_whole = true;
        self.writer.attribute_with(&name, |out| {
            is_whole = encode_or_note(machine, frame, value, work, room, out);
        });
        self.elided += usize::from(!is_whole);
    }
}

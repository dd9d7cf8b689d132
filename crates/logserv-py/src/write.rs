//! Writes a record from what was gathered of it, and cuts what is too long.
//!
//! In: texts, numbers and attributes, and the limit. Out: one wire record, or nothing where its line would not be certain.
//! Not here: where the texts come from (`gather.rs`, `fast.rs`), how a text is cut (`cut.rs`).

use logserv_wire::record::{HEADER_LEN, Record, RecordKind, RecordWriter};

use crate::cut::{self, Cuttable};
use crate::gather::Gathered;
use crate::text::Text;

/// Shares of a record's limit: what may not be cut fits beside them even at the smallest limit.
pub(crate) mod share {
    /// All attributes together.
    pub(crate) const ATTRIBUTES: usize = 4;
    /// What always stays of message, traceback and stack, each.
    pub(crate) const LONG_TEXT: usize = 8;
    /// What always stays of a name, each.
    pub(crate) const NAME: usize = 64;
}

/// Bytes of the text fields' heads.
const TEXT_HEADS_LEN: usize = TEXTS * 4;

/// Cuts what is longer than `record_max` bytes and writes the record, with the texts of `gathered` and `long`. Tells
/// whether something was cut; `None`: what would be written is not supported.
pub(crate) fn write(
    record_max: usize,
    (kind, formatter): (RecordKind, u32),
    gathered: &Gathered<'_>,
    long: &LongTexts<'_>,
    is_supported: impl Fn(&Record<'_>) -> bool,
    out: &mut Vec<u8>,
) -> Option<bool> {
    let numbers = &gathered.numbers;
    let whole = Record {
        kind,
        formatter,
        level_no: numbers.level_no,
        created: numbers.created,
        msecs: numbers.msecs,
        relative_created: numbers.relative_created,
        line_no: numbers.line_no,
        thread: numbers.thread,
        process: numbers.process,
        utc_offset_s: numbers.utc_offset_s,
        message: long.message.as_ref().map(Text::as_str),
        exc_text: long.exc_text.as_ref().map(Text::as_str),
        stack_info: long.stack_info.as_ref().map(Text::as_str),
        path_name: gathered.path_name.as_ref().map(Text::as_str),
        file_name: gathered.file_name.as_ref().map(Text::as_str),
        module: gathered.module.as_ref().map(Text::as_str),
        func_name: gathered.func_name.as_ref().map(Text::as_str),
        name: gathered.name.as_ref().map(Text::as_str),
        thread_name: gathered.thread_name.as_ref().map(Text::as_str),
        process_name: gathered.process_name.as_ref().map(Text::as_str),
        task_name: gathered.task_name.as_ref().map(Text::as_str),
        level_name: gathered.level_name.as_ref().map(Text::as_str),
        ..Record::default()
    };
    let room = record_max.saturating_sub(HEADER_LEN + TEXT_HEADS_LEN + gathered.used);
    let mut shorter = [const { None }; TEXTS];
    let record = if texts(&whole).into_iter().flatten().map(str::len).sum::<usize>() <= room {
        whole
    } else {
        shorter = cut_texts(&whole, record_max, room);
        with_texts(whole, &shorter)
    };
    let was_cut = shorter.iter().any(Option::is_some);
    if gathered.attributes.is_empty() && !is_supported(&record) {
        return None;
    }
    let mut writer = RecordWriter::begin(&record, out);
    for (name, value) in &gathered.attributes {
        writer.attribute(name.as_str(), value);
    }
    writer.finish();
    if !gathered.attributes.is_empty() && !Record::decode(out).is_ok_and(|(record, _)| is_supported(&record))
    {
        return None;
    }
    Some(was_cut)
}

/// The texts of a record.
const TEXTS: usize = 12;

/// All of them, in the order in which they are cut.
fn texts<'a>(record: &Record<'a>) -> [Option<&'a str>; TEXTS] {
    [
        record.message,
        record.exc_text,
        record.stack_info,
        record.path_name,
        record.file_name,
        record.module,
        record.func_name,
        record.name,
        record.thread_name,
        record.process_name,
        record.task_name,
        record.level_name,
    ]
}

/// Those that have to be shorter, so that all fit into `room` bytes.
#[cold]
fn cut_texts(record: &Record<'_>, record_max: usize, room: usize) -> [Option<String>; TEXTS] {
    let mut place = 0;
    let cuttable = texts(record).map(|text| {
        place += 1;
        let share = if place <= 3 { share::LONG_TEXT } else { share::NAME };
        text.map(|text| Cuttable {
            text,
            floor: record_max / share,
        })
    });
    cut::fit(cuttable, room)
}

/// The record with those texts that are shorter.
fn with_texts<'a>(record: Record<'a>, shorter: &'a [Option<String>; TEXTS]) -> Record<'a> {
    let mut place = 0;
    let [
        message,
        exc_text,
        stack_info,
        path_name,
        file_name,
        module,
        func_name,
        name,
        thread_name,
        process_name,
        task_name,
        level_name,
    ] = texts(&record).map(|text| {
        place += 1;
        shorter.get(place - 1).and_then(Option::as_deref).or(text)
    });
    Record {
        message,
        exc_text,
        stack_info,
        path_name,
        file_name,
        module,
        func_name,
        name,
        thread_name,
        process_name,
        task_name,
        level_name,
        ..record
    }
}

/// The texts that can be long.
#[derive(Debug, Default)]
pub(crate) struct LongTexts<'py> {
    pub(crate) message: Option<Text<'py>>,
    pub(crate) exc_text: Option<Text<'py>>,
    pub(crate) stack_info: Option<Text<'py>>,
}

impl LongTexts<'_> {
    /// Whether traceback or stack had lone surrogates, whose escapes are not those of a text in JSON.
    pub(crate) fn is_escaped(&self) -> bool {
        [&self.exc_text, &self.stack_info]
            .into_iter()
            .flatten()
            .any(Text::is_escaped)
    }
}

//! The quick way of most lines: a format of texts and whole numbers that every record has, of a record that has no others.
//!
//! In: the pieces of a format, once; a record and its time for each line. Out: the same line as by the pieces, without a look at
//! names, attributes and values; or nothing, and the pieces have to be gone through. Pure.

use logserv_wire::record::Record;

use crate::attribute::{Names, Standard};
use crate::limits::LINE_LEN_MAX;
use crate::percent::{Conversion, Kind};
use crate::percent_render::{push_decimal, push_digits, push_padded};
use crate::piece::Piece;
use crate::repr::Text;

/// A format of such fields.
#[derive(Debug)]
pub(crate) struct Quick {
    steps: Vec<Step>,
    end: Box<str>,
}

/// A field, and the text before it.
#[derive(Debug)]
struct Step {
    before: Box<str>,
    field: Field,
}

#[derive(Debug)]
enum Field {
    Time,
    Text(Standard),
    Padded(Standard, Conversion),
    Whole(Standard),
    Decimal(Standard, Conversion),
}

impl Quick {
    /// `None`: the format has other fields.
    pub(crate) fn of(pieces: &[Piece], names: &Names) -> Option<Self> {
        let mut steps = Vec::new();
        let mut text: Box<str> = Box::default();
        for piece in pieces {
            let field = match piece {
                // Never two, one behind the other.
                Piece::Literal(literal) => {
                    text.clone_from(literal);
                    continue;
                }
                Piece::Plain(id) if names.is_asctime(*id) => Field::Time,
                Piece::Plain(id) => Field::Text(names.standard(*id).filter(|name| name.is_text())?),
                Piece::Percent(id, conversion) => {
                    let name = names.standard(*id)?;
                    if conversion.kind == Kind::Text(Text::Str) && name.is_text() {
                        Field::Padded(name, *conversion)
                    } else if conversion.is_plain_decimal() && name.is_whole() {
                        if conversion.width == 0 {
                            Field::Whole(name)
                        } else {
                            Field::Decimal(name, *conversion)
                        }
                    } else {
                        return None;
                    }
                }
                Piece::Brace(_) => return None,
            };
            let before = std::mem::take(&mut text);
            steps.push(Step { before, field });
        }
        Some(Self { steps, end: text })
    }

    /// Appends the line of a record without attributes to `out`, but for exception and stack. False: by the pieces it must be, with
    /// what was appended taken back.
    pub(crate) fn push(&self, record: &Record<'_>, asctime: Option<&str>, out: &mut String) -> bool {
        let start = out.len();
        for step in &self.steps {
            push_short(&step.before, out);
            if step.field.push(record, asctime, out).is_none() || out.len() - start > LINE_LEN_MAX {
                return false;
            }
        }
        push_short(&self.end, out);
        out.len() - start <= LINE_LEN_MAX
    }
}

impl Field {
    #[inline]
    fn push(&self, record: &Record<'_>, asctime: Option<&str>, out: &mut String) -> Option<()> {
        match self {
            Self::Time => out.push_str(asctime?),
            Self::Text(name) => out.push_str(name.text(record).unwrap_or("None")),
            Self::Padded(name, conversion) => push_padded(name.text(record)?, conversion, out),
            Self::Whole(name) => push_digits(u64::try_from(name.whole(record)?).ok()?, out),
            Self::Decimal(name, conversion) => push_decimal(name.whole(record)?, conversion, out),
        }
        Some(())
    }
}

/// What mostly stands between fields is one byte; a call for one costs as much as for a hundred.
#[inline]
fn push_short(text: &str, out: &mut String) {
    match text.as_bytes() {
        [] => {}
        [byte] if byte.is_ascii() => out.push(char::from(*byte)),
        _ => out.push_str(text),
    }
}

#[cfg(test)]
mod tests {
    use crate::attribute::Names;
    use crate::formatter::{Formatter, RenderError};
    use crate::limits::LINE_LEN_MAX;
    use crate::piece::compile_percent;
    use crate::quick::Quick;
    use crate::{Specification, TimeCache};
    use logserv_wire::record::Record;

    const FORMATS: [&str; 8] = [
        "",
        "%%%(message)s%(message)s%%%%",
        "%(asctime)s %(levelname)-8s [%(process)d] %(name)s:%(lineno)5d %(message)s.",
        "%(threadName)s %(thread)d %(processName).3s %(taskName)s",
        "%(levelno)d%(levelno)03dé%(funcName)s",
        "%(pathname)10s%(filename)s%(module)s",
        "%(taskName)6s",
        "%(process)-3d",
    ];

    fn formatter(fmt: &str) -> Formatter {
        let fmt = Some(fmt.to_owned());
        Formatter::compile(&Specification {
            fmt,
            ..Specification::default()
        })
        .unwrap()
    }

    fn line(formatter: &Formatter, record: &Record<'_>) -> Result<String, RenderError> {
        let mut line = "é".to_owned();
        formatter.render(record, &mut TimeCache::new(), &mut line)?;
        Ok(line)
    }

    #[test]
    fn the_quick_line_is_that_of_the_pieces() {
        let text = "x".repeat(LINE_LEN_MAX / 2 + 1);
        let bare = Record {
            message: Some("m"),
            created: 1_700_000_000.0,
            ..Record::default()
        };
        let full = Record {
            level_no: -5,
            line_no: u32::MAX,
            thread: Some(i64::MAX as u64),
            process: Some(10),
            utc_offset_s: Some(0),
            name: Some("näme"),
            level_name: Some("WARNING++"),
            path_name: Some("/p"),
            file_name: Some("f"),
            module: Some(""),
            func_name: Some("<lambda>"),
            thread_name: Some("Thread-1"),
            process_name: Some("Prozeß"),
            task_name: Some("t"),
            exc_text: Some("E"),
            stack_info: Some("S"),
            ..bare.clone()
        };
        let beyond = Record {
            thread: Some(u64::MAX),
            message: Some(&text),
            level_no: 9,
            ..full.clone()
        };
        let mut failed = 0;
        for fmt in FORMATS {
            let quick = formatter(fmt);
            let mut slow = formatter(fmt);
            assert!(slow.forget_quick(), "{fmt}");
            for record in [&bare, &full, &beyond] {
                let expected = line(&slow, record);
                failed += u32::from(expected.is_err());
                assert_eq!(line(&quick, record), expected, "{fmt}");
                assert_eq!(quick.supports(record), slow.supports(record), "{fmt}");
            }
        }
        // `None` as a number, a line that is too long.
        assert!(failed >= 4, "{failed}");
    }

    #[test]
    fn other_fields_take_the_long_way() {
        for format in [
            "%(x)s",
            "%(message)r",
            "%(lineno)s",
            "%(msecs)d",
            "%(asctime)9s",
            "%(lineno)x",
            "%(exc_text)s",
        ] {
            let mut names = Names::default();
            let pieces = compile_percent(format, &mut names).unwrap();
            assert!(Quick::of(&pieces, &names).is_none(), "{format}");
        }
    }
}

//! What becomes of line breaks within a record: the argument `newlines`.
//!
//! In: a handler's argument; a rendered line without its terminator. Out: the line, on one line where that is asked for. Pure.

use super::arguments::Arguments;
use crate::error::SettingsError;

/// What becomes of line breaks within a record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Newlines {
    /// They stay, as in the standard library: a traceback has many lines.
    #[default]
    Keep,
    /// They are written as Python's `repr` shows them (`\n`), so that each record is one line, and nobody can forge another.
    Escape,
}

impl Newlines {
    pub(super) const ARGUMENT: &'static str = "newlines";

    pub(super) fn read(arguments: &Arguments<'_>) -> Result<Self, SettingsError> {
        match arguments.text(Self::ARGUMENT)? {
            None | Some("keep") => Ok(Self::Keep),
            Some("escape") => Ok(Self::Escape),
            Some(_) => Err(arguments.wrong(Self::ARGUMENT, "\"keep\" or \"escape\"")),
        }
    }

    /// Does it to `line`, which has no terminator yet.
    pub fn apply(self, line: &mut String) {
        if self == Self::Keep || !line.chars().any(|character| escaped(character).is_some()) {
            return;
        }
        let mut result = String::with_capacity(line.len() + 32);
        for character in line.chars() {
            match escaped(character) {
                Some(escaped) => result.push_str(escaped),
                None => result.push(character),
            }
        }
        *line = result;
    }
}

/// All that `str.splitlines` of Python breaks a line at.
fn escaped(character: char) -> Option<&'static str> {
    Some(match character {
        '\n' => "\\n",
        '\r' => "\\r",
        '\u{b}' => "\\x0b",
        '\u{c}' => "\\x0c",
        '\u{1c}' => "\\x1c",
        '\u{1d}' => "\\x1d",
        '\u{1e}' => "\\x1e",
        '\u{85}' => "\\x85",
        '\u{2028}' => "\\u2028",
        '\u{2029}' => "\\u2029",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::Newlines;

    fn applied(newlines: Newlines, text: &str) -> String {
        let mut line = text.to_owned();
        newlines.apply(&mut line);
        line
    }

    #[test]
    fn every_line_break_of_python_is_escaped_and_nothing_else() {
        assert_eq!(
            applied(
                Newlines::Escape,
                "1\r\n2\u{b}\u{c}\u{1c}\u{1d}\u{1e}\u{85}\u{2028}\u{2029}é\\n\t"
            ),
            "1\\r\\n2\\x0b\\x0c\\x1c\\x1d\\x1e\\x85\\u2028\\u2029é\\n\t"
        );
        assert_eq!(applied(Newlines::Keep, "1\n2"), "1\n2");
    }
}

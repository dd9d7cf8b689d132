//! Reads a `$` format as `string.Template` does: `$name`, `${name}`, `$$`.
//!
//! In: the text of a format. Out: its pieces, or that Python raises. Pure.
//! Not here: looking up the name (`attribute.rs`).

use crate::attribute::Names;
use crate::piece::{Piece, push_literal};

/// Compiles a format of the `$` style.
pub(crate) fn compile(format: &str, names: &mut Names) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = format;
    while let Some((literal, behind)) = rest.split_once('$') {
        push_literal(&mut pieces, literal);
        if let Some(behind) = behind.strip_prefix('$') {
            push_literal(&mut pieces, "$");
            rest = behind;
            continue;
        }
        let (name, behind) = placeholder(behind).ok_or("an invalid placeholder")?;
        pieces.push(Piece::Plain(names.id(name)));
        rest = behind;
    }
    push_literal(&mut pieces, rest);
    Ok(pieces)
}

fn placeholder(text: &str) -> Option<(&str, &str)> {
    match text.strip_prefix('{') {
        Some(braced) => {
            let (name, rest) = identifier(braced)?;
            Some((name, rest.strip_prefix('}')?))
        }
        None => identifier(text),
    }
}

/// The ASCII identifier at the start of `text`, and what is behind it.
fn identifier(text: &str) -> Option<(&str, &str)> {
    let is_part = |byte: u8| byte == b'_' || byte.is_ascii_alphanumeric();
    let end = text.bytes().position(|byte| !is_part(byte)).unwrap_or(text.len());
    let (name, rest) = text.split_at_checked(end)?;
    let first = name.bytes().next()?;
    (!first.is_ascii_digit()).then_some((name, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(format: &str) -> Result<String, String> {
        let mut names = Names::default();
        let pieces = compile(format, &mut names)?;
        let mut found = names.iter();
        Ok(pieces
            .iter()
            .map(|piece| match piece {
                Piece::Literal(text) => text.to_string(),
                _ => format!("<{}>", found.next().unwrap_or("again")),
            })
            .collect())
    }

    #[test]
    fn placeholders_are_those_of_string_template() {
        for (format, expected) in [
            ("$message", "<message>"),
            ("${message}x", "<message>x"),
            ("$$%${message}%$$", "$%<message>%$"),
            ("$_a1-$B", "<_a1>-<B>"),
            ("$aé", "<a>é"),
            ("no field", "no field"),
        ] {
            assert_eq!(shape(format).unwrap(), expected, "{format}");
        }
    }

    #[test]
    fn invalid_placeholders_are_refused() {
        for format in ["$", "a $ b", "$1", "${a", "${a.b}", "${}", "$$$", "$é", "${ a}"] {
            assert!(shape(format).is_err(), "{format}");
        }
    }
}

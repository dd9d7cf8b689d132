//! Reads a `{` format as `str.format` does: literal text and fields such as `{name!r:>10}` or `{args[0]}`.
//!
//! In: the text of a format. Out: its pieces, or why only Python can render it. Pure.
//! Attributes of values (`{msg.real}`) are Python's alone.
//! Not here: applying a format specification (`brace_spec.rs`, `brace_render.rs`).

use crate::attribute::{NameId, Names};
use crate::brace_spec::Spec;
use crate::piece::{Piece, push_literal};
use crate::repr::Text;

/// One replacement field.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: NameId,
    /// Indexes, applied one after the other.
    pub(crate) path: Vec<Index>,
    /// `!s`, `!r`, `!a`.
    pub(crate) conversion: Option<Text>,
    pub(crate) spec: FieldSpec,
}

/// What stands in brackets behind a name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Index {
    /// `[0]`: an item of a sequence, or the key of a dict.
    Number(usize),
    /// `[key]`: the key of a dict.
    Text(Box<str>),
}

/// What stands behind the colon.
#[derive(Debug)]
pub(crate) enum FieldSpec {
    /// Known when the format is compiled.
    Fixed(Spec),
    /// With fields of its own, known with each record: `{levelname:{width}}`.
    Nested(Vec<Piece>),
}

/// Compiles a format of the `{` style.
pub(crate) fn compile(format: &str, names: &mut Names) -> Result<Vec<Piece>, String> {
    compile_at(format, names, true)
}

fn compile_at(format: &str, names: &mut Names, may_nest: bool) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = format;
    while let Some(at) = rest.find(['{', '}']) {
        let (literal, markup) = rest.split_at_checked(at).ok_or("a cut character")?;
        push_literal(&mut pieces, literal);
        if let Some(behind) = markup.strip_prefix("{{") {
            push_literal(&mut pieces, "{");
            rest = behind;
        } else if let Some(behind) = markup.strip_prefix("}}") {
            push_literal(&mut pieces, "}");
            rest = behind;
        } else if let Some(behind) = markup.strip_prefix('{') {
            rest = push_field(behind, names, may_nest, &mut pieces)?;
        } else {
            return Err("a single '}'".to_owned());
        }
    }
    push_literal(&mut pieces, rest);
    Ok(pieces)
}

/// Reads the field at the start of `text`, up to and with its closing brace; returns what is behind it.
fn push_field<'f>(
    text: &'f str,
    names: &mut Names,
    may_nest: bool,
    pieces: &mut Vec<Piece>,
) -> Result<&'f str, String> {
    let end = name_end(text)?;
    let (expression, behind) = text.split_at_checked(end).ok_or("a cut character")?;
    let mut characters = behind.chars();
    let mut next = characters.next();
    let mut conversion = None;
    if next == Some('!') {
        conversion = Some(match characters.next() {
            Some('s') => Text::Str,
            Some('r') => Text::Repr,
            Some('a') => Text::Ascii,
            _ => return Err("an unknown conversion behind '!'".to_owned()),
        });
        next = characters.next();
    }
    let (spec, rest) = match next {
        Some('}') => ("", characters.as_str()),
        Some(':') => spec_end(characters.as_str())?,
        _ => return Err("expected ':' or '}' behind a field's name".to_owned()),
    };
    let (name, path) = parse_expression(expression)?;
    if name == "asctime" && (!path.is_empty() || !may_nest) {
        // Whether Python raises depends on the text, which is not known before the line is rendered.
        return Err("an index into asctime, or asctime inside a format specification".to_owned());
    }
    let name = names.id(name);
    if spec.is_empty() && path.is_empty() && matches!(conversion, None | Some(Text::Str)) {
        pieces.push(Piece::Plain(name));
        return Ok(rest);
    }
    let spec = if spec.contains(['{', '}']) {
        if !may_nest {
            return Err("fields nested deeper than Python allows".to_owned());
        }
        FieldSpec::Nested(compile_at(spec, names, false)?)
    } else {
        FieldSpec::Fixed(Spec::parse(spec)?)
    };
    pieces.push(Piece::Brace(Box::new(Field {
        name,
        path,
        conversion,
        spec,
    })));
    Ok(rest)
}

/// Where a field's name ends: at the first `}`, `:` or `!` outside brackets.
fn name_end(text: &str) -> Result<usize, String> {
    let mut in_brackets = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b']' if in_brackets => in_brackets = false,
            _ if in_brackets => {}
            b'[' => in_brackets = true,
            b'{' => return Err("'{' in a field's name".to_owned()),
            b'}' | b':' | b'!' => return Ok(at),
            _ => {}
        }
    }
    Err("the format ends inside a field".to_owned())
}

/// Splits a format specification from its closing brace; braces inside come in pairs.
fn spec_end(text: &str) -> Result<(&str, &str), String> {
    let mut depth = 1;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0
            && let (Some(spec), Some(rest)) = (text.get(..at), text.get(at + 1..))
        {
            return Ok((spec, rest));
        }
    }
    Err("the format ends inside a format specification".to_owned())
}

/// A name and the indexes behind it.
fn parse_expression(text: &str) -> Result<(&str, Vec<Index>), String> {
    let end = text.find(['.', '[']).unwrap_or(text.len());
    let (name, mut rest) = text.split_at_checked(end).ok_or("a cut character")?;
    if name.chars().all(char::is_numeric) {
        return Err("a positional field".to_owned()); // the empty name is one too
    }
    let mut path = Vec::new();
    while !rest.is_empty() {
        let Some((key, behind)) = rest.strip_prefix('[').and_then(|inside| inside.split_once(']')) else {
            return Err("an attribute of a value".to_owned());
        };
        path.push(parse_index(key)?);
        rest = behind;
    }
    Ok((name, path))
}

fn parse_index(key: &str) -> Result<Index, String> {
    if key.is_empty() {
        return Err("an empty index".to_owned());
    }
    if key.bytes().all(|byte| byte.is_ascii_digit()) {
        // CPython refuses numbers beyond its own size; no sequence is that long.
        return Ok(Index::Number(
            key.parse().map_err(|_| "an index with too many digits")?,
        ));
    }
    if !key.is_ascii() && key.chars().all(char::is_numeric) {
        return Err("an index in digits beyond ASCII".to_owned());
    }
    Ok(Index::Text(key.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(format: &str) -> Result<Vec<Piece>, String> {
        compile(format, &mut Names::default())
    }

    #[test]
    fn literals_and_doubled_braces_are_joined() {
        let pieces = compiled("$%{{a}}%$").unwrap();
        assert!(matches!(pieces.as_slice(), [Piece::Literal(text)] if &**text == "$%{a}%$"));
    }

    #[test]
    fn plain_fields_are_told_apart_from_others() {
        assert!(matches!(
            compiled("{a}{a!s}{a:}").unwrap().as_slice(),
            [Piece::Plain(_), Piece::Plain(_), Piece::Plain(_)]
        ));
        assert!(matches!(compiled("{a!r}").unwrap().as_slice(), [Piece::Brace(_)]));
    }

    #[test]
    fn indexes_are_numbers_or_texts() {
        let pieces = compiled("{a[0][k]['k'][-1][}:!]}").unwrap();
        let [Piece::Brace(field)] = pieces.as_slice() else {
            panic!("{pieces:?}")
        };
        let text = |text: &str| Index::Text(text.into());
        assert_eq!(
            field.path,
            [Index::Number(0), text("k"), text("'k'"), text("-1"), text("}:!")]
        );
    }

    #[test]
    fn what_python_refuses_is_refused() {
        for format in [
            "{",
            "}",
            "{a",
            "{a!}",
            "{a!x}",
            "{a!r",
            "{a!rr}",
            "{a:",
            "{a:{b}",
            "{}",
            "{0}",
            "{:5}",
            "{[0]}",
            "{.x}",
            "{a.b}",
            "{a[]}",
            "{a[0}",
            "{a[0]b}",
            "{a{b}}",
            "{a:{b:{c}}}",
            "{a} }",
            "{a:.2ff}",
            "{٣}",
            "{asctime[0]}",
            "{name:{asctime}}",
        ] {
            assert!(compiled(format).is_err(), "{format}");
        }
    }
}

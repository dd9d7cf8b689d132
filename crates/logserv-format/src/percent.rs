//! Reads a `%` format: literal text and conversions such as `%(name)-10.3s`.
//!
//! In: the text of a format. Out: its parts in order, or why only Python can render it. Pure.
//! Not here: applying a conversion (`percent_render.rs`); looking up the key (`attribute.rs`).

use crate::limits::WIDTH_MAX;
use crate::repr::Text;
use crate::text::leading_number;

/// One part of a `%` format.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part<'f> {
    /// Text as it stands.
    Literal(&'f str),
    /// A conversion and its key; without a key it takes the next item of a tuple.
    Field(Option<&'f str>, Conversion),
}

/// `[#0- +]*width.precision` and the letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Conversion {
    pub(crate) kind: Kind,
    pub(crate) alternate: bool,
    pub(crate) zero: bool,
    pub(crate) left: bool,
    pub(crate) plus: bool,
    pub(crate) blank: bool,
    pub(crate) width: usize,
    pub(crate) precision: Option<usize>,
}

/// The conversion's letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `s`, `r`, `a`.
    Text(Text),
    /// `d`, `i`, `u`.
    Decimal,
    /// `o`.
    Octal,
    /// `x`, `X`.
    Hexadecimal { upper: bool },
    /// `e`, `f`, `g` and their upper case.
    Float { letter: FloatLetter, upper: bool },
    /// `c`.
    Character,
}

/// Which of the three conversions of a float.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FloatLetter {
    E,
    F,
    G,
}

impl Conversion {
    /// Whether this is `%s` and nothing else: the value's `str`.
    pub(crate) fn is_plain(&self) -> bool {
        self.kind == Kind::Text(Text::Str) && self.width == 0 && self.precision.is_none()
    }

    /// Whether this is `%d` with no more than a width: `%5d`, `%-5d`, `%05d`.
    pub(crate) fn is_plain_decimal(&self) -> bool {
        self.kind == Kind::Decimal && !self.plus && !self.blank && self.precision.is_none()
    }
}

/// Calls `part` with each part of `format`.
///
/// Refuses what Python refuses for every record, `*` (it cannot work with a mapping), conversions of the whole mapping
/// are the caller's to refuse, and widths over the limit.
pub(crate) fn parse<'f>(
    format: &'f str,
    mut part: impl FnMut(Part<'f>) -> Result<(), String>,
) -> Result<(), String> {
    let mut rest = format;
    while let Some((literal, behind)) = rest.split_once('%') {
        if !literal.is_empty() {
            part(Part::Literal(literal))?;
        }
        if let Some(behind) = behind.strip_prefix('%') {
            part(Part::Literal("%"))?;
            rest = behind;
            continue;
        }
        let (key, conversion, behind) = parse_conversion(behind)?;
        part(Part::Field(key, conversion))?;
        rest = behind;
    }
    if !rest.is_empty() {
        part(Part::Literal(rest))?;
    }
    Ok(())
}

/// What stands behind a `%`: the key, the conversion, and what stands behind that.
pub(crate) fn parse_conversion(text: &str) -> Result<(Option<&str>, Conversion, &str), String> {
    let (key, mut rest) = match text.strip_prefix('(') {
        Some(inside) => parse_key(inside).map(|(key, rest)| (Some(key), rest))?,
        None => (None, text),
    };
    let mut conversion = Conversion {
        kind: Kind::Character,
        alternate: false,
        zero: false,
        left: false,
        plus: false,
        blank: false,
        width: 0,
        precision: None,
    };
    loop {
        let flag = match rest.as_bytes().first() {
            Some(b'#') => &mut conversion.alternate,
            Some(b'0') => &mut conversion.zero,
            Some(b'-') => &mut conversion.left,
            Some(b'+') => &mut conversion.plus,
            Some(b' ') => &mut conversion.blank,
            _ => break,
        };
        *flag = true;
        rest = rest.get(1..).unwrap_or_default();
    }
    if let Some((width, behind)) = leading_number(rest) {
        conversion.width = limited(width)?;
        rest = behind;
    }
    if let Some(behind) = rest.strip_prefix('.') {
        let (precision, behind) = leading_number(behind).unwrap_or((0, behind));
        conversion.precision = Some(limited(precision)?);
        rest = behind;
    }
    // C's length modifiers mean nothing, one is skipped.
    rest = rest.strip_prefix(['h', 'l', 'L']).unwrap_or(rest);
    let mut characters = rest.chars();
    conversion.kind = match characters.next() {
        Some(letter) => kind(letter)?,
        None => return Err("the format ends inside a conversion".to_owned()),
    };
    Ok((key, conversion, characters.as_str()))
}

/// The key up to its closing parenthesis; pairs of parentheses inside belong to it.
fn parse_key(inside: &str) -> Result<(&str, &str), String> {
    let mut depth = 1;
    for (at, byte) in inside.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => {}
        }
        if depth == 0
            && let (Some(key), Some(rest)) = (inside.get(..at), inside.get(at + 1..))
        {
            return Ok((key, rest));
        }
    }
    Err("the format ends inside a key".to_owned())
}

fn kind(letter: char) -> Result<Kind, String> {
    Ok(match letter {
        's' => Kind::Text(Text::Str),
        'r' => Kind::Text(Text::Repr),
        'a' => Kind::Text(Text::Ascii),
        'd' | 'i' | 'u' => Kind::Decimal,
        'o' => Kind::Octal,
        'x' => Kind::Hexadecimal { upper: false },
        'X' => Kind::Hexadecimal { upper: true },
        'e' => Kind::Float {
            letter: FloatLetter::E,
            upper: false,
        },
        'E' => Kind::Float {
            letter: FloatLetter::E,
            upper: true,
        },
        'f' => Kind::Float {
            letter: FloatLetter::F,
            upper: false,
        },
        'F' => Kind::Float {
            letter: FloatLetter::F,
            upper: true,
        },
        'g' => Kind::Float {
            letter: FloatLetter::G,
            upper: false,
        },
        'G' => Kind::Float {
            letter: FloatLetter::G,
            upper: true,
        },
        'c' => Kind::Character,
        letter => return Err(format!("conversion {letter:?}")),
    })
}

/// A width or precision within the limit.
pub(crate) fn limited(number: usize) -> Result<usize, String> {
    if number > WIDTH_MAX {
        return Err(format!(
            "a width or precision of {number}, expected at most {WIDTH_MAX}"
        ));
    }
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(format: &str) -> Result<Vec<Part<'_>>, String> {
        let mut parts = Vec::new();
        parse(format, |part| {
            parts.push(part);
            Ok(())
        })?;
        Ok(parts)
    }

    fn conversion(format: &str) -> Conversion {
        match parts(format).unwrap().as_slice() {
            [Part::Field(_, conversion)] => *conversion,
            other => panic!("{format}: {other:?}"),
        }
    }

    #[test]
    fn literals_and_fields_come_in_order() {
        let parsed = parts("a%%b%(x)sc").unwrap();
        assert!(matches!(
            parsed.as_slice(),
            [
                Part::Literal("a"),
                Part::Literal("%"),
                Part::Literal("b"),
                Part::Field(Some("x"), _),
                Part::Literal("c")
            ]
        ));
    }

    #[test]
    fn flags_width_and_precision_are_read() {
        let read = conversion("%(x)-+#0 012.5lX");
        assert!(read.left && read.plus && read.alternate && read.zero && read.blank);
        assert_eq!((read.width, read.precision), (12, Some(5)));
        assert_eq!(read.kind, Kind::Hexadecimal { upper: true });
        assert_eq!(conversion("%(x).f").precision, Some(0));
    }

    #[test]
    fn a_key_may_hold_pairs_of_parentheses() {
        assert!(matches!(
            parts("%(a(b)c)s").unwrap().as_slice(),
            [Part::Field(Some("a(b)c"), _)]
        ));
        assert!(matches!(
            parts("%()s").unwrap().as_slice(),
            [Part::Field(Some(""), _)]
        ));
    }

    #[test]
    fn what_python_refuses_is_refused() {
        for format in [
            "%",
            "%(x)",
            "%(x",
            "%(x)Z",
            "%(x)b",
            "%(x)*d",
            "%(x).*f",
            "%(x)5000s",
            "%(x)-%",
            "%(x)hld",
            "%é",
        ] {
            assert!(parts(format).is_err(), "{format}");
        }
    }
}

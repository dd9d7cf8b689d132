//! Reads a format specification, the mini language behind the colon: `[[fill]align][sign][z][#][0][width][,_][.p][type]`.
//!
//! In: its text. Out: a [`Spec`], or that Python raises for every type. Pure.
//! Not here: what it means for a text, an integer or a float (`brace_render.rs`).

use crate::percent::limited;
use crate::text::leading_number;

/// A format specification, as it is written; what is left out depends on the type of the value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Spec {
    pub(crate) fill: Option<char>,
    pub(crate) align: Option<Align>,
    pub(crate) sign: Option<Sign>,
    pub(crate) no_negative_zero: bool,
    pub(crate) alternate: bool,
    /// A `0` before the width, where no fill is given.
    pub(crate) zero: bool,
    pub(crate) width: Option<usize>,
    pub(crate) grouping: Option<Grouping>,
    pub(crate) precision: Option<usize>,
    /// The letter of the type, or `%`.
    pub(crate) kind: Option<u8>,
}

/// Where padding goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
    Center,
    /// `=`: between the sign and the digits.
    AfterSign,
}

/// What stands before numbers that are not negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    Plus,
    Minus,
    Space,
}

/// What separates thousands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grouping {
    Comma,
    Underscore,
}

impl Spec {
    /// Whether nothing is asked: the value's `str`.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Reads `text`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut spec = Self::default();
        let mut rest = text;
        let mut characters = text.chars();
        let (first, second) = (characters.next(), characters.next());
        if let Some(align) = second.and_then(align) {
            spec.fill = first;
            spec.align = Some(align);
            rest = characters.as_str();
        } else if let Some(align) = first.and_then(align) {
            spec.align = Some(align);
            rest = rest.get(1..).unwrap_or_default();
        }
        let mut take = |wanted: &[char]| -> Option<char> {
            let found = rest.chars().next().filter(|found| wanted.contains(found))?;
            rest = rest.get(1..).unwrap_or_default();
            Some(found)
        };
        spec.sign = take(&['+', '-', ' ']).map(|sign| match sign {
            '+' => Sign::Plus,
            '-' => Sign::Minus,
            _ => Sign::Space,
        });
        spec.no_negative_zero = take(&['z']).is_some();
        spec.alternate = take(&['#']).is_some();
        spec.zero = spec.fill.is_none() && take(&['0']).is_some();
        if let Some((width, behind)) = leading_number(rest) {
            spec.width = Some(limited(width)?);
            rest = behind;
        }
        if let Some(behind) = rest.strip_prefix(',') {
            spec.grouping = Some(Grouping::Comma);
            rest = behind;
        } else if let Some(behind) = rest.strip_prefix('_') {
            spec.grouping = Some(Grouping::Underscore);
            rest = behind;
        }
        if let Some(behind) = rest.strip_prefix('.') {
            let (precision, behind) = leading_number(behind).ok_or("a point without precision")?;
            spec.precision = Some(limited(precision)?);
            rest = behind;
        }
        match rest.as_bytes() {
            [] => {}
            // `n` takes its separators from the producer's LC_NUMERIC.
            [b'n'] => return Err("type 'n' in a format specification".to_owned()),
            [kind] if b"bcdeEfFgGosxX%".contains(kind) => spec.kind = Some(*kind),
            _ => return Err(format!("format specification {text:?}")),
        }
        Ok(spec)
    }
}

fn align(character: char) -> Option<Align> {
    Some(match character {
        '<' => Align::Left,
        '>' => Align::Right,
        '^' => Align::Center,
        '=' => Align::AfterSign,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_read() {
        let spec = Spec::parse("é=+z#012,.3f").unwrap();
        assert_eq!(
            (spec.fill, spec.align, spec.sign),
            (Some('é'), Some(Align::AfterSign), Some(Sign::Plus))
        );
        assert!(spec.no_negative_zero && spec.alternate);
        // With a fill of its own the zero is the width's.
        assert!(!spec.zero);
        assert_eq!(
            (spec.width, spec.grouping, spec.precision),
            (Some(12), Some(Grouping::Comma), Some(3))
        );
        assert_eq!(spec.kind, Some(b'f'));
    }

    #[test]
    fn a_zero_before_the_width_is_a_flag() {
        assert_eq!(
            Spec::parse("05").unwrap(),
            Spec {
                zero: true,
                width: Some(5),
                ..Spec::default()
            }
        );
        assert_eq!(Spec::parse("<<5").unwrap().fill, Some('<'));
        assert_eq!(Spec::parse("<5").unwrap().fill, None);
    }

    #[test]
    fn what_python_refuses_is_refused() {
        for text in [
            "5.", ",_", "_,", ".2ff", "Z", "é", "5é", "#30,15f ", "{w}", "5 ", "n", "9999999", ".2_f",
        ] {
            assert!(Spec::parse(text).is_err(), "{text}");
        }
    }
}

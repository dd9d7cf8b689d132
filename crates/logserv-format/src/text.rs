//! Widths and padding, counted in code points as Python counts them.
//!
//! In: texts and numbers of characters. Out: characters appended to a line. Pure.
//! Not here: what is padded with what; the styles decide that.

/// Code points in `text`.
pub(crate) fn chars(text: &str) -> usize {
    if text.is_ascii() {
        text.len()
    } else {
        text.chars().count()
    }
}

/// The first `count` code points of `text`.
pub(crate) fn first(text: &str, count: usize) -> &str {
    match text.char_indices().nth(count) {
        Some((end, _)) => text.get(..end).unwrap_or(text),
        None => text,
    }
}

/// What nearly all padding is made of.
const SPACES: &str = "                                ";
const ZEROS: &str = "00000000000000000000000000000000";

/// Appends `character` `count` times.
pub(crate) fn fill(out: &mut String, character: char, count: usize) {
    let ready = match character {
        ' ' => SPACES,
        '0' => ZEROS,
        _ => "",
    };
    match ready.get(..count) {
        Some(text) => out.push_str(text),
        None => out.extend(std::iter::repeat_n(character, count)),
    }
}

/// Decimal digits at the start of `text` as a number, and the text behind them; `None` where there are none.
/// A number beyond `usize` saturates, which is over every limit.
pub(crate) fn leading_number(text: &str) -> Option<(usize, &str)> {
    let end = text
        .bytes()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(end)?;
    if digits.is_empty() {
        return None;
    }
    Some((digits.parse().unwrap_or(usize::MAX), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_code_points() {
        assert_eq!(chars("añ😀"), 3);
        assert_eq!(first("añ😀b", 2), "añ");
        assert_eq!(first("añ", 5), "añ");
        assert_eq!(first("añ", 0), "");
    }

    #[test]
    fn a_number_ends_at_the_first_other_character() {
        assert_eq!(leading_number("12.5"), Some((12, ".5")));
        assert_eq!(leading_number("x"), None);
        assert_eq!(leading_number(&"9".repeat(40)), Some((usize::MAX, "")));
    }
}

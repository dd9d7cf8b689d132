//! Makes foreign text fit for a terminal and a log: names of files and texts of clients may hold anything.

/// `text` with its control and direction characters as escapes; on one line, therefore.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        let is_mark = matches!(
            character,
            '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
        );
        if is_mark || character.is_control() {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_moves_the_cursor_or_ends_the_line_is_escaped_and_letters_stay() {
        assert_eq!(
            super::printable("grüße\n\u{1b}[2J\u{9b}\u{202e}"),
            "grüße\\n\\u{1b}[2J\\u{9b}\\u{202e}"
        );
    }
}

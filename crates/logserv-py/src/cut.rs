//! Makes a record fit its limit: the message is cut first, then traceback and stack, then names.
//!
//! In: the texts of a record and the bytes left for them. Out: shorter texts that say how much is missing.
//! Not here: attributes of `extra`, which have their own share (`gather.rs`).

/// A text that may be cut, and how it was.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cuttable<'a> {
    /// The whole text.
    pub(crate) text: &'a str,
    /// Bytes of it that may always stay.
    pub(crate) floor: usize,
}

/// Shortens `texts`, first one first, until together they take at most `room` bytes. `None` in the answer: unchanged.
/// Where the floors alone are over `room`, the answer is as short as they allow.
pub(crate) fn fit<const N: usize>(texts: [Option<Cuttable<'_>>; N], room: usize) -> [Option<String>; N] {
    let total: usize = texts.iter().flatten().map(|text| text.text.len()).sum();
    let mut excess = total.saturating_sub(room);
    texts.map(|text| {
        let text = text?;
        if excess == 0 || text.text.len() <= text.floor {
            return None;
        }
        let keep = text.text.len().saturating_sub(excess).max(text.floor);
        let shorter = cut(text.text, keep);
        excess = excess.saturating_sub(text.text.len().saturating_sub(shorter.len()));
        Some(shorter)
    })
}

/// At most `len_max` bytes: the head of `text`, at a character, and `…[cut: N bytes]` with the number of bytes gone.
/// Where not even that fits, an ellipsis or nothing.
pub(crate) fn cut(text: &str, len_max: usize) -> String {
    let marker_len_max = marker(text.len()).len();
    if let Some(head_len) = len_max.checked_sub(marker_len_max) {
        let head = head(text, head_len);
        return format!("{head}{}", marker(text.len() - head.len()));
    }
    len_max
        .checked_sub("…".len())
        .map_or_else(String::new, |head_len| format!("{}…", head(text, head_len)))
}

fn marker(missing: usize) -> String {
    format!("…[cut: {missing} bytes]")
}

fn head(text: &str, mut len: usize) -> &str {
    len = len.min(text.len());
    while !text.is_char_boundary(len) {
        len -= 1;
    }
    text.get(..len).unwrap_or_default()
}

//! `msg % args` for senders that pickle a record as it is. `SocketHandler` has done it before it sends.
//!
//! In: the format and the arguments' node. Out: the message, or the format with the arguments behind it where Python
//! would raise or this knows the conversion too little: a record is never lost over it.
//! Knows `%s %r %a %d %i %u %x %X %o %c %e %E %f %F %g %G %%`, flags, width, precision, `*` and `%(key)s`.

use super::machine::Machine;
use super::node::Node;
use super::repr::push_repr;
use super::text::{len_in_frame, text};
use super::work::Work;

/// Widths and precisions beyond this are an attack rather than a message.
const WIDTH_MAX: usize = 4096;

/// The message, at most about `max` bytes.
pub(super) fn interpolate(
    machine: &Machine,
    frame: &[u8],
    format: &str,
    args: Node,
    work: &mut Work,
    max: usize,
) -> String {
    let mut filling = Filling {
        machine,
        frame,
        args,
        next: 0,
        work,
        max,
        out: String::with_capacity(format.len()),
    };
    if filling.run(format).is_some() {
        return filling.out;
    }
    let mut out = format.to_owned();
    out.push(' ');
    let room = max.saturating_sub(out.len() + '…'.len_utf8());
    push_repr(machine, frame, args, filling.work, room, &mut out);
    if out.len() > max { format.to_owned() } else { out }
}

struct Filling<'m, 'w> {
    machine: &'m Machine,
    frame: &'m [u8],
    args: Node,
    /// Arguments used.
    next: usize,
    work: &'w mut Work,
    max: usize,
    out: String,
}

/// What stands between `%` and the conversion's letter.
#[derive(Default)]
struct Flags {
    is_left: bool,
    is_zero: bool,
    is_alternate: bool,
    sign: Option<char>,
    width: usize,
    precision: Option<usize>,
}

impl Filling<'_, '_> {
    /// Runs the whole format; `None` where something does not fit.
    fn run(&mut self, format: &str) -> Option<()> {
        let mut rest = format;
        while let Some((plain, tail)) = rest.split_once('%') {
            self.push(plain)?;
            rest = self.conversion(tail)?;
        }
        self.push(rest)?;
        // Python: "not all arguments converted", but a dict may have keys that nobody names.
        let is_used_up = match self.args {
            Node::Tuple(id) => self.next == self.machine.arena.len(id),
            Node::Dict(_) => true,
            _ => self.next == 1,
        };
        is_used_up.then_some(())
    }

    fn push(&mut self, text: &str) -> Option<()> {
        self.work.bytes(text.len()).ok()?;
        if self.out.len() + text.len() > self.max {
            return None;
        }
        self.out.push_str(text);
        Some(())
    }

    /// One conversion, from behind its `%`; returns what follows it.
    fn conversion<'t>(&mut self, mut rest: &'t str) -> Option<&'t str> {
        let mut keyed = None;
        if let Some(tail) = rest.strip_prefix('(') {
            let (key, tail) = tail.split_once(')')?;
            keyed = Some(self.value_of(key)?);
            rest = tail;
        }
        let mut flags = Flags::default();
        loop {
            let flag = rest.chars().next()?;
            match flag {
                '-' => flags.is_left = true,
                '0' => flags.is_zero = true,
                '#' => flags.is_alternate = true,
                '+' => flags.sign = Some('+'),
                ' ' => flags.sign = flags.sign.or(Some(' ')),
                _ => break,
            }
            rest = rest.get(1..)?;
        }
        rest = self.count(rest, |width| flags.width = width)?;
        if let Some(tail) = rest.strip_prefix('.') {
            flags.precision = Some(0);
            rest = self.count(tail, |precision| flags.precision = Some(precision))?;
        }
        rest = rest.trim_start_matches(['l', 'L', 'h']);
        let letter = rest.chars().next()?;
        let tail = rest.get(letter.len_utf8()..)?;
        if letter == '%' {
            self.push("%")?;
            return Some(tail);
        }
        let value = match keyed {
            Some(value) => value,
            None => self.next_argument()?,
        };
        let (sign, body) = self.converted(letter, value, &flags)?;
        self.pad(sign, &body, &flags, !matches!(letter, 's' | 'r' | 'a' | 'c'))?;
        Some(tail)
    }

    /// A number or `*` at the start of `rest`.
    fn count<'t>(&mut self, rest: &'t str, mut set: impl FnMut(usize)) -> Option<&'t str> {
        if let Some(tail) = rest.strip_prefix('*') {
            let Node::Int(count) = self.next_argument()? else {
                return None;
            };
            set(usize::try_from(count).ok().filter(|&count| count <= WIDTH_MAX)?);
            return Some(tail);
        }
        let tail = rest.trim_start_matches(|digit: char| digit.is_ascii_digit());
        let digits = rest.get(..rest.len() - tail.len())?;
        if !digits.is_empty() {
            set(digits.parse().ok().filter(|&count| count <= WIDTH_MAX)?);
        }
        Some(tail)
    }

    fn next_argument(&mut self) -> Option<Node> {
        let at = self.next;
        self.next += 1;
        match self.args {
            Node::Tuple(id) => {
                self.work.bytes(16).ok()?;
                self.machine.arena.slices(id).next()?.get(at).copied()
            }
            single => (at == 0).then_some(single),
        }
    }

    fn value_of(&mut self, name: &str) -> Option<Node> {
        let Node::Dict(id) = self.args else { return None };
        for slice in self.machine.arena.slices(id) {
            for pair in slice.chunks_exact(2) {
                let &[key, value] = pair else { continue };
                self.work.bytes(16 + len_in_frame(key)).ok()?;
                if text(key, self.frame).is_some_and(|key| key == name) {
                    return Some(value);
                }
            }
        }
        None
    }

    /// The sign and the digits or text of a value.
    fn converted(&mut self, letter: char, value: Node, flags: &Flags) -> Option<(&'static str, String)> {
        if matches!(letter, 's' | 'r' | 'a') {
            let mut body = String::new();
            match text(value, self.frame).filter(|_| letter == 's') {
                Some(text) => {
                    self.work.bytes(text.len()).ok()?;
                    body.push_str(&text);
                }
                None => push_repr(self.machine, self.frame, value, self.work, self.max, &mut body),
            }
            if let Some((end, _)) = flags
                .precision
                .and_then(|precision| body.char_indices().nth(precision))
            {
                body.truncate(end);
            }
            return Some(("", body));
        }
        let sign_of = |is_negative: bool| match (is_negative, flags.sign) {
            (true, _) => "-",
            (false, Some('+')) => "+",
            (false, Some(_)) => " ",
            (false, None) => "",
        };
        if matches!(letter, 'e' | 'E' | 'f' | 'F' | 'g' | 'G') {
            let number = match value {
                Node::Float(number) => number,
                Node::Int(number) => number as f64,
                Node::Bool(is_true) => f64::from(u8::from(is_true)),
                _ => return None,
            };
            let body = float_digits(letter, number.abs(), flags.precision.unwrap_or(6))?;
            return Some((sign_of(number.is_sign_negative() && !number.is_nan()), body));
        }
        let number = match value {
            Node::Int(number) => number,
            Node::Bool(is_true) => is_true.into(),
            // Only these letters take a float, and cut it off.
            Node::Float(number) if matches!(letter, 'd' | 'i' | 'u') && number.abs() < 9e18 => {
                number.trunc() as i64
            }
            _ => return None,
        };
        let magnitude = number.unsigned_abs();
        let mut body = match letter {
            'd' | 'i' | 'u' => magnitude.to_string(),
            'x' => format!("{magnitude:x}"),
            'X' => format!("{magnitude:X}"),
            'o' => format!("{magnitude:o}"),
            'c' => return Some(("", char::from_u32(u32::try_from(number).ok()?)?.to_string())),
            _ => return None,
        };
        if flags.is_alternate && !matches!(letter, 'd' | 'i' | 'u') {
            return None;
        }
        while body.len() < flags.precision.unwrap_or(0) {
            body.insert(0, '0');
        }
        Some((sign_of(number < 0), body))
    }

    fn pad(&mut self, sign: &str, body: &str, flags: &Flags, is_number: bool) -> Option<()> {
        let len = sign.len() + body.chars().count();
        let gap = flags.width.saturating_sub(len);
        if flags.is_left {
            self.push(&format!("{sign}{body}{:gap$}", ""))
        } else if flags.is_zero && is_number {
            self.push(&format!("{sign}{}{body}", "0".repeat(gap)))
        } else {
            self.push(&format!("{:gap$}{sign}{body}", ""))
        }
    }
}

/// The digits of a number that is not negative, as C's `printf` gives them.
fn float_digits(letter: char, number: f64, precision: usize) -> Option<String> {
    if !number.is_finite() {
        let text = if number.is_nan() { "nan" } else { "inf" };
        return Some(if letter.is_ascii_uppercase() {
            text.to_uppercase()
        } else {
            text.to_owned()
        });
    }
    let text = match letter.to_ascii_lowercase() {
        'f' => format!("{number:.precision$}"),
        'e' => exponential(number, precision)?,
        'g' => {
            let precision = precision.max(1);
            let scientific = exponential(number, precision - 1)?;
            let (mantissa, exponent) = scientific.split_once('e')?;
            let exponent: i32 = exponent.parse().ok()?;
            let trim = |digits: &str| match digits.contains('.') {
                true => digits.trim_end_matches('0').trim_end_matches('.').to_owned(),
                false => digits.to_owned(),
            };
            let precision = i32::try_from(precision).ok()?;
            if exponent < -4 || exponent >= precision {
                format!("{}{}", trim(mantissa), scientific.get(mantissa.len()..)?)
            } else {
                let places = usize::try_from(precision - 1 - exponent).ok()?;
                trim(&format!("{number:.places$}"))
            }
        }
        _ => return None,
    };
    Some(if letter.is_ascii_uppercase() {
        text.to_uppercase()
    } else {
        text
    })
}

/// `1.5e+00`: Rust writes the same digits, but the exponent without sign and leading zero.
fn exponential(number: f64, precision: usize) -> Option<String> {
    let text = format!("{number:.precision$e}");
    let (mantissa, exponent) = text.split_once('e')?;
    let (sign, digits) = exponent
        .strip_prefix('-')
        .map_or(('+', exponent), |digits| ('-', digits));
    Some(format!("{mantissa}e{sign}{digits:0>2}"))
}

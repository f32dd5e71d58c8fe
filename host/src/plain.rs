//! Text that cannot do anything to a terminal or a log, whoever wrote it.
//!
//! Control characters move the cursor, change the window's title and forge rows; characters that
//! change the direction of writing show a text as another one. They are shown as their codes, as in
//! `\u{1b}`.

use std::fmt::{self, Display, Write};

/// A text on one line.
#[derive(Clone, Copy, Debug)]
pub struct Plain<T>(pub T);

/// A text whose lines stay lines.
#[derive(Clone, Copy, Debug)]
pub struct PlainLines<T>(pub T);

/// A text whose lines stay lines and whose colours stay colours.
#[derive(Clone, Copy, Debug)]
pub struct PlainDrawing<'t>(pub &'t str);

impl<T: Display> Display for Plain<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            Escaping {
                out: f,
                lines: false
            },
            "{}",
            self.0
        )
    }
}

impl<T: Display> Display for PlainLines<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            Escaping {
                out: f,
                lines: true
            },
            "{}",
            self.0
        )
    }
}

impl Display for PlainDrawing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find('\u{1b}') {
            let (before, escape) = rest.split_at(at);
            let colour = colour(escape).unwrap_or_default();
            PlainLines(before).fmt(f)?;
            match colour {
                0 => Plain('\u{1b}').fmt(f)?,
                bytes => f.write_str(&escape[..bytes])?,
            }
            rest = &escape[colour.max(1)..];
        }
        PlainLines(rest).fmt(f)
    }
}

/// Bytes of the sequence at the beginning of a text that sets a colour, if there is one.
fn colour(text: &str) -> Option<usize> {
    let numbers = text.strip_prefix("\u{1b}[")?;
    let end = numbers.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    numbers[end..]
        .starts_with('m')
        .then_some("\u{1b}[".len() + end + 1)
}

/// Whether a character is shown as its code.
pub fn is_dangerous(c: char) -> bool {
    let is_control = c.is_control() && c != '\t';
    let turns_around = matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    // Some programs take these for the end of a line.
    let separates = matches!(c, '\u{2028}' | '\u{2029}');
    is_control || turns_around || separates
}

struct Escaping<'o, 'f> {
    out: &'o mut fmt::Formatter<'f>,
    lines: bool,
}

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let is_shown_as_code = |c: char| is_dangerous(c) && !(self.lines && c == '\n');
        let mut rest = text;
        while let Some(at) = rest.find(is_shown_as_code) {
            let (before, after) = rest.split_at(at);
            self.out.write_str(before)?;
            let mut characters = after.chars();
            if let Some(c) = characters.next() {
                match c {
                    '\n' | '\r' => write!(self.out, "{}", c.escape_default())?,
                    c => write!(self.out, "{}", c.escape_unicode())?,
                }
            }
            rest = characters.as_str();
        }
        self.out.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_shown_as_its_code() {
        let text = "a\u{1b}]0;title\u{7}b\r\nc\u{9b}2J\u{202e}d\u{7f}";
        let shown = r"a\u{1b}]0;title\u{7}b\r\nc\u{9b}2J\u{202e}d\u{7f}";
        assert_eq!(Plain(text).to_string(), shown);
    }

    #[test]
    fn ordinary_text_of_any_language_stays() {
        let text = "Zürich → 東京, العربية\tעברית 🦀";
        assert_eq!(Plain(text).to_string(), text);
        assert_eq!(PlainLines("a\nb\u{1b}c").to_string(), "a\nb\\u{1b}c");
    }

    #[test]
    fn a_drawing_keeps_its_colours_and_nothing_else() {
        let drawn = "\u{1b}[1;31merror\u{1b}[0m\n\u{1b}[2J\u{1b}]0;x\u{1b}";
        let shown = "\u{1b}[1;31merror\u{1b}[0m\n\\u{1b}[2J\\u{1b}]0;x\\u{1b}";
        assert_eq!(PlainDrawing(drawn).to_string(), shown);
    }
}

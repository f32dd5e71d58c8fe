//! The lines a guest writes during one transition, cut to their limits.

use std::borrow::Cow;

use xcomponent_core::call::{LogLevel, LogLine};

/// Keeps the first lines of a transition and counts the rest.
#[derive(Debug)]
pub(super) struct Log {
    lines: Vec<LogLine>,
    lines_max: usize,
    line_bytes_max: usize,
    n_kept: usize,
    n_cut: usize,
    panic: Option<String>,
}

/// How the text of a panic begins, in a line of level error.
const PANIC_PREFIX: &str = "panic: ";

impl Log {
    /// An empty log.
    pub(super) fn new(lines_max: usize, line_bytes_max: usize) -> Self {
        Self {
            lines: Vec::new(),
            lines_max,
            line_bytes_max,
            n_kept: 0,
            n_cut: 0,
            panic: None,
        }
    }

    /// Begins a transition.
    pub(super) fn renew(&mut self) {
        self.n_kept = 0;
    }

    /// Adds a line. The text of a panic is kept even where the line is over the limit.
    pub(super) fn write(&mut self, level: LogLevel, message: &str) {
        if level == LogLevel::Error
            && let Some(text) = message.strip_prefix(PANIC_PREFIX)
        {
            self.panic = Some(cut(text, self.line_bytes_max).into_owned());
        }
        if self.n_kept == self.lines_max {
            self.n_cut += 1;
            return;
        }
        self.n_kept += 1;
        self.lines.push(LogLine {
            level,
            message: cut(message, self.line_bytes_max).into(),
        });
    }

    /// The text of the panic that was written since the last [`Log::take`].
    pub(super) fn panic(&self) -> Option<&str> {
        self.panic.as_deref()
    }

    /// The lines since the last call of this, with a last one that says how many were cut.
    pub(super) fn take(&mut self) -> Vec<LogLine> {
        if self.n_cut > 0 {
            let message = format!("{} more lines were cut", self.n_cut).into();
            self.lines.push(LogLine {
                level: LogLevel::Warn,
                message,
            });
        }
        self.n_cut = 0;
        self.panic = None;
        std::mem::take(&mut self.lines)
    }
}

/// The longest beginning of a text that fits in so many bytes, with a picture in the place of
/// U+0000: it goes into histories, and no database keeps that character.
pub(super) fn cut(text: &str, bytes_max: usize) -> Cow<'_, str> {
    let beginning = &text[..text.floor_char_boundary(bytes_max)];
    if beginning.as_bytes().contains(&0) {
        beginning.replace('\0', "\u{2400}").into()
    } else {
        beginning.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_that_no_database_keeps_is_shown_as_its_picture() {
        assert_eq!(cut("a\0b", 10), "a\u{2400}b");
    }

    #[test]
    fn a_line_is_cut_between_characters() {
        let mut log = Log::new(10, 5);
        log.write(LogLevel::Info, "aéééé");
        assert_eq!(&*log.take()[0].message, "aéé");
    }

    #[test]
    fn what_is_over_the_limit_is_counted_over_the_whole_transition() {
        let mut log = Log::new(2, 100);
        log.write(LogLevel::Info, "one");
        assert_eq!(log.take().len(), 1);
        for _ in 0..4 {
            log.write(LogLevel::Info, "more");
        }
        let lines = log.take();
        assert_eq!(lines.len(), 2);
        assert_eq!(&*lines[1].message, "3 more lines were cut");
    }

    #[test]
    fn the_text_of_a_panic_survives_a_full_log() {
        let mut log = Log::new(0, 100);
        log.write(LogLevel::Error, "panic: at src/lib.rs:3: boom");
        assert_eq!(log.panic(), Some("at src/lib.rs:3: boom"));
    }
}

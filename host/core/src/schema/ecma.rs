//! ECMAScript's regular expressions, as browsers know them, for the matcher of this host.
//!
//! Whatever an automaton can do is translated; look-around and back references are recognised.
//! The size of the automaton is estimated on the way, before anything is compiled. One pass over
//! the text, without recursion.

use std::{fmt::Write, iter::Peekable, str::Chars};

/// A pattern that a browser accepts.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Translated {
    /// The same for the matcher.
    Automaton {
        /// In the matcher's syntax.
        pattern: String,
        /// About the states of its automaton.
        size: usize,
    },
    /// It has something that no automaton can do.
    NeedsBacktracking(&'static str),
}

/// States of a class that has characters outside ASCII: these are several bytes.
const WIDE: usize = 24;

/// The members of `\s`.
const SPACES: &str =
    r"\t-\r \u{a0}\u{1680}\u{2000}-\u{200a}\u{2028}\u{2029}\u{202f}\u{205f}\u{3000}\u{feff}";

/// A group that is open.
#[derive(Default)]
struct Level {
    /// Size of what it holds so far.
    size: usize,
    /// The size of the last atom, which a quantifier may follow.
    last: Option<usize>,
}

struct Translator<'p> {
    rest: Peekable<Chars<'p>>,
    out: String,
    levels: Vec<Level>,
    backtracking: Option<&'static str>,
}

/// Part of a class: one character, or the members of a class escape.
enum Member {
    Char(char),
    Set(String, usize),
}

/// Translates a pattern.
///
/// # Errors
///
/// What is wrong with it.
pub(super) fn translate(pattern: &str) -> Result<Translated, String> {
    let mut translator = Translator {
        rest: pattern.chars().peekable(),
        out: String::new(),
        levels: vec![Level::default()],
        backtracking: None,
    };
    translator.run()?;
    let size = translator.levels.pop().map_or(0, |level| level.size);
    if !translator.levels.is_empty() {
        return Err("a group is not closed".to_owned());
    }
    Ok(match translator.backtracking {
        Some(what) => Translated::NeedsBacktracking(what),
        None => Translated::Automaton {
            pattern: translator.out,
            size,
        },
    })
}

impl Translator<'_> {
    fn run(&mut self) -> Result<(), String> {
        while let Some(c) = self.rest.next() {
            match c {
                '.' => self.atom(r"[^\n\r\u{2028}\u{2029}]", WIDE),
                '^' | '$' => {
                    self.out.push(c);
                    self.level().last = None;
                }
                '|' => {
                    self.out.push('|');
                    let level = self.level();
                    level.size = level.size.saturating_add(1);
                    level.last = None;
                }
                '(' => self.open()?,
                ')' => self.close()?,
                '[' => self.class()?,
                '*' => self.repeat("*", |size| size.saturating_add(1))?,
                '+' => self.repeat("+", |size| size.saturating_add(1))?,
                '?' => self.repeat("?", |size| size.saturating_add(1))?,
                '{' => self.brace()?,
                '\\' => self.escape()?,
                c => self.literal(c),
            }
        }
        Ok(())
    }

    fn level(&mut self) -> &mut Level {
        self.levels.last_mut().expect("the outermost stays")
    }

    fn atom(&mut self, text: &str, size: usize) {
        self.out.push_str(text);
        let level = self.level();
        level.size = level.size.saturating_add(size);
        level.last = Some(size);
    }

    fn literal(&mut self, c: char) {
        let text = hex(c);
        self.atom(&text, c.len_utf8());
    }

    /// Takes what comes next if it is that.
    fn take(&mut self, c: char) -> bool {
        self.rest.next_if_eq(&c).is_some()
    }

    fn open(&mut self) -> Result<(), String> {
        self.levels.push(Level::default());
        self.out.push_str("(?:");
        if !self.take('?') {
            return Ok(());
        }
        let unknown = || Err("no such group as after `(?`".to_owned());
        match self.rest.next() {
            Some(':') => {}
            Some('=' | '!') => self.backtracking = Some("a look-ahead"),
            Some('<') if self.rest.peek().is_some_and(|c| matches!(c, '=' | '!')) => {
                self.rest.next();
                self.backtracking = Some("a look-behind");
            }
            Some('<') => self.name()?,
            _ => return unknown(),
        }
        Ok(())
    }

    /// The name of a group.
    fn name(&mut self) -> Result<(), String> {
        let mut n = 0;
        loop {
            match self.rest.next() {
                Some('>') if n > 0 => return Ok(()),
                Some(c) if c == '_' || c == '$' || c.is_alphabetic() => n += 1,
                Some(c) if n > 0 && c.is_alphanumeric() => n += 1,
                _ => return Err("a group's name is letters, digits, `_` and `$`".to_owned()),
            }
        }
    }

    fn close(&mut self) -> Result<(), String> {
        let size = self.levels.pop().map_or(0, |level| level.size);
        if self.levels.is_empty() {
            return Err("`)` closes no group".to_owned());
        }
        self.atom(")", size.saturating_add(1));
        Ok(())
    }

    fn repeat(&mut self, text: &str, size: impl Fn(usize) -> usize) -> Result<(), String> {
        let level = self.level();
        let Some(last) = level.last.take() else {
            return Err(format!("nothing before `{text}` to repeat"));
        };
        level.size = level.size.saturating_sub(last).saturating_add(size(last));
        self.out.push_str(text);
        if self.take('?') {
            self.out.push('?');
        }
        Ok(())
    }

    /// `{2}`, `{2,}`, `{2,3}`; anything else is text.
    fn brace(&mut self) -> Result<(), String> {
        let inside: String = self
            .rest
            .clone()
            .take(24)
            .take_while(|c| *c != '}')
            .collect();
        let (min, max) = inside.split_once(',').unwrap_or((&inside, &inside));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
        let closed = self.rest.clone().nth(inside.chars().count()) == Some('}');
        if !closed || !is_number(min) || !(max.is_empty() || is_number(max)) {
            self.literal('{');
            return Ok(());
        }
        for _ in 0..=inside.len() {
            self.rest.next();
        }
        let number = |text: &str| text.parse::<u32>().unwrap_or(u32::MAX);
        let (least, most) = (number(min), number(max));
        if max.is_empty() {
            let times = usize::try_from(least).unwrap_or(usize::MAX);
            return self.repeat(&format!("{{{least},}}"), |size| {
                size.saturating_mul(times.saturating_add(1))
            });
        }
        if least > most {
            return Err(format!("`{{{inside}}}` has its numbers in the wrong order"));
        }
        let times = usize::try_from(most).unwrap_or(usize::MAX);
        self.repeat(&format!("{{{least},{most}}}"), |size| {
            size.saturating_add(1).saturating_mul(times)
        })
    }

    fn escape(&mut self) -> Result<(), String> {
        match self.rest.peek() {
            Some('b') => {
                self.rest.next();
                self.out.push_str(r"(?-u:\b)");
                self.level().last = None;
            }
            Some('B') => {
                self.rest.next();
                self.out.push_str(r"\B");
                self.level().last = None;
            }
            Some('k' | '1'..='9') => {
                self.rest.next();
                self.backtracking = Some("a back reference");
                self.level().last = Some(1);
            }
            _ => match self.escaped()? {
                Member::Char(c) => self.literal(c),
                Member::Set(members, size) => self.atom(&format!("[{members}]"), size),
            },
        }
        Ok(())
    }

    /// What an escape stands for that is legal in a class too.
    fn escaped(&mut self) -> Result<Member, String> {
        let Some(c) = self.rest.next() else {
            return Err("`\\` at the end escapes nothing".to_owned());
        };
        Ok(match c {
            'd' => Member::Set("0-9".to_owned(), 1),
            'D' => Member::Set("[^0-9]".to_owned(), WIDE),
            'w' => Member::Set("0-9A-Za-z_".to_owned(), 2),
            'W' => Member::Set("[^0-9A-Za-z_]".to_owned(), WIDE),
            's' => Member::Set(SPACES.to_owned(), WIDE),
            'S' => Member::Set(format!("[^{SPACES}]"), 2 * WIDE),
            't' => Member::Char('\t'),
            'n' => Member::Char('\n'),
            'r' => Member::Char('\r'),
            'v' => Member::Char('\u{b}'),
            'f' => Member::Char('\u{c}'),
            '0' => Member::Char('\0'),
            'c' => {
                let letter = self.rest.next().filter(char::is_ascii_alphabetic);
                let letter = letter.ok_or("`\\c` needs a letter")?;
                let code = u8::try_from(letter).unwrap_or_default() % 32;
                Member::Char(char::from(code))
            }
            'x' => Member::Char(self.code(2)?),
            'u' => Member::Char(self.unicode()?),
            'p' | 'P' if self.rest.peek() == Some(&'{') => {
                let name: String = self
                    .rest
                    .by_ref()
                    .take_while(|c| *c != '}')
                    .take(64)
                    .collect();
                Member::Set(format!("\\{c}{name}}}"), 20 * WIDE)
            }
            c => Member::Char(c),
        })
    }

    /// So many hexadecimal digits.
    fn code(&mut self, digits: u32) -> Result<char, String> {
        let mut code = 0;
        for _ in 0..digits {
            let digit = self.rest.next().and_then(|c| c.to_digit(16));
            code = code * 16 + digit.ok_or("an escape lacks a hexadecimal digit")?;
        }
        char::from_u32(code).ok_or_else(|| "an escape is no character".to_owned())
    }

    /// `\u0041`, `\u{41}`; halves of a pair are put together.
    fn unicode(&mut self) -> Result<char, String> {
        if !self.take('{') {
            let unit = self.unit()?;
            if !(0xd800..0xdc00).contains(&unit) {
                return char::from_u32(unit).ok_or_else(|| "half a character".to_owned());
            }
            let low = match self.take('\\') && self.take('u') {
                true => self.unit()?,
                false => 0,
            };
            let code = 0x10000 + ((unit - 0xd800) << 10) + low.wrapping_sub(0xdc00);
            return match (0xdc00..0xe000).contains(&low) {
                true => char::from_u32(code).ok_or_else(|| "half a character".to_owned()),
                false => Err("half a character".to_owned()),
            };
        }
        let mut code: u32 = 0;
        loop {
            match self.rest.next() {
                Some('}') => break,
                Some(c) => {
                    let digit = c
                        .to_digit(16)
                        .ok_or("an escape lacks a hexadecimal digit")?;
                    code = code.saturating_mul(16).saturating_add(digit);
                }
                None => return Err("an escape is not closed".to_owned()),
            }
        }
        char::from_u32(code).ok_or_else(|| "an escape is no character".to_owned())
    }

    fn unit(&mut self) -> Result<u32, String> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.rest.next().and_then(|c| c.to_digit(16));
            code = code * 16 + digit.ok_or("an escape lacks a hexadecimal digit")?;
        }
        Ok(code)
    }

    /// `[…]`: nothing in it nests, and `-` between two characters is a range.
    fn class(&mut self) -> Result<(), String> {
        let negated = self.take('^');
        let mut members = String::new();
        let mut size = if negated { WIDE } else { 1 };
        loop {
            let Some(c) = self.rest.next() else {
                return Err("a class is not closed".to_owned());
            };
            if c == ']' {
                break;
            }
            let first = self.member(c)?;
            let mut ahead = self.rest.clone();
            let is_range = ahead.next() == Some('-') && ahead.next().is_some_and(|c| c != ']');
            let (from, to) = match first {
                Member::Set(set, more) => {
                    members.push_str(&set);
                    size = size.saturating_add(more);
                    continue;
                }
                Member::Char(from) if is_range => {
                    self.rest.next();
                    let c = self.rest.next().unwrap_or('-');
                    match self.member(c)? {
                        Member::Char(to) => (from, to),
                        Member::Set(set, more) => {
                            let _ = write!(members, "{}{}{set}", hex(from), hex('-'));
                            size = size.saturating_add(more).saturating_add(2);
                            continue;
                        }
                    }
                }
                Member::Char(only) => (only, only),
            };
            if from > to {
                return Err(format!("the range `{from}-{to}` is in the wrong order"));
            }
            let _ = write!(members, "{}-{}", hex(from), hex(to));
            size = size.saturating_add(if to.is_ascii() { 1 } else { WIDE });
        }
        match (negated, members.is_empty()) {
            (true, true) => self.atom("(?s:.)", WIDE),
            (false, true) => self.atom(r"[^\x00-\u{10ffff}]", 1),
            (true, false) => self.atom(&format!("[^{members}]"), size),
            (false, false) => self.atom(&format!("[{members}]"), size),
        }
        Ok(())
    }

    fn member(&mut self, c: char) -> Result<Member, String> {
        match c {
            '\\' if self.take('b') => Ok(Member::Char('\u{8}')),
            '\\' => self.escaped(),
            c => Ok(Member::Char(c)),
        }
    }
}

/// A character that means itself, in a class and outside.
fn hex(c: char) -> String {
    match c.is_ascii_alphanumeric() {
        true => c.to_string(),
        false => format!("\\x{{{:x}}}", u32::from(c)),
    }
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;

    fn regex(pattern: &str) -> Regex {
        match translate(pattern) {
            Ok(Translated::Automaton { pattern, .. }) => Regex::new(&pattern).unwrap(),
            other => panic!("{pattern}: {other:?}"),
        }
    }

    #[test]
    fn what_browsers_match_is_matched() {
        for (pattern, text) in [
            (r"^\d{2}\/\d{2}$", "12/34"),
            (r"^(?<year>\d{4})-(?<month>\d\d)$", "2026-11"),
            (r"^[\w.+-]+@[\w-]+\.[a-z]{2,}$", "ada@example.org"),
            (r"^[a[&&b]+$", "a[&b"),
            (r"^\u0041\u{42}\x43\cA$", "ABC\u{1}"),
            (r"^\uD83D\uDE00$", "😀"),
            (r"^{a}]$", "{a}]"),
            (r"^[^]$", "\n"),
            (r"^[\]\b-]$", "\u{8}"),
            (r"^\s$", "\u{feff}"),
            (r"a*?b|c", "c"),
            (r"\bend\b", "the end"),
        ] {
            assert!(regex(pattern).is_match(text), "{pattern} on {text:?}");
        }
    }

    #[test]
    fn what_browsers_do_not_match_is_not() {
        for (pattern, text) in [
            (r"^\d$", "٣"),
            (r"^\w$", "ä"),
            (r"^.$", "\u{2028}"),
            (r"[]", "a"),
            (r"^[a-c]$", "-"),
        ] {
            assert!(!regex(pattern).is_match(text), "{pattern} on {text:?}");
        }
    }

    #[test]
    fn what_no_automaton_can_do_is_recognised() {
        for (pattern, what) in [
            (r"^(?=.*\d).{8,}$", "a look-ahead"),
            (r"(?!x)y", "a look-ahead"),
            (r"(?<=x)y", "a look-behind"),
            (r"(?<!x)y", "a look-behind"),
            (r"(a)\1", "a back reference"),
            (r"(?<q>['x])\k<q>", "a back reference"),
        ] {
            assert_eq!(
                translate(pattern),
                Ok(Translated::NeedsBacktracking(what)),
                "{pattern}"
            );
        }
    }

    #[test]
    fn what_no_browser_accepts_is_refused() {
        for pattern in [
            "(", ")", "[a", "*", "a**", "a{3,2}", "[b-a]", "(?i)a", "(?<1>a)", "\\",
        ] {
            assert!(translate(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn the_size_grows_with_what_is_repeated() {
        let size = |pattern| match translate(pattern) {
            Ok(Translated::Automaton { size, .. }) => size,
            other => panic!("{other:?}"),
        };
        assert!(size(r"^\w{5}$") < 50);
        assert!(size("(((a{100}){100}){100}){100}") > 100_000_000);
        assert!(size("((a{4294967295}){4294967295}){4294967295}") > 1_000_000_000);
    }
}

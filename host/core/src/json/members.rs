//! The members of an object and the items of an array, one after the other, unread. The text has been checked
//! before, so all there is to find out is where each part ends: rules look into contexts in every
//! transition, and a parser that trusts nothing takes five times as long.

use std::borrow::Cow;

/// What is left of an object.
pub(super) struct Members<'t>(Rest<'t>);

/// What is left of an array.
pub(super) struct Items<'t>(Rest<'t>);

struct Rest<'t> {
    text: &'t str,
    at: usize,
}

/// One member, both parts as they are written.
#[derive(Clone, Copy)]
pub(super) struct Member<'t> {
    /// The name, in its quotes.
    pub(super) key: &'t str,
    /// The value.
    pub(super) value: &'t str,
}

impl<'t> Members<'t> {
    /// The members of a text; none if it is not an object.
    pub(super) fn of(text: &'t str) -> Option<Self> {
        Rest::within(text, b'{').map(Self)
    }
}

impl<'t> Items<'t> {
    /// The items of a text; none if it is not an array.
    pub(super) fn of(text: &'t str) -> Option<Self> {
        Rest::within(text, b'[').map(Self)
    }
}

impl<'t> Rest<'t> {
    /// What comes after the first character, if that is `opening`.
    fn within(text: &'t str, opening: u8) -> Option<Self> {
        let mut rest = Self { text, at: 0 };
        rest.skip(b' ');
        rest.at += 1;
        (text.as_bytes().get(rest.at - 1) == Some(&opening)).then_some(rest)
    }

    /// Goes on to the next quote or to what is no blank and none of `passed`.
    fn skip(&mut self, passed: u8) {
        let bytes = &self.text.as_bytes()[self.at..];
        let blank = |byte: &u8| is_blank(*byte) || *byte == passed;
        self.at += bytes.iter().take_while(|byte| blank(byte)).count();
    }

    fn take(&mut self) -> Option<&'t str> {
        let end = end_of_value(self.text.as_bytes(), self.at)?;
        let taken = &self.text[self.at..end];
        self.at = end;
        Some(taken)
    }
}

impl<'t> Iterator for Members<'t> {
    type Item = Member<'t>;

    fn next(&mut self) -> Option<Member<'t>> {
        self.0.skip(b',');
        if self.0.text.as_bytes().get(self.0.at) != Some(&b'"') {
            return None;
        }
        let key = self.0.take()?;
        self.0.skip(b':');
        let value = self.0.take()?;
        Some(Member { key, value })
    }
}

impl<'t> Iterator for Items<'t> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        self.0.skip(b',');
        let ends = matches!(self.0.text.as_bytes().get(self.0.at), None | Some(b']'));
        if ends { None } else { self.0.take() }
    }
}

impl<'t> Member<'t> {
    /// The name, without its quotes and escapes.
    pub(super) fn name(self) -> Cow<'t, str> {
        unescaped(self.key)
    }

    /// Whether it has this name.
    pub(super) fn is(self, name: &str) -> bool {
        // An escape is longer than what it stands for: only a longer key can be the same name.
        if self.key.len() <= name.len() + 2 {
            let own = &self.key[1..self.key.len() - 1];
            return own == name && !name.contains('\\');
        }
        unquoted(self.key).is_none() && *self.name() == *name
    }
}

/// A text without its quotes, if it has no escapes.
pub(super) fn unquoted(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    (!inner.as_bytes().contains(&b'\\')).then_some(inner)
}

/// A text without its quotes and escapes.
pub(super) fn unescaped(text: &str) -> Cow<'_, str> {
    unquoted(text).map_or_else(
        || Cow::Owned(serde_json::from_str(text).unwrap_or_default()),
        Cow::Borrowed,
    )
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Where the value that begins at `at` ends.
pub(super) fn end_of_value(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at)? {
        b'"' => end_of_text(bytes, at),
        b'{' | b'[' => end_of_nested(bytes, at),
        _ => {
            let rest = &bytes[at..];
            let ends = |byte: &u8| is_blank(*byte) || matches!(byte, b',' | b'}' | b']');
            Some(at + rest.iter().position(ends).unwrap_or(rest.len()))
        }
    }
}

fn end_of_text(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        let mut rest = bytes.get(at..)?.iter();
        at += rest.position(|byte| matches!(byte, b'"' | b'\\'))? + 1;
        if bytes[at - 1] == b'"' {
            return Some(at);
        }
        at += 1;
    }
}

fn end_of_nested(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0;
    loop {
        match bytes.get(at)? {
            b'"' => {
                at = end_of_text(bytes, at)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walked(text: &str) -> Vec<(String, &str)> {
        let members = Members::of(text).unwrap();
        members
            .map(|member| (member.name().into_owned(), member.value))
            .collect()
    }

    #[test]
    fn members_are_found_whatever_stands_between_them() {
        let walked = walked(" { \"a\" : 1 ,\n\t\"b\":[{\"}\":\"]\"}] , \"c\" : \"x\\\"}\" } ");
        let expected = [("a", "1"), ("b", r#"[{"}":"]"}]"#), ("c", r#""x\"}""#)];
        assert_eq!(
            walked,
            expected.map(|(name, value)| (name.to_owned(), value))
        );
    }

    #[test]
    fn an_empty_object_has_no_members() {
        assert!(walked("{}").is_empty());
        assert!(walked(" { } ").is_empty());
    }

    #[test]
    fn items_are_found_whatever_they_are() {
        let items: Vec<_> = Items::of(" [ 1 ,[2,\"]\"] , {\"a\":[]},\"x\" ] ")
            .unwrap()
            .collect();
        assert_eq!(items, ["1", r#"[2,"]"]"#, r#"{"a":[]}"#, "\"x\""]);
        assert_eq!(Items::of("[]").unwrap().next(), None);
        assert!(Items::of("{}").is_none());
    }

    #[test]
    fn what_is_no_object_has_none_either() {
        for text in ["[1]", "\"{}\"", "7", "null"] {
            assert!(Members::of(text).is_none());
        }
    }

    #[test]
    fn names_are_compared_without_their_escapes() {
        let member = Members::of(r#"{"na\u006de":true}"#)
            .unwrap()
            .next()
            .unwrap();
        assert!(member.is("name"));
        assert!(!member.is(r"na\u006de"));
    }
}

//! Finding what a JSON text says, however it is written.

use super::Json;

impl Json {
    /// Whether this stands somewhere in it, as it is written or with its escapes read.
    pub fn says(&self, text: &str) -> bool {
        let written = self.as_str();
        written.contains(text) || written.contains('\\') && read(written).contains(text)
    }
}

/// A JSON text with the escapes in its strings replaced by what they stand for.
fn read(written: &str) -> String {
    let mut read = String::with_capacity(written.len());
    let mut rest = written;
    while let Some((before, escape)) = rest.split_once('\\') {
        read.push_str(before);
        let (letter, after) = escape.split_at(escape.len().min(1));
        rest = after;
        match letter {
            "n" => read.push('\n'),
            "t" => read.push('\t'),
            "r" => read.push('\r'),
            "b" => read.push('\u{8}'),
            "f" => read.push('\u{c}'),
            "u" => {
                let (letter, after) = code_point(rest);
                read.extend(letter);
                rest = after;
            }
            itself => read.push_str(itself),
        }
    }
    read.push_str(rest);
    read
}

/// The character that `1234` or `d83d\ude00` stands for, and what comes after it.
fn code_point(text: &str) -> (Option<char>, &str) {
    let unit = |text: &str| u16::from_str_radix(text.get(..4)?, 16).ok();
    let Some(first) = unit(text) else {
        return (None, text);
    };
    let rest = &text[4..];
    let second = rest.strip_prefix("\\u").and_then(unit);
    let is_pair = (0xd800..0xdc00).contains(&first);
    let (units, rest) = match second {
        Some(second) if is_pair => (vec![first, second], &rest[6..]),
        _ => (vec![first], rest),
    };
    let letter = char::decode_utf16(units).next().and_then(Result::ok);
    (letter, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_however_it_is_written() {
        let json = |text: &str| Json::parse(text).expect("it is JSON");
        for (written, text) in [
            (r#"{"a":"Ärger"}"#, "Ärger"),
            (r#"{"a":"\u00c4rger"}"#, "Ärger"),
            (r#"{"a":"\ud83d\ude00!"}"#, "😀!"),
            (r#"{"a":"say \"hi\""}"#, r#"say "hi""#),
            (r#"{"a":"C:\\temp"}"#, r"C:\temp"),
            (r#"{"a":"a\/b"}"#, "a/b"),
            (r#"{"\u0061b":1}"#, "ab"),
        ] {
            assert!(json(written).says(text), "{written}");
        }
        assert!(!json(r#"{"a":"\\u0041"}"#).says("A"));
    }
}

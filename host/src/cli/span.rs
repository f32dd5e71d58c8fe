//! Spans of time as a person writes them: `500ms`, `3s`, `15m`, `2h`, `30d`.

use xcomponent_core::time::Duration;

/// Units and their milliseconds; `ms` before those that are its ends.
const UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

/// Reads one.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let read = |(unit, ms): (&str, u64)| {
        let number: u64 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
        number.checked_mul(ms).map(Duration)
    };
    let span = UNITS.into_iter().find_map(read);
    span.ok_or_else(|| {
        format!("expected a whole number with ms, s, m, h or d, as in `15m`, not `{text}`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_number_and_a_unit() {
        for (text, ms) in [
            ("500ms", 500),
            ("3s", 3_000),
            ("15 m", 900_000),
            ("7d", 604_800_000),
        ] {
            assert_eq!(parse(text), Ok(Duration(ms)), "{text}");
        }
        for text in ["", "5", "s", "-1s", "1.5h", "99999999999999999d", "1y"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}

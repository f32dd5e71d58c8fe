//! What programs in other languages write into messages: null where something is absent, and times
//! as whole or broken numbers of milliseconds or as ISO 8601 texts.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A value, or the default one where null stands for it.
pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A time in milliseconds since 1970. It is only shown: what is no time is 0, and refuses nothing.
pub(super) fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let said = Value::deserialize(deserializer)?;
    Ok(milliseconds(&said).unwrap_or_default())
}

fn milliseconds(said: &Value) -> Option<u64> {
    match said {
        Value::Number(number) => number.as_u64().or_else(|| whole(number.as_f64()?)),
        Value::String(text) => {
            let at: jiff::Timestamp = text.trim().parse().ok()?;
            u64::try_from(at.as_millisecond()).ok()
        }
        _ => None,
    }
}

/// The whole milliseconds of a time that a double stands for exactly enough.
fn whole(number: f64) -> Option<u64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if !(0.0..EXACT).contains(&number) {
        return None;
    }
    // The text of a whole number below 2^53 has neither fraction nor exponent.
    format!("{:.0}", number.trunc()).parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_are_read_however_they_are_written() {
        for said in [
            json!(1_700_000_000_123_u64),
            json!(1_700_000_000_123.75),
            json!("2023-11-14T22:13:20.123Z"),
            json!("2023-11-14T23:13:20.123+01:00"),
        ] {
            assert_eq!(milliseconds(&said), Some(1_700_000_000_123), "{said}");
        }
        for said in [
            json!(null),
            json!(-1),
            json!(1e300),
            json!("soon"),
            json!({}),
        ] {
            assert_eq!(milliseconds(&said), None, "{said}");
        }
    }
}

//! How much history is kept, as the command line says it.

use anyhow::anyhow;
use xcomponent_core::{limits::Limits, time::Duration};

use super::super::{Failure, Result, span};
use crate::store::retention::Retention;

/// Reads an age, a number of records, or both with a comma between them.
pub(super) fn parse(text: &str) -> std::result::Result<Retention, String> {
    let mut retention = Retention::default();
    for part in text.split(',').map(str::trim) {
        let is_double = match part.parse() {
            Ok(records) => retention.records.replace(records).is_some(),
            Err(_) => {
                let age = span::parse(part).map_err(|problem| {
                    format!("{problem}; or a number of records, as in `90d,10000000`")
                })?;
                retention.age.replace(age).is_some()
            }
        };
        if is_double {
            return Err("expected one age, one number of records, or one of each".to_owned());
        }
    }
    Ok(retention)
}

/// Refuses an age in which repeated ids could not be answered any more.
pub(super) fn check(retention: Retention, limits: &Limits) -> Result<()> {
    let shown = |span: Duration| format!("{}s", span.0.div_ceil(1_000));
    match retention.age {
        Some(age) if age < limits.dedup_retention => Err(Failure::Misuse(anyhow!(
            "`--retain` keeps history for {}, but repeated ids are answered from it for {}: give a \
             longer age, or a shorter `--dedup-retention` as well",
            shown(age),
            shown(limits.dedup_retention)
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_is_kept_by_age_by_number_or_by_both() {
        let (age, records) = (Some(Duration(86_400_000)), Some(1_000));
        for (text, expected) in [
            ("1d", Retention { age, records: None }),
            ("1000", Retention { age: None, records }),
            ("1d,1000", Retention { age, records }),
            ("1000, 1d", Retention { age, records }),
        ] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
        for text in ["", "1d,2d", "1000,1000", "1d,", "many", "-1"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}

//! Numbers by their exact decimal value.
//!
//! A JSON number is a decimal of any length. A double has 53 bits, so that two account numbers of
//! 20 digits could be equal to it: here numbers are compared digit by digit as they are written.
//! Exponents are never expanded, so that `1e-1000000000` costs as little as `1`.

use std::cmp::Ordering;

use smallvec::SmallVec;

use crate::id::stable_hash;

/// A number as it is written, taken apart: `0.d₁d₂d₃… × 10^scale`, `d₁` not zero.
#[derive(Clone, Copy, Debug)]
pub struct Decimal<'t> {
    negative: bool,
    /// Digits, with a point among them at most; the first and the last are no zeros. Empty = 0.
    digits: &'t [u8],
    scale: i128,
}

impl<'t> Decimal<'t> {
    /// Reads a JSON number; none if the text is something else.
    pub fn parse(text: &'t str) -> Option<Self> {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match rest.find(['e', 'E']) {
            Some(at) => (&rest[..at], exponent(&rest[at + 1..])?),
            None => (rest, 0),
        };
        let bytes = mantissa.as_bytes();
        let point = bytes.iter().position(|byte| *byte == b'.');
        let legal = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
        let whole = &bytes[..point.unwrap_or(bytes.len())];
        if !legal(whole) || point.is_some_and(|point| !legal(&bytes[point + 1..])) {
            return None;
        }
        let counts = |byte: &u8| matches!(byte, b'1'..=b'9');
        let Some(first) = bytes.iter().position(counts) else {
            return Some(Self {
                negative: false,
                digits: &[],
                scale: 0,
            });
        };
        let last = bytes.iter().rposition(counts).unwrap_or(first);
        // Digits between the first one and the point: negative if the point comes before it.
        let whole = i128::try_from(whole.len()).ok()?;
        let first_at = i128::try_from(first).ok()?;
        let before_point = if first_at < whole {
            whole - first_at
        } else {
            whole + 1 - first_at
        };
        Some(Self {
            negative,
            digits: &bytes[first..=last],
            scale: exponent.saturating_add(before_point),
        })
    }

    /// Which of two numbers is greater.
    pub fn order(self, other: Self) -> Ordering {
        let sign = |number: Self| match (number.digits.is_empty(), number.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        };
        let signs = sign(self).cmp(&sign(other));
        if signs != Ordering::Equal || self.digits.is_empty() {
            return signs;
        }
        let sizes = self
            .scale
            .cmp(&other.scale)
            .then_with(|| self.significant().cmp(other.significant()));
        if self.negative {
            sizes.reverse()
        } else {
            sizes
        }
    }

    /// A hash that equal numbers share, however they are written.
    pub(super) fn hash(self) -> u64 {
        let mut canonical = SmallVec::<[u8; 64]>::new();
        canonical.push(u8::from(self.negative));
        canonical.extend_from_slice(&self.scale.to_le_bytes());
        canonical.extend(self.significant());
        stable_hash(&canonical)
    }

    fn significant(self) -> impl Iterator<Item = u8> + 't {
        let digits = self.digits.iter().copied();
        digits.filter(|byte| *byte != b'.')
    }
}

impl PartialEq for Decimal<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.order(*other) == Ordering::Equal
    }
}

/// The exponent; beyond 38 digits it is the largest that there is.
fn exponent(text: &str) -> Option<i128> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let largest = i128::MAX / 2;
    let size = digits.parse::<i128>().unwrap_or(largest).min(largest);
    Some(if text.starts_with('-') { -size } else { size })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(left: &str, right: &str) -> Ordering {
        let read = |text| Decimal::parse(text).expect(text);
        let order = read(left).order(read(right));
        assert_eq!(read(right).order(read(left)), order.reverse());
        assert_eq!(
            read(left).hash() == read(right).hash(),
            order == Ordering::Equal,
            "{left} and {right}"
        );
        order
    }

    #[test]
    fn the_same_value_is_equal_however_it_is_written() {
        let alike = [
            ("1", "1.0"),
            ("0", "-0.000e7"),
            ("2.50", "2.5"),
            ("100", "1e2"),
            ("0.001", "1E-3"),
            ("-120.0e-1", "-12"),
            ("12345678901234567890123", "1.2345678901234567890123e22"),
            ("0.000120", "12e-5"),
        ];
        for (left, right) in alike {
            assert_eq!(order(left, right), Ordering::Equal, "{left} and {right}");
        }
    }

    #[test]
    fn every_digit_counts() {
        let growing = [
            "-1e400",
            "-12.01",
            "-12",
            "-0.5",
            "0",
            "1e-1000000000",
            "1e-400",
            "0.1",
            "0.10000000000000000000000001",
            "1",
            "9007199254740992",
            "9007199254740993",
            "18446744073709551615",
            "18446744073709551616",
            "18446744073709551617",
            "1e1000000000",
            "1e1000000001",
            "2e1000000001",
        ];
        for (position, left) in growing.iter().enumerate() {
            for right in &growing[position + 1..] {
                assert_eq!(order(left, right), Ordering::Less, "{left} and {right}");
            }
        }
    }

    #[test]
    fn what_is_no_number_is_none() {
        for text in [
            "", "-", "1.", ".5", "1e", "1e+", "x", "1 ", "0x1", "1.2.3", "true",
        ] {
            assert!(Decimal::parse(text).is_none(), "{text}");
        }
    }
}

//! Exact decimal numbers, read from their source text: comparison, wholeness, divisibility.
//!
//! `1`, `1.0` and `10e-1` are one value to a schema, and no float ever touches them. Nothing here
//! adds or rounds.

use std::cmp::Ordering;

/// Digits of a `multipleOf`, so that its arithmetic fits 128 bits.
const DIVISOR_DIGITS_MAX: usize = 18;
/// The largest exponent that is read. What is beyond is not a number anybody means.
const EXPONENT_MAX: i64 = 1_000_000_000_000;

/// A decimal number: `± 0.digits × 10^point`, without leading or trailing zeros in `digits`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decimal {
    is_negative: bool,
    digits: String,
    point: i64,
}

impl Decimal {
    /// Reads the text of a JSON number; `None` if its exponent is absurd.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let (is_negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
            None => (text, 0),
        };
        if exponent.checked_abs()? > EXPONENT_MAX {
            return None;
        }
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all: String = [whole, fraction].concat();
        let digits = all.trim_start_matches('0');
        let leading = all.len() - digits.len();
        let digits = digits.trim_end_matches('0');
        if digits.is_empty() {
            return Some(Self { is_negative: false, digits: String::new(), point: 0 });
        }
        let point = i64::try_from(whole.len()).ok()? - i64::try_from(leading).ok()? + exponent;
        Some(Self { is_negative, digits: digits.to_owned(), point })
    }

    /// Whether it has no fraction.
    pub(crate) fn is_whole(&self) -> bool {
        i64::try_from(self.digits.len()).is_ok_and(|length| self.point >= length)
            || self.digits.is_empty()
    }

    /// Whether it is greater than zero.
    pub(crate) fn is_positive(&self) -> bool {
        !self.is_negative && !self.digits.is_empty()
    }

    /// Whether it can be used as a `multipleOf`.
    pub(crate) fn is_divisor(&self) -> bool {
        self.is_positive() && self.digits.len() <= DIVISOR_DIGITS_MAX
    }

    /// Whether it is a whole multiple of a divisor.
    pub(crate) fn is_multiple_of(&self, divisor: &Self) -> bool {
        if self.digits.is_empty() {
            return true;
        }
        let Ok(modulus) = divisor.digits.parse::<u128>() else { return false };
        let lowest = |number: &Self| number.point.checked_sub(number.digits.len().try_into().ok()?);
        let (Some(own), Some(other)) = (lowest(self), lowest(divisor)) else { return false };
        // Trailing zeros are gone, so a number that would need more of them is no multiple.
        let Ok(shift) = u64::try_from(own - other) else { return false };
        let digits = self.digits.bytes().map(|byte| u128::from(byte - b'0'));
        let rest = digits.fold(0, |rest, digit| (rest * 10 + digit) % modulus);
        (rest * power_of_ten(shift, modulus)).is_multiple_of(modulus)
    }

    /// A text that equal numbers share.
    pub(crate) fn to_normal(&self) -> String {
        let sign = if self.is_negative { "-" } else { "" };
        format!("{sign}0.{}e{}", self.digits, self.point)
    }

    fn cmp_magnitude(&self, other: &Self) -> Ordering {
        match (self.digits.is_empty(), other.digits.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            (false, false) => {
                self.point.cmp(&other.point).then_with(|| self.digits.cmp(&other.digits))
            }
        }
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.is_negative, other.is_negative) {
            (false, false) => self.cmp_magnitude(other),
            (true, true) => other.cmp_magnitude(self),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// `10^exponent mod modulus`, for a modulus below 10^18.
fn power_of_ten(mut exponent: u64, modulus: u128) -> u128 {
    let (mut result, mut base) = (1 % modulus, 10 % modulus);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = result * base % modulus;
        }
        base = base * base % modulus;
        exponent >>= 1;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Decimal {
        Decimal::read(text).unwrap()
    }

    #[test]
    fn orders_by_value_and_not_by_spelling() {
        let rising =
            ["-1e3", "-2", "-1.50", "-0.1", "0", "1e-9", "0.1", "1", "1.01", "9", "10", "1e20"];
        for (at, low) in rising.iter().enumerate() {
            for high in &rising[at + 1..] {
                assert!(read(low) < read(high), "{low} < {high}");
            }
        }
        for (a, b) in
            [("1", "1.0"), ("100", "1e2"), ("0", "-0.0"), ("12.5", "125e-1"), ("0e9", "0")]
        {
            assert_eq!(read(a), read(b));
            assert_eq!(read(a).to_normal(), read(b).to_normal());
        }
    }

    #[test]
    fn knows_whole_numbers_and_multiples() {
        for (text, whole) in
            [("1.0", true), ("1.5", false), ("15e-1", false), ("0.0", true), ("1e9", true)]
        {
            assert_eq!(read(text).is_whole(), whole, "{text}");
        }
        let cases = [
            ("9", "3", true),
            ("10", "3", false),
            ("0.3", "0.1", true),
            ("0.35", "0.1", false),
            ("1e300", "7", false),
            ("7e300", "7", true),
            ("0", "0.01", true),
            ("-4", "2", true),
            ("19.99", "0.01", true),
            ("19.999", "0.01", false),
            ("100", "1000", false),
        ];
        for (value, divisor, expected) in cases {
            assert_eq!(read(value).is_multiple_of(&read(divisor)), expected, "{value} / {divisor}");
        }
    }

    #[test]
    fn refuses_absurd_exponents() {
        assert_eq!(Decimal::read("1e99999999999999999999"), None);
        assert_eq!(Decimal::read("1e9999999999999"), None);
    }
}

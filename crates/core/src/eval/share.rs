//! Shares of answers, and how sure one can be of them: in hundredths of a percent, without
//! fractions.

/// Hundredths of a percent in the whole.
pub(super) const WHOLE: i64 = 10_000;
/// Millionths: what is computed with.
const MICRO: u128 = 1_000_000;
/// The square of 1.96, in millionths: an interval covers 95 of a hundred.
const Z_SQUARED: u128 = 3_841_600;

/// So many of so many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// How many.
    pub count: u32,
    /// Of how many.
    pub of: u32,
}

/// Between which shares the true one lies, with 95 % confidence, in hundredths of a percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// Not below.
    pub low: i64,
    /// Not above.
    pub high: i64,
}

impl Share {
    /// In hundredths of a percent, rounded down. Of none, nothing.
    pub fn points(self) -> i64 {
        let Some(of) = Some(i64::from(self.of)).filter(|of| *of > 0) else { return 0 };
        i64::from(self.count) * WHOLE / of
    }

    /// Wilson's interval: it holds for few answers, and for shares near nothing and everything.
    pub fn interval(self) -> Interval {
        if self.of == 0 {
            return Interval { low: 0, high: WHOLE };
        }
        let (count, of) = (u128::from(self.count.min(self.of)), u128::from(self.of));
        let whole = of * MICRO + Z_SQUARED;
        let middle = count * MICRO + Z_SQUARED / 2;
        // The root of a number in millionths of millionths is in millionths.
        let spread = count * (of - count) * MICRO * MICRO / of + Z_SQUARED * MICRO / 4;
        let half = spread.isqrt() * 196 / 100;
        let points = |part: u128| i64::try_from(part).unwrap_or(WHOLE);
        let low = middle.saturating_sub(half + 1) * 10_000 / whole;
        let high = ((middle + half + 1) * 10_000).div_ceil(whole);
        Interval { low: points(low), high: points(high).min(WHOLE) }
    }

    /// The difference to a smaller share, and Newcombe's interval of it.
    pub(super) fn above(self, other: Self) -> (i64, Interval) {
        let (one, two) = (self.points(), other.points());
        let (of_one, of_two) = (self.interval(), other.interval());
        let away = |a: i64, b: i64| {
            let squares = a.unsigned_abs().pow(2) + b.unsigned_abs().pow(2);
            i64::try_from(squares.isqrt()).unwrap_or(WHOLE).saturating_add(1)
        };
        let difference = one - two;
        let low = difference - away(one - of_one.low, of_two.high - two);
        let high = difference + away(of_one.high - one, two - of_two.low);
        (difference, Interval { low: low.max(-WHOLE), high: high.min(WHOLE) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(count: u32, of: u32) -> Share {
        Share { count, of }
    }

    /// Computed elsewhere, in floating point.
    #[test]
    fn intervals_are_wilsons() {
        for (count, of, low, high) in [
            (0, 10, 0, 2776),
            (10, 10, 7224, 10_000),
            (5, 10, 2365, 7635),
            (1, 1, 2065, 10_000),
            (81, 263, 2553, 3662),
            (999, 1000, 9943, 9999),
            (0, 0, 0, 10_000),
        ] {
            let Interval { low: found_low, high: found_high } = share(count, of).interval();
            assert!((found_low - low).abs() <= 2, "{count}/{of}: {found_low}, not {low}");
            assert!((found_high - high).abs() <= 2, "{count}/{of}: {found_high}, not {high}");
        }
    }

    /// Newcombe's own example: 56 of 70 against 48 of 80.
    #[test]
    fn differences_have_newcombes_interval() {
        let (difference, interval) = share(56, 70).above(share(48, 80));
        assert_eq!(difference, 2000);
        assert!((interval.low - 524).abs() <= 3, "{interval:?}");
        assert!((interval.high - 3339).abs() <= 3, "{interval:?}");
    }

    #[test]
    fn nothing_overflows() {
        let most = share(u32::MAX, u32::MAX);
        assert_eq!(most.points(), WHOLE);
        assert!(most.interval().low >= 9999);
        assert_eq!(most.above(share(0, u32::MAX)).0, WHOLE);
    }
}

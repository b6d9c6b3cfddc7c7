//! Rates: how often something may be asked for. A bucket of tokens that fills at a steady pace.
//!
//! All of it is integers, and time is given. A token is as many units as its interval has
//! microseconds, so that every microsecond adds a whole number of them and nothing is ever rounded.

use crate::caps::{self, Whose};
use crate::declare::Rate;
use crate::world::World;
use lockgate_types::Micros;

/// Into how many slices a node of a fleet takes a bucket.
const SLICES: u32 = 10;

/// How a bucket fills: `amount` tokens in every interval, and no more than `burst` of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pace {
    amount: i64,
    interval_us: i64,
    burst: u32,
}

/// A bucket of tokens. It begins full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// What is in it, in units.
    pub level: i64,
    /// When it was last looked at.
    pub at: Micros,
}

/// A token that one rate asks of a call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Toll {
    /// The rate's name.
    pub rate: String,
    /// Whose bucket it is, within the rate.
    pub scope: String,
    /// How it fills.
    pub pace: Pace,
}

impl Pace {
    /// The pace of a rate.
    pub fn of(rate: &Rate) -> Self {
        let amount = rate.per_second.or(rate.amount).unwrap_or(1).max(1);
        let interval_s = match rate.per_second {
            Some(_) => 1,
            None => rate.interval_s.unwrap_or(1).max(1),
        };
        let interval_us = i64::from(interval_s) * 1_000_000;
        Self { amount: amount.into(), interval_us, burst: rate.burst.unwrap_or(amount).max(1) }
    }

    /// How many tokens a node of a fleet takes at once.
    pub fn slice(&self) -> u32 {
        self.burst.div_ceil(SLICES)
    }

    /// How it is said.
    pub fn to_words(&self) -> String {
        let seconds = self.interval_us / 1_000_000;
        let (amount, burst) = (self.amount, self.burst);
        format!("{amount} in {seconds} s, and {burst} at once")
    }

    fn capacity(&self) -> i64 {
        i64::from(self.burst).saturating_mul(self.interval_us)
    }
}

impl Bucket {
    /// As it begins.
    pub fn full(pace: &Pace, now: Micros) -> Self {
        Self { level: pace.capacity(), at: now }
    }

    /// When it is full, if nothing is taken until then: there is nothing to remember of it.
    pub fn full_at(&self, pace: &Pace) -> Micros {
        let lacking = pace.capacity().saturating_sub(self.level).max(0);
        let wait_us = lacking.saturating_add(pace.amount - 1).div_euclid(pace.amount);
        Micros(self.at.0.saturating_add(wait_us))
    }

    /// Takes up to so many tokens; how many there were. `Err`: there is none, and the first comes
    /// after so many microseconds.
    pub fn take(&mut self, pace: &Pace, at_most: u32, now: Micros) -> Result<u32, i64> {
        *self = self.filled(pace, now);
        let whole = self.level.div_euclid(pace.interval_us);
        let taken = u32::try_from(whole).unwrap_or(u32::MAX).min(at_most);
        if taken == 0 {
            let lacking = pace.interval_us.saturating_sub(self.level);
            // From where the bucket is, which is ahead of a clock that was set back.
            let ahead_us = self.at.0.saturating_sub(now.0).max(0);
            let wait_us = lacking.saturating_add(pace.amount - 1).div_euclid(pace.amount);
            return Err(wait_us.saturating_add(ahead_us));
        }
        let units = i64::from(taken).saturating_mul(pace.interval_us);
        self.level = self.level.saturating_sub(units);
        Ok(taken)
    }

    /// The same bucket now. A clock that was set back fills nothing.
    fn filled(self, pace: &Pace, now: Micros) -> Self {
        let passed_us = now.0.saturating_sub(self.at.0).max(0);
        let added = passed_us.saturating_mul(pace.amount);
        let level = self.level.saturating_add(added).min(pace.capacity());
        Self { level, at: Micros(self.at.0.max(now.0)) }
    }
}

/// What the rates of a bundle ask of a call.
pub fn tolls(world: &World, whose: Whose<'_>) -> Vec<Toll> {
    if world.gate.rate.is_empty() {
        return Vec::new();
    }
    let name = &whose.call.operation;
    let Some(operation) = world.operations.get(name) else { return Vec::new() };
    let is_about = |rate: &&Rate| {
        caps::is_about(rate.reads, &rate.operations, operation.effect, name.as_str())
    };
    let rates = world.gate.rate.iter().filter(is_about);
    let toll = |rate: &Rate| Toll {
        rate: rate.name.clone(),
        scope: caps::scope(rate.per, whose),
        pace: Pace::of(rate),
    };
    rates.map(toll).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pace(amount: u32, interval_us: i64, burst: u32) -> Pace {
        Pace { amount: amount.into(), interval_us, burst }
    }

    #[test]
    fn the_wait_is_exact() {
        let pace = pace(3, 1_000_000, 2);
        let mut bucket = Bucket::full(&pace, Micros(0));
        assert_eq!(bucket.take(&pace, 5, Micros(0)), Ok(2));
        assert_eq!(bucket.take(&pace, 1, Micros(0)), Err(333_334));
        assert_eq!(bucket.take(&pace, 1, Micros(333_333)), Err(1));
        assert_eq!(bucket.take(&pace, 1, Micros(333_334)), Ok(1));
        // A clock that is set back gives nothing, and is caught up with.
        assert_eq!(bucket.take(&pace, 1, Micros(0)), Err(666_667));
        assert_eq!(bucket.take(&pace, 1, Micros(666_666)), Err(1));
        assert_eq!(bucket.take(&pace, 1, Micros(666_667)), Ok(1));
        assert_eq!(bucket.full_at(&pace), Micros(666_667 + 666_667));
    }

    /// The most that may get through from one moment to another, in units.
    fn most(pace: &Pace, passed_us: i64, slices: u32) -> i128 {
        let tokens = i128::from(pace.burst) + i128::from(slices) * i128::from(pace.slice());
        tokens * i128::from(pace.interval_us) + i128::from(passed_us) * i128::from(pace.amount)
    }

    /// Whether no stretch of time saw more than that. `taken`: when, and how many tokens.
    fn is_within(pace: &Pace, taken: &[(i64, u32)], slices: u32) -> bool {
        taken.iter().enumerate().all(|(from, (began, _))| {
            let mut units = 0_i128;
            taken[from..].iter().all(|(at, tokens)| {
                units += i128::from(*tokens) * i128::from(pace.interval_us);
                units <= most(pace, at - began, slices)
            })
        })
    }

    proptest! {
        #[test]
        fn never_more_than_the_burst_and_the_rate_times_the_time(
            amount in 1_u32..1000,
            interval_us in 1_i64..10_000_000,
            burst in 1_u32..100,
            steps in prop::collection::vec((-1_000_000_i64..100_000_000, 0_u32..50), 1..100),
        ) {
            let pace = pace(amount, interval_us, burst);
            let mut now = 0_i64;
            let mut bucket = Bucket::full(&pace, Micros(now));
            let mut taken = Vec::new();
            for (step_us, wanted) in steps {
                now += step_us;
                match bucket.take(&pace, wanted, Micros(now)) {
                    // What counts is the latest that any clock has said.
                    Ok(got) => taken.push((bucket.at.0, got)),
                    Err(wait_us) if wanted > 0 => {
                        // One comes then, and not before.
                        let mut early = bucket;
                        prop_assert!(early.take(&pace, 1, Micros(now + wait_us - 1)).is_err());
                        now += wait_us;
                        prop_assert_eq!(bucket.take(&pace, 1, Micros(now)), Ok(1));
                        taken.push((bucket.at.0, 1));
                    }
                    Err(_) => {}
                }
            }
            prop_assert!(is_within(&pace, &taken, 0));
        }

        #[test]
        fn nodes_that_take_slices_are_a_slice_each_beyond_it_at_most(
            amount in 1_u32..1000,
            interval_us in 1_i64..10_000_000,
            burst in 1_u32..100,
            steps in prop::collection::vec((0_i64..10_000_000, 0_usize..3), 1..200),
        ) {
            let pace = pace(amount, interval_us, burst);
            let mut bucket = Bucket::full(&pace, Micros(0));
            let (mut now, mut in_hand, mut taken) = (0_i64, [0_u32; 3], Vec::new());
            for (step_us, node) in steps {
                now += step_us;
                if in_hand[node] == 0 {
                    in_hand[node] = bucket.take(&pace, pace.slice(), Micros(now)).unwrap_or(0);
                }
                if in_hand[node] > 0 {
                    in_hand[node] -= 1;
                    taken.push((now, 1));
                }
            }
            prop_assert!(is_within(&pace, &taken, 3));
        }
    }
}

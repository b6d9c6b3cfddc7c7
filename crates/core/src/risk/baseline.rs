//! What is usual: how much a subject does for a task in a window of time, at which hours, and where
//! it sends to.
//!
//! Robust: the median of the last windows and how far they usually are from it (the median of those
//! distances), so that one busy day moves it little, and an attacker who wants to move it needs as
//! many windows as there are honest ones. Bounded, and of integers.

use crate::declare::BaselineRules;
use lockgate_types::{Json, Micros, Object};

/// Windows that are remembered.
pub const WINDOWS_MAX: usize = 32;
/// Destinations that are remembered, the newest.
pub const DESTINATIONS_MAX: usize = 128;
/// Windows that are remembered by the hour, before all are halved.
const HOURS_SUM_MAX: i64 = 1024;
/// Hours of a day.
const HOURS: usize = 24;
/// Microseconds of an hour.
const HOUR_US: i64 = 3_600_000_000;
/// Below so many calls in a window nothing is unusual.
const CALLS_MIN: i64 = 20;
/// The same of bytes.
const BYTES_MIN: i64 = 64 * 1024;
/// The same of tokens of models.
const TOKENS_MIN: i64 = 20_000;

/// What one window was like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// When it began.
    pub since: i64,
    /// Calls.
    pub calls: i64,
    /// Bytes that were answered.
    pub bytes: i64,
    /// Of the calls, those of models.
    pub asks: i64,
    /// Tokens that models have counted.
    pub tokens: i64,
    /// Prompts that were nearly the same as one before.
    pub probes: i64,
    /// Destinations that were sent to, by a derived number.
    pub destinations: Vec<i64>,
}

/// What is usual.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Baseline {
    calls: Vec<i64>,
    bytes: Vec<i64>,
    /// Of windows in which a model was asked.
    tokens: Vec<i64>,
    probes: Vec<i64>,
    /// How many windows began in each hour of the day, UTC.
    hours: Vec<i64>,
    destinations: Vec<i64>,
}

impl Baseline {
    /// Takes in a window that is over.
    pub fn fold(&mut self, window: &Window) {
        push(&mut self.calls, window.calls, WINDOWS_MAX);
        push(&mut self.bytes, window.bytes, WINDOWS_MAX);
        if window.asks > 0 {
            push(&mut self.tokens, window.tokens, WINDOWS_MAX);
            push(&mut self.probes, window.probes, WINDOWS_MAX);
        }
        self.hours.resize(HOURS, 0);
        if let Some(hour) = self.hours.get_mut(hour_of(Micros(window.since))) {
            *hour = hour.saturating_add(1);
        }
        if self.hours.iter().sum::<i64>() >= HOURS_SUM_MAX {
            self.hours.iter_mut().for_each(|hour| *hour /= 2);
        }
        for destination in &window.destinations {
            self.destinations.retain(|known| known != destination);
            push(&mut self.destinations, *destination, DESTINATIONS_MAX);
        }
    }

    /// Whether enough is known to call anything unusual.
    pub fn is_grown(&self, rules: &BaselineRules) -> bool {
        self.calls.len() >= usize::try_from(rules.windows_min).unwrap_or(usize::MAX)
    }

    /// Whether a window, as far as it has come, is far above what is usual.
    pub fn is_exceeded(&self, rules: &BaselineRules, window: &Window) -> bool {
        let above = |known: &[i64], now: i64, min: i64| {
            now >= min && now > usual_max(known, i64::from(rules.spread))
        };
        self.is_grown(rules)
            && (above(&self.calls, window.calls, CALLS_MIN)
                || above(&self.bytes, window.bytes, BYTES_MIN))
    }

    /// Whether enough is known of models to call anything unusual.
    pub fn is_grown_in_tokens(&self, rules: &BaselineRules) -> bool {
        self.tokens.len() >= usize::try_from(rules.windows_min).unwrap_or(usize::MAX)
    }

    /// Whether a window has far more tokens than usual.
    pub fn is_spike(&self, rules: &BaselineRules, window: &Window) -> bool {
        self.is_grown_in_tokens(rules)
            && window.tokens >= TOKENS_MIN
            && window.tokens > usual_max(&self.tokens, i64::from(rules.spread))
    }

    /// Whether so many prompts that are nearly the same are usual: an application that always asks
    /// in the same words.
    pub fn is_used_to_probes(&self, rules: &BaselineRules, window: &Window) -> bool {
        self.is_grown_in_tokens(rules)
            && window.probes <= usual_max(&self.probes, i64::from(rules.spread))
    }

    /// Whether there usually is nothing at this hour, nor at the hours beside it.
    pub fn is_odd_hour(&self, rules: &BaselineRules, now: Micros) -> bool {
        let hour = hour_of(now);
        let near = [hour + HOURS - 1, hour, hour + 1];
        let known = |at: usize| self.hours.get(at % HOURS).copied().unwrap_or(0);
        self.is_grown(rules) && near.into_iter().all(|at| known(at) == 0)
    }

    /// Whether a destination was never sent to, by somebody of whom enough is known.
    pub fn is_new_destination(&self, rules: &BaselineRules, destination: i64) -> bool {
        self.is_grown(rules) && !self.destinations.contains(&destination)
    }

    /// As it is kept.
    pub fn to_json(&self) -> Json {
        let integers = |all: &[i64]| Json::Array(all.iter().map(|it| Json::from(*it)).collect());
        Object::new()
            .with("bytes", integers(&self.bytes))
            .with("calls", integers(&self.calls))
            .with("destinations", integers(&self.destinations))
            .with("hours", integers(&self.hours))
            .with("probes", integers(&self.probes))
            .with("tokens", integers(&self.tokens))
            .into()
    }

    /// Reads it back.
    pub fn from_json(json: &Json) -> Option<Self> {
        let integers = |name: &str, max: usize| {
            let all: Option<Vec<i64>> =
                json.get(name)?.as_array()?.iter().map(Json::as_i64).collect();
            all.filter(|all| all.len() <= max)
        };
        // What was kept before models were counted has none.
        let counted = |name: &str| match json.get(name) {
            Some(_) => integers(name, WINDOWS_MAX),
            None => Some(Vec::new()),
        };
        Some(Self {
            tokens: counted("tokens")?,
            probes: counted("probes")?,
            calls: integers("calls", WINDOWS_MAX)?,
            bytes: integers("bytes", WINDOWS_MAX)?,
            hours: integers("hours", HOURS)?,
            destinations: integers("destinations", DESTINATIONS_MAX)?,
        })
    }
}

fn push(all: &mut Vec<i64>, one: i64, max: usize) {
    if all.len() >= max {
        all.remove(0);
    }
    all.push(one);
}

fn hour_of(at: Micros) -> usize {
    usize::try_from(at.0.div_euclid(HOUR_US).rem_euclid(24)).unwrap_or(0)
}

/// The median, and `spread` times the usual distance from it: at least a quarter of the median,
/// since windows that are all alike would make anything unusual.
fn usual_max(known: &[i64], spread: i64) -> i64 {
    let middle = median(known.to_vec());
    let distances = known.iter().map(|value| value.saturating_sub(middle).saturating_abs());
    let distance = median(distances.collect()).max(middle / 4).max(1);
    middle.saturating_add(spread.saturating_mul(distance))
}

fn median(mut all: Vec<i64>) -> i64 {
    all.sort_unstable();
    all.get(all.len() / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RULES: BaselineRules =
        BaselineRules { windows_min: 12, spread: 6, ..crate::declare::BaselineRules::DEFAULT };

    fn window(calls: i64, bytes: i64, hour: i64) -> Window {
        let since = hour * HOUR_US;
        Window { since, calls, bytes, destinations: vec![7], ..Window::default() }
    }

    fn usual() -> Baseline {
        let mut baseline = Baseline::default();
        for at in 0..20 {
            baseline.fold(&window(10 + at % 5, 1000 + 10 * at, 9 + at % 8));
        }
        baseline
    }

    #[test]
    fn far_above_the_usual_is_unusual_and_little_above_is_not() {
        let baseline = usual();
        assert!(!baseline.is_exceeded(&RULES, &window(30, 1000, 9)));
        assert!(baseline.is_exceeded(&RULES, &window(60, 1000, 9)));
        assert!(!baseline.is_exceeded(&RULES, &window(1, 60_000, 9)));
        assert!(baseline.is_exceeded(&RULES, &window(1, 80_000, 9)));
    }

    fn asking(tokens: i64, probes: i64) -> Window {
        Window { asks: 5, tokens, probes, ..window(10, 1000, 9) }
    }

    #[test]
    fn a_spike_of_tokens_is_one_beside_windows_in_which_models_were_asked() {
        let mut baseline = usual();
        assert!(!baseline.is_spike(&RULES, &asking(1 << 30, 0)), "nothing is known of models");
        for at in 0..11 {
            baseline.fold(&asking(30_000 + at * 100, 2));
        }
        assert!(!baseline.is_spike(&RULES, &asking(1 << 30, 0)), "too few windows");
        baseline.fold(&asking(30_000, 2));
        // Windows without a model take nothing from it.
        (0..30).for_each(|_| baseline.fold(&window(10, 1000, 9)));
        assert!(!baseline.is_spike(&RULES, &asking(60_000, 0)));
        assert!(baseline.is_spike(&RULES, &asking(90_000, 0)));
        assert!(baseline.is_used_to_probes(&RULES, &asking(0, 5)));
        assert!(!baseline.is_used_to_probes(&RULES, &asking(0, 50)));
        let mut little = Baseline::default();
        (0..20).for_each(|_| little.fold(&asking(10, 0)));
        assert!(!little.is_spike(&RULES, &asking(TOKENS_MIN - 1, 0)), "too little to be one");
    }

    #[test]
    fn what_was_kept_before_models_were_counted_reads_back() {
        let old = r#"{"bytes":[1],"calls":[1],"destinations":[],"hours":[]}"#;
        let old = Json::parse(old.as_bytes(), &lockgate_types::JsonLimits::OWN).unwrap();
        assert!(Baseline::from_json(&old).is_some_and(|it| it.tokens.is_empty()));
    }

    #[test]
    fn outliers_move_it_little() {
        let mut baseline = usual();
        // A few windows of an attacker's do not make the next one usual; a fixed mean would.
        (0..5).for_each(|_| baseline.fold(&window(100_000, 1000, 9)));
        assert!(baseline.is_exceeded(&RULES, &window(100, 1000, 9)));
    }

    #[test]
    fn nothing_is_unusual_of_somebody_unknown() {
        let mut baseline = Baseline::default();
        for _ in 0..11 {
            assert!(!baseline.is_exceeded(&RULES, &window(1_000_000, 1 << 40, 9)));
            assert!(!baseline.is_odd_hour(&RULES, Micros(3 * HOUR_US)));
            assert!(!baseline.is_new_destination(&RULES, 8));
            baseline.fold(&window(10, 10, 9));
        }
        baseline.fold(&window(10, 10, 9));
        assert!(baseline.is_exceeded(&RULES, &window(1_000_000, 0, 9)));
        assert!(baseline.is_odd_hour(&RULES, Micros(3 * HOUR_US)));
        assert!(!baseline.is_odd_hour(&RULES, Micros(10 * HOUR_US)));
        assert!(baseline.is_new_destination(&RULES, 8));
        assert!(!baseline.is_new_destination(&RULES, 7));
    }

    proptest! {
        #[test]
        fn it_is_bounded_and_reads_back(
            windows in prop::collection::vec((any::<i64>(), any::<i64>(), any::<i64>()), 0..200),
        ) {
            let mut baseline = Baseline::default();
            for (since, calls, bytes) in windows {
                let destinations = vec![since, calls];
                let (asks, tokens, probes) = (calls, bytes, since);
                let one = Window { since, calls, bytes, asks, tokens, probes, destinations };
                baseline.fold(&one);
                let _ = baseline.is_exceeded(&RULES, &window(calls, bytes, 3));
            }
            prop_assert!(baseline.calls.len() <= WINDOWS_MAX);
            prop_assert!(baseline.tokens.len() <= WINDOWS_MAX);
            prop_assert!(baseline.destinations.len() <= DESTINATIONS_MAX);
            prop_assert_eq!(Baseline::from_json(&baseline.to_json()), Some(baseline));
        }
    }
}

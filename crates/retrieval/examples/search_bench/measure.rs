//! How what is found is held against an exact comparison, and how long questions take.

use super::made::{self, SHARED};
use super::progress;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Questions that are timed of each share: as many as there is time for, and these at least.
pub(crate) const ROUNDS: usize = 200;
const ROUNDS_LEAST: usize = 20;
const TIMED_FOR: Duration = Duration::from_secs(30);
/// Questions of which what is found is looked at, where they are slow.
const LOOKED_AT_LEAST: usize = 10;

/// Chunks that were found: the best first.
pub(crate) type Ask<'a> = dyn FnMut(&str, &[f32]) -> Vec<u64> + 'a;

/// The ten nearest of what is shared to each user, of every question.
pub(crate) struct Exact(Vec<Vec<Vec<u64>>>);

impl Exact {
    /// Compares every question with every chunk that is shared, by 32-bit numbers.
    pub(crate) fn of(chunks: usize) -> Self {
        let questions = made::questions();
        let mut best = vec![vec![Vec::<(f64, u64)>::new(); questions.len()]; SHARED.len()];
        for number in 0..chunks as u64 {
            if number % 100_000 == 0 {
                progress(&format!("comparing exactly: {number} of {chunks}"));
            }
            let vector = made::vector(number);
            let folder = made::folder(number);
            for (at, question) in questions.iter().enumerate() {
                let pairs = question.iter().zip(&vector);
                let near: f64 = pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                for (share, best) in SHARED.iter().zip(&mut best) {
                    if folder < *share {
                        keep(&mut best[at], near, number);
                    }
                }
            }
        }
        let numbers = |best: Vec<(f64, u64)>| best.into_iter().map(|(_, number)| number).collect();
        Self(best.into_iter().map(|of| of.into_iter().map(numbers).collect()).collect())
    }

    /// How much of it is found by one of the users, and how long questions take; `share` is where
    /// the user is among [`SHARED`].
    pub(crate) fn measure(&self, share: usize, ask: &mut Ask<'_>) -> Value {
        let questions = made::questions();
        let (mut right, mut wanted, mut fewest) = (0, 0, usize::MAX);
        let begun = Instant::now();
        for (at, (question, exact)) in questions.iter().zip(&self.0[share]).enumerate() {
            if at >= LOOKED_AT_LEAST && begun.elapsed() > TIMED_FOR {
                break;
            }
            let found: BTreeSet<u64> = ask("", question).into_iter().collect();
            right += exact.iter().filter(|number| found.contains(number)).count();
            wanted += exact.len();
            fewest = fewest.min(found.len());
        }
        let mut times = Vec::new();
        // Some machines count it in ticks that are longer than a question.
        let (since, processor) = (Instant::now(), processor_ms());
        for round in 0..ROUNDS {
            if round >= ROUNDS_LEAST && since.elapsed() > TIMED_FOR {
                break;
            }
            let text = made::question(round);
            let begun = Instant::now();
            ask(&text, &questions[round % questions.len()]);
            times.push(begun.elapsed().as_secs_f64() * 1000.0);
        }
        let processor = processor_ms() - processor;
        times.sort_by(f64::total_cmp);
        json!({
            "percent": SHARED[share] as f64 / 10.0,
            "recall_at_10": right as f64 / wanted.max(1) as f64,
            "fewest_found": fewest,
            "rounds": times.len(),
            "own_processor_mean_ms": processor / times.len() as f64,
            "p50_ms": times[times.len() / 2],
            "p99_ms": times[times.len() * 99 / 100],
        })
    }
}

/// Time that this thread was on a processor: what others take away from it does not count, nor
/// what a server does for it.
fn processor_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(0.0) / 1e6
}

fn keep(best: &mut Vec<(f64, u64)>, near: f64, number: u64) {
    if best.len() < 10 || near > best[9].0 {
        best.push((near, number));
        best.sort_by(|a, b| b.0.total_cmp(&a.0));
        best.truncate(10);
    }
}

/// The median of what something takes, in milliseconds.
pub(crate) fn median_ms(rounds: usize, mut once: impl FnMut(usize)) -> f64 {
    let mut times: Vec<f64> = (0..rounds)
        .map(|round| {
            let begun = Instant::now();
            once(round);
            begun.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[rounds / 2]
}

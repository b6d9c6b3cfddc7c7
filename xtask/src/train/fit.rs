//! Logistic regression over hashed features, from a fixed seed: the same data give the same file.

#![expect(clippy::indexing_slicing, reason = "places in vectors that are made here")]

use lockgate_detect::injection::features::{BITS, WINDOW_BLOCKS, blocks};
use lockgate_detect::injection::model::Model;

/// Passes over the windows.
const EPOCHS: usize = 12;
/// Times that windows are chosen anew.
const ROUNDS: usize = 3;
/// Of so many windows of a page one is learnt from.
const PAGE_WINDOWS: usize = 8;
/// The first step of descent.
const RATE: f64 = 0.5;
/// What draws every weight to zero.
const DECAY: f64 = 2e-5;
/// Weights that are kept: the rest says little.
const KEPT: usize = 30_000;
/// The largest weight is this many units.
const UNITS: f64 = 127.0;

/// A text to learn from.
pub(crate) struct Example<'a> {
    pub(crate) text: &'a str,
    /// Its number in its source.
    pub(crate) at: usize,
    pub(crate) is_attack: bool,
    /// Whether it is a page, of hundreds of windows.
    pub(crate) is_page: bool,
    /// What one text of its source counts for.
    pub(crate) weight: f64,
}

struct Window {
    example: usize,
    features: Vec<u32>,
}

/// Trains. The threshold is left open.
pub(crate) fn fit(examples: &[Example<'_>]) -> Model {
    let windows = windows(examples);
    let mut weights = vec![0.0_f64; 1 << BITS];
    let mut bias = 0.0;
    let mut chosen = first(examples, &windows);
    for round in 0..ROUNDS {
        if round > 0 {
            chosen = choose(examples, &windows, &weights, bias);
        }
        (weights, bias) = descend(examples, &windows, &chosen);
    }
    quantise(&weights, bias)
}

fn windows(examples: &[Example<'_>]) -> Vec<Window> {
    let mut windows = Vec::new();
    for (example, it) in examples.iter().enumerate() {
        let blocks = blocks(it.text);
        for window in blocks.windows(WINDOW_BLOCKS.min(blocks.len()).max(1)) {
            windows.push(Window { example, features: window.concat() });
        }
    }
    windows
}

fn logit(window: &Window, weights: &[f64], bias: f64) -> f64 {
    let sum: f64 = window.features.iter().map(|it| weights[*it as usize]).sum();
    bias + sum / (window.features.len() as f64).sqrt()
}

/// Windows to begin with: all of them, and of pages some.
fn first(examples: &[Example<'_>], windows: &[Window]) -> Vec<usize> {
    let is_meant =
        |at: &usize| !examples[windows[*at].example].is_page || at.is_multiple_of(PAGE_WINDOWS);
    (0..windows.len()).filter(is_meant).collect()
}

/// Of a text with an injection the half of its windows that looks most like one: the rest of a long
/// text is often harmless. Of a page those that look most like one: they are what it may be taken
/// for one by.
fn choose(examples: &[Example<'_>], windows: &[Window], weights: &[f64], bias: f64) -> Vec<usize> {
    let mut by_example: Vec<Vec<(f64, usize)>> = vec![Vec::new(); examples.len()];
    for (at, window) in windows.iter().enumerate() {
        by_example[window.example].push((logit(window, weights, bias), at));
    }
    let mut chosen = Vec::new();
    for (example, mut of) in examples.iter().zip(by_example) {
        if example.is_attack || example.is_page {
            of.sort_by(|a, b| b.0.total_cmp(&a.0));
            of.truncate(of.len().div_ceil(if example.is_page { PAGE_WINDOWS } else { 2 }));
        }
        chosen.extend(of.into_iter().map(|(_, at)| at));
    }
    chosen.sort_unstable();
    chosen
}

fn descend(examples: &[Example<'_>], windows: &[Window], chosen: &[usize]) -> (Vec<f64>, f64) {
    let mut counts = vec![0_usize; examples.len()];
    chosen.iter().for_each(|at| counts[windows[*at].example] += 1);
    let mut weights = vec![0.0_f64; 1 << BITS];
    let mut squares = vec![1e-3_f64; 1 << BITS];
    let (mut bias, mut dice) = (0.0, Dice(0x9e37_79b9_7f4a_7c15));
    let mut order = chosen.to_vec();
    for _ in 0..EPOCHS {
        dice.shuffle(&mut order);
        for at in &order {
            let window = &windows[*at];
            let example = &examples[window.example];
            let share = example.weight / (counts[window.example] as f64).sqrt();
            let is = f64::from(u8::from(example.is_attack));
            let error = share * (1.0 / (1.0 + (-logit(window, &weights, bias)).exp()) - is);
            let each = error / (window.features.len() as f64).sqrt();
            for feature in &window.features {
                let at = *feature as usize;
                let slope = each + DECAY * weights[at];
                squares[at] += slope * slope;
                weights[at] -= RATE * slope / squares[at].sqrt() * 0.1;
            }
            bias -= 0.01 * error;
        }
    }
    (weights, bias)
}

/// Whole numbers, and only those that matter.
fn quantise(weights: &[f64], bias: f64) -> Model {
    let mut sizes: Vec<f64> = weights.iter().map(|weight| weight.abs()).collect();
    sizes.sort_by(|a, b| b.total_cmp(a));
    let least = sizes[KEPT];
    // A few weights may be cut: the scale is that of the hundredth.
    let scale = UNITS / sizes[100].max(1e-9);
    let quantised = weights.iter().map(|weight| {
        let kept = if weight.abs() > least { weight * scale } else { 0.0 };
        kept.round().clamp(-UNITS, UNITS) as i8
    });
    Model::new(quantised.collect(), (bias * scale * 256.0).round() as i32, i32::MAX)
}

/// xorshift64*: the same throws on every machine.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let throw = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(throw).unwrap_or(0) % bound
    }

    fn shuffle(&mut self, items: &mut [usize]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
    }
}

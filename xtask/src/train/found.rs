//! What the detectors find, as they ship, in the texts of each kind.

use super::fit::Dice;
use super::texts::{Source, items, whole};
use anyhow::{Context, Result};
use lockgate_detect::injection::model::Model;
use lockgate_detect::{Kind, injection, pii, scan_kind};
use regex::Regex;
use std::collections::BTreeMap;
use std::path::Path;

/// Percent.
#[expect(clippy::cast_precision_loss, reason = "counts of texts are small")]
pub(crate) fn share(part: usize, whole: usize) -> f64 {
    part as f64 * 100.0 / whole.max(1) as f64
}

/// What is flagged of one source, at the shipped threshold.
pub(crate) struct Flagged {
    pub(crate) name: &'static str,
    pub(crate) is_attack: bool,
    pub(crate) is_learnt: bool,
    pub(crate) is_page: bool,
    pub(crate) count: usize,
    pub(crate) rules: f64,
    pub(crate) model: f64,
    pub(crate) either: f64,
    /// What would not be shown if each text were a document.
    pub(crate) left_out: f64,
}

impl Flagged {
    /// Percent that rules, the model and either find, and that would be left out.
    pub(crate) fn percents(&self) -> [f64; 4] {
        [self.rules, self.model, self.either, self.left_out]
    }
}

/// Every source.
pub(crate) fn shipped(sources: &[Source], model: &Model) -> Vec<Flagged> {
    let of = |source: &Source| {
        let (mut rules, mut by_model, mut either, mut left_out) = (0, 0, 0, 0);
        for text in &source.texts {
            let signals = scan_kind(text, Kind::Injection);
            let is_model = model.value_of(text) >= model.threshold();
            let is_rule = !injection::find_by_rules(text).is_empty();
            rules += usize::from(is_rule);
            by_model += usize::from(is_model);
            either += usize::from(signals.iter().any(|it| it.score >= injection::THRESHOLD));
            let sure = injection::Sure::of(text, &signals);
            let is_sure = sure.rules >= injection::DOCUMENT_RULES;
            left_out += usize::from(is_sure || sure.model >= injection::DOCUMENT_MODEL);
        }
        let count = source.texts.len();
        Flagged {
            name: source.name,
            is_attack: source.is_attack,
            is_learnt: source.is_learnt,
            is_page: source.is_page,
            count,
            rules: share(rules, count),
            model: share(by_model, count),
            either: share(either, count),
            left_out: share(left_out, count),
        }
    };
    sources.iter().map(of).collect()
}

/// Secrets, made from the rules of another scanner.
pub(crate) struct Secrets {
    pub(crate) rules: usize,
    pub(crate) samples: usize,
    pub(crate) found: usize,
    /// Rules of which no sample is found.
    pub(crate) missed: Vec<String>,
}

/// Samples of each rule.
const SAMPLES: usize = 8;

/// Samples of every rule, made from its expression: the file has rules and no samples.
pub(crate) fn secrets(data: &Path) -> Result<Secrets> {
    let path = data.join("secrets/gitleaks.toml");
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {path:?}"))?;
    let mut result = Secrets { rules: 0, samples: 0, found: 0, missed: Vec::new() };
    for rule in text.split("[[rules]]").skip(1) {
        let field = |name: &str, quote: &str| -> Option<&str> {
            let (_, rest) = rule.split_once(&format!("\n{name} = {quote}"))?;
            Some(rest.split_once(quote)?.0)
        };
        let (Some(id), Some(expression)) = (field("id", "\""), field("regex", "'''")) else {
            continue;
        };
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ (result.rules as u64 + 1));
        let made = super::sample::of(expression, SAMPLES, &mut dice);
        if made.is_empty() {
            continue;
        }
        let is_found = |text: &&String| !scan_kind(text, Kind::Secret).is_empty();
        let found = made.iter().filter(is_found).count();
        result.rules += 1;
        result.samples += made.len();
        result.found += found;
        if is_asked_for_misses() {
            for text in made.iter().filter(|text| !is_found(text)) {
                println!("{id}: {text:?}");
            }
        }
        if found == 0 {
            result.missed.push(id.to_owned());
        }
    }
    Ok(result)
}

/// Personal data of one type.
pub(crate) struct Personal {
    pub(crate) name: &'static str,
    pub(crate) count: usize,
    pub(crate) found: usize,
    /// Finds of this type where the set has no personal data of any type.
    pub(crate) stray: usize,
}

/// The types that the detectors know, in synthetic sentences with marked spans.
pub(crate) fn personal(data: &Path) -> Result<Vec<Personal>> {
    let sentences = whole(&data.join("pii/presidio_synth_dev.json"))?;
    let types = [
        ("CREDIT_CARD", pii::Kind::Card),
        ("EMAIL_ADDRESS", pii::Kind::Email),
        ("IBAN_CODE", pii::Kind::Iban),
        ("IP_ADDRESS", pii::Kind::Ip),
        ("PHONE_NUMBER", pii::Kind::Phone),
        ("US_SSN", pii::Kind::NationalId),
    ];
    let mut counts: BTreeMap<pii::Kind, (usize, usize, usize)> = BTreeMap::new();
    for sentence in items(&sentences) {
        let text = sentence["full_text"].as_str().unwrap_or_default();
        // Their spans count characters.
        let byte = |value: &serde_json::Value| {
            let at = usize::try_from(value.as_u64().unwrap_or(0)).unwrap_or(0);
            text.char_indices().nth(at).map_or(text.len(), |(at, _)| at)
        };
        let found = pii::find(text, &pii::Kind::ALL);
        let mut marked = Vec::new();
        for span in items(&sentence["spans"]) {
            let bytes = byte(&span["start_position"])..byte(&span["end_position"]);
            marked.push(bytes.clone());
            let Some((_, kind)) = types.iter().find(|it| span["entity_type"] == it.0) else {
                continue;
            };
            let count = counts.entry(*kind).or_default();
            count.0 += 1;
            let covers = |it: &pii::Span| {
                it.bytes.start <= bytes.start && it.bytes.end >= bytes.end && it.kind == *kind
            };
            let is_found = found.iter().any(covers);
            if !is_found && is_asked_for_misses() {
                println!("{kind:?}: {text:?}");
            }
            count.1 += usize::from(is_found);
        }
        for span in found {
            let is_marked =
                marked.iter().any(|it| it.start < span.bytes.end && span.bytes.start < it.end);
            counts.entry(span.kind).or_default().2 += usize::from(!is_marked);
        }
    }
    let of = |(name, kind): (&'static str, pii::Kind)| {
        let (count, found, stray) = counts.get(&kind).copied().unwrap_or_default();
        Personal { name, count, found, stray }
    };
    Ok(types.into_iter().map(of).collect())
}

/// Whether what is not found is to be printed, for whoever works on a detector.
fn is_asked_for_misses() -> bool {
    std::env::var_os("LOCKGATE_TRAIN_MISSES").is_some()
}

/// Compiles an expression of another engine, or not.
pub(crate) fn compiled(expression: &str) -> Option<Regex> {
    regex::RegexBuilder::new(expression).size_limit(1 << 26).build().ok()
}

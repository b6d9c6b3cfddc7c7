//! `cargo xtask train`: the model that knows injections, and what every detector finds.
//!
//! Training reads texts that are no part of this repository; what comes of it is: the weights, the
//! card with their figures, and the report. The same texts give the same bytes.

mod documentation;
mod fit;
mod found;
mod page;
mod sample;
mod texts;

use anyhow::{Context, Result};
use fit::Example;
use lockgate_detect::injection::model::Model;
use std::path::{Path, PathBuf};
use texts::Source;

/// What to train from.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The folder with the texts.
    #[arg(long)]
    data: PathBuf,
    /// The folder with documentation that is nobody's attack, by package. What is not there is
    /// fetched into it.
    #[arg(long, default_value = "target/documentation")]
    documentation: PathBuf,
    /// Keep the model: report what the detectors find as they are.
    #[arg(long)]
    report: bool,
}

/// The weights that ship, from the root of the repository.
const MODEL: &str = "crates/detect/data/injection.bin";
/// Their card.
const CARD: &str = "crates/detect/data/CARD.md";
/// Of a thousand harmless texts the model alone may take this many for an injection.
const FALSE_IN_THOUSAND: usize = 6;
/// The same for models that are judged by sources which they have not seen.
const HELD_OUT_FALSE_IN_THOUSAND: usize = 10;
/// Parts into which harmless texts are dealt, each judged by a model that has not seen it.
const FOLDS: usize = 4;

/// Trains or reports.
pub(crate) fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    let mut sources = texts::load(&arguments.data)?;
    sources.extend(documentation::load(&root.join(&arguments.documentation))?);
    if !arguments.report {
        let model = train(&sources);
        std::fs::write(root.join(MODEL), model.write()).context("writing the model")?;
        println!("train: wrote {MODEL}");
        println!("train: the report reads it when it is built again: run with `--report`");
        return Ok(());
    }
    let shipped = std::fs::read(root.join(MODEL)).context("reading the model")?;
    let shipped = Model::read(&shipped).context("the model is not one")?;
    let report = page::Report {
        shipped: found::shipped(&sources, &shipped),
        held_out: held_out(&sources),
        secrets: found::secrets(&arguments.data)?,
        personal: found::personal(&arguments.data)?,
    };
    std::fs::write(root.join("docs/signals.md"), page::signals(&report)?)?;
    std::fs::write(root.join(CARD), page::card(&report, &sources, &shipped)?)?;
    println!("train: wrote docs/signals.md and {CARD}");
    Ok(())
}

/// The model that ships: of every text that may be learnt. Its threshold is that of models which
/// have not seen the harmless texts that they are judged by.
fn train(sources: &[Source]) -> Model {
    let mut harmless = Vec::new();
    for fold in 0..FOLDS {
        let model = fit::fit(&examples(sources, "", |at| at % FOLDS != fold));
        let seen = |at: usize| at % FOLDS == fold;
        harmless.extend(harmless_values(sources, &model, seen));
    }
    let model = fit::fit(&examples(sources, "", |_| true));
    model.with_threshold(threshold(&mut harmless, FALSE_IN_THOUSAND))
}

/// The value above which no more harmless texts lie than may.
fn threshold(values: &mut [i32], in_thousand: usize) -> i32 {
    values.sort_unstable();
    let at = values.len() * (1000 - in_thousand) / 1000;
    values.get(at).copied().unwrap_or(i32::MAX).saturating_add(1)
}

fn harmless_values(
    sources: &[Source],
    model: &Model,
    is_meant: impl Fn(usize) -> bool,
) -> Vec<i32> {
    let of = |source: &Source| -> Vec<i32> {
        let texts = source.texts.iter().enumerate().filter(|(at, _)| is_meant(*at));
        texts.map(|(_, text)| model.value_of(text)).collect()
    };
    // The threshold is that of texts as tools return them: pages have one of their own.
    let is_meant = |source: &&Source| !source.is_attack && source.is_learnt && !source.is_page;
    sources.iter().filter(is_meant).flat_map(of).collect()
}

/// Every text that may be learnt, but those of one source; of the harmless ones only some.
fn examples<'a>(
    sources: &'a [Source],
    without: &str,
    is_meant: impl Fn(usize) -> bool,
) -> Vec<Example<'a>> {
    let mut examples = Vec::new();
    for source in sources.iter().filter(|source| source.is_learnt && source.name != without) {
        for (at, text) in source.texts.iter().enumerate() {
            if source.is_attack || is_meant(at) {
                let Source { is_attack, is_page, weight, .. } = *source;
                examples.push(Example { text, at, is_attack, is_page, weight });
            }
        }
    }
    examples
}

/// How models do on texts of a source that they have not seen, at 1 % of unseen harmless texts.
pub(crate) struct HeldOut {
    pub(crate) name: &'static str,
    pub(crate) count: usize,
    /// Of a model that knows nothing of the source.
    pub(crate) auc: f64,
    pub(crate) recall: f64,
    /// Of a model that knows the other half of its texts.
    pub(crate) recall_half: f64,
}

/// For every source of attacks a model without it, judged by it and by harmless texts of which it
/// has seen none: half of each source.
fn held_out(sources: &[Source]) -> Vec<HeldOut> {
    let is_seen = |at: usize| at.is_multiple_of(2);
    let is_kept = |at: usize| !is_seen(at);
    let mut halves = examples(sources, "", is_seen);
    halves.retain(|example| !example.is_attack || is_seen(example.at));
    let of_half = fit::fit(&halves);
    let mut harmless = harmless_values(sources, &of_half, is_kept);
    let least_of_half = threshold(&mut harmless, HELD_OUT_FALSE_IN_THOUSAND);
    let attacks = sources.iter().filter(|source| source.is_attack);
    attacks
        .map(|source| {
            let model = fit::fit(&examples(sources, source.name, is_seen));
            let mut harmless = harmless_values(sources, &model, is_kept);
            let least = threshold(&mut harmless, HELD_OUT_FALSE_IN_THOUSAND);
            let values: Vec<i32> = source.texts.iter().map(|it| model.value_of(it)).collect();
            let over = values.iter().filter(|value| **value >= least).count();
            let other: Vec<&String> = source.texts.iter().skip(1).step_by(2).collect();
            let is_over = |text: &&&String| of_half.value_of(text) >= least_of_half;
            HeldOut {
                name: source.name,
                count: values.len(),
                auc: auc(&values, &harmless),
                recall: found::share(over, values.len()),
                recall_half: found::share(other.iter().filter(is_over).count(), other.len()),
            }
        })
        .collect()
}

/// How often an attack has a higher value than a harmless text. The latter are sorted.
fn auc(attacks: &[i32], harmless: &[i32]) -> f64 {
    let below: usize = attacks
        .iter()
        .map(|value| {
            let below = harmless.partition_point(|other| other < value);
            let equal = harmless.partition_point(|other| other <= value) - below;
            2 * below + equal
        })
        .sum();
    found::share(below, 2 * attacks.len() * harmless.len()) / 100.0
}

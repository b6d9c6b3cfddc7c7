//! `cargo xtask train`: the model that knows injections, and what every detector finds.

mod fit;
mod texts;

use anyhow::Result;
use fit::Example;
use lockgate_detect::injection::model::Model;
use lockgate_detect::{Kind, injection};
use std::path::{Path, PathBuf};
use texts::Source;

/// What to train from.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The folder with the texts.
    #[arg(long)]
    data: PathBuf,
    /// Train nothing: report what the detectors find as they are.
    #[arg(long)]
    report: bool,
}

/// Trains or reports.
pub(crate) fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    let sources = texts::load(&arguments.data)?;
    for s in &sources {
        println!("{} {} {}", s.name, s.is_attack, s.texts.len());
    }
    let _ = root;
    let is_even = |at: usize| at % 2 == 0;
    let mut calibration = Vec::new();
    for s in sources.iter().filter(|s| !s.is_attack && s.name != "notinject") {
        calibration.extend(s.texts.iter().enumerate().filter(|(at, _)| !is_even(*at)).map(|(_, t)| t));
    }
    let held: Vec<&str> = vec!["deepset", "in the wild", "bipia", "injecagent enhanced", "injecagent base", "agentdojo", "none"];
    for out in held {
        let examples = examples(&sources, out);
        let model = fit::fit(&examples);
        let mut negative: Vec<i32> = calibration.iter().map(|t| model.value_of(t)).collect();
        negative.sort_unstable();
        let threshold = negative[negative.len() * 99 / 100];
        let rate = |s: &Source| {
            let n = s.texts.iter().filter(|t| model.value_of(t) > threshold).count();
            100.0 * n as f64 / s.texts.len() as f64
        };
        println!("--- out {out}: threshold {threshold}");
        for s in sources.iter().filter(|s| s.name == out || out == "none" || !s.is_learnt) {
            let values: Vec<i32> = s.texts.iter().map(|t| model.value_of(t)).collect();
            let auc = auc(&values, &negative);
            println!("{:22} {:5.1} auc {:.3}", s.name, rate(s), auc);
        }
    }
    println!("--- rules");
    for s in &sources {
        let hit: Vec<&String> = s.texts.iter().filter(|t| lockgate_detect::scan(t).iter().any(|s| s.kind == Kind::Injection && s.score >= injection::THRESHOLD)).collect();
        println!("{:22} {:5.1}", s.name, 100.0 * hit.len() as f64 / s.texts.len() as f64);
        if !s.is_attack {
            for t in hit.iter().take(12) {
                let f = lockgate_detect::scan(t);
                println!("      {:?} {}", f.first(), &t.chars().take(300).collect::<String>());
            }
        }
    }
    Ok(())
}

fn auc(positive: &[i32], negative: &[i32]) -> f64 {
    let below: usize = positive.iter().map(|p| negative.partition_point(|n| n < p)).sum();
    below as f64 / (positive.len() * negative.len()).max(1) as f64
}

fn examples<'a>(sources: &'a [Source], out: &str) -> Vec<Example<'a>> {
    let mut examples = Vec::new();
    for s in sources.iter().filter(|s| s.is_learnt && s.name != out) {
        for (at, text) in s.texts.iter().enumerate() {
            if s.is_attack || at % 2 == 0 {
                let weight = 1.0;
                examples.push(Example { text, is_attack: s.is_attack, weight });
            }
        }
    }
    examples
}

const _: Option<Model> = None;

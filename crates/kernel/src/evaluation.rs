//! Results of behaviour tests: taken in, and found again for the calls that depend on them.
//!
//! What is handed in is what was found of each answer, and the calls by which it was asked.
//! Nothing of it is believed: each answer is read again where it is on record, and held against the
//! suite of the bundle that rules.

mod again;
mod ask;

pub use ask::{evaluation_answer, evaluation_request};

use again::Trial;

use crate::Kernel;
use crate::port::Refusal;
use crate::refusal::not_recorded;
use lockgate_core::World;
use lockgate_core::eval::{Report, Summary, fingerprint};
use lockgate_store::{Evaluation, WhichEvaluations};
use lockgate_types::evaluated::Evaluated;
use lockgate_types::identity::Identity;
use lockgate_types::{CallId, Code, Digest, Json, JsonLimits, Object};
use std::collections::BTreeMap;

/// A result as it is handed in.
#[derive(Clone, Copy, Debug)]
pub struct HandedIn<'a> {
    /// The suite.
    pub suite: &'a str,
    /// Its digest, as whoever asked has it.
    pub digest: &'a str,
    /// The entry of the registry.
    pub entry: &'a str,
    /// What each question came to.
    pub report: &'a str,
}

impl Kernel {
    /// Records a result, under the call that hands it in.
    pub async fn record_evaluation(
        &self,
        identity: &Identity,
        by: &CallId,
        handed_in: HandedIn<'_>,
    ) -> Result<Json, Refusal> {
        let HandedIn { suite: name, digest, entry, report: text } = handed_in;
        let world = self.world().ok_or_else(|| Refusal::of(Code::NoBundle))?;
        let suite = world.suites.get(name);
        let suite = suite.filter(|suite| suite.digest.to_string() == digest);
        let suite = suite.ok_or_else(|| differs(format!("the gate has another suite `{name}`")))?;
        let unknown = || differs(format!("the gate has no model `{entry}`"));
        let model = world.models.get(entry).ok_or_else(unknown)?;
        let of = fingerprint(&world, entry).ok_or_else(unknown)?;
        let report = Report::read(suite, text);
        let report = report.map_err(|why| differs(format!("the report: {why}")))?;
        let trial = Trial { world: &world, identity, suite, entry };
        let calls = self.held_again(&trial, &report).await?;
        let summary = Summary::of(suite, &report);
        let evaluation = Evaluation {
            seen: Evaluated {
                suite: name.to_owned(),
                digest: suite.digest,
                of,
                is_passed: summary.is_passed,
                percent: summary.percent(),
                at: self.parts.clock.now(),
                call: by.clone(),
            },
            tenant: identity.tenant.clone(),
            entry: entry.to_owned(),
            version: model.declared.version.clone(),
            bundle: world.digest,
            report: Digest::of(text.as_bytes()),
            calls,
            summary: summary.to_json().to_string(),
        };
        let answer = shown(&evaluation);
        let recorded = self.parts.store.record_evaluation(evaluation).await;
        recorded.map(|_| answer).map_err(|error| not_recorded(&error))
    }

    /// Results, the newest first.
    pub async fn evaluations(
        &self,
        which: WhichEvaluations,
        max: u32,
    ) -> Result<Vec<Json>, Refusal> {
        let found = self.parts.store.evaluations(which, max).await;
        let found = found.map_err(|error| not_recorded(&error))?;
        Ok(found.iter().map(shown).collect())
    }

    /// The newest results of what entries have to have passed, by entry.
    pub(crate) async fn evaluated(
        &self,
        world: &World,
    ) -> Result<BTreeMap<String, Vec<Evaluated>>, Refusal> {
        let of = world.models.iter().flat_map(|(entry, model)| {
            let suites = model.declared.requires.iter().map(|required| required.suite.clone());
            suites.map(|suite| (entry.to_owned(), suite))
        });
        let of: Vec<(String, String)> = of.collect();
        let mut by_entry: BTreeMap<String, Vec<Evaluated>> = BTreeMap::new();
        if of.is_empty() {
            return Ok(by_entry);
        }
        let newest = Box::pin(self.parts.store.newest_evaluations(of)).await;
        for (entry, seen) in newest.map_err(|error| not_recorded(&error))? {
            by_entry.entry(entry).or_default().push(seen);
        }
        Ok(by_entry)
    }
}

/// A result as it is answered.
fn shown(evaluation: &Evaluation) -> Json {
    let Evaluation { seen, entry, version, bundle, report, calls, summary, .. } = evaluation;
    let summary = Json::parse(summary.as_bytes(), &JsonLimits::OWN).unwrap_or(Json::Null);
    Object::new()
        .with("at", seen.at.0)
        .with("bundle", bundle.to_string())
        .with("call", seen.call.as_str())
        .with("calls", i64::from(*calls))
        .with("digest", seen.digest.to_string())
        .with("entry", entry.as_str())
        .with("passed", seen.is_passed)
        .with("percent", seen.percent)
        .with("report", report.to_string())
        .with("suite", seen.suite.as_str())
        .with("summary", summary)
        .with("version", version.as_str())
        .into()
}

fn differs(reason: String) -> Refusal {
    Refusal { reason, ..Refusal::of(Code::EvaluationDiffers) }
}

fn untraced(id: &str, why: &str) -> Refusal {
    Refusal { reason: format!("`{id}`: {why}"), ..Refusal::of(Code::EvaluationUntraced) }
}

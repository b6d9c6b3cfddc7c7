//! What a source has to be like for a snapshot of it to serve.

use super::Report;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Terms of a source. Those that are not set are not asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Contract {
    /// Documents that there have to be.
    pub documents_min: Option<u64>,
    /// Documents that there may be.
    pub documents_max: Option<u64>,
    /// By how much the number of documents may change, of a hundred of those before.
    pub volume_percent_max: Option<u64>,
    /// Documents that may be gone, of a hundred of those before.
    pub removed_percent_max: Option<u64>,
    /// Documents that may be otherwise than before, of a hundred.
    pub changed_percent_max: Option<u64>,
    /// How many more documents there may be, of a hundred of those before.
    pub added_percent_max: Option<u64>,
    /// Documents that may be unreadable, of a hundred.
    pub refused_percent_max: Option<u64>,
    /// Documents that may be left out since they give orders, of a hundred of those listed.
    pub injected_percent_max: Option<u64>,
    /// Documents of those below which their share breaks nothing: one of nine is left out, and the
    /// others serve.
    pub injected_from: u64,
    /// Documents that may be left out, or have text that people do not see.
    pub injected_max: Option<u64>,
    /// Documents that may be suspected of giving orders, of a hundred.
    pub suspected_percent_max: Option<u64>,
    /// Documents that may have text that people do not see, of a hundred.
    pub hidden_percent_max: Option<u64>,
    /// Documents that may be broken, of a hundred.
    pub broken_percent_max: Option<u64>,
    /// Documents that may be another one, word for word or nearly, of a hundred.
    pub duplicate_percent_max: Option<u64>,
    /// How far the share of documents with a tag or a classification may move, of a hundred.
    pub drift_percent_max: Option<u64>,
    /// Fields that rows have to have.
    pub required_fields: BTreeSet<String>,
    /// Whether rows may have fields that they did not have before.
    pub new_fields: bool,
}

impl Default for Contract {
    fn default() -> Self {
        Self {
            documents_min: Some(1),
            documents_max: None,
            volume_percent_max: None,
            removed_percent_max: Some(50),
            changed_percent_max: None,
            added_percent_max: None,
            refused_percent_max: Some(20),
            injected_percent_max: Some(10),
            injected_from: INJECTED_FROM,
            injected_max: None,
            suspected_percent_max: None,
            hidden_percent_max: None,
            broken_percent_max: Some(20),
            duplicate_percent_max: None,
            drift_percent_max: None,
            required_fields: BTreeSet::new(),
            new_fields: false,
        }
    }
}

/// A term that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breach {
    /// The term, as it is written.
    pub term: String,
    /// What was found.
    pub found: String,
    /// What may be.
    pub allowed: String,
}

/// Documents that have to be left out for their share to say something, unless a bundle says which
/// share may be.
const INJECTED_FROM: u64 = 3;
/// Documents below which shares of a hundred say nothing: one of three is no drift.
const SHARES_FROM: u64 = 10;

impl Contract {
    /// What of it does not hold.
    pub(super) fn breaches(&self, report: &Report, before: Option<&Report>) -> Vec<Breach> {
        let mut breaches = Vec::new();
        let volume = report.volume;
        let documents = volume.documents();
        let mut breach = |term: &str, found: String, allowed: String| {
            breaches.push(Breach { term: term.to_owned(), found, allowed });
        };
        if let Some(min) = self.documents_min.filter(|min| documents < *min) {
            breach("documents_min", documents.to_string(), min.to_string());
        }
        if let Some(max) = self.documents_max.filter(|max| documents > *max) {
            breach("documents_max", documents.to_string(), max.to_string());
        }
        let doubtful = report.withheld + report.hidden;
        if let Some(max) = self.injected_max.filter(|max| doubtful > *max) {
            breach("injected_max", doubtful.to_string(), max.to_string());
        }
        // Where too few are left out to say anything of the rest, their share is not asked for.
        let injected = if report.withheld < self.injected_from { 0 } else { report.withheld };
        let moved = documents.abs_diff(volume.before());
        let listed = documents + report.withheld + report.refusals();
        let twins = report.duplicates + report.near_duplicates;
        for (term, max, part, whole) in [
            ("volume_change_percent_max", self.volume_percent_max, moved, volume.before()),
            ("removed_percent_max", self.removed_percent_max, volume.removed, volume.before()),
            ("changed_percent_max", self.changed_percent_max, volume.changed, volume.before()),
            ("added_percent_max", self.added_percent_max, volume.added, volume.before()),
            ("refused_percent_max", self.refused_percent_max, report.refusals(), listed),
            ("injected_percent_max", self.injected_percent_max, injected, listed),
            ("suspected_percent_max", self.suspected_percent_max, report.suspected, documents),
            ("hidden_percent_max", self.hidden_percent_max, report.hidden, documents),
            ("broken_percent_max", self.broken_percent_max, report.broken, documents),
            ("duplicate_percent_max", self.duplicate_percent_max, twins, documents),
        ] {
            // Of a first snapshot, nothing is added or gone.
            let is_more = |max: &u64| part.saturating_mul(100) > whole.saturating_mul(*max);
            if let Some(max) = max.filter(is_more).filter(|_| whole > 0) {
                breach(term, format!("{part} of {whole}"), format!("{max} of a hundred"));
            }
        }
        for field in self.required_fields.difference(&report.fields) {
            breach("required_fields", format!("`{field}` is missing"), "all of them".to_owned());
        }
        if let Some(field) = report.fields_new.first().filter(|_| !self.new_fields) {
            breach("new_fields", format!("`{field}` is new"), "none".to_owned());
        }
        if let (Some(max), Some(before)) = (self.drift_percent_max, before) {
            let pairs =
                [(&report.tags, &before.tags), (&report.classifications, &before.classifications)];
            let all = (documents, before.volume.documents());
            for (name, drift) in pairs.into_iter().flat_map(|(now, then)| drifts(now, then, all)) {
                if drift > max {
                    let allowed = format!("{max} of a hundred");
                    breach("drift_percent_max", format!("`{name}` by {drift}"), allowed);
                }
            }
        }
        breaches
    }
}

/// How far shares have moved, of a hundred.
fn drifts(
    now: &BTreeMap<String, u64>,
    then: &BTreeMap<String, u64>,
    (documents, before): (u64, u64),
) -> Vec<(String, u64)> {
    if documents < SHARES_FROM || before < SHARES_FROM {
        return Vec::new();
    }
    let share = |counted: &BTreeMap<String, u64>, name: &str, all: u64| {
        counted.get(name).map_or(0, |count| count.saturating_mul(100).div_ceil(all))
    };
    let names: BTreeSet<&String> = now.keys().chain(then.keys()).collect();
    let drift = |name: &String| share(now, name, documents).abs_diff(share(then, name, before));
    names.into_iter().map(|name| (name.clone(), drift(name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quality::{Verdict, Volume};

    fn report(added: u64, changed: u64, kept: u64, removed: u64) -> Report {
        Report { volume: Volume { added, changed, kept, removed }, ..Report::default() }
    }

    fn terms(contract: &Contract, report: &mut Report, before: Option<&Report>) -> Vec<String> {
        report.judge(contract, before);
        let is_good = report.breaches.is_empty();
        assert_eq!(report.verdict == Verdict::Publish, is_good);
        report.breaches.iter().map(|breach| breach.term.clone()).collect()
    }

    #[test]
    fn each_term_is_held_against_what_was_found() {
        let strict = Contract {
            documents_max: Some(200),
            injected_max: Some(3),
            changed_percent_max: Some(30),
            added_percent_max: Some(30),
            hidden_percent_max: Some(5),
            suspected_percent_max: Some(20),
            duplicate_percent_max: Some(5),
            required_fields: BTreeSet::from(["id".to_owned()]),
            ..Contract::default()
        };
        let good = || {
            let fields = BTreeSet::from(["id".to_owned()]);
            Report { fields, ..report(10, 10, 80, 10) }
        };
        assert_eq!(terms(&strict, &mut good(), None), [""; 0]);
        let with = |change: &dyn Fn(&mut Report)| {
            let mut report = good();
            change(&mut report);
            terms(&strict, &mut report, None)
        };
        assert_eq!(with(&|it| it.volume.added = 150), ["documents_max", "added_percent_max"]);
        assert_eq!(with(&|it| it.volume.removed = 200), ["removed_percent_max"]);
        assert_eq!(with(&|it| (it.withheld, it.hidden) = (2, 2)), ["injected_max"]);
        assert_eq!(with(&|it| it.suspected = 20), [""; 0]);
        assert_eq!(with(&|it| it.suspected = 21), ["suspected_percent_max"]);
        assert_eq!(with(&|it| it.volume.changed = 60), ["changed_percent_max"]);
        assert_eq!(
            with(&|it| it.refused = BTreeMap::from([("x".into(), 40)])),
            ["refused_percent_max"]
        );
        let both = ["injected_max", "injected_percent_max"];
        assert_eq!(with(&|it| it.withheld = 12), both);
        assert_eq!(with(&|it| it.hidden = 6), ["injected_max", "hidden_percent_max"]);
        assert_eq!(with(&|it| it.broken = 21), ["broken_percent_max"]);
        assert_eq!(with(&|it| it.near_duplicates = 6), ["duplicate_percent_max"]);
        assert_eq!(with(&|it| it.fields.clear()), ["required_fields"]);
        let steady = Contract { volume_percent_max: Some(20), ..Contract::default() };
        assert_eq!(terms(&steady, &mut report(40, 0, 60, 40), None), [""; 0]);
        let grown = &mut report(40, 0, 100, 0);
        assert_eq!(terms(&steady, grown, None), ["volume_change_percent_max"]);
        let nothing = &mut report(0, 0, 0, 0);
        assert_eq!(terms(&Contract::default(), nothing, None), ["documents_min"]);
    }

    #[test]
    fn what_is_left_out_counts_and_few_of_few_quarantine_nothing() {
        let usual = Contract::default();
        // Left out, served, terms that break.
        for (withheld, served, is_broken) in
            [(1, 8, false), (2, 1, false), (3, 6, true), (3, 27, false), (4, 27, true)]
        {
            let mut found = Report { withheld, suspected: served, ..report(served, 0, 0, 0) };
            let expected = if is_broken { vec!["injected_percent_max"] } else { Vec::new() };
            assert_eq!(terms(&usual, &mut found, None), expected, "{withheld} of {served}");
        }
        let none = Contract { injected_percent_max: Some(0), injected_from: 1, ..usual };
        let mut one = Report { withheld: 1, ..report(900, 0, 0, 0) };
        assert_eq!(terms(&none, &mut one, None), ["injected_percent_max"]);
    }

    #[test]
    fn schemas_and_labels_that_drift_are_noticed() {
        let before = Report {
            fields: BTreeSet::from(["id".to_owned(), "pay".to_owned()]),
            tags: BTreeMap::from([("email".to_owned(), 10)]),
            ..report(100, 0, 0, 0)
        };
        let mut now = Report {
            fields: BTreeSet::from(["id".to_owned(), "wage".to_owned()]),
            tags: BTreeMap::from([("email".to_owned(), 60)]),
            ..report(0, 0, 100, 0)
        };
        let contract = Contract { drift_percent_max: Some(20), ..Contract::default() };
        assert_eq!(terms(&contract, &mut now, Some(&before)), ["new_fields", "drift_percent_max"]);
        assert_eq!((now.fields_gone.len(), now.fields_new.len()), (1, 1));
        let contract = Contract { new_fields: true, ..Contract::default() };
        assert_eq!(terms(&contract, &mut now, Some(&before)), [""; 0]);
    }
}

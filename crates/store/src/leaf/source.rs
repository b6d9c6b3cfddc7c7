//! What an entry says of a run of a source of documents: names from the bundle, numbers and the
//! digest of the report. Never what documents are called or say.

use super::{Draft, Leaf, time};
use crate::source::{RunOfSource, SourceVerdict};
use lockgate_ledger::Kind;
use lockgate_ledger::leaf::{ENTRY_VERSION, INTEGER_MAX};
use lockgate_types::Micros;

/// Bytes that such an entry fits in.
const CAPACITY: usize = 512;

/// A source was run, to its end or not.
pub(crate) fn source(run: &RunOfSource, at: Micros) -> Draft {
    let number = |count: u64| i64::try_from(count).unwrap_or(INTEGER_MAX);
    let mut leaf = Leaf::new(CAPACITY);
    leaf.some_text("by_call", run.by.as_ref().map(lockgate_types::CallId::as_str));
    if let SourceVerdict::Failed(code) = &run.verdict {
        leaf.text("code", code.as_str());
    }
    if let Some(counts) = &run.counts {
        leaf.open("counts");
        for (name, count) in [
            ("added", counts.added),
            ("changed", counts.changed),
            ("kept", counts.kept),
            ("refused", counts.refused),
            ("removed", counts.removed),
            ("withheld", counts.withheld),
        ] {
            leaf.integer(name, number(count));
        }
        leaf.close();
    }
    leaf.text("k", Kind::Source.as_str());
    if let Some(report) = &run.report {
        leaf.digest("report", report);
    }
    run.snapshot.iter().for_each(|snapshot| leaf.integer("snapshot", number(*snapshot)));
    leaf.text("source", &run.source);
    leaf.place();
    leaf.integer("t", time(at));
    leaf.text("tenant", run.tenant.as_str());
    leaf.integer("v", ENTRY_VERSION);
    leaf.text("verdict", run.verdict.as_str());
    leaf.finish()
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;
    use super::*;
    use crate::source::SourceCounts;
    use lockgate_types::{CallId, Code, Digest};

    #[test]
    fn a_run_of_a_source_is_an_entry() {
        for verdict in [
            SourceVerdict::Published,
            SourceVerdict::Quarantined,
            SourceVerdict::RolledBack,
            SourceVerdict::Failed(Code::SourceAway),
        ] {
            for is_whole in [true, false] {
                let run = RunOfSource {
                    source: "handbook".to_owned(),
                    tenant: "acme".parse().unwrap(),
                    by: is_whole.then(|| CallId::new("c1").unwrap()),
                    verdict,
                    snapshot: is_whole.then_some(u64::MAX),
                    counts: is_whole.then(SourceCounts::default),
                    report: is_whole.then(|| Digest::of(b"{}")),
                };
                check(&source(&run, Micros(1)), Kind::Source);
            }
        }
    }
}

//! What is said and recorded of a run that is over.

use super::Ended;
use super::drive::JobError;
use crate::Kernel;
use lockgate_retrieval::quality::{Report, Verdict};
use lockgate_store::{RunOfSource, SourceCounts, SourceVerdict};
use lockgate_types::{CallId, Digest, Micros, Tenant};

impl Kernel {
    /// Logs and records what became of a run.
    pub(super) fn note_source(
        &self,
        name: &str,
        tenant: &Tenant,
        by: Option<CallId>,
        result: &Result<Option<Report>, JobError>,
    ) {
        let report = result.as_ref().ok().and_then(Option::as_ref);
        let verdict = match (result, report.map(|report| report.verdict)) {
            (Err(error), _) => SourceVerdict::Failed(error.code()),
            (Ok(_), Some(Verdict::Publish)) => SourceVerdict::Published,
            (Ok(_), _) => SourceVerdict::Quarantined,
        };
        match result {
            Ok(_) => tracing::info!(source = name, verdict = verdict.as_str(), "a source was run"),
            Err(error) => tracing::warn!(source = name, code = %error.code(), %error,
                "a run of a source has failed"),
        }
        let recorded = self.parts.store.note_source(RunOfSource {
            source: name.to_owned(),
            tenant: tenant.clone(),
            by,
            verdict,
            snapshot: report.map(|report| report.snapshot),
            counts: report.map(counts),
            report: report.map(|report| Digest::of(report.to_json().as_bytes())),
        });
        if let Err(error) = recorded {
            tracing::error!(source = name, %error, "a run of a source was not recorded");
        }
    }
}

pub(super) fn ended_as(
    number: u64,
    (begun, ended): (Micros, Micros),
    result: &Result<Option<Report>, JobError>,
) -> Ended {
    let failed = result.as_ref().err().map(|error| (error.code(), error.to_string()));
    let report = result.as_ref().ok().and_then(Option::as_ref);
    let verdict = match report.map(|report| report.verdict) {
        Some(Verdict::Publish) => "published",
        Some(Verdict::Quarantine) => "quarantined",
        None => "failed",
    };
    Ended {
        number,
        begun,
        ended,
        verdict,
        snapshot: report.map(|report| report.snapshot),
        documents: report.map(|report| report.volume.documents()),
        failed,
    }
}

fn counts(report: &Report) -> SourceCounts {
    let volume = &report.volume;
    SourceCounts {
        added: volume.added,
        changed: volume.changed,
        kept: volume.kept,
        removed: volume.removed,
        refused: report.refusals(),
        withheld: report.withheld,
    }
}

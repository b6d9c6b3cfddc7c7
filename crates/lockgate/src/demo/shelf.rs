//! The one document of the demo's registered source: a runbook that was changed long ago.

use crate::up::Running;
use anyhow::{Context, Result};
use lockgate_kernel::system_now;
use lockgate_retrieval::corpus::{Access, Incoming, Listing, Permissions, SourceOf};
use lockgate_types::document::{Curation, DocumentFacts, Reader};
use lockgate_types::label::Confidentiality;
use lockgate_types::{Digest, Micros};
use std::collections::BTreeSet;

/// The runbook.
const RUNBOOK: &str = include_str!("../../demo/runbooks/export-fails.md");
/// Microseconds since it was changed: 124 days.
const AGE_US: i64 = 124 * 86_400_000_000;

/// Has the source serve the runbook.
pub(super) fn fill(running: &Running) -> Result<()> {
    let library = running.library().context("the gate keeps no documents")?;
    let corpus = library.corpus().context("the corpus is not open")?;
    let now = system_now();
    let source = SourceOf {
        name: "runbooks".to_owned(),
        tenant: "acme".to_owned(),
        access: Access::Declared,
    };
    let facts = DocumentFacts {
        id: "export-fails.md".to_owned(),
        source: source.name.clone(),
        tenant: source.tenant.clone(),
        folders: Vec::new(),
        kind: "runbook".to_owned(),
        owner: Some("desk-leads".to_owned()),
        curation: Curation::Curated,
        classification: Confidentiality::Internal,
        tags: BTreeSet::new(),
        readers: None,
        denied: BTreeSet::new(),
        changed: Micros(now.0 - AGE_US),
        confirmed: now,
    };
    let mut draft = corpus.begin(&source, Listing::Whole, now)?;
    draft.put(Incoming {
        facts,
        permissions: Some(Permissions::shared([Reader::Group("staff".to_owned())])),
        title: "Export of a report fails".to_owned(),
        author: None,
        made: None,
        link: None,
        text: RUNBOOK.to_owned(),
        pieces: vec![(0, RUNBOOK.len())],
        fingerprint: Digest::of(RUNBOOK.as_bytes()),
    })?;
    draft.publish("{}", now)?;
    Ok(())
}

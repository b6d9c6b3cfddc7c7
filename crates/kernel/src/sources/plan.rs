//! From what is declared of a source to what a run needs to know of it.

use lockgate_core::declare::{self, QualityWord};
use lockgate_core::retrieve::source::{classification, curation, named};
use lockgate_retrieval::corpus::{Access, Permissions, SourceOf};
use lockgate_retrieval::ingest;
use lockgate_retrieval::quality::Contract;
use lockgate_types::Tenant;
use std::collections::BTreeSet;

/// The pattern of all folders.
const ALL: &str = "**";

/// What a run reads, and how it looks at it.
pub(super) fn source(name: &str, tenant: &Tenant, declared: &declare::Source) -> ingest::Source {
    let query = declared.connector.query.as_ref();
    let fields = declared.fields.iter();
    let kinds = declared.kinds.iter();
    ingest::Source {
        kind: declared.kind.clone(),
        kinds: kinds.map(|it| (it.path.clone(), it.kind.clone())).collect(),
        owner: Some(declared.owner.clone()),
        curation: curation(declared),
        classification: classification(declared, None),
        key: query.map(|query| query.id.clone()),
        title: query.and_then(|query| query.title.clone()),
        fields: fields.map(|(name, it)| (name.clone(), field(declared, name, it))).collect(),
        denied: denied(&declared.permissions),
        contract: contract(&declared.quality),
        ..ingest::Source::new(name, tenant.as_str())
    }
}

/// The source, as the corpus knows it.
pub(super) fn of(name: &str, tenant: &Tenant, declared: &declare::Source) -> SourceOf {
    let access = if declared.permissions.synced { Access::Synced } else { Access::Declared };
    SourceOf { name: name.to_owned(), tenant: tenant.as_str().to_owned(), access }
}

fn field(of: &declare::Source, name: &str, field: &declare::Field) -> ingest::Field {
    let denials = named(&field.denied);
    let permissions = match &field.readers {
        // In the place of whom its document is shown to.
        Some(readers) => Permissions::Alone { shares: named(readers), denials },
        None => Permissions::Inherits { shares: BTreeSet::new(), denials },
    };
    let tags = field.tags.iter().cloned().collect();
    ingest::Field { permissions, classification: classification(of, Some(name)), tags }
}

fn denied(
    permissions: &declare::Permissions,
) -> Vec<(String, BTreeSet<lockgate_types::document::Reader>)> {
    let all = (ALL.to_owned(), named(&permissions.denied));
    let folders = permissions.folder.iter().map(|it| (it.path.clone(), named(&it.denied)));
    std::iter::once(all).chain(folders).filter(|(_, denied)| !denied.is_empty()).collect()
}

fn contract(quality: &declare::Quality) -> Contract {
    let usual = Contract::default();
    let or = |declared: Option<u32>, usual: Option<u64>| declared.map(u64::from).or(usual);
    let volume = or(quality.volume_change_percent_max, None);
    Contract {
        documents_min: or(quality.documents_min, usual.documents_min),
        documents_max: or(quality.documents_max, usual.documents_max),
        volume_percent_max: volume,
        // Who lets more change lets more be gone.
        removed_percent_max: usual.removed_percent_max.max(volume),
        refused_percent_max: or(quality.unreadable_percent_max, usual.refused_percent_max),
        injected_max: or(quality.injected_max, usual.injected_max),
        // Who says how many says it in place of how many of a hundred.
        injected_percent_max: match quality.injected_max {
            Some(_) => or(quality.injected_percent_max, None),
            None => or(quality.injected_percent_max, usual.injected_percent_max),
        },
        // What is said holds to the letter.
        injected_from: if quality.injected_percent_max.is_some() { 1 } else { usual.injected_from },
        suspected_percent_max: or(quality.suspected_percent_max, usual.suspected_percent_max),
        broken_percent_max: or(quality.broken_percent_max, usual.broken_percent_max),
        duplicate_percent_max: or(quality.duplicates_percent_max, usual.duplicate_percent_max),
        drift_percent_max: or(quality.labels_changed_percent_max, usual.drift_percent_max),
        required_fields: quality.required_fields.iter().cloned().collect(),
        new_fields: quality.new_fields == QualityWord::Report,
        ..usual
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_contract_says_of_pages_that_give_orders_is_held_to_the_letter() {
        let usual = Contract::default();
        // How many, how many of a hundred; what comes of it, and from how many on.
        for (max, percent, percent_max, from) in [
            (None, None, usual.injected_percent_max, usual.injected_from),
            (Some(5), None, None, usual.injected_from),
            (None, Some(0), Some(0), 1),
            (Some(5), Some(20), Some(20), 1),
        ] {
            let quality = declare::Quality {
                injected_max: max,
                injected_percent_max: percent,
                suspected_percent_max: percent,
                ..declare::Quality::default()
            };
            let held = contract(&quality);
            assert_eq!(held.injected_max, max.map(u64::from), "{quality:?}");
            assert_eq!((held.injected_percent_max, held.injected_from), (percent_max, from));
            assert_eq!(held.suspected_percent_max, percent.map(u64::from));
        }
    }
}

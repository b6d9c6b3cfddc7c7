//! Question 5: what data scope. The obligations of every permit that holds, on both sides,
//! together. A permit that could not be asked may have held: it gives nothing, and hides all the
//! same.

use super::{Case, Firmness, Objection, model};
use crate::declare::Database;
use crate::policy::Legs;
use crate::statement;
use crate::world::{StatementKind, World};
use lockgate_types::Code;
use lockgate_types::decision::{Obligation, Question, RowFilter};
use lockgate_types::identity::Identity;
use std::collections::{BTreeMap, BTreeSet};

/// At most one obligation of each kind: what is hidden adds up, the lowest cap holds.
pub(super) fn obligations(case: &Case<'_>) -> Vec<Obligation> {
    let mut obligations = of_permits(case.world, &case.legs, &case.facts.identity);
    if !case.mended.is_empty() {
        obligations.push(Obligation::Links);
    }
    obligations.sort();
    obligations
}

/// What the permits of both sides oblige to.
pub(crate) fn of_permits(world: &World, legs: &Legs, identity: &Identity) -> Vec<Obligation> {
    let permits = [&legs.agent, &legs.subject].into_iter().flat_map(|leg| {
        let failed = leg.failures.iter().map(|failure| &failure.policy);
        leg.permits.iter().chain(&leg.blind).chain(failed)
    });
    let permits = permits.filter_map(|at| world.policies.get(*at));
    let mut redacted = BTreeSet::new();
    let mut masked = BTreeSet::new();
    let mut cap: Option<u32> = None;
    let mut has_log = false;
    let mut rows = BTreeSet::new();
    for obligation in permits.flat_map(|policy| &policy.obligations) {
        match obligation {
            Obligation::Redact(paths) => redacted.extend(paths.iter().cloned()),
            Obligation::Mask(columns) => masked.extend(columns.iter().cloned()),
            Obligation::Cap(max) => cap = Some(cap.map_or(*max, |cap| cap.min(*max))),
            Obligation::Rows(filters) => rows.extend(filters.iter().cloned()),
            Obligation::LogMore => has_log = true,
            Obligation::Links => {}
        }
    }
    let mut obligations = Vec::new();
    if !redacted.is_empty() {
        obligations.push(Obligation::Redact(redacted.into_iter().collect()));
    }
    if !masked.is_empty() {
        obligations.push(Obligation::Mask(masked.into_iter().collect()));
    }
    obligations.extend(cap.map(Obligation::Cap));
    if !rows.is_empty() {
        let bound = rows.into_iter().map(|filter| bound(filter, identity));
        obligations.push(Obligation::Rows(bound.collect()));
    }
    if has_log {
        obligations.push(Obligation::LogMore);
    }
    obligations.sort();
    obligations
}

/// A row filter with the values of the caller's identity.
fn bound(mut filter: RowFilter, identity: &Identity) -> RowFilter {
    let names = statement::number(&filter.condition, '$').map_or(Vec::new(), |it| it.names);
    let value = |name: &String| match name.as_str() {
        "agent" => Some(identity.agent.as_str()),
        "environment" => Some(identity.environment.as_str()),
        "subject" => Some(identity.subject.as_str()),
        "tenant" => Some(identity.tenant.as_str()),
        _ => None,
    };
    let pairs = names.into_iter().filter_map(|name| Some((name.clone(), value(&name)?.to_owned())));
    filter.values = pairs.collect::<BTreeMap<_, _>>();
    filter
}

/// Whether the obligations can be met at all: rows are filtered by databases alone, and nothing is
/// hidden of what is changed.
pub(super) fn objection(case: &Case<'_>, obligations: &[Obligation]) -> Option<Objection> {
    if let Some(objection) = model::beyond_ceiling(case) {
        return Some(objection);
    }
    let deny = |reason: String| {
        let code = Code::ObligationUnknown;
        Some(Objection::deny(code, Question::Scope, Firmness::Firm).because(reason))
    };
    let database = || {
        let statement = case.operation.statement.as_ref();
        let is_change = statement.is_some_and(|it| matches!(it.kind, StatementKind::Change(_)));
        let upstream = case.world.gate.upstream.get(case.operation.upstream.as_str())?;
        upstream.database.as_ref().filter(|_| !is_change)
    };
    for obligation in obligations {
        let filters = match obligation {
            Obligation::Rows(filters) => filters,
            Obligation::Redact(_)
            | Obligation::Mask(_)
            | Obligation::Cap(_)
            | Obligation::LogMore
            | Obligation::Links => continue,
        };
        let Some(database) = database() else {
            return deny("rows cannot be filtered where no query reads them".to_owned());
        };
        if let Some(filter) = unknown_table(filters, database) {
            let table = &filter.table;
            return deny(format!("a row filter is about `{table}`, which is not there"));
        }
    }
    None
}

/// The filter of a table that this database has not. It might be meant for another database, or for
/// a table under another name: nobody can tell.
fn unknown_table<'f>(filters: &'f [RowFilter], database: &Database) -> Option<&'f RowFilter> {
    filters.iter().find(|filter| !database.table.contains_key(&filter.table))
}

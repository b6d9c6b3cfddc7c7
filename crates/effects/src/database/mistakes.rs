//! What is wrong with a bundle's statements: found when it is loaded, before anybody calls.

use super::plan::Plan;
use crate::sql::{GrantError, check_rows};
use lockgate_core::declare::{SecretPlace, is_postgres};
use lockgate_core::world::Files;
use lockgate_core::{Mistake, World};
use lockgate_types::decision::Obligation;
use std::collections::BTreeMap;

/// Loads a bundle and reads its statements, or names every mistake there is.
pub fn load(files: &Files) -> Result<World, Vec<Mistake>> {
    let world = World::load(files)?;
    let mut mistakes = Vec::new();
    for (name, upstream) in &world.gate.upstream {
        let Some(declared) = &upstream.database else { continue };
        match Plan::new(&world, name, declared) {
            Ok(plan) => {
                statements(name, &plan, &mut mistakes);
                filters(&world, &plan, &mut mistakes);
            }
            Err(error) => mistakes.push(refused_grant(&world, name, &error)),
        }
    }
    queries(files, &world, &mut mistakes);
    mistakes.sort();
    mistakes.dedup();
    if mistakes.is_empty() { Ok(world) } else { Err(mistakes) }
}

fn refused_grant(world: &World, upstream: &str, error: &GrantError) -> Mistake {
    let line = |key: &str| world.lines.get(&(upstream.to_owned(), key.to_owned())).copied();
    let table = match error {
        GrantError::Name { name, .. } | GrantError::Twice { name } => name.as_str(),
        GrantError::Expression { table, .. } | GrantError::MaskedColumn { table, .. } => table,
        GrantError::TooMany { .. } | GrantError::Function { .. } => "",
    };
    Mistake {
        file: "lockgate.toml".to_owned(),
        // A name may come back with the schema that it has anyway.
        line: line(table).or_else(|| line(table.rsplit('.').next()?)).or_else(|| line("")),
        what: format!("the database `{upstream}`: {error}"),
        hint: String::new(),
    }
}

fn statements(upstream: &str, plan: &Plan, mistakes: &mut Vec<Mistake>) {
    for (name, operation) in &plan.operations {
        let Err(refusal) = plan.trial(operation) else { continue };
        mistakes.push(Mistake {
            file: format!("operations/{upstream}.toml"),
            line: operation.statement.as_ref().and_then(|statement| statement.line),
            what: format!("the statement of `{name}` is refused: {refusal}"),
            hint: "statements are held to the declared tables, columns and functions".to_owned(),
        });
    }
}

/// Queries of sources, where it is known that PostgreSQL answers them.
fn queries(files: &Files, world: &World, mistakes: &mut Vec<Mistake>) {
    for (name, source) in &world.sources {
        let Some(query) = &source.connector.query else { continue };
        let SecretPlace::Here(address) = query.address.place() else { continue };
        if !is_postgres(address) {
            continue;
        }
        let Err(fault) = check_rows(&query.statement, &query.functions) else { continue };
        let file = format!("sources/{name}.toml");
        mistakes.push(Mistake {
            line: files.get(&file).and_then(|bytes| line_of(bytes, "statement")),
            file,
            what: format!("the query of the source `{name}` is refused: {fault}"),
            hint: "what a query may not say, a view in the database can".to_owned(),
        });
    }
}

/// The line on which a key is given a value, from 1.
fn line_of(bytes: &[u8], key: &str) -> Option<usize> {
    let text = std::str::from_utf8(bytes).ok()?;
    let is_it = |line: &str| {
        let rest = line.trim_start().strip_prefix(key);
        rest.is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    let at = text.lines().position(is_it)?;
    at.checked_add(1)
}

/// Row filters are tried with the tables of this database: some value for each name.
fn filters(world: &World, plan: &Plan, mistakes: &mut Vec<Mistake>) {
    for policy in world.policies.iter() {
        for obligation in &policy.obligations {
            let Obligation::Rows(filters) = obligation else { continue };
            let own = filters
                .iter()
                .filter(|filter| plan.tables.iter().any(|(name, _)| *name == filter.table));
            for filter in own {
                let mut filter = filter.clone();
                let names = ["agent", "environment", "subject", "tenant"];
                let values = names.map(|name| (name.to_owned(), String::new()));
                filter.values = BTreeMap::from(values);
                let Err(error) = plan.narrowed(&[Obligation::Rows(vec![filter])]) else {
                    continue;
                };
                mistakes.push(Mistake {
                    file: policy.file.to_string(),
                    line: policy.line,
                    what: error.to_string(),
                    hint: "a filter is a condition over the table's columns, without subqueries"
                        .to_owned(),
                });
            }
        }
    }
}

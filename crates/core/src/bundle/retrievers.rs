//! Retrievers of others: operations that find documents in somebody else's index.

use super::document::Findings;
use super::{Files, Mistake, sources, suggest};
use crate::declare::{self, Documents, EffectWord, Source};
use crate::retrieve::found::OWN_MEMBERS;
use crate::world::Operation;
use lockgate_types::OperationName;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes of the path of a member.
const PATH_BYTES_MAX: usize = 256;

/// Where the documents are that an operation finds.
pub(super) fn compile(
    declared: &declare::Operation,
    path: &[&str; 2],
    found: &mut Findings<'_>,
) -> Option<Arc<Documents>> {
    let documents = declared.documents.as_ref()?;
    let [kind, name] = *path;
    let at = [kind, name, "documents"];
    if kind != "tool" || declared.statement.is_some() || declared.free_statement {
        let hint = "tools of tool servers and of HTTP APIs do; rows have filters of their own";
        found.at(&at, format!("`{name}` does not find documents"), hint);
    }
    if declared.effect != EffectWord::Read {
        let what = format!("`{name}` finds documents, and is not declared to be a read");
        found.at(&at, what, "say `effect = \"read\"`");
    }
    let returns = &declared.returns;
    if returns.origin.is_some() || !returns.readers.is_empty() {
        let what = format!("`{name}` returns documents, which have labels of their own");
        found.at(&[kind, name, "returns"], what, "say it in their source, and take this away");
    }
    if documents.source.is_some() == documents.source_member.is_some() {
        let hint = "`source`, or `source_member`";
        found.at(&at, "it is not said of which source the documents are", hint);
    }
    if documents.filters_by_subject && documents.readers.is_some() {
        let what = "either the documents say who their readers are, or the retriever knows them";
        found.at(&at, what, "take `readers` or `filters_by_subject` away");
    }
    let members = [
        ("hits", Some(&documents.hits)),
        ("id", Some(&documents.id)),
        ("text", Some(&documents.text)),
        ("title", documents.title.as_ref()),
        ("source_member", documents.source_member.as_ref()),
        ("path", documents.path.as_ref()),
        ("kind", documents.kind.as_ref()),
        ("owner", documents.owner.as_ref()),
        ("classification", documents.classification.as_ref()),
        ("tags", documents.tags.as_ref()),
        ("readers", documents.readers.as_ref()),
        ("denied", documents.denied.as_ref()),
        ("changed", documents.changed.as_ref()),
        ("confirmed", documents.confirmed.as_ref()),
    ];
    for (key, member) in members {
        let is_path = |it: &String| it.len() <= PATH_BYTES_MAX && it.split('.').all(is_member);
        if member.is_some_and(|member| !is_path(member)) {
            let hint = "names with `.` between them";
            found.at(&[kind, name, "documents", key], format!("`{key}` is no path"), hint);
        }
    }
    let first = documents.hits.split('.').next().unwrap_or_default();
    if OWN_MEMBERS.contains(&first) {
        let what = format!("`{first}` is the gate's own in what is answered");
        found.at(&[kind, name, "documents", "hits"], what, "");
    }
    Some(Arc::new(documents.clone()))
}

fn is_member(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(char::is_control)
}

/// That the sources exist that documents are of, and that what is found by a retriever alone is
/// found by one.
pub(super) fn check(
    files: &Files,
    operations: &BTreeMap<OperationName, Operation>,
    declared: &BTreeMap<String, Source>,
    mistakes: &mut Vec<Mistake>,
) {
    let known = sources::names(files);
    for (name, operation) in operations {
        let Some(documents) = &operation.documents else { continue };
        let file = format!("operations/{}.toml", operation.upstream);
        let mut wrong = |what: String, hint: String| {
            mistakes.push(Mistake { file: file.clone(), line: None, what, hint });
        };
        match &documents.source {
            Some(source) if !known.contains(&source.as_str()) => {
                let what = format!("`{name}` finds documents of `{source}`, which is no source");
                wrong(what, suggest::among(source, &known));
            }
            None if known.is_empty() => {
                let what = format!("`{name}` finds documents, and there are no sources");
                wrong(what, "register one: `sources/<name>.toml`".to_owned());
            }
            Some(_) | None => {}
        }
        let query = documents.query.as_ref();
        let names = || operation.conformance.iter().flat_map(|it| it.declared_names());
        if let Some(query) = query.filter(|query| !names().any(|name| name == query.as_str())) {
            let what = format!("`{name}` has no argument `{query}`");
            wrong(what, suggest::among(query, &names().collect::<Vec<_>>()));
        }
    }
    let finds = |name: &str| {
        let name = OperationName::new(name).ok();
        name.and_then(|name| operations.get(&name)?.documents.clone())
    };
    for (source, it) in declared {
        let Some(retriever) = &it.connector.retriever else { continue };
        let is_found = finds(&retriever.operation)
            .is_some_and(|documents| documents.source.as_ref().is_none_or(|it| it == source));
        if it.refresh_s.is_some() {
            mistakes.push(Mistake {
                file: format!("sources/{source}.toml"),
                line: None,
                what: "`refresh_s` means nothing where a retriever finds the documents".to_owned(),
                hint: "take it away: nothing is read".to_owned(),
            });
        }
        if !is_found {
            mistakes.push(Mistake {
                file: format!("sources/{source}.toml"),
                line: None,
                what: format!("`{}` does not find its documents", retriever.operation),
                hint: format!("give that operation `documents`, with `source = \"{source}\"`"),
            });
        }
    }
}

//! Reads registered sources of documents, `sources/<name>.toml`, and what tasks and operations say
//! about them.

use super::document::{self, Document, Findings};
use super::network;
use super::places::Place;
use super::readers::People;
use super::search::RETRIEVAL;
use super::{Files, Mistake, models, retrievers, source_ways, suggest};
use crate::declare::{Freshness, Gate, Permissions, Principals, Secret, SecretPlace, Source, Task};
use crate::retrieve::path;
use crate::world::Operation;
use lockgate_types::{OperationName, TaskName, Tenant};
use std::collections::{BTreeMap, BTreeSet};

/// Sources of one bundle.
const SOURCES_MAX: usize = 256;
/// Patterns, readers, addresses and fields in one list of a source, sources and kinds of a task.
const LISTED_MAX: usize = 256;
/// Bytes of one text of a source.
const TEXT_BYTES_MAX: usize = 4096;
/// Bytes of the query of a source.
const STATEMENT_BYTES_MAX: usize = 64 << 10;

/// The names of sources that have a file.
pub(super) fn names(files: &Files) -> Vec<&str> {
    let names = files.keys().filter_map(|path| match Place::of(path) {
        Place::Source(name) => Some(name),
        _ => None,
    });
    names.collect()
}

/// The sources of a bundle.
pub(super) fn load(
    files: &Files,
    (gate, principals): (Option<&Gate>, Option<&Principals>),
    (tasks, operations): (&BTreeMap<TaskName, Task>, &BTreeMap<OperationName, Operation>),
    mistakes: &mut Vec<Mistake>,
) -> BTreeMap<String, Source> {
    let people = People::of(principals, gate);
    let mut sources = BTreeMap::new();
    for (path, bytes) in files {
        let Place::Source(name) = Place::of(path) else { continue };
        let Some((mut source, document)) = document::read::<Source>(path, bytes, mistakes) else {
            continue;
        };
        let mut found = Findings::new(&document, mistakes);
        if !is_name(name) {
            let hint = "a source is named by lower-case letters, digits and `-`";
            found.at(&[], format!("`{name}` cannot be the name of a source"), hint);
        }
        if sources.len() >= SOURCES_MAX {
            found.at(&[], format!("there are more than {SOURCES_MAX} sources"), "");
        }
        check_words(&source, &mut found);
        check_tasks(&source, files, &mut found);
        check_connector(&source, gate, &mut found);
        source_ways::check(&source, &mut found);
        source_ways::check_resources(&source, operations, &mut found);
        check_permissions(&source.permissions, &people, &mut found);
        check_fields(&source, &people, &mut found);
        check_freshness(source.freshness.as_ref(), &["freshness"], &mut found);
        check_quality(&source, &mut found);
        let tenant = gate.map(|gate| gate.tenant.clone());
        source.tenant = source.tenant.take().or(tenant);
        sources.insert(name.to_owned(), source);
    }
    if let Some(gate) = gate
        && gate.upstream.contains_key(RETRIEVAL)
        && let Some(first) = sources.keys().next()
    {
        mistakes.push(Mistake {
            file: super::GATE.to_owned(),
            line: None,
            what: format!("there is an upstream `{RETRIEVAL}`, and there are sources"),
            hint: format!("what is found in `{first}` is `{RETRIEVAL}`'s: rename the upstream"),
        });
    }
    check_agreement(files, tasks, &sources, mistakes);
    retrievers::check(files, operations, &sources, mistakes);
    sources
}

fn is_name(name: &str) -> bool {
    Tenant::new(name).is_ok() && name.len() <= 64
}

fn check_words(source: &Source, found: &mut Findings<'_>) {
    let texts = [
        ("description", source.description.as_ref()),
        ("owner", Some(&source.owner)),
        ("terms", source.terms.as_ref()),
        ("licence", source.licence.as_ref()),
        ("signed_off_by", source.signed_off_by.as_ref()),
    ];
    for (key, text) in texts {
        if text.is_some_and(|text| text.trim().is_empty() || text.len() > TEXT_BYTES_MAX) {
            let what = format!("`{key}` is empty, or longer than {TEXT_BYTES_MAX} bytes");
            found.at(&[key], what, "");
        }
    }
    if let Some(error) = source.tenant.as_ref().and_then(|tenant| Tenant::new(tenant).err()) {
        found.at(&["tenant"], error.to_string(), "");
    }
    check_kind(&source.kind, &["kind"], found);
    bounded(source.kinds.len(), &["kinds"], found);
    for (at, by_path) in source.kinds.iter().enumerate() {
        let at = at.to_string();
        check_kind(&by_path.kind, &["kinds", &at, "kind"], found);
        check_pattern(&by_path.path, &["kinds", &at, "path"], found);
    }
}

fn check_kind(kind: &str, path: &[&str], found: &mut Findings<'_>) {
    if kind.is_empty() || !models::is_name(kind) {
        let hint = "lower-case letters, digits, `-`, `_` and `.`";
        found.at(path, format!("`{kind}` cannot be a kind of text"), hint);
    }
}

fn check_pattern(pattern: &str, path: &[&str], found: &mut Findings<'_>) {
    if let Some(fault) = crate::retrieve::path::fault(pattern) {
        let hint = "such as `hr/**` or `runbooks/*.md`";
        found.at(path, format!("`{pattern}` is no pattern: {fault}"), hint);
    }
}

fn bounded(count: usize, path: &[&str], found: &mut Findings<'_>) {
    if count > LISTED_MAX {
        found.at(path, format!("there are more than {LISTED_MAX}"), "");
    }
}

fn check_tasks(source: &Source, files: &Files, found: &mut Findings<'_>) {
    let Some(tasks) = &source.tasks else { return };
    bounded(tasks.len(), &["tasks"], found);
    for (at, task) in tasks.iter().enumerate() {
        let path = ["tasks", &at.to_string()];
        if let Err(error) = TaskName::new(task) {
            found.at(&path, error.to_string(), "");
        } else if !files.contains_key(&format!("tasks/{task}.toml")) {
            let what = format!("there is no task `{task}`");
            found.at(&path, what, format!("write `tasks/{task}.toml`, or correct the name"));
        }
    }
}

fn check_connector(source: &Source, gate: Option<&Gate>, found: &mut Findings<'_>) {
    let it = &source.connector;
    let ways = [
        it.directory.is_some(),
        it.git.is_some(),
        it.http.is_some(),
        it.s3.is_some(),
        it.query.is_some(),
        it.mcp.is_some(),
        it.retriever.is_some(),
    ];
    if ways.iter().filter(|is_there| **is_there).count() != 1 {
        let what = "a source has one connector";
        let hint = "one of `directory`, `git`, `http`, `s3`, `query`, `mcp` and `retriever`";
        found.at(&["connector"], what, hint);
        return;
    }
    if let Some(directory) = &it.directory {
        check_path(&directory.path, "directory", found);
        check_patterns("directory", [&directory.include, &directory.exclude], found);
    }
    if let Some(git) = &it.git {
        check_path(&git.path, "git", found);
        check_patterns("git", [&git.include, &git.exclude], found);
        let is_word = |it: &String| models::is_word(it) && !it.starts_with('-');
        if git.reference.as_ref().is_some_and(|it| !is_word(it)) {
            let path = ["connector", "git", "reference"];
            found.at(&path, "`reference` is no branch, tag or commit", "");
        }
    }
    check_web(source, found);
    check_query(source, found);
    if let (Some(mcp), Some(gate)) = (&it.mcp, gate) {
        let at = ["connector", "mcp", "upstream"];
        let servers: Vec<&String> = gate
            .upstream
            .iter()
            .filter(|(_, it)| it.command.is_some() || it.url.is_some())
            .map(|(name, _)| name)
            .collect();
        if !servers.contains(&&mcp.upstream) {
            let what = format!("there is no tool server `{}`", mcp.upstream);
            found.at(&at, what, suggest::among(&mcp.upstream, &servers));
        }
        bounded(mcp.include.len(), &["connector", "mcp", "include"], found);
        for (at, pattern) in mcp.include.iter().enumerate() {
            let at = at.to_string();
            check_pattern(&path::slashed(pattern), &["connector", "mcp", "include", &at], found);
        }
    }
}

fn check_path(path: &str, way: &str, found: &mut Findings<'_>) {
    if path.is_empty() || path.contains('\0') || path.len() > TEXT_BYTES_MAX {
        found.at(&["connector", way, "path"], "`path` is no path", "");
    }
}

fn check_patterns(way: &str, [include, exclude]: [&Vec<String>; 2], found: &mut Findings<'_>) {
    for (key, patterns) in [("include", include), ("exclude", exclude)] {
        bounded(patterns.len(), &["connector", way, key], found);
        for (at, pattern) in patterns.iter().enumerate() {
            check_pattern(pattern, &["connector", way, key, &at.to_string()], found);
        }
    }
}

fn check_web(source: &Source, found: &mut Findings<'_>) {
    if let Some(http) = &source.connector.http {
        let place = |key: &'static str| ["connector", "http", key];
        if http.urls.is_empty() {
            found.at(&place("urls"), "there is no address", "name at least one");
        }
        let map = http.site_map.iter().cloned().collect();
        for (key, urls) in [("urls", &http.urls), ("follow", &http.follow), ("site_map", &map)] {
            bounded(urls.len(), &place(key), found);
            for (at, url) in urls.iter().enumerate() {
                check_url(url, &["connector", "http", key, &at.to_string()], found);
            }
        }
        for (name, value) in &http.headers {
            if let Some(fault) = network::header_fault(name, value) {
                let path = ["connector", "http", "headers", name];
                found.at(&path, format!("the header `{name}` cannot be sent: {fault}"), "");
            }
        }
        check_networks(&http.allow_networks, "http", found);
    }
    if let Some(s3) = &source.connector.s3 {
        check_url(&s3.endpoint, &["connector", "s3", "endpoint"], found);
        for (key, word) in [("bucket", &s3.bucket), ("region", &s3.region)] {
            if !models::is_word(word) || word.contains('/') {
                found.at(&["connector", "s3", key], format!("`{word}` is no {key}"), "");
            }
        }
        if s3.access_key_id.is_some() != s3.secret_access_key.is_some() {
            let hint = "name both, or neither";
            found.at(&["connector", "s3"], "one half of the access key is missing", hint);
        }
        let secret = s3.secret_access_key.as_ref();
        if secret.is_some_and(|secret| matches!(secret.place(), SecretPlace::Here(_))) {
            let what = "a bundle is recorded, and holds no secret";
            let hint = "`env:NAME`, `file:PATH`, or a command";
            found.at(&["connector", "s3", "secret_access_key"], what, hint);
        }
        check_secrets(
            "s3",
            [
                ("access_key_id", s3.access_key_id.as_ref()),
                ("secret_access_key", s3.secret_access_key.as_ref()),
            ],
            found,
        );
        check_networks(&s3.allow_networks, "s3", found);
    }
}

fn check_secrets(way: &str, secrets: [(&str, Option<&Secret>); 2], found: &mut Findings<'_>) {
    for (key, secret) in secrets {
        if let Some(fault) = secret.and_then(network::secret_fault) {
            found.at(&["connector", way, key], fault, "");
        }
    }
}

fn check_url(url: &str, path: &[&str], found: &mut Findings<'_>) {
    let is_safe = |url: &network::Url<'_>| url.is_https || url.is_loopback();
    if !network::url(url).as_ref().is_some_and(is_safe) {
        let hint = "an `https` address, or an `http` one on loopback";
        found.at(path, format!("`{url}` is no address that is fetched"), hint);
    }
}

fn check_networks(networks: &[String], way: &str, found: &mut Findings<'_>) {
    network::networks(&["connector", way], networks, found);
}

fn check_query(source: &Source, found: &mut Findings<'_>) {
    let Some(query) = &source.connector.query else { return };
    let place = |key: &'static str| ["connector", "query", key];
    if let SecretPlace::Here(address) = query.address.place() {
        let is_known = ["postgres://", "postgresql://", "sqlite:"];
        if !is_known.iter().any(|scheme| address.starts_with(scheme)) {
            let hint = "`postgres://role@host/database` or `sqlite:PATH`";
            found.at(&place("address"), "it is no address of a database", hint);
        }
        let has_password =
            |it: &str| it.split_once('@').is_some_and(|(user, _)| user.contains(':'));
        let rest = address.split_once("://").map(|(_, rest)| rest);
        if rest.is_some_and(has_password) {
            let what = "a bundle is recorded, and holds no secret";
            found.at(&place("address"), what, "`env:NAME`, `file:PATH`, or a command");
        }
    }
    check_secrets("query", [("address", Some(&query.address)), ("", None)], found);
    if query.statement.trim().is_empty() || query.statement.len() > STATEMENT_BYTES_MAX {
        let what = format!("`statement` is empty, or longer than {STATEMENT_BYTES_MAX} bytes");
        found.at(&place("statement"), what, "");
    }
    bounded(query.text.len(), &place("text"), found);
    if query.readers.is_some() && !source.permissions.synced {
        let hint = "set `permissions.synced = true`";
        found.at(&place("readers"), "readers are declared here, not synced", hint);
    }
    check_networks(&query.allow_networks, "query", found);
}

fn check_permissions(permissions: &Permissions, people: &People<'_>, found: &mut Findings<'_>) {
    check_readers(people, &permissions.readers, &["permissions", "readers"], found);
    check_readers(people, &permissions.denied, &["permissions", "denied"], found);
    bounded(permissions.folder.len(), &["permissions", "folder"], found);
    for (at, folder) in permissions.folder.iter().enumerate() {
        let at = at.to_string();
        let place = |key: &'static str| ["permissions", "folder", at.as_str(), key];
        check_pattern(&folder.path, &place("path"), found);
        check_readers(people, &folder.readers, &place("readers"), found);
        check_readers(people, &folder.denied, &place("denied"), found);
        if folder.readers.is_empty() && folder.denied.is_empty() {
            let what = "it is neither shared nor kept from anybody";
            found.at(&["permissions", "folder", &at], what, "`readers` or `denied`");
        }
    }
}

fn check_readers(people: &People<'_>, readers: &[String], path: &[&str], found: &mut Findings<'_>) {
    bounded(readers.len(), path, found);
    people.check(readers, path, found);
}

fn check_fields(source: &Source, people: &People<'_>, found: &mut Findings<'_>) {
    bounded(source.fields.len(), &["fields"], found);
    for (name, field) in &source.fields {
        let place = |key: &'static str| ["fields", name.as_str(), key];
        if let Some(readers) = &field.readers {
            check_readers(people, readers, &place("readers"), found);
        }
        check_readers(people, &field.denied, &place("denied"), found);
        bounded(field.tags.len(), &place("tags"), found);
        for (at, tag) in field.tags.iter().enumerate() {
            if tag.is_empty() || !models::is_word(tag) {
                let path = ["fields", name, "tags", &at.to_string()];
                found.at(&path, format!("`{tag}` cannot be a tag"), "visible characters");
            }
        }
        if field.classification.is_some_and(|it| it < source.classification) {
            let what = format!("the field `{name}` is less confidential than its source");
            found.at(&place("classification"), what, "what is said of it can only raise it");
        }
    }
}

/// That bounds grow with what happens beyond them: else one of them could never be reached.
pub(super) fn check_freshness(
    freshness: Option<&Freshness>,
    path: &[&str],
    found: &mut Findings<'_>,
) {
    let Some(freshness) = freshness else { return };
    let bounds = [
        ("say_after_s", freshness.say_after_s),
        ("confirm_after_s", freshness.confirm_after_s),
        ("read_only_after_s", freshness.read_only_after_s),
        ("refuse_after_s", freshness.refuse_after_s),
    ];
    let mut before: Option<(&str, u64)> = None;
    for (key, bound) in bounds {
        let Some(bound) = bound else { continue };
        let path: Vec<&str> = path.iter().copied().chain([key]).collect();
        if let Some((other, _)) = before.filter(|(_, other)| *other >= bound) {
            let what = format!("`{key}` is not later than `{other}`");
            found.at(&path, what, "what is less comes first, or is left out");
        }
        before = Some((key, bound));
    }
    if before.is_none() {
        found.at(path, "it has no bound", "such as `say_after_s = 86400`");
    }
}

fn check_quality(source: &Source, found: &mut Findings<'_>) {
    let quality = &source.quality;
    if let (Some(min), Some(max)) = (quality.documents_min, quality.documents_max)
        && min > max
    {
        found.at(&["quality", "documents_min"], "it is more than `documents_max`", "");
    }
    bounded(quality.required_fields.len(), &["quality", "required_fields"], found);
}

/// What a task says of sources.
pub(super) fn check_task(task: &Task, known: &[&str], found: &mut Findings<'_>) {
    let named = task.sources.iter().flatten();
    for (at, source) in named.enumerate() {
        if !known.contains(&source.as_str()) {
            let what = format!("there is no source `{source}`");
            found.at(&["sources", &at.to_string()], what, suggest::among(source, known));
        }
    }
    bounded(task.sources.as_ref().map_or(0, Vec::len), &["sources"], found);
    for source in task.snapshots.keys() {
        let is_allowed = task.sources.as_ref().is_none_or(|sources| sources.contains(source));
        if !known.contains(&source.as_str()) {
            let what = format!("there is no source `{source}`");
            found.at(&["snapshots", source], what, suggest::among(source, known));
        } else if !is_allowed {
            let what = format!("the source `{source}` is not one of this task's");
            found.at(&["snapshots", source], what, "name it in `sources`");
        }
    }
    bounded(task.answers_from.len(), &["answers_from"], found);
    for (at, kind) in task.answers_from.iter().enumerate() {
        check_kind(kind, &["answers_from", &at.to_string()], found);
    }
    check_freshness(task.freshness.as_ref(), &["freshness"], found);
}

/// That a task and a source that name each other agree.
fn check_agreement(
    files: &Files,
    tasks: &BTreeMap<TaskName, Task>,
    sources: &BTreeMap<String, Source>,
    mistakes: &mut Vec<Mistake>,
) {
    for (name, task) in tasks {
        let path = format!("tasks/{name}.toml");
        let refuses = |source: &&String| {
            let tasks = sources.get(*source).and_then(|source| source.tasks.as_ref());
            tasks.is_some_and(|tasks| !tasks.iter().any(|task| task == name.as_str()))
        };
        let refused: BTreeSet<&String> = task.sources.iter().flatten().filter(refuses).collect();
        if refused.is_empty() {
            continue;
        }
        let Some(document) = files.get(&path).and_then(|bytes| Document::of(&path, bytes)) else {
            continue;
        };
        let mut found = Findings::new(&document, mistakes);
        for source in refused {
            let what = format!("the source `{source}` may not be used for this task");
            found.at(&["sources"], what, "name the task in its `tasks`");
        }
    }
}
